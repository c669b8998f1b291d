/**
 * Hotset trains recommendation models (DLRM) fast by keeping their popular embedding rows where the compute is.
 *
 * Raw click logs are prepared into a {@linkcode Dataset}, a dataset is profiled for its popular rows
 * ({@linkcode Profile}), a profile becomes a {@linkcode Layout} of hot and cold batches, and a model is trained over it.
 *
 * @example Train on generated data
 * ```ts
 * import assert from "node:assert/strict";
 * import { generateDataset, resolveConfig, startRun } from "@hotset/hotset";
 *
 * const folder = Deno.makeTempDirSync();
 * const dataset = generateDataset(`${folder}/clicks`, {
 *   samples: 4000,
 *   seed: 1,
 *   scale: 1000,
 *   fractions: { validation: 0.1, test: 0.1 },
 * });
 * const config = resolveConfig("kaggle", { bottom: [32, 16], top: [32, 1], hotMemory: 4 * 2 ** 20 });
 * const result = await startRun(config, dataset, { out: `${folder}/run`, report: () => {} });
 * assert(result.logloss < 0.7);
 * Deno.removeSync(folder, { recursive: true });
 * ```
 *
 * @module
 */
export { type Artifact, type ArtifactKind } from "./src/artifact.ts";
export { HotsetError, UsageError } from "./src/errors.ts";
export { Dataset, type DatasetBody, type Samples, type Split } from "./src/dataset/dataset.ts";
export { encodeWith, prepareDataset, type PrepareOptions, type ReadOptions } from "./src/dataset/prepare.ts";
export { generateDataset, type GenerateDatasetOptions, type GenerateOptions } from "./src/dataset/generate.ts";
export { Profile, type ProfileBody } from "./src/profile/profile.ts";
export { profileDataset, type ProfileOptions } from "./src/profile/profile_dataset.ts";
export { Layout, type LayoutBody } from "./src/layout/layout.ts";
export { buildLayout, type LayoutOptions } from "./src/layout/build_layout.ts";
export { Batch, type BatchShape } from "./src/layout/batch.ts";
export { type ModelPlan, type ModelShape, parseWidths, planModel } from "./src/model/shape.ts";
export { type Preset, PRESETS, resolveConfig, type TrainConfig } from "./src/train/config.ts";
export { auc, type Metrics, metricsOf } from "./src/train/metrics.ts";
export type { EvaluationEvent, Report, ResultEvent, RunEvent } from "./src/train/events.ts";
export { cacheOf, readRun, resumeRun, type RunOptions, startRun } from "./src/train/run.ts";
export { ensureDataset, ensureLayout, ensureProfile, prepareTo } from "./src/train/stages.ts";
export { evaluateRun, predictRun, writeScores } from "./src/train/score_run.ts";
export { DEMO_CONFIG, runDemo } from "./src/train/demo.ts";
export { Interrupted } from "./src/train/trainer.ts";
export { expandConfig, translateArguments, type Translation } from "./src/train/arguments.ts";
export { diagnose, type Diagnosis, type Finding } from "./src/doctor.ts";
export { bytes, count, parseBytes } from "./src/report/format.ts";
export { diagnosisText, evaluationTable, profileTables, resultTable } from "./src/report/tables.ts";
export { Terminal } from "./src/report/terminal.ts";
