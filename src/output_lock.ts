/** One process at a time works on an output: two would overwrite what the other has done. */
import { basename, dirname, join, resolve } from "node:path";
import { HotsetError, messageOf } from "./errors.ts";

/** How long a lock is waited for: a process that was killed keeps its own until its memory is given back. */
const PATIENCE_MS = 1000;
const RETRY_MS = 20;

/** What a refused process is told: "Cannot `doing`: `busy`". */
export interface LockWords {
  readonly doing: string;
  readonly busy: string;
}

/** A lock file beside an output. It holds as long as the process lives; a kill releases it, though the file stays. */
export class OutputLock implements Disposable {
  readonly #path: string;
  readonly #file: Deno.FsFile;

  /** Throws HotsetError if someone else keeps the lock of `out`, or if the file cannot be made. */
  constructor(out: string, { doing, busy }: LockWords) {
    const target = resolve(out);
    this.#path = join(dirname(target), `.${basename(target)}.lock`);
    const end = performance.now() + PATIENCE_MS;
    for (;;) {
      let file: Deno.FsFile | undefined;
      try {
        Deno.mkdirSync(dirname(target), { recursive: true });
        file = Deno.openSync(this.#path, { write: true, create: true });
        const isLocked = file.tryLockSync(true);
        // Whoever had the lock until now may have removed the file: then this lock is on a file that nobody sees.
        if (isLocked && isSame(this.#path, file)) {
          this.#file = file;
          return;
        }
        if (!isLocked && performance.now() > end) throw new HotsetError(busy, { code: "busy" });
        file.close();
      } catch (error) {
        file?.close();
        throw new HotsetError(`Cannot ${doing}: ${messageOf(error)}`, { cause: error });
      }
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
    }
  }

  /** Removes the file, unless someone else has, and releases the lock. */
  [Symbol.dispose](): void {
    if (isSame(this.#path, this.#file)) Deno.removeSync(this.#path);
    this.#file.close();
  }
}

function isSame(path: string, file: Deno.FsFile): boolean {
  try {
    return Deno.statSync(path).ino === file.statSync().ino;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
