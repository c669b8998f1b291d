/**
 * Trains a model on a dataset: {@linkcode startRun} begins a run, a directory with a configuration, metrics and
 * checkpoints; {@linkcode resumeRun} resumes it. A {@linkcode Report} receives the events.
 *
 * @example Train on generated data, and stop when a signal is aborted
 * ```ts
 * import assert from "node:assert/strict";
 * import { generateDataset } from "@hotset/hotset/dataset";
 * import { resolveConfig, startRun } from "@hotset/hotset/train";
 *
 * const folder = Deno.makeTempDirSync();
 * const fractions = { validation: 0.1, test: 0.1 };
 * const dataset = await generateDataset(`${folder}/clicks`, { samples: 4000, seed: 1, scale: 1000, fractions });
 * const config = resolveConfig("default", { mode: "cpu", ranks: 1, bottom: [32, 16], top: [32, 1] });
 * const result = await startRun(config, dataset, {
 *   out: `${folder}/run`,
 *   report: (event) => event.event === "progress" && console.log(event.step, event.loss),
 *   signal: () => AbortSignal.timeout(600_000), // then the run is saved, and startRun throws Interrupted
 * });
 * assert(result.logloss < 0.7);
 * Deno.removeSync(folder, { recursive: true });
 * ```
 *
 * @example Train on raw logs, resume the run, read its record, repeat it
 * ```ts
 * import assert from "node:assert/strict";
 * import { Interrupted } from "@hotset/hotset";
 * import { writeCriteoLog } from "@hotset/hotset/dataset";
 * import { ClaimedRun, configByData, readRun, reproduceRun, resumeRun, trainOn } from "@hotset/hotset/train";
 *
 * const folder = Deno.makeTempDirSync();
 * const log = `${folder}/clicks.tsv`;
 * await writeCriteoLog(log, { samples: 2000, seed: 1, scale: 1000, fractions: { validation: 0.1, test: 0.1 } });
 * const config = configByData("default", { mode: "cpu", ranks: 1, bottom: [16], top: [16, 1], printFreq: 1 });
 * const report = () => {};
 *
 * using run = new ClaimedRun(`${folder}/runs`); // runs/run-1, unless it is there
 * const options = { out: run.out, claimed: true, report };
 * const signal = () => AbortSignal.abort(); // a user has seen enough
 * const raw = { format: "criteo", minFrequency: 2 } as const;
 * await assert.rejects(trainOn([log], raw, config, { ...options, signal }), Interrupted);
 * const { logloss } = await resumeRun(options);
 * assert(logloss < 0.7);
 *
 * assert.equal(readRun(run.out).config.epochs, 2); // a small log is trained twice
 * assert.equal((await reproduceRun(run.out, report)).equal, true);
 * Deno.removeSync(folder, { recursive: true });
 * ```
 *
 * @example A custom learning-rate schedule
 * ```ts
 * import assert from "node:assert/strict";
 * import { generateDataset } from "@hotset/hotset/dataset";
 * import { type LearningRateSchedule, resolveConfig, scheduleOf, startRun } from "@hotset/hotset/train";
 *
 * const folder = Deno.makeTempDirSync();
 * const fractions = { validation: 0.1, test: 0.1 };
 * const dataset = await generateDataset(`${folder}/clicks`, { samples: 1000, seed: 1, scale: 1000, fractions });
 * const config = resolveConfig("default", { mode: "cpu", ranks: 1, bottom: [16], top: [1], printFreq: 1 });
 * const constant = scheduleOf(config); // the configuration's own
 * const schedule: LearningRateSchedule = (step) => constant(step) / Math.sqrt(step); // resumeRun needs it again
 * const rates: number[] = [];
 * await startRun(config, dataset, {
 *   out: `${folder}/run`,
 *   report: (event) => event.event === "progress" && rates.push(event.learningRate),
 *   schedule,
 * });
 * assert.deepEqual(rates.slice(0, 4), [1, 2, 3, 4].map(schedule));
 * Deno.removeSync(folder, { recursive: true });
 * ```
 *
 * @example End a run after an evaluation
 * ```ts
 * import assert from "node:assert/strict";
 * import { generateDataset } from "@hotset/hotset/dataset";
 * import { resolveConfig, startRun } from "@hotset/hotset/train";
 *
 * const folder = Deno.makeTempDirSync();
 * const fractions = { validation: 0.1, test: 0.1 };
 * const dataset = await generateDataset(`${folder}/clicks`, { samples: 4000, seed: 1, scale: 1000, fractions });
 * const config = resolveConfig("default", { mode: "cpu", ranks: 1, bottom: [16], top: [1], testFreq: 5, epochs: 9 });
 * const result = await startRun(config, dataset, {
 *   out: `${folder}/run`,
 *   report: () => {},
 *   onEvaluation: ({ step, auc }) => step >= 10 && auc > 0.4 ? "stop" : undefined,
 * });
 * assert.equal(result.ended, "stopped"); // with the metrics of the best checkpoint, as at the end of all epochs
 * Deno.removeSync(folder, { recursive: true });
 * ```
 *
 * @module
 */
export { type Preset, PRESETS, resolveConfig, type TrainConfig } from "../src/config/config.ts";
export { type ConfigByData, configByData, type DataShape } from "../src/config/config_by_data.ts";
export type { HotRowsConfig } from "../src/config/hot_rows_options.ts";
export type { MemoryBudget } from "../src/config/memory_budget.ts";
export type { ModelConfig } from "../src/config/model_options.ts";
export type { OptimizationConfig } from "../src/config/optimization_options.ts";
export type { PlacementConfig } from "../src/config/placement_options.ts";
export type { ProgressConfig } from "../src/config/progress_options.ts";
export { type ResumeChanges, resumeRun, startRun, trainOn } from "../src/run/run.ts";
export type { RunOptions } from "../src/run/run_options.ts";
export type { RawOptions } from "../src/run/stages.ts";
export { ClaimedRun } from "../src/run/claimed_run.ts";
export { readRun, type RunRecord } from "../src/run/run_record.ts";
export { reproduceRun, type Reproduction } from "../src/run/reproduce.ts";
export { type MpiWorld, openWorld } from "../src/parallel/mpi_world.ts";
export type { ProcessGroups } from "../src/parallel/process_group.ts";
export { type LearningRatePlan, type LearningRateSchedule, scheduleOf } from "../src/schedule/learning_rate.ts";
export { OPTIMIZER_NAMES, type OptimizerName, OPTIMIZERS } from "../src/optimizer/optimizers.ts";
export type { Optimizer, UpdateWeights } from "../src/optimizer/optimizer.ts";
export type { DeadUnits } from "../src/events/dead_units.ts";
export type { Decile } from "../src/events/deciles.ts";
export type { GroupMetrics, Metrics } from "../src/events/metrics.ts";
export type {
  CheckpointEvent,
  CheckpointMetrics,
  DatasetEvent,
  DemoEvent,
  EncodedEvent,
  EvaluationEvent,
  LayoutEvent,
  MovedRows,
  NoteEvent,
  OfRun,
  OnEvaluation,
  PhasesEvent,
  ProfileEvent,
  ProgressEvent,
  Report,
  ResultEvent,
  RunEvent,
  Spent,
  SpentEvent,
  StageEvent,
} from "../src/events/events.ts";
