/** Repeats a run from its dataset on, and compares the bits of the two last checkpoints. */
import { dirname, join, resolve } from "node:path";
import { breaks } from "../breaks.ts";
import type { Dataset } from "../dataset/dataset.ts";
import { HotsetError, UsageError } from "../errors.ts";
import type { LearningRateSchedule } from "../schedule/learning_rate.ts";
import type { ModelPlan } from "../model/shape.ts";
import { TemporaryDirectory } from "../storage/temporary.ts";
import { Checkpoint, vectorsOf } from "../checkpoint/checkpoint.ts";
import { LAST_CHECKPOINT } from "../checkpoint/checkpoint_store.ts";
import { type CheckpointFile, placeOfWord } from "../checkpoint/weights.ts";
import type { Report } from "../events/events.ts";
import { expectLibrary } from "../ranks/placement.ts";
import { planFor, startRun } from "./run.ts";
import { openData } from "./run_data.ts";
import { configAsBegun, readRun, type RunRecord } from "./run_record.ts";

const CHUNK_WORDS = 1 << 20;

/** Result of comparing a run with its repetition. */
export interface Reproduction {
  /** Kind of event. */
  readonly event: "reproduction";
  /** Directory of the run. */
  readonly run: string;
  /** True if every bit of the last checkpoints is the same. */
  readonly equal: boolean;
  /** The first difference in words; null if there is none. */
  readonly difference: string | null;
  /** Differences from the original circumstances that may explain it: versions, the device, the machine. */
  readonly changes: readonly string[];
  /** Steps of the run. */
  readonly steps: number;
}

/**
 * Profiles, packs and trains again with the configuration, number of ranks and matrix library of a finished run, in a
 * temporary directory next to it; `schedule` is the function that gave its learning rate, if any, and `data` the
 * directory of its dataset, if that has been moved. Throws HotsetError if the run has not ended, its dataset has
 * changed, its library is missing, or it began with an imported model, which is not stored.
 */
export async function reproduceRun(
  run: string,
  report: Report,
  schedule?: LearningRateSchedule,
  data?: string,
): Promise<Reproduction> {
  const record = readRun(run);
  if (record.schedule === "function" && schedule === undefined) {
    throw new UsageError(
      `Cannot reproduce ${run}: its learning rate comes from a function; pass the same one to reproduceRun`,
    );
  }
  const original = await Checkpoint.open(join(run, LAST_CHECKPOINT), "lengths").verified();
  const { finished, step } = original.body.state;
  if (!finished) throw new HotsetError(`Cannot reproduce ${run}: it has not ended; finish it with --resume first`);
  const dataset = await openData(run, "reproduce", data);
  if (record.layoutId === null) {
    throw new HotsetError(`Cannot reproduce ${run}: it started from an imported model, which is not stored`);
  }
  const begun = configAsBegun(record);
  await expectLibrary(
    begun,
    report,
    `Cannot reproduce ${run} without ${begun.blas}, which the run used for matrix products`,
  );
  // Next to the run there is space for another one of its size, but perhaps not in the system's temporary directory.
  using temporary = TemporaryDirectory.beside(join(dirname(resolve(run)), "reproduce"));
  const out = temporary.join("run");
  const config = { ...begun, checkpointSteps: 0, checkpointMinutes: 0 };
  await startRun(config, dataset, {
    ...{ out, report, from: record.from?.directory, schedule },
    // A run that its program ended has no other sign of its end.
    onEvaluation: (metrics) => metrics.step === step ? "stop" : undefined,
  });
  const again = readRun(out);
  const repeated = await Checkpoint.open(join(out, LAST_CHECKPOINT), "lengths").verified();
  const difference = again.layoutId === record.layoutId
    ? await firstDifference(original, repeated, planFor(config, dataset), dataset)
    : "the layouts differ in hot rows, or in the samples of batches";
  const changes = changesBetween(record, again);
  return { event: "reproduction", run, equal: difference === null, difference, changes, steps: step };
}

function changesBetween(before: RunRecord, now: RunRecord): string[] {
  const figures = ({ device, versions, machine }: RunRecord): [string, unknown][] => [
    ["device", device],
    ...Object.entries(versions),
    ...Object.entries(machine),
  ];
  const values = new Map(figures(now));
  return figures(before).filter(([name, value]) => values.get(name) !== value)
    .map(([name, value]) => `${name}: then ${value}, now ${values.get(name)}`);
}

/** The first word in which two checkpoints of one model differ, named as in the model; null if they are equal. */
export async function firstDifference(
  a: Checkpoint,
  b: Checkpoint,
  plan: ModelPlan,
  dataset: Dataset,
): Promise<string | null> {
  for (const { file, words } of vectorsOf(plan)) {
    const word = await firstDifferentWord(a, b, file, words);
    if (word === undefined) continue;
    const place = placeOfWord(plan, file, word, dataset.body.tables.map(({ name }) => name));
    return `${file} differs first in word ${word}, ${place}`;
  }
  return null;
}

async function firstDifferentWord(
  a: Checkpoint,
  b: Checkpoint,
  file: CheckpointFile,
  words: number,
): Promise<number | undefined> {
  using one = a.reader(file);
  using other = b.reader(file);
  const [left, right] = [0, 1].map(() => new Uint32Array(Math.min(CHUNK_WORDS, words)));
  for (let first = 0; first < words; first += CHUNK_WORDS) {
    const count = Math.min(CHUNK_WORDS, words - first);
    one.read(first, new Float32Array(left.buffer, 0, count));
    other.read(first, new Float32Array(right.buffer, 0, count));
    for (let i = 0; i < count; i++) if (left[i] !== right[i]) return first + i;
    if (breaks.due) await breaks.take();
  }
  return undefined;
}
