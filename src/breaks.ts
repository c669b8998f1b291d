/** Long work on the calling thread that lets other work of the program run in between. */
import { setImmediate } from "node:timers";

/** Milliseconds of work between breaks: a server on the same thread answers after little more than that. */
const WORK_MS = 20;

/** The breaks of a piece of work, which consists of parts of a few milliseconds. */
export class Breaks {
  #since = performance.now();

  /** True if the last break was more than 20 ms ago. */
  get due(): boolean {
    return performance.now() - this.#since > WORK_MS;
  }

  /** Lets pending timers, signals, messages and requests be handled. */
  async take(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#since = performance.now();
  }
}
