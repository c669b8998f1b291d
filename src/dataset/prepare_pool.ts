/** Threads that prepare datasets. */
import type { TableSize, TableTask } from "./number_table.ts";
import type { CriteoTask, ReadResult } from "./read_criteo.ts";
import type { IntegerTask } from "./read_integers.ts";
import { TaskPool } from "../threads/task_pool.ts";

/** Reads a part of a log into staged chunks. */
export type ReadTask = CriteoTask | IntegerTask;
/** What a thread does: it reads a part of a log, or assigns the ids of a table. */
export type PrepareTask = ReadTask | TableTask;

/** Starts this number of threads. When the signal is aborted, tasks fail with its reason. */
export function preparePool(
  threads: number,
  signal: AbortSignal | undefined,
): TaskPool<PrepareTask, ReadResult & { size: TableSize | undefined }> {
  return new TaskPool(new URL("./prepare_worker.ts", import.meta.url), threads, signal);
}
