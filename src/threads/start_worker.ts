/** Starts worker threads. */
import { breaks } from "../breaks.ts";

let last: Promise<unknown> = Promise.resolve();

/**
 * Starts a worker. That takes this thread about 20 ms, so the event loop turns before it, and between several that are
 * started at the same time.
 */
export function startWorker(module: URL, name: string): Promise<Worker> {
  const started = last.then(() => breaks.take()).then(() => new Worker(module, { type: "module", name }));
  last = started.catch(() => {});
  return started;
}
