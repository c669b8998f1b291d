/** Notes about metrics that a dataset's labels leave undefined, at the beginning of training rather than its end. */
import { type Dataset, type Split, SPLITS } from "../dataset/dataset.ts";

const CHUNK_SAMPLES = 1 << 16;
/** What to do about positives alone. */
const DRAW = "; draw negatives with prepare --negatives";

/** A sentence for each split that cannot serve its purpose. Reads labels until both have occurred. */
export function labelNotes(dataset: Dataset): string[] {
  const notes: string[] = [];
  for (const split of SPLITS) {
    const samples = dataset.samples(split);
    if (samples === 0) continue;
    const only = onlyLabel(dataset, split);
    if (only === undefined) continue;
    const all = `All ${samples} samples of the ${split} split have the label ${only}`;
    if (split === "train") notes.push(`${all}: the model can only learn to predict that${only === 1 ? DRAW : ""}`);
    else {notes.push(
        `${all}, so AUC is undefined (NaN): there is no best checkpoint by AUC and no early stopping`,
      );}
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

/** The label of all samples, or undefined if both occur. */
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
