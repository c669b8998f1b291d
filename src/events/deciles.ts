/** Predicted probabilities beside observed clicks, by deciles of the predictions. */
import type { Ranking } from "./metrics.ts";

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
 * Divides ranked samples into tenths by ascending logit. Samples with equal logits stay together, so there may be fewer
 * than ten parts.
 */
export function decilesOf({ scores, labels, weights }: Ranking): Decile[] {
  const weightOf = (i: number) => weights === undefined ? 1 : weights[i];
  let all = 0;
  for (let i = 0; i < scores.length; i++) all += weightOf(i);
  const parts: Decile[] = [];
  let before = 0;
  for (let i = 0; i < scores.length;) {
    const end = (Math.floor(PARTS * before / all + 1e-9) + 1) * all / PARTS;
    let weight = 0, predicted = 0, observed = 0;
    while (i < scores.length && (weight === 0 || before + weight < end - 1e-9 * all)) {
      const logit = scores[i];
      const probability = 1 / (1 + Math.exp(-logit));
      for (; i < scores.length && scores[i] === logit; i++) {
        weight += weightOf(i);
        predicted += weightOf(i) * probability;
        observed += weightOf(i) * labels[i];
      }
    }
    parts.push({ share: weight / all, predicted: predicted / weight, observed: observed / weight });
    before += weight;
  }
  return parts;
}
