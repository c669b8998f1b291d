/** Threads of this process that work as a group, like processes of mpirun but without starting any. */
import type { Dataset } from "../../src/dataset/dataset.ts";
import type { ShuffleOptions } from "../../src/layout/sample_shuffle.ts";
import { type ThreadGroupMemory, threadGroupMemory } from "../../src/parallel/threads.ts";
import type { Profile } from "../../src/profile/profile.ts";

/** Input of a thread. */
export interface ThreadStart<T> {
  readonly memory: ThreadGroupMemory;
  readonly rank: number;
  readonly task: T;
}

/** Task of each thread of a group: build this layout. */
export interface LayoutTask {
  readonly dataset: string;
  readonly profile: string | undefined;
  readonly out: string;
  readonly batchSize: number;
  readonly shuffle?: ShuffleOptions;
  readonly direct?: boolean;
}

/** Builds a layout with a group of threads. Returns each thread's error, or undefined. */
export async function layOutWithThreads(
  datasets: readonly Dataset[],
  profile: Profile | undefined,
  options: Omit<LayoutTask, "dataset" | "profile">,
): Promise<(string | undefined)[]> {
  const memory = threadGroupMemory(datasets.length);
  const tasks = datasets.map(({ directory }): LayoutTask => ({
    dataset: directory,
    profile: profile?.directory,
    ...options,
  }));
  return await withThreads(new URL("./thread_group_worker.ts", import.meta.url), memory, tasks);
}

/** Starts a worker for each rank's task and returns the `result` that each posts. */
export async function withThreads<T, R>(program: URL, memory: ThreadGroupMemory, tasks: readonly T[]): Promise<R[]> {
  return await Promise.all(tasks.map(async (task, rank) => {
    const worker = new Worker(program, { type: "module" });
    const { promise, resolve, reject } = Promise.withResolvers<R>();
    worker.onmessage = ({ data }) => resolve(data.result);
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage({ memory, rank, task } satisfies ThreadStart<T>);
    const result = await promise;
    worker.terminate();
    return result;
  }));
}
