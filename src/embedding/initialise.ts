/** Initial values of embedding rows, distributed as in facebookresearch/dlrm: a function of the seed and the row alone. */
import { Random } from "../random.ts";
import type { TableShape } from "./tables.ts";

const EMBEDDING_STREAM = 2;
/** Rows of a chunk. */
const CHUNK_ROWS = 16_384;

/** Consecutive rows of one table that draw from a random stream of their own. */
export interface RowChunk {
  readonly table: number;
  /** First row, in the table and over all tables. */
  readonly tableRow: number;
  readonly row: number;
  readonly rows: number;
}

/** All embedding rows in chunks; ranks may initialise different chunks, the values are the same. */
export function* rowChunks({ tableRows }: Pick<TableShape, "tableRows">): Generator<RowChunk> {
  let first = 0;
  for (const [table, rows] of tableRows.entries()) {
    for (let tableRow = 0; tableRow < rows; tableRow += CHUNK_ROWS) {
      yield { table, tableRow, row: first + tableRow, rows: Math.min(CHUNK_ROWS, rows - tableRow) };
    }
    first += rows;
  }
}

/** Fills the weights (chunk.rows, dim) of a chunk: in a table of n rows they are ~ U(-1 / sqrt(n), 1 / sqrt(n)). */
export function initialiseChunk(
  { tableRows, dim }: Pick<TableShape, "tableRows" | "dim">,
  seed: number,
  chunk: RowChunk,
  weights: Float32Array,
): void {
  const bound = Math.sqrt(1 / tableRows[chunk.table]);
  const random = new Random(seed, EMBEDDING_STREAM, chunk.table, chunk.tableRow);
  for (let i = 0; i < chunk.rows * dim; i++) weights[i] = bound * (random.next() / 2147483648 - 1);
}
