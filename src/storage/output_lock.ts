/** Locks outputs, so that two processes never write the same one. */
import { existsSync, mkdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { cannot, HotsetError, messageOf } from "../errors.ts";
import { throughLinks } from "./links.ts";

/** Milliseconds to retry a lock: a killed process keeps its lock until the system has freed its memory. */
const LOCK_TIMEOUT_MS = 1000;
const RETRY_MS = 20;

/** A lock file next to an output. It is held while the process lives; a kill releases it, although the file remains. */
export class OutputLock implements Disposable {
  /** True if another process had it before. */
  readonly waited: boolean;
  readonly #path: string;
  readonly #file: Deno.FsFile;

  /** The outermost directory that was created for it. */
  readonly #made: string | undefined;

  private constructor(path: string, file: Deno.FsFile, waited: boolean, made: string | undefined) {
    this.#made = made;
    this.#path = path;
    this.#file = file;
    this.waited = waited;
  }

  /**
   * The lock of `out`; undefined if another process has it. Throws HotsetError "Cannot `doing`" if no file can be
   * created.
   */
  static try(out: string, doing: string, waited = false): OutputLock | undefined {
    let file: Deno.FsFile | undefined;
    try {
      const path = lockPath(out);
      const made = mkdirSync(dirname(path), { recursive: true });
      file = openIfThere(path);
      if (file === undefined) return undefined;
      // The last owner may have removed the file; then this lock is on a deleted file.
      if (file.tryLockSync(true) && isSame(path, file)) return new OutputLock(path, file, waited, made);
    } catch (error) {
      file?.close();
      throw new HotsetError(`Cannot ${doing}: ${messageOf(error)}`, { cause: error });
    }
    file.close();
    return undefined;
  }

  /** Removes the file of a lock whose process was killed, after it had completed `out`, where that is permitted. */
  static removeLeft(out: string): void {
    try {
      if (existsSync(lockPath(out))) this.try(out, `write ${out}`)?.[Symbol.dispose]();
    } catch {
      // it disturbs nobody: the cache may only be read
    }
  }

  /** True if a process has the lock of `out` now. Changes nothing. */
  static isHeld(out: string): boolean {
    try {
      using file = Deno.openSync(lockPath(out));
      return !file.tryLockSync(false);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return false;
      throw error;
    }
  }

  /** Names of the outputs in a folder whose locks processes have now. */
  static heldIn(folder: string): string[] {
    return [...Deno.readDirSync(folder)].flatMap(({ name }) => /^\.(.+)\.lock$/.exec(name)?.[1] ?? [])
      .filter((name) => OutputLock.isHeld(join(folder, name)));
  }

  /** The lock of `out`. Throws HotsetError "Cannot `doing`: `busy`" if another process has it. */
  static take(out: string, doing: string, busy: string): Promise<OutputLock> {
    const fail = cannot(doing, "busy");
    return this.wait(out, doing, () => fail(busy));
  }

  /** The lock of `out`; waits for it, calling `onWait` regularly, which may throw. Its owner may be in this thread. */
  static async wait(out: string, doing: string, onWait: () => void): Promise<OutputLock> {
    const end = performance.now() + LOCK_TIMEOUT_MS;
    for (let waited = false;; waited = true) {
      const lock = this.try(out, doing, waited);
      if (lock !== undefined) return lock;
      if (performance.now() > end) onWait();
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  /** Removes the file, unless another process has the lock, and empty directories that were created for it; unlocks. */
  [Symbol.dispose](): void {
    try {
      if (isSame(this.#path, this.#file)) Deno.removeSync(this.#path);
    } finally {
      this.#file.close();
    }
    if (this.#made === undefined) return;
    for (let folder = dirname(this.#path); folder.startsWith(this.#made); folder = dirname(folder)) {
      try {
        Deno.removeSync(folder);
      } catch {
        return; // not empty
      }
    }
  }
}

function lockPath(out: string): string {
  const target = throughLinks(out);
  return join(dirname(target), `.${basename(target)}.lock`);
}

/** Opens or creates a file; undefined if its directory has just been removed. */
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
