/** All optimizers by name; options, configurations, formats and kernels derive their lists from this one. */
import { Header } from "../batch_header.ts";
import { ADAGRAD, ROW_WISE_ADAGRAD } from "./adagrad.ts";
import { ADAM, ADAMW } from "./adam.ts";
import type { Optimizer } from "./optimizer.ts";
import { SGD } from "./sgd.ts";

/** Names of the optimizers. */
export const OPTIMIZER_NAMES = ["sgd", "adagrad", "rwsadagrad", "adam", "adamw"] as const;
/** The name of an optimizer. */
export type OptimizerName = (typeof OPTIMIZER_NAMES)[number];

/** The optimizers. */
export const OPTIMIZERS: Readonly<Record<OptimizerName, Optimizer>> = {
  sgd: SGD,
  adagrad: ADAGRAD,
  rwsadagrad: ROW_WISE_ADAGRAD,
  adam: ADAM,
  adamw: ADAMW,
};

/** Words of optimizer state of an embedding row of `dim` weights. */
export function rowStateWords(optimizer: OptimizerName, dim: number): number {
  return OPTIMIZERS[optimizer].rowStateWords(dim);
}

/** Words of an embedding row with its optimizer state. */
export function rowWords({ dim, optimizer }: { readonly dim: number; readonly optimizer: OptimizerName }): number {
  return dim + rowStateWords(optimizer, dim);
}

/** State words of `words` dense parameters. */
export function denseStateWords(optimizer: OptimizerName, weights: number): number {
  return OPTIMIZERS[optimizer].denseStateWords(weights);
}

/**
 * Writes the learning rate, the optimizer's values of a step and the L2 factor of rows into the floats of a batch's
 * header. `step` counts the steps that updated the optimizer's state, including this one.
 */
export function writeStep(
  optimizer: OptimizerName,
  header: Float32Array,
  learningRate: number,
  step = 1,
  weightDecay = 0,
  rowL2 = 0,
): void {
  header[Header.learningRate] = learningRate;
  header[Header.rowL2] = rowL2;
  OPTIMIZERS[optimizer].writeHeader?.(header, learningRate, step, weightDecay);
}
