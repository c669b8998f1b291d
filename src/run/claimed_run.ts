/** Numbers of new runs, so that runs which begin at the same time get different ones. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { OutputLock } from "../storage/output_lock.ts";

/** File with the number of the latest run, which may have been removed since. */
const LAST_FILE = ".last-run";

/**
 * A directory for a new run that no other process takes. If it is disposed without a run in it, the number is free
 * again.
 */
export class ClaimedRun implements Disposable {
  /** The directory, which may not exist yet. */
  readonly out: string;
  readonly #home: string;
  readonly #number: number;
  readonly #lock: OutputLock;

  /** Claims the first free of `home`/run-1, run-2, ... after the latest run. Throws HotsetError. */
  constructor(home: string) {
    for (let n = lastNumber(home) + 1;; n++) {
      const out = join(home, `run-${n}`);
      const lock = existsSync(out) ? undefined : OutputLock.try(out, `begin a run in ${home}`);
      if (lock === undefined) continue;
      if (!existsSync(out)) {
        this.out = out;
        this.#home = home;
        this.#number = n;
        this.#lock = lock;
        return;
      }
      lock[Symbol.dispose](); // it was begun and abandoned between the two checks
    }
  }

  /** Frees the number, or records that it is used. */
  [Symbol.dispose](): void {
    using _released = this.#lock;
    if (existsSync(this.out) && lastNumber(this.#home) < this.#number) {
      Deno.writeTextFileSync(join(this.#home, LAST_FILE), `${this.#number}\n`);
    }
  }
}

function lastNumber(home: string): number {
  try {
    return Math.trunc(Number(Deno.readTextFileSync(join(home, LAST_FILE)))) || 0;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return 0;
    throw error;
  }
}
