/** All optimizers by name: the list from which flags, configurations, formats and kernels take theirs. */
import { ADAGRAD, ROW_WISE_ADAGRAD } from "./adagrad.ts";
import type { Optimizer } from "./optimizer.ts";
import { SGD } from "./sgd.ts";

/** Names of the optimizers. */
export const OPTIMIZER_NAMES = ["sgd", "adagrad", "rwsadagrad"] as const;
/** The name of an optimizer. */
export type OptimizerName = (typeof OPTIMIZER_NAMES)[number];

/** The optimizers. */
export const OPTIMIZERS: Readonly<Record<OptimizerName, Optimizer>> = {
  sgd: SGD,
  adagrad: ADAGRAD,
  rwsadagrad: ROW_WISE_ADAGRAD,
};

/** Words of optimizer state of an embedding row of `dim` weights. */
export function rowStateWords(optimizer: OptimizerName, dim: number): number {
  return OPTIMIZERS[optimizer].rowStateWords(dim);
}

/** Words of optimizer state of so many dense parameters. */
export function denseStateWords(optimizer: OptimizerName, weights: number): number {
  return OPTIMIZERS[optimizer].denseStateWords(weights);
}
