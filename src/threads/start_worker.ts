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

/**
 * Posts a message to a worker and returns its answer. If the worker dies, then or after its answer, `died` is called with
 * the reason; it returns the error to throw.
 */
export function answerOf<T>(worker: Worker, message: unknown, died: (reason: string) => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<T>) => resolve(data);
    worker.onerror = (event) => {
      event.preventDefault();
      reject(died(event.message));
    };
    worker.postMessage(message);
  });
}
