/** Tasks on worker threads. */
import { codeOf, type ErrorCode, HotsetError, messageOf } from "../errors.ts";
import { startWorker } from "./start_worker.ts";

/** A worker's answer. */
type Reply<R> = { readonly result: R } | { readonly failure: string; readonly code: ErrorCode };

/** Threads that run one module, each one task at a time. */
export class TaskPool<T, R> implements Disposable {
  readonly #module: URL;
  readonly #threads: number;
  readonly #workers: Worker[] = [];
  readonly #idle: Worker[] = [];
  readonly #waiting: ((worker: Worker) => void)[] = [];

  readonly #signal: AbortSignal | undefined;
  /** Threads that run or are being started. */
  #begun = 0;
  #ended = false;

  /**
   * `module` must call `serveTasks`. A thread starts with a task that no other is free for. When the signal is aborted,
   * tasks fail with its reason.
   */
  constructor(module: URL, threads: number, signal?: AbortSignal) {
    this.#module = module;
    this.#threads = threads;
    this.#signal = signal;
  }

  /** Runs a task on the next free thread. Throws the error of the task. */
  async run(task: T): Promise<R> {
    const worker = this.#idle.pop() ?? await this.#another();
    try {
      return await new Promise<R>((resolve, reject) => {
        this.#signal?.throwIfAborted();
        this.#signal?.addEventListener("abort", () => reject(this.#signal!.reason), { once: true });
        worker.onmessage = ({ data }: MessageEvent<Reply<R>>) => {
          if ("result" in data) resolve(data.result);
          else reject(data.code === "defect" ? new Error(data.failure) : new HotsetError(data.failure, data));
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

  /** A thread that is started now, or else the next one that is free. */
  async #another(): Promise<Worker> {
    if (this.#begun === this.#threads) return await new Promise((resolve) => this.#waiting.push(resolve));
    this.#begun++;
    const worker = await startWorker(this.#module, "tasks");
    this.#workers.push(worker);
    if (this.#ended) worker.terminate();
    return worker;
  }

  /**
   * Runs tasks in order, several at a time. After a failure no further task begins; throws the error of the first
   * failed task in order.
   */
  async all(tasks: readonly T[], onDone?: (index: number, result: R) => void): Promise<R[]> {
    const results: R[] = [];
    const failures: unknown[] = [];
    let next = 0;
    await Promise.all(Array.from({ length: Math.min(this.#threads, tasks.length) }, async () => {
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
    this.#ended = true;
    for (const worker of this.#workers) worker.terminate();
  }
}

/** Lets this worker run tasks. */
export function serveTasks<T, R>(work: (task: T) => R | Promise<R>): void {
  addEventListener("message", async (event) => {
    let reply: Reply<R>;
    try {
      reply = { result: await work((event as MessageEvent<T>).data) };
    } catch (error) {
      const code = codeOf(error);
      const failure = code === "defect" && error instanceof Error ? error.stack! : messageOf(error);
      reply = { failure, code };
    }
    (self as unknown as { postMessage(reply: Reply<R>): void }).postMessage(reply);
  });
}
