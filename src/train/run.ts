/** A run: a directory that keeps its configuration, its metrics and its checkpoints. */
import { dirname, join, resolve } from "node:path";
import { z } from "zod";
import { fingerprint, firstIssue, removeLeftovers } from "../artifact.ts";
import type { Cluster } from "../collective/cluster.ts";
import { Dataset } from "../dataset/dataset.ts";
import { HotsetError, messageOf, UsageError } from "../errors.ts";
import type { Layout } from "../layout/layout.ts";
import { type ModelPlan, planModel } from "../model/shape.ts";
import { Checkpoint, IMPORTED } from "./checkpoint.ts";
import { type TrainConfig, trainConfig } from "./config.ts";
import type { Report, ResultEvent, RunEvent } from "./events.ts";
import { measurePhases } from "./phases.ts";
import { expectDevice, expectPlacement, openRanks, type PlacementBatches } from "./placement.ts";
import { ensureDataset, ensureLayout, ensureProfile, type RawOptions } from "./stages.ts";
import { bytes } from "../report/format.ts";
import { BEST_CHECKPOINT, LAST_CHECKPOINT, Trainer } from "./trainer.ts";

const RUN_FILE = "run.json";
/** Events of a run, one JSON object a line. */
export const METRICS_FILE = "metrics.jsonl";
const NEVER = new AbortController().signal;

/** What a run's directory says about it. */
export interface RunRecord {
  /** Says what the file is. */
  hotset: "run";
  /** Version of the file's format. */
  version: 1;
  /** What the run was told. */
  config: TrainConfig;
  /** Directory of the dataset, absolute. */
  dataset: string;
  /** Id of the dataset. */
  datasetId: string;
}
const runRecord: z.ZodType<RunRecord> = z.object({
  hotset: z.literal("run"),
  version: z.literal(1),
  config: trainConfig,
  dataset: z.string(),
  datasetId: z.string(),
});

/** Reads what a run was told. Throws HotsetError if the directory is no run. */
export function readRun(directory: string): RunRecord {
  try {
    const parsed = runRecord.safeParse(JSON.parse(Deno.readTextFileSync(join(directory, RUN_FILE))));
    if (!parsed.success) throw new Error(`${RUN_FILE} has ${firstIssue(parsed.error)}`);
    return parsed.data;
  } catch (error) {
    const reason = error instanceof Deno.errors.NotFound ? `there is no ${RUN_FILE} in it` : messageOf(error);
    throw new HotsetError(`Cannot open run ${directory}: ${reason}`, { cause: error });
  }
}

/** Opens a checkpoint of a run: the best one, or the last if there is no best. */
export function openBest(directory: string): Checkpoint {
  for (const name of [BEST_CHECKPOINT, LAST_CHECKPOINT]) {
    if (exists(join(directory, name))) return Checkpoint.open(join(directory, name));
  }
  throw new HotsetError(`Cannot open run ${directory}: it has no checkpoint; train it first`);
}

/** Where the artifacts lie that runs beside this one share. */
export function cacheOf(out: string): string {
  return dirname(resolve(out));
}

/** The first of `home`/run-1, run-2, ... that is not there. */
export function freeRun(home: string): string {
  for (let n = 1;; n++) if (!exists(join(home, `run-${n}`))) return join(home, `run-${n}`);
}

/** The model that a configuration makes for a dataset. */
export function planFor(config: TrainConfig, dataset: Dataset): ModelPlan {
  const { denseFeatures } = dataset;
  if (denseFeatures === 0) {
    throw new HotsetError(
      `Cannot train on ${dataset.directory}: it has no dense features and the bottom MLP needs one`,
    );
  }
  if (config.denseFeatures !== null && config.denseFeatures !== denseFeatures) {
    throw new HotsetError(
      `Cannot train on ${dataset.directory}: the bottom MLP takes ${config.denseFeatures} values and the data has ` +
        `${denseFeatures} dense features; begin --arch-mlp-bot with ${denseFeatures}`,
    );
  }
  return planModel({
    dim: config.dim,
    tableRows: dataset.body.tables.map((table) => table.rows),
    bottom: [denseFeatures, ...config.bottom],
    top: config.top,
    interaction: config.interaction,
    optimizer: config.optimizer,
  });
}

/** Options of a training run. */
export interface RunOptions {
  /** Directory of the run. */
  readonly out: string;
  /** Told what happens. */
  readonly report: Report;
  /** Called when training begins; aborting the signal saves the run and ends it with Interrupted. */
  readonly signal?: () => AbortSignal;
  /** True measures the phases of a step when training is over. */
  readonly phases?: boolean | undefined;
  /** The processes that train together, each of which calls the same; undefined to train in this one. */
  readonly cluster?: Cluster | undefined;
}

/** Does work that leaves files, or finds them: in a cluster one process after the other. */
export async function inTurn<T>({ cluster }: RunOptions, work: () => T | Promise<T>): Promise<T> {
  return cluster === undefined ? await work() : await cluster.inTurn(work);
}

/** Throws unless a run can begin in the directory: what would fail after hours of preparing fails at once. */
export function expectStart(config: TrainConfig, out: string, cluster?: Cluster): void {
  expectPlacement(config, cluster);
  const { denseFeatures, bottom } = config;
  planModel({ ...config, tableRows: [1], bottom: [denseFeatures ?? 1, ...bottom] });
  if (exists(out) && !Deno.statSync(out).isDirectory) {
    throw new HotsetError(`Cannot start a run in ${out}: a file is there`);
  }
  if (exists(join(out, RUN_FILE))) {
    throw new UsageError(
      `Cannot start a run in ${out}: a run is there; continue it with --resume or choose another --out`,
    );
  }
}

/** Begins a run on a dataset, or on raw logs that are prepared first; else as `startRun`. */
export async function trainOn(
  inputs: readonly string[],
  raw: RawOptions,
  config: TrainConfig,
  options: RunOptions,
): Promise<ResultEvent> {
  const dataset = await inTurn(options, async () => {
    expectStart(config, options.out, options.cluster);
    if (options.cluster === undefined) await expectDevice(config);
    return await ensureDataset(inputs, raw, cacheOf(options.out), options.report);
  });
  return await startRun(config, dataset, options);
}

/** Begins a run in a new directory and trains to the end. Throws Interrupted when the signal is aborted. */
export async function startRun(config: TrainConfig, dataset: Dataset, options: RunOptions): Promise<ResultEvent> {
  const plan = await inTurn(options, () => {
    expectStart(config, options.out, options.cluster);
    return planFor(config, dataset);
  });
  return await trainRun(config, plan, dataset, undefined, options);
}

/** Makes the directory of a run, if it is new. */
export function recordRun(config: TrainConfig, dataset: Dataset, out: string): void {
  if (exists(join(out, RUN_FILE))) return;
  makeDirectory(out);
  const record: RunRecord = {
    hotset: "run",
    version: 1,
    config,
    dataset: resolve(dataset.directory),
    datasetId: dataset.id,
  };
  const temporary = join(out, `.${RUN_FILE}.partial`);
  Deno.writeTextFileSync(temporary, JSON.stringify(record, null, 1) + "\n");
  Deno.renameSync(temporary, join(out, RUN_FILE));
}

/** Continues a run from its last checkpoint, with the same bits as if it had never stopped. */
export async function resumeRun(options: RunOptions): Promise<ResultEvent> {
  const { config, dataset, checkpoint } = await inTurn(options, () => reopen(options));
  return await trainRun(config, planFor(config, dataset), dataset, checkpoint, options);
}

/** What a run was told, and where it stood. */
function reopen({ out, cluster }: RunOptions) {
  const { config, dataset: directory, datasetId } = readRun(out);
  expectPlacement(config, cluster);
  const dataset = Dataset.open(directory);
  if (dataset.id !== datasetId) {
    throw new HotsetError(`Cannot resume ${out}: its dataset ${directory} has changed since`);
  }
  const last = join(out, LAST_CHECKPOINT);
  removeLeftovers(last);
  return { config, dataset, checkpoint: exists(last) ? Checkpoint.open(last) : undefined };
}

async function trainRun(
  config: TrainConfig,
  plan: ModelPlan,
  dataset: Dataset,
  checkpoint: Checkpoint | undefined,
  options: RunOptions,
): Promise<ResultEvent> {
  const { out, report, signal = () => NEVER, phases, cluster } = options;
  // Whatever fails before training begins leaves no run behind, so the same command can be given again.
  const before: RunEvent[] = [];
  using layout = await inTurn(options, () =>
    layoutFor(config, dataset, cacheOf(out), (event) => {
      before.push(event);
      report(event);
    }));
  const runId = runIdOf(config, layout);
  if (checkpoint !== undefined && checkpoint.body.run !== runId && checkpoint.body.run !== IMPORTED) {
    throw new HotsetError(`Cannot resume ${out}: its checkpoint was made with other data or options`);
  }
  await using group = await openRanks(config, plan, batchesOf(layout), report, cluster);
  const writes = cluster?.first ?? true;
  if (writes) recordRun(config, dataset, out);
  using metrics = writes ? Deno.openSync(join(out, METRICS_FILE), { append: true, create: true }) : undefined;
  const record: Report = (event) => {
    if (event.event === "stage" || event.event === "note") return;
    metrics?.writeSync(new TextEncoder().encode(JSON.stringify(event) + "\n"));
  };
  before.forEach(record);
  const recordAndReport: Report = (event) => {
    record(event);
    report(event);
  };
  const trainer = new Trainer({
    config,
    dataset,
    layout,
    group,
    out,
    runId,
    checkpoint,
    report: recordAndReport,
    signal: signal(),
  });
  const result = await trainer.run();
  if (cluster !== undefined && cluster.hosts > 1) {
    const sent = cluster.bytesSent();
    report({ event: "note", text: `Hosts sent each other ${bytes(sent)}` });
  }
  const oneMemory = cluster === undefined && group.memory.mirror === undefined;
  if (phases && oneMemory) { for (const event of measurePhases(layout, group.memory)) recordAndReport(event); }
  if (phases && !oneMemory) report({ event: "note", text: "Phases of a step are not measured on several devices" });
  recordAndReport(result);
  return result;
}

/** What the batches of a layout are like. */
function batchesOf({ shape, hotRows, body }: Layout): PlacementBatches {
  return { batchShape: shape, hotRows: hotRows.length, mostDistinct: body.mostDistinct };
}

/** The layout of a run: with the profile's hot rows in mode fae, all cold in the others. */
function layoutFor(config: TrainConfig, dataset: Dataset, cache: string, report: Report): Layout {
  const profile = config.mode === "fae" ? ensureProfile(dataset, config, { cache }, report) : undefined;
  return ensureLayout(dataset, profile, config.batchSize, { cache }, report);
}

/** Names all that decides the sequence of a run's steps. */
function runIdOf(config: TrainConfig, layout: Layout): string {
  const { device: _device, ranks: _ranks, printFreq: _printFreq, epochs: _epochs, ...rest } = config;
  return fingerprint([layout.id, rest]);
}

function makeDirectory(path: string): void {
  try {
    Deno.mkdirSync(path, { recursive: true });
  } catch (error) {
    throw new HotsetError(`Cannot make directory ${path}: ${messageOf(error)}`, { cause: error });
  }
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
