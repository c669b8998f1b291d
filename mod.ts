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
 * const config = resolveConfig("default", { bottom: [32, 16], top: [32, 1], hotMemory: 4 * 2 ** 20 });
 * const result = await startRun(config, dataset, { out: `${folder}/run`, report: () => {} });
 * assert(result.logloss < 0.7);
 * Deno.removeSync(folder, { recursive: true });
 * ```
 *
 * @module
 */
export {
  codeOf,
  ERROR_CODES,
  type ErrorCode,
  HotsetError,
  type HotsetErrorOptions,
  Interrupted,
  UsageError,
} from "./src/errors.ts";
export { type ArtifactCheck } from "./src/artifact.ts";
export {
  Dataset,
  type DatasetBody,
  type Lookups,
  SampleReader,
  type Samples,
  type Split,
} from "./src/dataset/dataset.ts";
export {
  type EncodeOptions,
  encodeWith,
  type Fractions,
  prepareDataset,
  type PrepareOptions,
} from "./src/dataset/prepare.ts";
export { inferSchema } from "./src/dataset/infer.ts";
export { type Column, type LogSchema, type Moment, type Named } from "./src/dataset/schema.ts";
export { type FileAccount, type LineAccount } from "./src/dataset/read_account.ts";
export { type BadRowPolicy } from "./src/dataset/staged_log.ts";
export { type ReadOptions } from "./src/dataset/prepare_job.ts";
export { type Format, FORMATS } from "./src/dataset/formats.ts";
export {
  type BestAuc,
  generateDataset,
  type GenerateDatasetOptions,
  type GenerateOptions,
  writeCriteoLog,
} from "./src/dataset/generate.ts";
export { type Shape, SHAPES } from "./src/dataset/presets.ts";
export { type ClickModelOptions } from "./src/dataset/click_model.ts";
export { Profile, type ProfileBody, type ProfiledTable } from "./src/profile/profile.ts";
export { type Interval } from "./src/profile/estimate.ts";
export { profileDataset, type ProfileOptions } from "./src/profile/profile_dataset.ts";
export { type BatchKind, Layout, type LayoutBody } from "./src/layout/layout.ts";
export { buildLayout, type LayoutOptions } from "./src/layout/build_layout.ts";
export type { ShuffleOptions } from "./src/layout/sample_shuffle.ts";
export { Batch, type BatchSections, type BatchShape } from "./src/layout/batch.ts";
export { type Layer, type ModelPlan, type ModelShape, parseWidths, planModel } from "./src/model/shape.ts";
export type { Activation, InteractionKind, InteractionShape, LinearShape } from "./src/backend/backend.ts";
export { OPTIMIZER_NAMES, type OptimizerName, OPTIMIZERS } from "./src/optimizer/optimizers.ts";
export type { Optimizer, UpdateWeights } from "./src/optimizer/optimizer.ts";
export { type Preset, PRESETS, resolveConfig, type TrainConfig } from "./src/train/config.ts";
export type { DeadUnits } from "./src/train/dead_units.ts";
export { type UnknownShare } from "./src/dataset/unknown_values.ts";
export { type UnknownLimit } from "./src/train/unknown_notes.ts";
export { auc, type Metrics, metricsOf } from "./src/train/metrics.ts";
export type {
  CheckpointEvent,
  CheckpointMetrics,
  DatasetEvent,
  DemoEvent,
  EncodedEvent,
  EvaluationEvent,
  LayoutEvent,
  NoteEvent,
  PhasesEvent,
  ProfileEvent,
  ProgressEvent,
  Report,
  ResultEvent,
  RunEvent,
  Spent,
  SpentEvent,
  StageEvent,
} from "./src/train/events.ts";
export { ClaimedRun } from "./src/train/claimed_run.ts";
export { cacheOf, resumeRun, type RunOptions, startRun, trainOn } from "./src/train/run.ts";
export { reproduceRun, type Reproduction } from "./src/train/reproduce.ts";
export { readRun, type RunRecord } from "./src/train/run_record.ts";
export {
  ensureDataset,
  ensureLayout,
  ensureProfile,
  type LayoutConfig,
  openTogether,
  type Place,
  prepareTo,
  type ProfileConfig,
  type RawOptions,
} from "./src/train/stages.ts";
export { evaluateRun, predictRun, type ScoreFormat, writeScores } from "./src/train/score_run.ts";
export { DEMO_CONFIG, demoDataset, type DemoResult, runDemo } from "./src/train/demo.ts";
export { Cluster } from "./src/collective/cluster.ts";
export { mpirunProcesses } from "./src/collective/mpi_finding.ts";
export { isArtifact } from "./src/artifact.ts";
export { ALONE, PeerFailed, type Team } from "./src/team.ts";
export { Interrupt } from "./src/train/interrupt.ts";
export { expandConfig, type KnownOption, translateArguments, type Translation } from "./src/train/arguments.ts";
export { EXPORT_FORMATS, type ExportFormat, exportRun } from "./src/exchange/export_run.ts";
export { type ImportOptions, importRun, ROW_NUMBERS } from "./src/exchange/import_run.ts";
export { diagnose, type Diagnosis, type Finding } from "./src/doctor.ts";
export {
  type Machine,
  type PlanConfig,
  planDataset,
  type PlannedTable,
  planPublished,
  thisMachine,
  type TrainingPlan,
} from "./src/plan/plan_training.ts";
export type { MemoryPart, MemoryPlan, Placement } from "./src/plan/memory.ts";
export { type NamedShape, type PublishedData, publishedData } from "./src/plan/published.ts";
export type { TableShape } from "./src/dataset/table_shape.ts";
export { bytes, count, parseBytes } from "./src/report/format.ts";
export { demoText, diagnosisText, evaluationTable, planText, profileTables, resultTable } from "./src/report/tables.ts";
export { writeProfileReport } from "./src/report/html/profile_report.ts";
export { writeRunReport } from "./src/report/html/run_report.ts";
export { outliveTerminal, Terminal } from "./src/report/terminal.ts";
