/** Notes about metrics that a dataset's labels leave undefined, at the beginning of training rather than its end. */
import type { TrainConfig } from "../config/train_config.ts";
import { breaks, inParts } from "../breaks.ts";
import { metricParts, rankingOf } from "../events/metrics.ts";
import { type Dataset, type Split, SPLITS } from "../dataset/dataset.ts";

/** Samples that are read at a time, which takes a few milliseconds. */
const CHUNK_SAMPLES = 1 << 12;
/** What to do about positives alone. */
const DRAW = "; draw negatives with prepare --negatives";

/** A sentence for each split that cannot serve its purpose. Reads labels until both have occurred, for GAUC all. */
export async function labelNotes(dataset: Dataset, monitor: TrainConfig["monitor"]): Promise<string[]> {
  // Logloss is defined even if all labels are equal.
  const lost = monitor === "logloss"
    ? ""
    : `: there is no best checkpoint by ${monitor.toUpperCase()} and no early stopping`;
  const notes: string[] = [];
  for (const split of SPLITS) {
    const samples = dataset.samples(split);
    if (samples === 0) continue;
    const only = await onlyLabel(dataset, split);
    if (only === undefined) continue;
    const all = `All ${samples} samples of the ${split} split have the label ${only}`;
    if (split === "train") notes.push(`${all}: the model can only learn to predict that${only === 1 ? DRAW : ""}`);
    else notes.push(`${all}, so AUC is undefined (NaN)${lost}`);
  }
  const selection = (["validation", "test"] as const).find((split) => dataset.samples(split) > 0);
  if (monitor === "gauc" && selection !== undefined && !await hasGauc(dataset, selection)) {
    notes.push(`No group of the ${selection} split has both labels, so GAUC is undefined (NaN)${lost}`);
  }
  if (dataset.samples("validation") === 0) {
    notes.push(
      dataset.samples("test") === 0
        ? "There is neither a validation nor a test split, so overfitting cannot be detected"
        : "There is no validation split: the best checkpoint is selected on the test split, so its metrics are slightly optimistic",
    );
  }
  return notes;
}

/** True if a group has both labels. */
async function hasGauc(dataset: Dataset, split: Split): Promise<boolean> {
  const samples = dataset.samples(split);
  const labels = new Uint8Array(samples);
  let at = 0;
  for (const some of labelsOf(dataset, split)) {
    labels.set(some, at);
    at += some.length;
    if (breaks.due) await breaks.take();
  }
  const logits = new Float32Array(samples);
  const { byGroup } = await inParts(
    metricParts(logits, labels, rankingOf(logits, labels), dataset.readGroups(split, samples)),
  );
  return !Number.isNaN(byGroup!.gauc);
}

/** The label of all samples, or undefined if both occur. */
async function onlyLabel(dataset: Dataset, split: Split): Promise<number | undefined> {
  let first: number | undefined;
  for (const labels of labelsOf(dataset, split)) {
    first ??= labels[0];
    if (labels.some((label) => label !== first)) return undefined;
    if (breaks.due) await breaks.take();
  }
  return first;
}

/** The labels of a split, some at a time; each holds until the next. */
function* labelsOf(dataset: Dataset, split: Split): Generator<Uint8Array> {
  const samples = dataset.samples(split);
  using reader = dataset.reader(split, Math.min(CHUNK_SAMPLES, samples));
  for (let at = 0; at < samples; at += CHUNK_SAMPLES) {
    yield reader.read(at, Math.min(CHUNK_SAMPLES, samples - at)).labels;
  }
}
