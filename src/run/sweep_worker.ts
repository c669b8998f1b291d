/** Thread that trains runs of a sweep, one at a time. */
import { Dataset } from "../dataset/dataset.ts";
import { HotsetError } from "../errors.ts";
import { serveTasks } from "../threads/task_pool.ts";
import { resumeRun, startRun } from "./run.ts";
import type { SweepTask } from "./sweep.ts";

/** Milliseconds between looks at the word that ends the work. */
const LOOK_MS = 200;

serveTasks(async ({ dataset, config, out, cache, stop }: SweepTask) => {
  const controller = new AbortController();
  const timer = setInterval(() => Atomics.load(stop, 0) !== 0 && controller.abort(), LOOK_MS);
  const options = { out, cache, report: () => {}, signal: controller.signal };
  try {
    if (config === undefined) await resumeRun(options);
    else await startRun(config, Dataset.open(dataset, "lengths"), options);
    return out;
  } catch (error) {
    if (!(error instanceof HotsetError)) throw error;
    throw new HotsetError(`Run ${out}: ${error.message}`, { cause: error }); // several train
  } finally {
    clearInterval(timer);
  }
});
