/** Long work on the calling thread that lets other work of the program run in between. */
import { setImmediate } from "node:timers";

/** Milliseconds of work between breaks. A part that begins before then may take some 20 ms when it is first compiled. */
const WORK_MS = 5;

/** Breaks of the work on this thread, which consists of parts of a few milliseconds. */
class Breaks {
  #since = performance.now();

  /** True if the last break was more than 5 ms ago, whatever work has taken it. */
  get due(): boolean {
    return performance.now() - this.#since > WORK_MS;
  }

  /** Lets pending timers, signals, messages and requests be handled. */
  async take(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#since = performance.now();
  }
}

/** The breaks of this thread: `if (breaks.due) await breaks.take();` after each part of work that may be long. */
export const breaks: Breaks = new Breaks();

/** Work that yields between its parts, to be done at once or with breaks. */
export type Parts<Result> = Generator<void, Result>;

/** Does all parts of some work at once. */
export function atOnce<Result>(work: Parts<Result>): Result {
  let part = work.next();
  while (!part.done) part = work.next();
  return part.value;
}

/** Does some work with breaks between its parts. */
export async function inParts<Result>(work: Parts<Result>): Promise<Result> {
  let part = work.next();
  while (!part.done) {
    if (breaks.due) await breaks.take();
    part = work.next();
  }
  return part.value;
}
