/** The start of a run: a new model, another run's model, or the run's own last checkpoint. */
import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { Checkpoint } from "../checkpoint/checkpoint.ts";
import { BEST_CHECKPOINT, resumePoints } from "../checkpoint/checkpoint_store.ts";
import type { Dataset } from "../dataset/dataset.ts";
import type { DatasetEncoding } from "../dataset/dataset_encoding.ts";
import { encodingDifference, growsFrom } from "../dataset/encoding.ts";
import { HotsetError } from "../errors.ts";
import type { Report, ResultEvent, Spent } from "../events/events.ts";
import type { ModelPlan } from "../model/shape.ts";
import { isArtifact, isDirectory } from "../storage/artifact.ts";
import { readRunLog } from "./run_log.ts";
import { METRICS_FILE } from "./run_metrics.ts";
import { openEncoding } from "./run_data.ts";
import { rowGrowth } from "./row_growth.ts";
import { readRun, type RunRecord } from "./run_record.ts";

/** The start of a run: a new model, another run's checkpoint, or its own checkpoint. */
export interface Beginning {
  readonly from: Checkpoint | undefined;
  readonly checkpoint: Checkpoint | undefined;
  /** The run's record; undefined for a new run. */
  readonly record: RunRecord | undefined;
  /** Totals until the checkpoint, if known. */
  readonly spent?: Spent | undefined;
  /** The recorded result, if the run has ended. */
  readonly result?: ResultEvent | undefined;
}

/** Opens a checkpoint of a run: the best one, or the last if there is no best. */
async function openBest(directory: string): Promise<Checkpoint> {
  return await findBest(directory).verified();
}

/** The same, with checksums that are checked only where a file is read from beginning to end. */
export function findBest(directory: string): Checkpoint {
  const best = join(directory, BEST_CHECKPOINT);
  const found = isDirectory(best) ? best : resumePoints(directory)[0];
  if (found !== undefined) return Checkpoint.open(found, "lengths");
  readRun(directory); // throws an error that says what the directory is
  throw new HotsetError(`Cannot open run ${directory}: it has no checkpoint; train it first`, { code: "not-found" });
}

/**
 * The totals of a run until its checkpoint, if known, and its result if it ended there. A damaged log does not prevent
 * resuming.
 */
export function recall(
  out: string,
  checkpoint: Checkpoint | undefined,
  report: Report,
): Pick<Beginning, "spent" | "result"> {
  if (checkpoint === undefined || !existsSync(join(out, METRICS_FILE))) return {};
  const { step, finished } = checkpoint.body.state;
  try {
    const log = readRunLog(out);
    const result = finished && log.result?.steps === step ? log.result : undefined;
    return { spent: log.spent.findLast((event) => event.step <= step), result };
  } catch (error) {
    if (!(error instanceof HotsetError)) throw error;
    report({ event: "note", text: `Time and traffic are counted from this point: ${error.message}` });
    return {};
  }
}

/** The checkpoint from which a run is resumed; undefined if it was killed before the first one. */
export async function openResumePoint(out: string): Promise<Checkpoint | undefined> {
  const [first, second] = resumePoints(out);
  if (first === undefined) return undefined;
  try {
    return await Checkpoint.open(first, "lengths").verified();
  } catch (error) {
    if (!(error instanceof HotsetError)) throw error;
    const next = second === undefined ? "starts from the beginning" : `continues from ${second}`;
    throw new HotsetError(`${error.message}; without ${first}, --resume ${next}`, { cause: error });
  }
}

/** The checkpoint that a run started from; undefined if it no longer exists and is not needed. */
export async function openStart(
  { from }: RunRecord,
  plan: ModelPlan,
  dataset: Dataset,
  needed: boolean,
): Promise<Checkpoint | undefined> {
  if (from === null || (!needed && !isDirectory(from.directory))) return undefined;
  const checkpoint = await Checkpoint.open(from.directory, "lengths").verified();
  if (checkpoint.id === from.id) return await grownFor(checkpoint, plan, dataset);
  throw new HotsetError(`Cannot continue: checkpoint ${from.directory}, from which the run started, has changed since`);
}

/** The checkpoint with the rows of the dataset, whose encoding is its own or has grown from it. */
async function grownFor(checkpoint: Checkpoint, { shape }: ModelPlan, dataset: Dataset): Promise<Checkpoint> {
  const { body, directory } = checkpoint;
  const growth = body.dataset === dataset.id ? undefined : rowGrowth(await encodingOf(directory), dataset);
  if (growth !== undefined) return checkpoint.grownTo(shape, growth);
  checkpoint.expectModel(shape);
  return checkpoint;
}

/** The encoding of the data of a run, or of the run of a checkpoint. */
export async function encodingOf(from: string): Promise<DatasetEncoding> {
  return await openEncoding(isArtifact(from) ? dirname(resolve(from)) : from);
}

/**
 * The checkpoint that `from` names: a run's best, or a checkpoint's own directory; with the rows of the dataset. Throws
 * HotsetError unless its rows belong to the same values.
 */
export async function openFrom(from: string, plan: ModelPlan, dataset: Dataset): Promise<Checkpoint> {
  const checkpoint = isArtifact(from) ? await Checkpoint.open(from, "lengths").verified() : await openBest(from);
  const difference = await differenceFrom(checkpoint, dataset);
  if (difference !== undefined) {
    throw new HotsetError(
      `Cannot start from the model of ${from}: dataset ${dataset.directory} ${difference}; name its raw files instead, ` +
        `which are then encoded with the dictionary of the model`,
    );
  }
  return await grownFor(checkpoint, plan, dataset);
}

/** The largest initial value of rows of the model that `from` names; its new rows begin like the others. Throws HotsetError. */
export function rowInitOf(from: string): number {
  return (isArtifact(from) ? Checkpoint.open(from, "lengths") : findBest(from)).body.model.rowInit ?? 1;
}

/** Why a checkpoint does not fit a dataset; undefined if it does. The run of the checkpoint records its dataset. */
async function differenceFrom({ directory, body }: Checkpoint, dataset: Dataset): Promise<string | undefined> {
  if (body.dataset === dataset.id) return undefined;
  const trained = await encodingOf(directory);
  if (trained.id === body.dataset) {
    return growsFrom(trained, dataset) ? undefined : encodingDifference(trained, dataset);
  }
  return `cannot be compared with ${trained.directory}, on which it was trained and which has changed since`;
}
