/** Trains a run for each combination of values of options, in turn or several at a time, on data that is prepared once. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { TrainConfig } from "../config/config.ts";
import type { ConfigByData } from "../config/config_by_data.ts";
import type { Dataset } from "../dataset/dataset.ts";
import { codeOf, Interrupted, UsageError } from "../errors.ts";
import type { Report } from "../events/events.ts";
import { reasonIfDiverged } from "../loop/end_errors.ts";
import { expectDevice } from "../ranks/placement.ts";
import { TaskPool } from "../threads/task_pool.ts";
import { configBefore, configFor, shapeOfData } from "./config_for.ts";
import { differingOptions, type RunState, type RunSummary, summarizeRun } from "./run_list.ts";
import { RUN_FILE } from "./run_record.ts";
import { expectStart, resumeRun, startRun } from "./run.ts";
import type { RunOptions } from "./run_options.ts";
import { ensureDataset, type RawOptions, withinMemory } from "./stages.ts";

/** Values of options, by key: a run is trained for each combination. */
export type Grid = Readonly<Record<string, readonly unknown[]>>;

/** The combinations of a grid's values, those of its last option in turn first. */
export function combinations(grid: Grid): Record<string, unknown>[] {
  return Object.entries(grid).reduce<Record<string, unknown>[]>(
    (all, [key, values]) => all.flatMap((one) => values.map((value) => ({ ...one, [key]: value }))),
    [{}],
  );
}

/** The name of a run by the options that vary: `learningRate=0.01,seed=2`; of a budget it has the bytes or the share. */
export function nameOf(varied: Readonly<Record<string, unknown>>): string {
  const text = (value: unknown) =>
    typeof value === "object" && value !== null ? Object.values(value).join("-") : String(value);
  const name = Object.entries(varied).map(([key, value]) => `${key}=${text(value)}`).join(",");
  return name.replaceAll(/[^\w=,.+-]/g, "_") || "run";
}

/** A run of a sweep. */
export interface SweepRun {
  /** Its name. */
  readonly name: string;
  /** Its configuration, which may depend on the data. */
  readonly config: TrainConfig | ConfigByData;
}

/** Options of a sweep; those of its runs. */
export interface SweepOptions extends Omit<RunOptions, "out" | "signal"> {
  /**
   * Runs that train at a time, each in a thread with its share of the cores as ranks, unless its configuration names
   * their number. Default 1, with all cores. Each needs its own memory.
   */
  readonly jobs?: number | undefined;
  /** When the signal that it returns is aborted, the runs that train are saved and the sweep ends with Interrupted. */
  readonly signal?: () => AbortSignal;
}

/** What is said of runs that are not trained any more. */
const OVER: Partial<Record<RunState, string>> = { ended: "there already", diverged: "diverged before" };

/** A run for a thread. */
export interface SweepTask {
  readonly dataset: string;
  /** Undefined to resume the run. */
  readonly config: TrainConfig | undefined;
  readonly out: string;
  readonly cache: string | undefined;
  /** Word in shared memory that ends the run if it is not 0. */
  readonly stop: Int32Array;
}

/** A run of a sweep in its folder, with what is there of it. */
interface PlacedRun {
  readonly config: TrainConfig;
  readonly out: string;
  readonly before: RunSummary | undefined;
}

/**
 * Trains runs in a folder, which is also their cache unless one is named; those that have ended or diverged are left as
 * they are, and those that were interrupted are resumed. A run that diverges does not end the sweep: the state of its
 * summary says so. Returns the summaries, in the same order. Throws UsageError if a run of that name has another
 * configuration or two have one name, and otherwise like `trainOn`.
 */
export async function sweep(
  inputs: readonly string[],
  raw: RawOptions,
  runs: readonly SweepRun[],
  folder: string,
  options: SweepOptions,
): Promise<RunSummary[]> {
  const twice = runs.find(({ name }, i) => runs.findIndex((other) => other.name === name) < i);
  if (twice !== undefined) {
    throw new UsageError(`Cannot sweep in ${folder}: two runs would be named ${twice.name}; give every value once`);
  }
  const { report, cache = folder, jobs = 1 } = options;
  const places = runs.map(({ name, config }) => {
    const out = join(folder, name);
    return { given: config, out, before: existsSync(join(out, RUN_FILE)) ? summarizeRun(out) : undefined };
  });
  for (const { given, out, before } of places) {
    if (before !== undefined) continue;
    expectStart(configBefore(given), out);
    await expectDevice(configBefore(given), report);
  }
  const limits = places.map(({ given }) => withinMemory(configBefore(given), raw).memoryBytes);
  const dataset = await ensureDataset(inputs, { ...raw, memoryBytes: Math.min(...limits) }, cache, report);
  const notes = new Set<string>();
  const shape = shapeOfData(dataset, options);
  const placed = places.map(({ given, out, before }): PlacedRun => {
    const config = configFor(given, shape, (event) => event.event === "note" && notes.add(event.text));
    if (before !== undefined) expectSameOptions(before, config, folder);
    return { config, out, before };
  });
  for (const text of notes) report({ event: "note", text });
  if (jobs > 1 && runs.length > 1) await trainAtOnce(dataset, placed, options, jobs);
  else await trainInTurn(dataset, placed, options);
  return placed.map(({ out }) => summarizeRun(out));
}

/** Throws UsageError if a run that exists has other options, except those that a run may choose when it begins. */
function expectSameOptions(before: RunSummary, config: TrainConfig, folder: string): void {
  const chosen = (key: string) =>
    key === "mode" && config.mode === "auto" || key === "ranks" && config.ranks === null ||
    key === "activations" && config.activations === "auto"; // ptx in runs before that was the default
  const [other] = differingOptions([before.config, config]).filter((key) => !chosen(key));
  if (other === undefined) return;
  throw new UsageError(
    `Cannot sweep in ${folder}: ${before.run} has another ${other}; choose another --out, or remove that run`,
  );
}

/** Says of a run what is done with it, or why it diverged. */
function announce(runs: readonly PlacedRun[], index: number, report: Report, diverged?: string): void {
  const { out, before } = runs[index];
  const planned = before === undefined ? "trained" : OVER[before.state] ?? "resumed";
  const what = diverged === undefined ? planned : `diverged: ${diverged}`;
  report({ event: "note", text: `Run ${index + 1} of ${runs.length}: ${out}, ${what}` });
}

/** True if a run has a result, or would diverge again. */
function isOver(before: RunSummary | undefined): boolean {
  return before !== undefined && before.state in OVER;
}

async function trainInTurn(dataset: Dataset, runs: readonly PlacedRun[], options: SweepOptions): Promise<void> {
  for (const [i, { config, out, before }] of runs.entries()) {
    announce(runs, i, options.report);
    if (isOver(before)) continue;
    const own = { ...options, out };
    const diverged = await reasonIfDiverged(
      before === undefined ? startRun(config, dataset, own) : resumeRun(own),
    );
    if (diverged !== undefined) announce(runs, i, options.report, diverged);
  }
}

/** Trains several runs at a time on threads. Their events are in their directories alone. */
async function trainAtOnce(
  { directory: dataset }: Dataset,
  runs: readonly PlacedRun[],
  { report, cache, signal }: SweepOptions,
  jobs: number,
): Promise<void> {
  const open = [...runs.keys()].filter((i) => !isOver(runs[i].before));
  for (const i of runs.keys()) if (!open.includes(i)) announce(runs, i, report);
  if (open.length === 0) return;
  const ranks = Math.max(1, Math.floor(navigator.hardwareConcurrency / jobs));
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const listened = signal?.();
  const end = () => Atomics.store(stop, 0, 1);
  listened?.addEventListener("abort", end);
  if (listened?.aborted) end();
  using pool = new TaskPool<SweepTask, string | undefined>(
    new URL("./sweep_worker.ts", import.meta.url),
    Math.min(jobs, open.length),
  );
  const tasks = open.map((i): SweepTask => {
    const { config, out, before } = runs[i];
    const begun = before === undefined ? { ...config, ranks: config.ranks ?? ranks } : undefined;
    return { dataset, config: begun, out, cache, stop };
  });
  let done = 0;
  const show = () => report({ event: "stage", stage: "sweep", fraction: done / open.length });
  show();
  try {
    await pool.all(tasks, (k, diverged) => {
      done++;
      announce(runs, open[k], report, diverged);
      show();
    });
  } catch (error) {
    if (codeOf(error) !== "interrupted") throw error;
    throw new Interrupted(`The sweep was interrupted and its runs are saved; the same command continues`);
  }
}
