/**
 * Notes about features that reveal the label, at the beginning of training: a model of them is perfect, and useless.
 */
import { breaks } from "../breaks.ts";
import type { Dataset } from "../dataset/dataset.ts";
import { count } from "../format.ts";
import { auc } from "../events/metrics.ts";

/** Samples to examine, in ranges distributed over the train split. */
const CHUNKS = 16;
const CHUNK_SAMPLES = 1250;
/** With fewer samples of a label a feature may separate them by chance. */
const MIN_SAMPLES_OF_LABEL = 50;
/** No single feature of a log is this good unless it was recorded after the click. */
const LEAK_AUC = 0.99;

/** A sentence for each feature that alone separates the labels of a sample of the train split almost perfectly. */
export async function leakNotes(dataset: Dataset): Promise<string[]> {
  const { dense, labels, bags } = await sampleOf(dataset);
  const samples = labels.length;
  const positives = labels.reduce((sum, label) => sum + label, 0);
  if (Math.min(positives, samples - positives) < MIN_SAMPLES_OF_LABEL) return [];
  const found: { name: string; auc: number }[] = [];
  for (const [d, name] of dataset.body.dense.entries()) {
    found.push({ name, auc: auc(dense[d], labels) });
    if (breaks.due) await breaks.take();
  }
  for (const [t, { name }] of dataset.body.tables.entries()) {
    found.push({ name, auc: aucOfTable(bags[t], labels) });
    if (breaks.due) await breaks.take();
  }
  return found.map(({ name, auc }) => ({ name, auc: Math.max(auc, 1 - auc) })).filter(({ auc }) => auc >= LEAK_AUC)
    .map(({ name, auc }) =>
      `${name} alone separates the labels almost perfectly (AUC ${auc.toFixed(4)} in ${
        count(samples)
      } train samples). ` +
      `If it is known only after the label, leave it out with kind "ignore"`
    );
}

/** Samples by feature: dense values, and the rows of each bag. */
async function sampleOf(
  dataset: Dataset,
): Promise<{ dense: Float32Array[]; labels: Uint8Array; bags: number[][][] }> {
  const { tables, steps, denseFeatures } = dataset;
  const all = dataset.samples("train");
  const chunks = all <= CHUNKS * CHUNK_SAMPLES ? 1 : CHUNKS;
  const length = chunks === 1 ? all : CHUNK_SAMPLES;
  const labels = new Uint8Array(chunks * length);
  const dense = Array.from({ length: denseFeatures }, () => new Float32Array(chunks * length));
  const bags: number[][][] = Array.from({ length: tables }, () => []);
  using reader = dataset.reader("train", Math.max(length, 1));
  for (let chunk = 0; chunk < chunks && length > 0; chunk++) {
    const at = chunk * length;
    const read = reader.read(chunks === 1 ? 0 : Math.floor(chunk * (all - length) / (chunks - 1)), length);
    labels.set(read.labels, at);
    for (let i = 0; i < length; i++) {
      if (breaks.due) await breaks.take();
      // Of several steps the last one, the candidate, tells the labels apart.
      const candidate = (i + 1) * steps - 1;
      for (let d = 0; d < denseFeatures; d++) dense[d][at + i] = read.dense[candidate * denseFeatures + d];
      for (let t = 0; t < tables; t++) {
        const bag = candidate * tables + t;
        const [begin, end] = read.offsets === undefined ? [bag, bag + 1] : [read.offsets[bag], read.offsets[bag + 1]];
        bags[t].push([...read.indices.subarray(begin, end)]);
      }
    }
  }
  return { dense, labels, bags };
}

/** AUC of the click rates of a table's rows, computed on one half of the samples, for the other half. */
function aucOfTable(bags: readonly number[][], labels: Uint8Array): number {
  const seen = new Map<number, { clicks: number; samples: number }>();
  let clicks = 0;
  for (let i = 0; i < labels.length; i += 2) {
    clicks += labels[i];
    for (const row of bags[i]) {
      const counts = seen.get(row) ?? { clicks: 0, samples: 0 };
      counts.clicks += labels[i];
      counts.samples++;
      seen.set(row, counts);
    }
  }
  const rate = clicks / Math.ceil(labels.length / 2);
  const scores = new Float32Array(Math.floor(labels.length / 2));
  for (let k = 0; k < scores.length; k++) {
    const bag = bags[2 * k + 1];
    const sum = bag.reduce((total, row) => {
      const counts = seen.get(row) ?? { clicks: 0, samples: 0 };
      return total + (counts.clicks + rate) / (counts.samples + 1);
    }, 0);
    scores[k] = bag.length === 0 ? rate : sum / bag.length;
  }
  return auc(scores, labels.filter((_, i) => i % 2 === 1));
}
