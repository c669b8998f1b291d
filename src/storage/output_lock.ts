/** One process at a time works on an output: two would overwrite what the other has done. */
import { existsSync, mkdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { HotsetError, messageOf } from "../errors.ts";
import { throughLinks } from "./links.ts";

/** How long a lock is tried for: a process that was killed keeps its own until its memory is given back. */
const PATIENCE_MS = 1000;
const RETRY_MS = 20;

/** What a process is told that is refused: "Cannot `doing`: `busy`". */
export interface LockWords {
  readonly doing: string;
  readonly busy: string;
}

/** A lock file beside an output. It holds as long as the process lives; a kill releases it, though the file stays. */
export class OutputLock implements Disposable {
  /** True if someone else had it. */
  readonly waited: boolean;
  readonly #path: string;
  readonly #file: Deno.FsFile;

  /** The outermost folder that was made for it. */
  readonly #made: string | undefined;

  private constructor(path: string, file: Deno.FsFile, waited: boolean, made: string | undefined) {
    this.#made = made;
    this.#path = path;
    this.#file = file;
    this.waited = waited;
  }

  /** The lock of `out`, or undefined if someone else has it. Throws HotsetError "Cannot `doing`" if no file can be made. */
  static try(out: string, doing: string, waited = false): OutputLock | undefined {
    let file: Deno.FsFile | undefined;
    try {
      const target = throughLinks(out);
      const path = join(dirname(target), `.${basename(target)}.lock`);
      const made = mkdirSync(dirname(target), { recursive: true });
      file = openIfThere(path);
      if (file === undefined) return undefined;
      // Whoever had the lock until now may have removed the file: then this lock is on a file that nobody sees.
      if (file.tryLockSync(true) && isSame(path, file)) return new OutputLock(path, file, waited, made);
    } catch (error) {
      file?.close();
      throw new HotsetError(`Cannot ${doing}: ${messageOf(error)}`, { cause: error });
    }
    file.close();
    return undefined;
  }

  /** The lock of `out`. Throws HotsetError if someone else keeps it. */
  static take(out: string, { doing, busy }: LockWords): OutputLock {
    return this.wait(out, doing, () => {
      throw new HotsetError(`Cannot ${doing}: ${busy}`, { code: "busy" });
    });
  }

  /** The lock of `out`, waited for; `onWait` is called now and then meanwhile, and may throw. */
  static wait(out: string, doing: string, onWait: () => void): OutputLock {
    const attempts = this.#attempts(out, doing, onWait);
    for (;;) {
      const { value, done } = attempts.next();
      if (done) return value;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, value);
    }
  }

  /** The same where the one that has the lock may be in this thread. */
  static async waitAsync(out: string, doing: string, onWait: () => void): Promise<OutputLock> {
    const attempts = this.#attempts(out, doing, onWait);
    for (;;) {
      const { value, done } = attempts.next();
      if (done) return value;
      await new Promise((resolve) => setTimeout(resolve, value));
    }
  }

  /** Tries again and again; yields how long to sleep in between. */
  static *#attempts(out: string, doing: string, onWait: () => void): Generator<number, OutputLock> {
    const end = performance.now() + PATIENCE_MS;
    for (let waited = false;; waited = true) {
      const lock = this.try(out, doing, waited);
      if (lock !== undefined) return lock;
      if (performance.now() > end) onWait();
      yield RETRY_MS;
    }
  }

  /** Removes the file, unless someone else has, and folders that were made for it and are empty; releases the lock. */
  [Symbol.dispose](): void {
    if (isSame(this.#path, this.#file)) Deno.removeSync(this.#path);
    this.#file.close();
    if (this.#made === undefined) return;
    for (let folder = dirname(this.#path); folder.startsWith(this.#made); folder = dirname(folder)) {
      try {
        Deno.removeSync(folder);
      } catch {
        return; // something is in it
      }
    }
  }
}

/** Opens or makes a file; undefined if its folder has just been removed. */
function openIfThere(path: string): Deno.FsFile | undefined {
  try {
    return Deno.openSync(path, { write: true, create: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound && !existsSync(dirname(path))) return undefined;
    throw error;
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
