/** Runs begin and are resumed: a run is a directory with a configuration, metrics and checkpoints. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { breaks } from "../breaks.ts";
import { cleanCheckpoints } from "../checkpoint/checkpoint_store.ts";
import { checkConfig, expectBags, expectDenseFeatures, expectHiddenLayer, type TrainConfig } from "../config/config.ts";
import type { ConfigByData } from "../config/config_by_data.ts";
import type { Dataset } from "../dataset/dataset.ts";
import { HotsetError } from "../errors.ts";
import type { ResultEvent } from "../events/events.ts";
import { type ModelPlan, planModel, shapeOf } from "../model/shape.ts";
import type { MpiWorld } from "../parallel/mpi_world.ts";
import { togetherAsync } from "../parallel/process_group.ts";
import { expectDevice, expectLibrary, expectPlacement } from "../ranks/placement.ts";
import { isArtifact, isDirectory } from "../storage/artifact.ts";
import { throughLinks } from "../storage/links.ts";
import { OutputLock } from "../storage/output_lock.ts";
import { isPartial, leftoversIn } from "../storage/partial.ts";
import { encodingOf, openFrom, openResumePoint, openStart, recall, rowInitOf } from "./beginning.ts";
import { chooseMode } from "./choose_mode.ts";
import { configBefore, configFor, shapeOfData } from "./config_for.ts";
import {
  expectMemory,
  expectRows,
  expectSameSchedule,
  expectSchedule,
  expectSelection,
  expectTier,
  mayUseDisk,
} from "./expectations.ts";
import { UsableRun } from "./packed_run.ts";
import { openData } from "./run_data.ts";
import { cacheWith, registerRun } from "./run_cache.ts";
import { inTurn, namingRun, onDisk, type RunOptions } from "./run_options.ts";
import { configAsBegun, onCpu, readRun, RUN_FILE } from "./run_record.ts";
import { ensureDataset, expectTrainSamples, type RawOptions, withinMemory } from "./stages.ts";
import { trainRun } from "./train_run.ts";

/** The model of a configuration for a dataset. */
export function planFor(config: TrainConfig, dataset: Dataset): ModelPlan {
  const { denseFeatures, steps } = dataset;
  expectDenseFeatures(config, denseFeatures, `train on ${dataset.directory}`);
  expectHiddenLayer(config, denseFeatures, `train on ${dataset.directory}`);
  const { tables, bags } = dataset.body;
  expectBags(config, bags && steps === 1, dataset.weightedLookups, `train on ${dataset.directory}`);
  const tableRows = tables.map((table) => table.rows);
  return planModel(shapeOf(config, { denseFeatures, tableRows, steps, bags }));
}

/**
 * Locks a run, so that no other process trains it and `clean` keeps what is beside it. The caller disposes the lock; the
 * first rank holds it for all.
 */
export async function lockRun(options: RunOptions): Promise<Disposable | undefined> {
  const { out, claimed, world } = options;
  if (claimed) return undefined;
  const busy = "another process trains it; let that end first, or choose another --out";
  const first = (world?.rank ?? 0) === 0;
  return await inTurn(options, () => first ? OutputLock.take(out, `train run ${out}`, busy) : undefined);
}

/** Records that the run uses the cache that was named; of one that contains the run, `clean` knows it. */
export async function registerIn(options: RunOptions): Promise<void> {
  const { cache, out, world } = options;
  if (cache === undefined) return;
  await inTurn(options, () => (world?.rank ?? 0) === 0 ? registerRun(cache, out) : undefined);
}

/** Says what processes of other hosts left in the directory of a run: it takes space, and is not removed from here. */
function noteLeftovers({ out, report }: RunOptions): void {
  if (!isDirectory(out)) return;
  const hosts = leftoversIn(out).flatMap(({ host }) => host ?? []);
  if (hosts.length === 0) return;
  const what = hosts.length === 1 ? "a temporary file or directory" : `${hosts.length} temporary files or directories`;
  const text =
    `${out} has ${what} of host ${[...new Set(hosts)].join(", ")}, whose process may still run; if it does ` +
    `not, remove that with: hotset clean ${out} --other-hosts --yes`;
  report({ event: "note", text });
}

/** Throws unless a run can begin in the directory. Checked first, so that it does not fail after hours of preparing. */
export function expectStart(config: TrainConfig, out: string, world?: MpiWorld): void {
  expectPlacement(config, world);
  const steps = config.model === "tbsm" ? 2 : 1; // any number
  planModel(shapeOf(config, { denseFeatures: config.denseFeatures ?? 1, tableRows: [1], steps }));
  const occupied = (what: string) => new HotsetError(`Cannot start a run in ${out}: ${what}`, { code: "occupied" });
  const target = throughLinks(out);
  if (existsSync(target) && !Deno.statSync(target).isDirectory) {
    throw occupied("a file has that name");
  }
  if (existsSync(join(target, RUN_FILE))) {
    throw occupied("it contains a run; continue it with --resume or choose another --out");
  }
  // A process that was killed before the run began may have left a directory of rows.
  if (existsSync(target) && [...Deno.readDirSync(target)].some(({ name }) => !isPartial(name))) {
    throw occupied("the directory holds something else; choose another --out");
  }
}

/**
 * Trains a new run on raw logs, or on the directory of a dataset: what the command `train` does. Raw logs are prepared
 * first, into the cache, where later runs on the same logs find them; with `from` they are encoded with
 * the dictionary of that run, and new values get further rows. Otherwise the same as `startRun`, which takes an open
 * dataset instead, such as one from `generateDataset` or `prepareDataset`. `raw` may be a function, which is called after
 * everything that needs no data has been checked, and `config` a function of the features of the data (`configByData`).
 * Throws HotsetError, also about the logs, and Interrupted.
 */
export async function trainOn(
  inputs: readonly string[],
  raw: RawOptions | (() => Promise<RawOptions>),
  config: TrainConfig | ConfigByData,
  given: RunOptions,
): Promise<ResultEvent> {
  const options = namingRun(given);
  const before = configBefore(config);
  await inTurn(options, async () => {
    expectStart(before, options.out, options.world);
    expectSchedule(before, options.schedule);
    if (options.world === undefined) await expectDevice(before, options.report);
  });
  using start = await openFromRun(options);
  const reading = typeof raw === "function" ? await raw() : raw;
  const dataset = await onDisk(
    options,
    async (group, cache) => {
      const known = start === undefined || inputs.every(isArtifact)
        ? undefined
        : await togetherAsync(group, () => encodingOf(start.directory));
      const encoded = { ...withinMemory(before, reading), ...(known && { known }) };
      return await ensureDataset(inputs, encoded, cache, options.report, group);
    },
  );
  return await beginRun(config, dataset, options, start);
}

/** What a new run starts from, if anything; a packed run is unpacked until it is disposed of. */
async function openFromRun(options: RunOptions): Promise<UsableRun | undefined> {
  const { from } = options;
  return from === undefined ? undefined : await inTurn(options, async () => await UsableRun.open(from));
}

/**
 * Trains a new run on an open dataset to its end; `trainOn` also accepts raw logs. Builds the profile and the layout
 * that the configuration needs, or finds them in the cache. Throws HotsetError if the directory is not empty or the
 * configuration does not fit the data, and Interrupted if the signal is aborted; the run can then be resumed.
 */
export async function startRun(
  config: TrainConfig | ConfigByData,
  dataset: Dataset,
  runOptions: RunOptions,
): Promise<ResultEvent> {
  const options = namingRun(runOptions);
  using start = await openFromRun(options);
  return await beginRun(config, dataset, options, start);
}

async function beginRun(
  given: TrainConfig | ConfigByData,
  dataset: Dataset,
  options: RunOptions,
  start: UsableRun | undefined,
): Promise<ResultEvent> {
  await inTurn(options, () => expectTrainSamples(dataset));
  const found = configFor(given, shapeOfData(dataset, options), options.report);
  const begun = start && await inTurn(options, () => ({ rowInit: rowInitOf(start.directory) }));
  const own = { ...found, ...begun };
  const plan = await inTurn(options, () => planFor(own, dataset));
  const config = await chooseMode(own, plan, dataset, options.report, options.world);
  await inTurn(options, () => expectRows(config, dataset));
  await inTurn(options, () => expectSelection(config, dataset));
  await inTurn(options, () => expectSchedule(config, options.schedule));
  expectTier(config);
  if (options.world === undefined && config.mode !== "gpu" && !mayUseDisk(config)) expectMemory(plan, dataset);
  const from = start && await inTurn(options, () => openFrom(start.directory, plan, dataset));
  using _lock = await lockRun(options);
  await registerIn(options);
  await inTurn(options, () => expectStart(config, options.out, options.world));
  noteLeftovers(options);
  return await trainRun(config, plan, dataset, { from, checkpoint: undefined, record: undefined }, options);
}

/**
 * Settings that a resumed run may change. Another number of ranks or another library changes the last bits of sums or
 * products, which a note says; memory changes no bits.
 */
export type ResumeChanges = Partial<Pick<TrainConfig, "ranks" | "blas" | "memory">>;

/**
 * Resumes a run from its last checkpoint, with the same bits as if it had never stopped. It uses the run's number of
 * ranks and matrix library, on any machine, unless `changes` names others; `blas: "auto"` chooses as for a new run.
 * Throws HotsetError if there is no run to resume, another process trains it, or its library is missing, and
 * Interrupted if the signal is aborted.
 */
export async function resumeRun(given: RunOptions, changes: ResumeChanges = {}): Promise<ResultEvent> {
  const options = namingRun(given);
  const { report, world } = options;
  // Before locking, because a lock would create files next to something that is not a run, or in a new directory.
  await inTurn(options, () => readRun(options.out));
  using _lock = await lockRun(options);
  await registerIn(options);
  noteLeftovers(options);
  const { record, config: reopened, dataset, begin } = await inTurn(options, () => reopen(options, changes));
  const plan = planFor(reopened, dataset);
  // Only a model that was imported, and not trained since, may have no mode yet.
  const config = await chooseMode(reopened, plan, dataset, report, world);
  const { mode, device, hotMemory } = config;
  const recorded = { ...record, config: { ...record.config, mode, device, hotMemory } };
  const wanted = world?.size ?? config.ranks;
  if (wanted !== null && record.ranks !== null && wanted !== record.ranks) {
    const text =
      `Continuing with ${wanted} ranks instead of ${record.ranks}: the last bits of sums, and results that ` +
      `depend on them, differ from those of an uninterrupted run`;
    report({ event: "note", text });
  }
  expectTier(config);
  const cache = options.cache ?? cacheWith(dataset.directory, options.out);
  return await trainRun(config, plan, dataset, { ...begin, record: recorded }, { ...options, cache });
}

/** The resumed run's configuration and start. */
async function reopen({ out, data, report, world, schedule }: RunOptions, { ranks, blas, memory }: ResumeChanges) {
  const record = readRun(out);
  expectSameSchedule(record, schedule, out);
  const begun = configAsBegun(record);
  const config = checkConfig({
    ...begun,
    ...(blas === undefined ? {} : onCpu(record.config, blas)),
    ranks: world === undefined ? ranks ?? begun.ranks : record.config.ranks,
    memory: memory === undefined ? begun.memory : memory,
  });
  expectPlacement(config, world);
  const refusal = config.blas === record.blas
    ? `Cannot resume ${out} with ${config.blas}, which the run has used so far; install it, or continue with another library ` +
      `and different last bits: --resume --blas auto`
    : `Cannot resume ${out} with ${config.blas}`;
  await expectLibrary(config, report, refusal);
  const dataset = await openData(out, "resume", data);
  if ((world?.rank ?? 0) === 0) cleanCheckpoints(out, record.config.keep);
  if (breaks.due) await breaks.take();
  const checkpoint = await openResumePoint(out);
  const begin = {
    from: await openStart(record, planFor(config, dataset), dataset, checkpoint === undefined),
    checkpoint,
    record,
    ...recall(out, checkpoint, report),
  };
  return { record, config, dataset, begin };
}
