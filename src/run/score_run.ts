/** Uses a trained run: metrics on a dataset, and scores of new rows. */
import { dirname, join, resolve } from "node:path";
import { isArtifact } from "../storage/artifact.ts";
import { Dataset, type Split, SPLITS } from "../dataset/dataset.ts";
import { breaks } from "../breaks.ts";
import type { DatasetEncoding } from "../dataset/dataset_encoding.ts";
import { encodingDifference } from "../dataset/encoding.ts";
import { type KeptColumns, readColumns } from "../dataset/kept_columns.ts";
import { type EncodeOptions, encodeWith } from "../dataset/prepare.ts";
import { sharedUsersNote } from "../dataset/prepare_sessions.ts";
import { readNotes } from "../dataset/read_account.ts";
import type { TrainConfig } from "../config/config.ts";
import type { ReadOptions } from "../dataset/prepare_job.ts";
import { type UnknownShare, unknownShare } from "../dataset/unknown_values.ts";
import { HotsetError, messageOf } from "../errors.ts";
import { SplitBatches } from "../layout/split_batches.ts";
import { planModel } from "../model/shape.ts";
import { TemporaryDirectory } from "../storage/temporary.ts";
import { AtomicFile } from "../storage/atomic_file.ts";
import { writeAll } from "../storage/output_file.ts";
import type { TrainingState } from "../checkpoint/checkpoint.ts";
import { NotFinite } from "../checkpoint/weights.ts";
import { evaluationOf, probabilityOf, type Scores, scoreSplit } from "../loop/evaluate.ts";
import type { EvaluationEvent, Report } from "../events/events.ts";
import { expectDevice, expectPlacement, openRanks, type PlacementConfig } from "../ranks/placement.ts";
import { openData } from "./run_data.ts";
import { UsableRun } from "./packed_run.ts";
import { withinMemory } from "./stages.ts";
import { openTrainedOn, withBest } from "./trained_run.ts";
import { noteUnknown, type UnknownLimit } from "../events/unknown_notes.ts";

/** Options of an evaluation. */
export interface EvaluateOptions extends UnknownLimit, Pick<ReadOptions, "signal"> {
  /** Memory of the process or of its tables, as in a configuration: other rows are stored on disk next to the run. */
  readonly memory?: TrainConfig["memory"] | undefined;
  /** Library of matrix products; `wasm` computes the bits of `openModel`, at less than half the speed of the others. */
  readonly blas?: TrainConfig["blas"] | undefined;
  /** Precision of the operands of matrix products, fp32 (the default) or bf16, whatever the model was trained with. */
  readonly precision?: TrainConfig["precision"] | undefined;
}

/** Options of scoring. */
export interface PredictOptions extends EvaluateOptions, ReadOptions {}

/** Where scores are computed: always on the CPU, which can score with every model. */
function placementOf({ blas = "auto", precision = "fp32" }: EvaluateOptions): PlacementConfig {
  return { ...{ mode: "cpu", device: "cpu", ranks: null, activations: "ptx" }, blas, precision };
}

/** Throws before anything is read if the options contradict each other, or their library is not found. */
async function expectPlacementOf(options: EvaluateOptions, report: Report): Promise<void> {
  const config = placementOf(options);
  expectPlacement(config);
  await expectDevice(config, report);
}

/** Samples scored at a time. */
const BATCH_SAMPLES = 2048;
/** Lines of scores written at a time, which takes a few milliseconds. */
const LINES_AT_ONCE = 8192;

/**
 * Metrics of a run's best checkpoint on the validation and test splits of its dataset; or of another dataset with the
 * same dictionary; or on raw rows, which become a test split. Throws HotsetError if there is nothing to score, and the
 * signal's reason if it is aborted while raw rows are read.
 */
export async function evaluateRun(
  path: string,
  inputs: readonly string[],
  report: Report,
  options: EvaluateOptions = {},
): Promise<EvaluationEvent[]> {
  await expectPlacementOf(options, report);
  using opened = await UsableRun.open(path);
  const run = opened.directory;
  if (opened.packed && inputs.length === 0) {
    throw new HotsetError(`Cannot evaluate ${path}: it is a packed run without data; name raw files, or a dataset`);
  }
  const trained = await openTrainedOn(run, "evaluate");
  const evaluate = (dataset: Dataset) => evaluateOn(run, dataset, trained, options, report);
  if (inputs.length === 0) {
    const remedy = "name what to evaluate on: raw files, or a dataset";
    return await evaluate(await openData(run, "evaluate", undefined, remedy));
  }
  if (!isArtifact(inputs[0])) {
    const encoding = { purpose: "evaluate", signal: options.signal, ...withinMemory(options, {}) } as const;
    return await withEncoded(trained, inputs, encoding, report, ({ dataset, labelled }) => {
      if (labelled) return evaluate(dataset);
      throw new HotsetError(`Cannot evaluate ${run}: ${inputs.join(", ")} has no label`);
    });
  }
  if (inputs.length > 1) throw new HotsetError(`Cannot evaluate ${run}: name one dataset, without ${inputs[1]}`);
  const dataset = await Dataset.open(inputs[0], "lengths").verified();
  const difference = encodingDifference(trained, dataset);
  if (difference !== undefined) {
    throw new HotsetError(`Cannot evaluate ${run}: dataset ${inputs[0]} ${difference}; name its raw files instead`);
  }
  return await evaluate(dataset);
}

async function evaluateOn(
  run: string,
  dataset: Dataset,
  trained: DatasetEncoding,
  options: EvaluateOptions,
  report: Report,
): Promise<EvaluationEvent[]> {
  const splits = SPLITS.filter((split) => split !== "train" && dataset.samples(split) > 0);
  if (splits.length === 0) {
    throw new HotsetError(
      `Cannot evaluate ${run}: dataset ${dataset.directory} has neither validation nor test samples`,
    );
  }
  const unknown = new Map<Split, UnknownShare>();
  for (const split of splits) {
    const share = await unknownShare(dataset, split);
    unknown.set(split, share);
    await noteUnknown(`the ${split} split`, share, trained, options, report);
  }
  const shared = sharedUsersNote(dataset);
  if (shared !== undefined) report({ event: "note", text: shared });
  const events: EvaluationEvent[] = [];
  await score(run, trained, dataset, splits, options, report, async (split, scores, { epoch, step }) => {
    const event: EvaluationEvent = {
      event: "evaluation",
      split,
      epoch,
      step,
      ...await evaluationOf(scores),
      unknownShare: unknown.get(split)!,
    };
    report(event);
    events.push(event);
  });
  return events;
}

/**
 * Click probabilities of raw rows (rows), 0 to 1, in the order of the inputs, by a run's best checkpoint. Throws
 * HotsetError if the inputs cannot be read, or a score is not finite.
 */
export async function predictRun(
  path: string,
  inputs: readonly string[],
  options: PredictOptions,
  report: Report,
): Promise<Float32Array> {
  await expectPlacementOf(options, report);
  using opened = await UsableRun.open(path);
  const run = opened.directory;
  const trained = await openTrainedOn(run, "predict with");
  const encoding = { ...withinMemory(options, options), purpose: "predict" } as const;
  return await withEncoded(trained, inputs, encoding, report, async ({ dataset }) => {
    const share = await unknownShare(dataset, "test");
    const { body: { skippedRows } } = dataset;
    report({ event: "encoded", samples: dataset.samples("test"), skippedRows, unknownShare: share });
    await noteUnknown(inputs.join(", "), share, trained, options, report);
    let probabilities = new Float32Array(0);
    await score(run, trained, dataset, ["test"], options, report, (_, { logits }) => {
      probabilities = logits.map(probabilityOf);
    });
    return probabilities;
  });
}

/**
 * Columns of raw rows for `writeScores`, in the order of the scores that `predictRun` computes of the same inputs. Throws
 * HotsetError if the inputs cannot be read, and UsageError for a column that they do not have.
 */
export async function keepColumns(
  path: string,
  inputs: readonly string[],
  names: readonly string[],
): Promise<KeptColumns> {
  using opened = await UsableRun.open(path);
  return await readColumns(await openTrainedOn(opened.directory, "predict with"), inputs, names);
}

/** Encodes raw rows with the dictionary of a dataset, into a temporary dataset that exists during `use`. */
async function withEncoded<T>(
  trained: DatasetEncoding,
  inputs: readonly string[],
  options: Omit<EncodeOptions, "out">,
  report: Report,
  use: (encoded: { dataset: Dataset; labelled: boolean }) => Promise<T>,
): Promise<T> {
  using temporary = new TemporaryDirectory("hotset-");
  const encoded = await encodeWith(trained, inputs, {
    ...options,
    out: temporary.join("dataset"),
    onProgress: (stage, fraction) => report({ event: "stage", stage: `encode: ${stage}`, fraction }),
  });
  for (const text of readNotes(encoded.dataset.body)) report({ event: "note", text });
  return await use(encoded);
}

/**
 * Formats of scores: CSV with the columns row (from 0), probability and those that are kept, or a JSON object per line with
 * the keys row, probability and, if columns are kept, an object `kept`.
 */
export type ScoreFormat = "csv" | "json";

/**
 * Writes probabilities to a file, atomically, or to stdout, with columns of their rows if there are any. Throws HotsetError
 * if that fails, or if the columns are not those of the same rows.
 */
export async function writeScores(
  probabilities: Float32Array,
  file: string | undefined,
  format: ScoreFormat,
  kept?: KeptColumns,
): Promise<void> {
  if (kept !== undefined && kept.rows.length !== probabilities.length) {
    throw new HotsetError(
      `Cannot write ${kept.names.join(", ")} beside the scores: ${kept.rows.length} rows were read and ` +
        `${probabilities.length} scored; leave out rows that are malformed`,
    );
  }
  const write = async (append: (part: Uint8Array<ArrayBuffer>) => void) => {
    for (const part of scoreLines(probabilities, format, kept)) {
      append(part);
      if (breaks.due) await breaks.take();
    }
  };
  if (file !== undefined) {
    using target = new AtomicFile(file);
    await write((part) => target.append(part));
    return target.commit();
  }
  try {
    await write((part) => writeAll(Deno.stdout, part));
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) return; // the reader has closed the pipe
    throw new HotsetError(`Cannot write the scores: ${messageOf(error)}`, { cause: error });
  }
}

/** A field of CSV, in quotes if it needs them. */
function csvField(value: string | null): string {
  if (value === null) return "";
  return /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}

/** The text of scores, in parts. */
function* scoreLines(
  probabilities: Float32Array,
  format: ScoreFormat,
  { names, rows }: KeptColumns = { names: [], rows: [] },
): Generator<Uint8Array<ArrayBuffer>> {
  const encoder = new TextEncoder();
  const csv = (row: number, probability: string) => [row, probability, ...(rows[row] ?? []).map(csvField)].join(",");
  const json = (row: number, probability: string) => {
    const kept = Object.fromEntries(names.map((name, i) => [name, rows[row][i]]));
    return JSON.stringify({
      ...{ event: "score", row, probability: Number(probability) },
      ...(names.length === 0 ? {} : { kept }),
    });
  };
  const line = format === "csv" ? csv : json;
  if (format === "csv") yield encoder.encode(`${["row", "probability", ...names.map(csvField)].join(",")}\n`);
  for (let first = 0; first < probabilities.length; first += LINES_AT_ONCE) {
    const part = Array.from(probabilities.subarray(first, first + LINES_AT_ONCE));
    yield encoder.encode(
      part.map((probability, i) => `${line(first + i, probability.toPrecision(7))}\n`).join(""),
    );
  }
}

/**
 * Scores splits of a dataset, encoded as the run's own, with its best checkpoint, which is loaded once; `take` receives
 * each split's scores and the state of training.
 */
async function score(
  run: string,
  trained: DatasetEncoding,
  dataset: Dataset,
  splits: readonly Split[],
  options: EvaluateOptions,
  report: Report,
  take: (split: Split, scores: Scores, state: TrainingState) => void | Promise<void>,
): Promise<void> {
  const { body: { model, rowLog }, numberBytes } = await withBest(run, trained, ({ body, savedRows }) => {
    return { body, numberBytes: savedRows?.numbers?.bytes };
  }, "lengths");
  const rows = dataset.body.tables.map((table) => table.rows);
  if (
    JSON.stringify(rows) !== JSON.stringify(model.tableRows) || dataset.denseFeatures !== (model.bottom[0] ?? 0) ||
    dataset.steps !== (model.steps ?? 1)
  ) {
    throw new HotsetError(
      `Cannot score dataset ${dataset.directory}: it has ${dataset.denseFeatures} dense features and ${dataset.tables} ` +
        `tables of ${dataset.rows} rows, the model expects ${model.bottom[0] ?? 0}, ${model.tableRows.length} and ` +
        `${model.tableRows.reduce((sum, count) => sum + count, 0)}; encode the data with the run's own dictionary`,
    );
  }
  const [batchShape] = splits.map((split) => {
    using batches = new SplitBatches(dataset, split, BATCH_SAMPLES);
    return batches.shape;
  }).sort((a, b) => b.lookupCapacity - a.lookupCapacity);
  const directory = dirname(resolve(run));
  const files = rowLog === undefined ? () => TemporaryDirectory.beside(join(directory, "rows")) : undefined;
  const tier = { directory, files, memory: options.memory ?? null, numberBytes };
  const batches = { batchShape, scoring: true };
  await using group = await openRanks(placementOf(options), planModel(model), batches, { tier });
  const state = await withBest(run, trained, async (checkpoint) => {
    await group.load(checkpoint, (fraction) => report({ event: "stage", stage: "load", fraction }));
    return checkpoint.body.state;
  });
  for (const split of splits) {
    const onProgress = (fraction: number) => report({ event: "stage", stage: `score ${split}`, fraction });
    try {
      await take(split, await scoreSplit(group, dataset, split, Infinity, onProgress), state);
    } catch (error) {
      if (!(error instanceof NotFinite)) throw error;
      throw new HotsetError(
        `Cannot score with ${run}: ${error.message}, although all parameters are finite; look for dense features of that ` +
          `sample that are far larger than in training`,
      );
    }
  }
}
