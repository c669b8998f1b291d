/** Long work on the calling thread that lets other work of the program run in between. */
import { setImmediate } from "node:timers";

/** Milliseconds of work between breaks: a server that shares the thread answers after at most a few times this. */
const WORK_MS = 10;

/** Breaks of a piece of work. */
export class Breaks {
  #since = performance.now();

  /** Called between small parts of the work: lets pending events run if the last break is more than 10 ms ago. */
  async take(): Promise<void> {
    if (performance.now() - this.#since < WORK_MS) return;
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#since = performance.now();
  }
}
