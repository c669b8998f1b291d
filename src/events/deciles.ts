/** Predicted probabilities beside observed clicks, by deciles of the predictions. */
import { sortedOrder } from "./metrics.ts";

/** Samples whose predictions are neighbours. */
export interface Decile {
  /** Their share of all samples, by weight: a tenth, or more or less where predictions are equal. */
  readonly share: number;
  /** Mean of their predicted probabilities. */
  readonly predicted: number;
  /** Share of positives among them. */
  readonly observed: number;
}

const PARTS = 10;

/**
 * Divides samples into tenths by ascending logit (count), with labels 0 or 1 (count) and weights (count; default 1
 * each). Samples with equal logits stay together, so there may be fewer than ten parts. `order` has the positions of the
 * logits in ascending order.
 */
export function decilesOf(
  logits: Float32Array,
  labels: Uint8Array,
  weights?: Float32Array,
  order: Uint32Array = sortedOrder(logits),
): Decile[] {
  const weightOf = (i: number) => weights === undefined ? 1 : weights[i];
  let all = 0;
  for (let i = 0; i < logits.length; i++) all += weightOf(i);
  const parts: Decile[] = [];
  let before = 0;
  for (let i = 0; i < order.length;) {
    const end = (Math.floor(PARTS * before / all + 1e-9) + 1) * all / PARTS;
    let weight = 0, predicted = 0, observed = 0;
    while (i < order.length && (weight === 0 || before + weight < end - 1e-9 * all)) {
      for (const logit = logits[order[i]]; i < order.length && logits[order[i]] === logit; i++) {
        const sample = order[i];
        weight += weightOf(sample);
        predicted += weightOf(sample) / (1 + Math.exp(-logit));
        observed += weightOf(sample) * labels[sample];
      }
    }
    parts.push({ share: weight / all, predicted: predicted / weight, observed: observed / weight });
    before += weight;
  }
  return parts;
}
