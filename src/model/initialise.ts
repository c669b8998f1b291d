/** Initial parameters, distributed as in facebookresearch/dlrm, from a seed and independent of who computes which part. */
import { Random } from "../random.ts";
import type { ModelPlan } from "./shape.ts";

const DENSE_STREAM = 1;
const EMBEDDING_STREAM = 2;
/** Rows that share one random stream, so that ranks can initialise parts of a table. */
const CHUNK_ROWS = 16_384;

/** Fills dense parameters: weight (n, m) ~ N(0, 2 / (m + n)), bias (n) ~ N(0, 1 / n), variances given. */
export function initialiseDense(plan: ModelPlan, seed: number, parameters: Float32Array): void {
  const layers = [...plan.bottom, ...plan.top];
  layers.forEach(({ shape: { inputs, outputs }, weight, bias }, i) => {
    const random = new Random(seed, DENSE_STREAM, i);
    const weightDeviation = Math.sqrt(2 / (inputs + outputs));
    for (let k = 0; k < inputs * outputs; k++) parameters[weight + k] = weightDeviation * random.normal();
    const biasDeviation = Math.sqrt(1 / outputs);
    for (let k = 0; k < outputs; k++) parameters[bias + k] = biasDeviation * random.normal();
  });
}

/**
 * Fills this rank's part of the embedding rows (rows, dim): a table of n rows ~ U(-1 / sqrt(n), 1 / sqrt(n)). The values
 * do not depend on the number of ranks.
 */
export function initialiseRows(
  plan: ModelPlan,
  seed: number,
  rank: number,
  ranks: number,
  weights: Float32Array,
): void {
  const { tableRows, dim } = plan.shape;
  let first = 0;
  let chunk = 0;
  tableRows.forEach((rows, table) => {
    const bound = Math.sqrt(1 / rows);
    for (let row = 0; row < rows; row += CHUNK_ROWS, chunk++) {
      if (chunk % ranks !== rank) continue;
      const random = new Random(seed, EMBEDDING_STREAM, table, row);
      const end = (first + Math.min(row + CHUNK_ROWS, rows)) * dim;
      for (let i = (first + row) * dim; i < end; i++) weights[i] = bound * (random.next() / 2147483648 - 1);
    }
    first += rows;
  });
}
