/** Thread that trains runs of a sweep, one at a time. */
import { Dataset } from "../dataset/dataset.ts";
import { HotsetError } from "../errors.ts";
import { reasonIfDiverged } from "../loop/end_errors.ts";
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
    return await reasonIfDiverged(
      config === undefined ? resumeRun(options) : startRun(config, Dataset.open(dataset, "lengths"), options),
    );
  } catch (error) {
    if (!(error instanceof HotsetError)) throw error;
    throw new HotsetError(`Run ${out}: ${error.message}`, { cause: error }); // several train
  } finally {
    clearInterval(timer);
  }
});
