/** What the labels of a dataset leave undefined; said when training begins, not found out at its end. */
import { type Dataset, type Split, SPLITS } from "../dataset/dataset.ts";

const CHUNK_SAMPLES = 1 << 16;

/** A sentence for each split that cannot serve its purpose. Reads labels until both kinds were met. */
export function labelNotes(dataset: Dataset): string[] {
  const notes: string[] = [];
  for (const split of SPLITS) {
    const samples = dataset.samples(split);
    if (samples === 0) continue;
    const only = onlyLabel(dataset, split);
    if (only === undefined) continue;
    const all = `All ${samples} samples of the ${split} split have the label ${only}`;
    if (split === "train") notes.push(`${all}: the model can only learn to predict that`);
    else {notes.push(
        `${all}: their AUC is undefined (shown as NaN), no checkpoint is the best by it, and no target is met`,
      );}
  }
  if (dataset.samples("validation") === 0) {
    notes.push(
      dataset.samples("test") === 0
        ? "There is neither a validation nor a test split: nothing says when the model gets worse"
        : "There is no validation split: the test split chooses the best checkpoint, so its figures are a little too good",
    );
  }
  return notes;
}

/** The label of all samples, or undefined if there are both. */
function onlyLabel(dataset: Dataset, split: Split): number | undefined {
  const samples = dataset.samples(split);
  using reader = dataset.reader(split, Math.min(CHUNK_SAMPLES, samples));
  let first: number | undefined;
  for (let at = 0; at < samples; at += CHUNK_SAMPLES) {
    const { labels } = reader.read(at, Math.min(CHUNK_SAMPLES, samples - at));
    first ??= labels[0];
    if (labels.some((label) => label !== first)) return undefined;
  }
  return first;
}
