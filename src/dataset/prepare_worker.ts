/** Thread that prepares datasets. */
import { numberTable } from "./number_table.ts";
import type { PrepareTask } from "./prepare_pool.ts";
import { readCriteo } from "./read_criteo.ts";
import { readIntegers } from "./read_integers.ts";
import { serveTasks } from "../threads/task_pool.ts";

serveTasks((task: PrepareTask) => {
  if (task.kind === "criteo") return readCriteo(task);
  if (task.kind === "integers") return readIntegers(task);
  return numberTable(task);
});
