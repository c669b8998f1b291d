/** Finds runs below directories, and says of each what a user compares: state, data, metrics, time, size. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { ConfigKey } from "../config/train_config.ts";
import { TRAIN_OPTION_LIST } from "../config/options.ts";
import type { TrainConfig } from "../config/config.ts";
import { HotsetError } from "../errors.ts";
import type { CheckpointMetrics, EvaluationEvent } from "../events/events.ts";
import { isArtifact, isDirectory } from "../storage/artifact.ts";
import { bytesBelow } from "../storage/disk.ts";
import { OutputLock } from "../storage/output_lock.ts";
import { isPartial } from "../storage/partial.ts";
import { METRICS_FILE } from "./run_metrics.ts";
import { readRunLog, type RunLog } from "./run_log.ts";
import { readRun, RUN_FILE, type RunRecord } from "./run_record.ts";

/** Maximum depth at which runs are looked for: that of `./hotset/run-1/cpu`, a run of the demonstration. */
const MAX_DEPTH = 3;

/**
 * `training`: a process trains it now. `ended`: it has its result. `diverged`: its loss or model was not finite any more.
 * `stopped`: it can be resumed. `imported`: it has the model of another tool, and never trained.
 */
export type RunState = "training" | "ended" | "diverged" | "stopped" | "imported";

/** What is known of a run. */
export interface RunSummary {
  /** Its directory. */
  readonly run: string;
  /** What it does. */
  readonly state: RunState;
  /** Why it diverged; null if its state is another one. */
  readonly diverged: string | null;
  /** When it began, in ISO 8601; null if it was not recorded. */
  readonly started: string | null;
  /** What the user calls its data. */
  readonly data: string;
  /** Identifies its data. */
  readonly datasetId: string;
  /** Its configuration. */
  readonly config: TrainConfig;
  /** Its best evaluation of the validation split, by the metric that it monitors; null without any. */
  readonly validation: EvaluationEvent | null;
  /** Metrics of its best checkpoint on the test split; null until it has ended, or without a test split. */
  readonly test: CheckpointMetrics | null;
  /** Steps until now. */
  readonly steps: number;
  /** Seconds of training steps; null if none are recorded. */
  readonly seconds: number | null;
  /** Training samples per second of those; null until it has ended. */
  readonly samplesPerSecond: number | null;
  /** Maximum resident memory in bytes; null until it has ended. */
  readonly peakRssBytes: number | null;
  /** Bytes of its files. */
  readonly bytes: number;
}

/** A run that cannot be read. */
export interface UnreadableRun {
  /** Its directory. */
  readonly run: string;
  /** The error. */
  readonly error: string;
}

/** The runs in directories and up to three levels below, none twice. Throws HotsetError if there is no such directory. */
export function findRuns(directories: readonly string[]): string[] {
  return foldersBelow(directories).filter((folder) => existsSync(join(folder, RUN_FILE)));
}

/**
 * Directories and those up to three levels below, none twice, without what runs and artifacts contain. Of hidden ones
 * and links, only those that are runs.
 */
export function foldersBelow(directories: readonly string[]): string[] {
  const found = new Map<string, string>();
  for (const directory of directories) {
    if (!isDirectory(directory)) {
      throw new HotsetError(`Cannot look for runs in ${directory}: no such directory`, { code: "not-found" });
    }
    for (const folder of walk(directory, MAX_DEPTH)) {
      const real = Deno.realPathSync(folder);
      if (!found.has(real)) found.set(real, folder);
    }
  }
  return [...found.values()];
}

function* walk(directory: string, depth: number): Generator<string> {
  if (isArtifact(directory)) return;
  yield directory;
  if (depth === 0 || existsSync(join(directory, RUN_FILE))) return;
  for (const { name, isDirectory } of entriesOf(directory)) {
    const path = join(directory, name);
    if (isDirectory && !name.startsWith(".")) yield* walk(path, depth - 1);
    // A run may have a hidden name, or be on another disk behind a link.
    else if (!isPartial(name) && existsSync(join(path, RUN_FILE))) yield path;
  }
}

/** Sorted by name; none if the directory may not be read. */
function entriesOf(directory: string): Deno.DirEntry[] {
  try {
    return [...Deno.readDirSync(directory)].sort((a, b) => a.name < b.name ? -1 : 1);
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    return [];
  }
}

/** The summaries of runs, the earliest first; those that cannot be read at the end. */
export function summarizeRuns(runs: readonly string[]): (RunSummary | UnreadableRun)[] {
  const started = (summary: RunSummary | UnreadableRun) => "error" in summary ? "~" : summary.started ?? "";
  return runs.map((run) => {
    try {
      return summarizeRun(run);
    } catch (error) {
      if (!(error instanceof HotsetError)) throw error;
      return { run, error: error.message };
    }
  }).sort((a, b) => started(a) < started(b) ? -1 : Number(started(a) > started(b)));
}

/** The summary of a run. Throws HotsetError if it cannot be read. */
export function summarizeRun(run: string): RunSummary {
  const record = readRun(run);
  const log = existsSync(join(run, METRICS_FILE)) ? readRunLog(run) : undefined;
  const { started, data, dataset, datasetId, config } = record;
  const result = log?.result;
  const state = stateOf(run, record, log);
  return {
    run,
    state,
    diverged: state === "diverged" ? log!.diverged! : null,
    started,
    data: data ?? dataset,
    datasetId,
    config,
    validation: bestValidation(config, log?.evaluations ?? []),
    test: result?.split === "test" ? result.best : null,
    steps: result?.steps ?? log?.progress.at(-1)?.step ?? 0,
    seconds: result?.seconds ?? log?.spent.at(-1)?.seconds ?? null,
    samplesPerSecond: result?.samplesPerSecond ?? null,
    peakRssBytes: result?.peakRssBytes ?? null,
    bytes: bytesBelow(run),
  };
}

function stateOf(run: string, { device }: RunRecord, log: RunLog | undefined): RunState {
  if (OutputLock.isHeld(run)) return "training";
  if (log?.result !== undefined) return "ended";
  if (log?.diverged !== undefined) return "diverged";
  return device === null ? "imported" : "stopped";
}

function bestValidation({ monitor }: TrainConfig, evaluations: readonly EvaluationEvent[]): EvaluationEvent | null {
  const quality = ({ auc, logloss, byGroup }: EvaluationEvent) =>
    ({ auc, logloss: -logloss, gauc: byGroup?.gauc ?? NaN })[monitor];
  const better = (a: EvaluationEvent, b: EvaluationEvent) => quality(a) > quality(b) || Number.isNaN(quality(b));
  return evaluations.filter(({ split }) => split === "validation")
    .reduce<EvaluationEvent | null>((best, event) => best === null || better(event, best) ? event : best, null);
}

/** The options in which configurations differ. */
export function differingOptions(configs: readonly TrainConfig[]): ConfigKey[] {
  return TRAIN_OPTION_LIST.map(([key]) => key)
    .filter((key) => new Set(configs.map((config) => JSON.stringify(config[key]))).size > 1);
}
