/** A run: a directory with a configuration, metrics and checkpoints. */
import { existsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import type { MpiWorld } from "../parallel/mpi_world.ts";
import type { Dataset } from "../dataset/dataset.ts";
import { DEFAULT_MEMORY_BYTES } from "../dataset/prepare_job.ts";
import { HotsetError } from "../errors.ts";
import type { Layout } from "../layout/layout.ts";
import { isArtifact } from "../storage/artifact.ts";
import { isPartial } from "../storage/atomic_directory.ts";
import { throughLinks } from "../storage/links.ts";
import { type ModelPlan, planModel, shapeOf } from "../model/shape.ts";
import { OutputLock } from "../storage/output_lock.ts";
import { checkpointBytes, IMPORTED } from "../checkpoint/checkpoint.ts";
import { roomForCheckpoints } from "../checkpoint/checkpoint_room.ts";
import { cleanCheckpoints } from "../checkpoint/checkpoint_store.ts";
import { checkConfig, expectDenseFeatures, type TrainConfig } from "../config/config.ts";
import type { LearningRateSchedule } from "../schedule/learning_rate.ts";
import type { MovedRows, Report, ResultEvent, RunEvent } from "../events/events.ts";
import { labelNotes } from "./label_notes.ts";
import { leakNotes } from "./leak_notes.ts";
import { measurePhases } from "../loop/phases.ts";
import { expectDevice, expectLibrary, expectPlacement, openRanks, type PlacementBatches } from "../ranks/placement.ts";
import { CachedRanks } from "../ranks/cached_ranks.ts";
import { DeviceCachedRank } from "../ranks/device_cached_rank.ts";
import type { CacheCounts } from "../embedding/cached.ts";
import { roomForRows } from "./row_room.ts";
import { tierOf } from "../ranks/tier.ts";
import { bytesBefore } from "../config/memory_budget.ts";
import { type Beginning, encodingOf, openFrom, openResumePoint, openStart, recall } from "./beginning.ts";
import { RunMetrics } from "./run_metrics.ts";
import {
  expectMemory,
  expectRows,
  expectSameSchedule,
  expectSchedule,
  expectSelection,
  expectTier,
  mayUseDisk,
  modeThatFits,
} from "./expectations.ts";
import { runIdOf } from "./run_id.ts";
import { isFile, UsableRun } from "./packed_run.ts";
import { openData } from "./run_data.ts";
import { configAsBegun, onCpu, readRun, recordRun, RUN_FILE } from "./run_record.ts";
import { ensureDataset, ensureLayout, ensureProfile, type RawOptions } from "./stages.ts";
import { bytes, count, percent } from "../format.ts";
import { Trainer } from "../loop/trainer.ts";
import { ALONE } from "../parallel/host_group.ts";
import { inTurn as ranksInTurn, type ProcessGroup, together } from "../parallel/process_group.ts";
import { onSharedDisk } from "../parallel/shared_disk.ts";

const NEVER = new AbortController().signal;

/** Directory of the artifacts that neighbouring runs share. */
export function cacheOf(out: string): string {
  return dirname(resolve(out));
}

/** The model of a configuration for a dataset. */
export function planFor(config: TrainConfig, dataset: Dataset): ModelPlan {
  const { denseFeatures } = dataset;
  expectDenseFeatures(config, denseFeatures, `train on ${dataset.directory}`);
  return planModel(shapeOf(config, { denseFeatures, tableRows: dataset.body.tables.map((table) => table.rows) }));
}

/** Options of a training run. */
export interface RunOptions {
  /** Directory of the run. */
  readonly out: string;
  /** True if the caller holds the lock of `out`, as a ClaimedRun does. */
  readonly claimed?: boolean | undefined;
  /** Receives events. */
  readonly report: Report;
  /**
   * Aborting it while the run trains saves the run and ends it with Interrupted, whose cause is the signal's reason. A
   * function is called when training begins.
   */
  readonly signal?: AbortSignal | (() => AbortSignal);
  /** Directory of the dataset of a run that goes on, if it is not where it was, relative to the run. */
  readonly data?: string | undefined;
  /** A run, packed or not, or a checkpoint whose model and optimizer state the new run begins with; undefined for a new model. */
  readonly from?: string | undefined;
  /**
   * The learning rate by step, counted from 1, instead of the configuration's, whose warm-up and decay must be 0. A
   * resumed run needs the same function again. With several processes each passes it.
   */
  readonly schedule?: LearningRateSchedule | undefined;
  /** True to measure the phases of a step after training. */
  readonly phases?: boolean | undefined;
  /**
   * True if the mode is a default: if the tables do not fit in memory, it is replaced by mode cpu with rows on disk.
   */
  readonly modeIsDefault?: boolean | undefined;
  /** The processes that train together, each of which makes the same call; undefined to train in this one. */
  readonly world?: MpiWorld | undefined;
}

/** The options with a report that adds the run to every event. */
function named(options: RunOptions): RunOptions {
  const { out, report } = options;
  return { ...options, report: (event) => report({ run: out, ...event }) };
}

/** Runs work that creates or opens files. With several processes, they run it one after the other. */
export async function inTurn<T>({ world }: RunOptions, work: () => T | Promise<T>): Promise<T> {
  return await ranksInTurn(world ?? ALONE, work);
}

/** Locks a run, so that no other process trains it. The caller disposes the lock; the first rank holds it for all. */
async function lockRun(options: RunOptions): Promise<Disposable | undefined> {
  const { out, claimed, world } = options;
  if (claimed) return undefined;
  const busy = "another process trains it; let that end first, or choose another --out";
  const first = (world?.rank ?? 0) === 0;
  return await inTurn(options, () => first ? OutputLock.take(out, { doing: `train run ${out}`, busy }) : undefined);
}

/** Throws unless a run can begin in the directory. Checked first, so that it does not fail after hours of preparing. */
export function expectStart(config: TrainConfig, out: string, world?: MpiWorld): void {
  expectPlacement(config, world);
  planModel(shapeOf(config, { denseFeatures: config.denseFeatures ?? 1, tableRows: [1] }));
  const occupied = (what: string) => new HotsetError(`Cannot start a run in ${out}: ${what}`, { code: "occupied" });
  const target = throughLinks(out);
  if (existsSync(target) && !Deno.statSync(target).isDirectory) {
    throw occupied("a file is there");
  }
  if (existsSync(join(target, RUN_FILE))) {
    throw occupied("a run is there; continue it with --resume or choose another --out");
  }
  // A process that was killed before the run began may have left a directory of rows.
  if (existsSync(target) && [...Deno.readDirSync(target)].some(({ name }) => !isPartial(name))) {
    throw occupied("the directory holds something else; choose another --out");
  }
}

/** Runs work of all processes together that creates files next to the run. */
async function onDisk<T>(
  { world, out }: RunOptions,
  work: (group: ProcessGroup, cache: string) => T | Promise<T>,
): Promise<T> {
  const cache = cacheOf(out);
  return world === undefined
    ? await work(ALONE, cache)
    : await onSharedDisk(world, [cache], (group) => work(group, cache));
}

/**
 * Trains a new run on raw logs, or on the directory of a dataset: what the command `train` does. Raw logs are prepared
 * first, into a directory next to the run, where later runs on the same logs find them; with `from` they are encoded with
 * the dictionary of that run, and new values get further rows. Otherwise the same as `startRun`, which takes an open
 * dataset instead, such as one from `generateDataset` or `prepareDataset`. `raw` may be a function, which is called after
 * everything that needs no data has been checked. Throws HotsetError, also about the logs, and Interrupted.
 */
export async function trainOn(
  inputs: readonly string[],
  raw: RawOptions | (() => Promise<RawOptions>),
  config: TrainConfig,
  given: RunOptions,
): Promise<ResultEvent> {
  const options = named(given);
  await inTurn(options, async () => {
    expectStart(config, options.out, options.world);
    expectSchedule(config, options.schedule);
    if (options.world === undefined) await expectDevice(config, options.report);
  });
  using start = await openFromRun(options);
  const reading = typeof raw === "function" ? await raw() : raw;
  const dataset = await onDisk(
    options,
    (group, cache) => {
      const memoryBytes = bytesBefore(config.memory, reading.memoryBytes ?? DEFAULT_MEMORY_BYTES);
      const known = start === undefined || inputs.every(isArtifact)
        ? undefined
        : together(group, () => encodingOf(start.directory));
      return ensureDataset(inputs, { ...reading, memoryBytes, ...(known && { known }) }, cache, options.report, group);
    },
  );
  return await beginRun(config, dataset, options, start);
}

/** What a new run starts from, if anything; a packed run is unpacked until it is disposed of. */
async function openFromRun(options: RunOptions): Promise<UsableRun | undefined> {
  const { from } = options;
  return from === undefined ? undefined : await inTurn(options, () => UsableRun.open(from));
}

/**
 * Trains a new run on an open dataset to its end; `trainOn` also accepts raw logs. Builds the profile and the layout
 * that the configuration needs, or finds them next to the run. Throws HotsetError if the directory is not empty or the
 * configuration does not fit the data, and Interrupted if the signal is aborted; the run can then be resumed.
 */
export async function startRun(
  given: TrainConfig,
  dataset: Dataset,
  runOptions: RunOptions,
): Promise<ResultEvent> {
  const options = named(runOptions);
  using start = await openFromRun(options);
  return await beginRun(given, dataset, options, start);
}

async function beginRun(
  given: TrainConfig,
  dataset: Dataset,
  options: RunOptions,
  start: UsableRun | undefined,
): Promise<ResultEvent> {
  const plan = await inTurn(options, () => planFor(given, dataset));
  const config = options.modeIsDefault && options.world === undefined
    ? modeThatFits(given, plan, options.report)
    : given;
  await inTurn(options, () => expectRows(config, dataset));
  await inTurn(options, () => expectSelection(config, dataset));
  await inTurn(options, () => expectSchedule(config, options.schedule));
  expectTier(config, options.world);
  if (options.world === undefined && config.mode !== "gpu" && !mayUseDisk(config)) expectMemory(plan, dataset);
  const from = start && await inTurn(options, () => openFrom(start.directory, plan, dataset));
  using _lock = await lockRun(options);
  await inTurn(options, () => expectStart(config, options.out, options.world));
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
  const options = named(given);
  const { report, world } = options;
  // Before locking, because a lock would create files next to something that is not a run, or in a new directory.
  await inTurn(options, () => readRun(options.out));
  using _lock = await lockRun(options);
  const { record, config, dataset, begin } = await inTurn(options, () => reopen(options, changes));
  const wanted = world?.size ?? config.ranks;
  if (wanted !== null && record.ranks !== null && wanted !== record.ranks) {
    report({
      event: "note",
      text:
        `Continuing with ${wanted} ranks instead of ${record.ranks}: the last bits of sums, and results that depend on ` +
        `them, differ from those of an uninterrupted run`,
    });
  }
  expectTier(config, options.world);
  return await trainRun(config, planFor(config, dataset), dataset, begin, options);
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
  const dataset = openData(out, "resume", data);
  if ((world?.rank ?? 0) === 0) cleanCheckpoints(out, record.config.keep);
  const checkpoint = openResumePoint(out);
  const begin = {
    from: openStart(record, planFor(config, dataset), checkpoint === undefined),
    checkpoint,
    record,
    ...recall(out, checkpoint, report),
  };
  return { record, config, dataset, begin };
}

async function trainRun(
  config: TrainConfig,
  plan: ModelPlan,
  dataset: Dataset,
  { from, checkpoint, record: begun, spent, result: recorded }: Beginning,
  options: RunOptions,
): Promise<ResultEvent> {
  const { out, report, signal = NEVER, phases, world, schedule: own } = options;
  const trains = recorded === undefined;
  const onADisk = mayUseDisk(config, world);
  let room = config.save && trains && !onADisk
    ? await inTurn(options, () => roomForCheckpoints(out, config, checkpointBytes(plan)))
    : undefined;
  // Whatever fails before training begins leaves no run behind, so the same command can be repeated.
  const before: RunEvent[] = [];
  const keep: Report = (event) => {
    before.push(event);
    report(event);
  };
  using layout = await onDisk(options, (group, cache) => layoutFor(config, dataset, cache, keep, group));
  const runId = runIdOf(config, layout, from ?? begun?.from ?? undefined, own);
  if (checkpoint !== undefined && checkpoint.body.run !== runId && checkpoint.body.run !== IMPORTED) {
    throw new HotsetError(
      `Cannot resume ${out}: its checkpoint was made with other data or options, or by another version of Hotset; start a ` +
        `new run from its model with --from ${out}`,
    );
  }
  // They read samples: before ranks and caches take the memory that is left in the budget.
  const notes = [
    ...partNotes(dataset),
    ...labelNotes(dataset, config.monitor),
    ...leakNotes(dataset),
    ...turnNotes(config, layout),
  ];
  const tier = tierOf(out, config.memory);
  await using group = await openRanks(config, plan, batchesOf(layout), report, world, tier);
  if (trains && group instanceof CachedRanks) {
    const found = await inTurn(options, () => roomForRows(out, config, plan, dataset, from));
    report({ event: "note", text: `Rows take at most ${bytes(found.bytes)} of the disk of ${out}` });
    room = found;
  } else if (config.save && trains && onADisk) {
    room = await inTurn(options, () => roomForCheckpoints(out, config, checkpointBytes(plan)));
  }
  if (room?.note !== undefined) report({ event: "note", text: room.note });
  const writes = (world?.rank ?? 0) === 0;
  const { device, blas, ranks } = group;
  const schedule = own === undefined ? "config" : "function";
  if (writes && begun === undefined) {
    const place = options.from !== undefined && isFile(options.from) ? options.from : from?.directory;
    const start = from === undefined ? null : { directory: resolve(place!), id: from.id };
    recordRun(out, config, dataset, { layoutId: layout.id, from: start, device, blas, ranks, schedule });
  } else if (writes && begun?.device === null) { // an imported model, which is trained for the first time
    recordRun(out, begun.config, dataset, { layoutId: null, from: null, device, blas, ranks, schedule });
  } else if (begun !== undefined && begun.device !== device) {
    report({
      event: "note",
      text:
        `Continuing with ${device} instead of ${begun.device}: the last bits of products, and results that depend on them, ` +
        `may differ from those of an uninterrupted run`,
    });
  }
  using metrics = writes ? new RunMetrics(out) : undefined;
  const record: Report = (event) => metrics?.write(event);
  before.forEach(record);
  const recordAndReport: Report = (event) => {
    record(event);
    report(event);
  };
  for (const text of notes) report({ event: "note", text });
  const trainer = new Trainer({
    config: { ...config, keep: room?.keep ?? config.keep },
    dataset,
    layout,
    group,
    out,
    runId,
    // An imported model is not yet in any run.
    from: checkpoint?.body.run === IMPORTED ? checkpoint : from,
    checkpoint: checkpoint?.body.run === IMPORTED ? undefined : checkpoint,
    spent,
    schedule: own,
    report: recordAndReport,
    signal: typeof signal === "function" ? signal() : signal,
  });
  const trained = await trainer.run();
  if (world !== undefined && world.peers.size > 1) {
    const sent = world.bytesSent();
    report({ event: "note", text: `Hosts sent each other ${bytes(sent)}` });
  }
  const { moved } = group;
  if (group instanceof DeviceCachedRank) report({ event: "note", text: cachedText(group.cached) });
  if (moved !== undefined) report({ event: "note", text: movedText(moved) });
  const caches = group instanceof CachedRanks || group instanceof DeviceCachedRank;
  const oneMemory = world === undefined && group.memory.mirror === undefined && !caches;
  if (phases && oneMemory) { for (const event of measurePhases(layout, group.memory)) recordAndReport(event); }
  if (phases && !oneMemory) {
    const where = caches ? "where rows are cached" : "on several devices";
    report({ event: "note", text: `Phases of a step are not measured ${where}` });
  }
  const measured = { ...trained, ...(moved === undefined ? {} : { moved }) };
  if (recorded === undefined) record({ ...measured, run: basename(resolve(out)) }); // a run may be moved
  const result = recorded ?? measured;
  report(result);
  return result;
}

/** Rows moved between the memory of the host and that of the device in a run. */
function cachedText({ rows, fetched, written }: CacheCounts): string {
  return `Of ${count(rows)} distinct rows of batches, ${
    percent(fetched / Math.max(1, rows))
  } were copied to the device and ` +
    `${percent(written / Math.max(1, rows))} back`;
}

/** Rows and bytes moved between memory and disk in a run. */
function movedText(moved: MovedRows): string {
  const { rows, fetched, computed, read, written, bytesRead, bytesWritten, diskBytes, waitSeconds } = moved;
  return `Rows of batches: ${percent(1 - fetched / Math.max(1, rows))} were in memory; ${
    count(computed)
  } were computed, ` +
    `${count(read)} read (${bytes(bytesRead)}), ${count(written)} written (${bytes(bytesWritten)}; ${
      bytes(diskBytes)
    } on ` +
    `the disk at the end); training waited ${waitSeconds.toFixed(1)} s for rows`;
}

/** Properties of a layout's batches. */
function batchesOf({ shape, hotRows, body }: Layout): PlacementBatches {
  return { batchShape: shape, hotRows, mostDistinct: body.mostDistinct };
}

/** Reports that a part of the model is missing. */
function partNotes({ denseFeatures, tables }: Dataset): string[] {
  if (tables === 0) {
    return ["The data has no sparse features, so the model is an MLP: the bottom one, then the top one"];
  }
  return denseFeatures > 0 ? [] : ["The data has no dense features, so the model has no bottom MLP"];
}

/** If there are batches of one kind only, options about turns of the two kinds have no effect. */
function turnNotes({ mode }: TrainConfig, layout: Layout): string[] {
  const kinds = (["hot", "cold"] as const).filter((kind) => layout.batches(kind) > 0);
  if (mode !== "fae" || kinds.length !== 1) return [];
  return [`All batches are ${kinds[0]}, so there are no turns: --first-turn and --scheduler-rate have no effect`];
}

/** The layout of a run: with the profile's hot rows in mode fae, without hot rows in the others. */
function layoutFor(config: TrainConfig, dataset: Dataset, cache: string, report: Report, group: ProcessGroup): Layout {
  const profile = config.mode === "fae" ? ensureProfile(dataset, config, { cache }, report, group) : undefined;
  return ensureLayout(dataset, profile, config, { cache }, report, group);
}
