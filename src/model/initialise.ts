/** Initial parameters, distributed as in facebookresearch/dlrm, from a seed and independent of who computes which part. */
import { Random } from "../random.ts";
import { elementsOf } from "./layers/layer.ts";
import type { ModelPlan } from "./shape.ts";

const DENSE_STREAM = 1;
const EMBEDDING_STREAM = 2;
/** Rows of a chunk. */
const CHUNK_ROWS = 16_384;

/** Fills dense parameters with normal values of each one's deviation, layer by layer. */
export function initialiseDense({ layers }: ModelPlan, seed: number, parameters: Float32Array): void {
  layers.filter((layer) => layer.parameters.length > 0).forEach((layer, i) => {
    const random = new Random(seed, DENSE_STREAM, i);
    for (const { shape, first, deviation } of layer.parameters) {
      const end = first + elementsOf(shape);
      for (let word = first; word < end; word++) parameters[word] = deviation * random.normal();
    }
  });
}

/** Consecutive rows of one table that draw from a random stream of their own. */
export interface RowChunk {
  readonly table: number;
  /** First row, in the table and over all tables. */
  readonly tableRow: number;
  readonly row: number;
  readonly rows: number;
}

/** All embedding rows in chunks; ranks may initialise different chunks, the values are the same. */
export function* rowChunks({ shape: { tableRows } }: ModelPlan): Generator<RowChunk> {
  let first = 0;
  for (const [table, rows] of tableRows.entries()) {
    for (let tableRow = 0; tableRow < rows; tableRow += CHUNK_ROWS) {
      yield { table, tableRow, row: first + tableRow, rows: Math.min(CHUNK_ROWS, rows - tableRow) };
    }
    first += rows;
  }
}

/** Fills the weights (chunk.rows, dim) of a chunk: in a table of n rows they are ~ U(-1 / sqrt(n), 1 / sqrt(n)). */
export function initialiseChunk({ shape }: ModelPlan, seed: number, chunk: RowChunk, weights: Float32Array): void {
  const bound = Math.sqrt(1 / shape.tableRows[chunk.table]);
  const random = new Random(seed, EMBEDDING_STREAM, chunk.table, chunk.tableRow);
  for (let i = 0; i < chunk.rows * shape.dim; i++) weights[i] = bound * (random.next() / 2147483648 - 1);
}
