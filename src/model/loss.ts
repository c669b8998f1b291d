/** The loss: binary cross-entropy on logits, with a weight of positive labels and with label smoothing. */
import { Header } from "../batch_header.ts";

/** Settings of the loss. */
export interface LossSettings {
  /** Weight of the loss of positive labels: `pos_weight` of torch.nn.BCEWithLogitsLoss. */
  readonly positiveWeight: number;
  /** Label smoothing s: a label y becomes (1 - s) y + s / 2. */
  readonly labelSmoothing: number;
}

/** Writes the settings to the header of a batch. The header stores the weight minus 1, so zeros mean the plain loss. */
export function writeLoss(header: Float32Array, { positiveWeight, labelSmoothing }: LossSettings): void {
  header[Header.positiveWeight] = positiveWeight - 1;
  header[Header.labelSmoothing] = labelSmoothing;
}

/**
 * The sum of the weights of samples in the loss, that is their loss at one nat each. `labels` are label words of a batch;
 * see `Backend.loss`.
 */
export function lossWeight(labels: Float32Array, positiveWeight: number): number {
  let sum = 0;
  for (let i = 0; i < labels.length; i++) {
    sum += labels[i] > 0 ? positiveWeight * labels[i] : labels[i] < 0 ? -labels[i] : 1;
  }
  return sum;
}
