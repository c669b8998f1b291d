/** The loss: binary cross-entropy on logits, with a weight of positive labels and with label smoothing. */
import { Header } from "../header.ts";

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
