/** Tasks on worker threads. */
import { HotsetError, messageOf } from "../errors.ts";

/** What a worker answers. */
type Reply<R> = { readonly result: R } | { readonly failure: string; readonly known: boolean };

/** A few threads that run one module, each one task at a time. */
export class TaskPool<T, R> implements Disposable {
  readonly #workers: readonly Worker[];
  readonly #idle: Worker[];
  readonly #waiting: ((worker: Worker) => void)[] = [];

  /** `module` calls `serveTasks`. */
  constructor(module: URL, threads: number) {
    this.#workers = Array.from({ length: threads }, () => new Worker(module, { type: "module" }));
    this.#idle = [...this.#workers];
  }

  /** Runs a task on the next free thread. Throws what the task threw. */
  async run(task: T): Promise<R> {
    const worker = this.#idle.pop() ?? await new Promise<Worker>((resolve) => this.#waiting.push(resolve));
    try {
      return await new Promise<R>((resolve, reject) => {
        worker.onmessage = ({ data }: MessageEvent<Reply<R>>) => {
          if ("result" in data) resolve(data.result);
          else reject(data.known ? new HotsetError(data.failure) : new Error(data.failure));
        };
        worker.onerror = (event) => {
          event.preventDefault();
          reject(new Error(`a thread failed: ${event.message}`));
        };
        worker.postMessage(task);
      });
    } finally {
      const next = this.#waiting.shift();
      if (next !== undefined) next(worker);
      else this.#idle.push(worker);
    }
  }

  /** Runs tasks in order, several at a time. After a failure no further one begins; throws the first one's by order. */
  async all(tasks: readonly T[], onDone?: (index: number, result: R) => void): Promise<R[]> {
    const results: R[] = [];
    const failures: unknown[] = [];
    let next = 0;
    await Promise.all(this.#workers.map(async () => {
      while (next < tasks.length && failures.length === 0) {
        const index = next++;
        try {
          results[index] = await this.run(tasks[index]);
          onDone?.(index, results[index]);
        } catch (error) {
          failures[index] = error;
        }
      }
    }));
    const first = failures.find((failure) => failure !== undefined);
    if (first !== undefined) throw first;
    return results;
  }

  [Symbol.dispose](): void {
    for (const worker of this.#workers) worker.terminate();
  }
}

/** Makes this worker run tasks. */
export function serveTasks<T, R>(work: (task: T) => R | Promise<R>): void {
  addEventListener("message", async (event) => {
    let reply: Reply<R>;
    try {
      reply = { result: await work((event as MessageEvent<T>).data) };
    } catch (error) {
      const known = error instanceof HotsetError;
      reply = { failure: known ? error.message : error instanceof Error ? error.stack! : messageOf(error), known };
    }
    (self as unknown as { postMessage(reply: Reply<R>): void }).postMessage(reply);
  });
}
