/** Checks before a run begins or is resumed. */
import { canTrain, type TrainConfig } from "../config/config.ts";
import type { Dataset } from "../dataset/dataset.ts";
import { HotsetError, UsageError } from "../errors.ts";
import { bytes } from "../format.ts";
import type { ModelPlan } from "../model/shape.ts";
import { tableBytes } from "../ranks/tier.ts";
import type { LearningRateSchedule } from "../schedule/learning_rate.ts";
import { ifPermitted, type RunRecord } from "./run_record.ts";

/** Throws UsageError if a mode concerns embedding rows, and the data have none. */
export function expectRows({ mode }: TrainConfig, { directory, tables }: Dataset): void {
  if (canTrain(mode, tables)) return;
  const rows = mode === "fae" ? "be hot" : "keep on the host";
  throw new UsageError(
    `Cannot train on ${directory} in mode ${mode}: it has no sparse features, so there are no embedding rows to ${rows}; ` +
      `choose --mode cpu, or gpu`,
  );
}

/** Throws if the tables cannot fit: before profile and layout are built. */
export function expectMemory(plan: ModelPlan, { directory }: Dataset): void {
  const needed = tableBytes(plan);
  const memory = ifPermitted(() => Deno.systemMemoryInfo());
  if (memory === null || needed <= memory.total + memory.swapTotal) return;
  throw new HotsetError(
    `Cannot train on ${directory}: the tables take ${bytes(needed)} and this machine has ${bytes(memory.total)} of ` +
      `memory; --memory stores rows on disk, and plan shows how to make tables smaller`,
  );
}

/** True if rows for which there is no memory can be stored on disk. */
export function mayUseDisk({ mode }: TrainConfig): boolean {
  return mode === "cpu" || mode === "cached";
}

/** Throws UsageError if there is a budget for a configuration that keeps all rows in memory. */
export function expectTier(config: TrainConfig): void {
  if (config.memory === null || mayUseDisk(config)) return;
  throw new UsageError(
    `Cannot limit the memory of training in mode ${config.mode}: only modes cpu and cached store rows on disk; choose ` +
      `--mode cpu, or leave out --memory`,
  );
}

/** Throws if the configuration needs a metric or a split that the dataset does not have. */
export function expectSelection({ patience, targetAuc, monitor }: TrainConfig, dataset: Dataset): void {
  if (monitor === "gauc" && dataset.body.group === undefined) {
    throw new UsageError(
      `Cannot monitor gauc on ${dataset.directory}: it has no column of groups; prepare it with --group COLUMN`,
    );
  }
  if (dataset.samples("validation") > 0 || dataset.samples("test") > 0) return;
  const key = patience !== null ? "patience" : targetAuc !== null ? "targetAuc" : undefined;
  if (key === undefined) return;
  throw new UsageError(
    `Cannot use ${key} on ${dataset.directory}: it has neither a validation nor a test split to evaluate on; prepare it ` +
      `with --validation-fraction, or leave ${key} out`,
  );
}

/** Throws if both a function and the configuration determine the learning rate. */
export function expectSchedule(
  { warmupSteps, decaySteps }: TrainConfig,
  schedule: LearningRateSchedule | undefined,
): void {
  if (schedule === undefined || (warmupSteps === 0 && decaySteps === 0)) return;
  throw new UsageError(
    `Cannot use ${warmupSteps > 0 ? "warmupSteps" : "decaySteps"} with the option schedule, which sets the rate of ` +
      `every step; derive it from scheduleOf(config), or leave one of them out`,
  );
}

/** Throws if a run that began with a function for its learning rate is resumed without one, or the reverse. */
export function expectSameSchedule(record: RunRecord, given: LearningRateSchedule | undefined, out: string): void {
  if ((record.schedule === "function") === (given !== undefined)) return;
  throw new UsageError(
    `Cannot resume ${out}: ${
      given === undefined
        ? "its learning rate comes from a function; pass the same one as the option schedule of resumeRun"
        : "its learning rate comes from its configuration; leave the option schedule out"
    }`,
  );
}
