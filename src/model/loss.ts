/** What is minimised: binary cross-entropy on logits, with a weight of its own for positives and with smoothed labels. */
import { Header } from "../header.ts";

/** As torch.nn.BCEWithLogitsLoss has it. */
export interface LossSettings {
  /** What the loss of a positive counts for: its `pos_weight`. */
  readonly positiveWeight: number;
  /** The share of each label that is replaced by one half. */
  readonly labelSmoothing: number;
}

/** Writes the settings into the floats of a batch's header. Words of zero are the plain loss. */
export function writeLoss(header: Float32Array, { positiveWeight, labelSmoothing }: LossSettings): void {
  header[Header.positiveWeight] = positiveWeight - 1;
  header[Header.labelSmoothing] = labelSmoothing;
}
