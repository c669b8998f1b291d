/**
 * Initial values of embedding rows: a function of the seed, the table and the row alone, so that a row can be computed
 * when it is first used, anywhere and in any order.
 */
import type { Parts } from "../breaks.ts";
import type { HostBackend } from "../backend/backend.ts";
import { rowStateWords, rowWords } from "../optimizer/optimizers.ts";
import { mix } from "../random.ts";
import type { EmbeddingShape, RowMatrix } from "./tables.ts";

const STREAM = 2;
/** The golden ratio in 32 bits: consecutive multiples differ in about half of all bits. */
const STEP = 0x9e3779b9;

/** Rows per chunk. */
const CHUNK_ROWS = 16_384;

/** Consecutive global rows. */
export interface RowChunk {
  readonly row: number;
  readonly rows: number;
}

/** All rows in chunks; ranks may initialise different chunks, with the same values. */
export function* rowChunks({ tableRows }: Pick<EmbeddingShape, "tableRows">): Generator<RowChunk> {
  const rows = tableRows.reduce((sum, count) => sum + count, 0);
  for (let row = 0; row < rows; row += CHUNK_ROWS) yield { row, rows: Math.min(CHUNK_ROWS, rows - row) };
}

/**
 * Computes initial rows of all tables of a model. In a table of n rows they are ~ U(-b, b), where b is 1 / sqrt(n) as in
 * facebookresearch/dlrm, or `rowInit` if that is smaller.
 */
export class InitialRows {
  readonly #dim: number;
  /** By table: its first global row (and the end); that of number 0; the key of its rows; the bound of their values. */
  readonly #first: Float64Array;
  readonly #zero: Float64Array;
  readonly #keys: Int32Array;
  readonly #bounds: Float64Array;

  /**
   * For tables of this shape. `skipped` is how far, by table, the numbers of the rows are above their ids, where rows
   * were dropped: a new row then begins with other values than the row that had its id before.
   */
  constructor(
    { tableRows, dim, rowInit = 1 }: Pick<EmbeddingShape, "tableRows" | "dim" | "rowInit">,
    seed: number,
    skipped?: readonly number[],
  ) {
    this.#dim = dim;
    this.#first = new Float64Array(tableRows.length + 1);
    for (const [table, rows] of tableRows.entries()) this.#first[table + 1] = this.#first[table] + rows;
    this.#zero = this.#first.map((row, table) => row - (skipped?.[table] ?? 0));
    this.#keys = Int32Array.from(tableRows, (_, table) => {
      return mix(mix(mix(seed >>> 0) + STEP ^ STREAM) + STEP ^ table);
    });
    this.#bounds = Float64Array.from(tableRows, (rows) => Math.min(rowInit, Math.sqrt(1 / rows)));
  }

  /** Writes the weights of global rows `[row, row + rows)` to `weights` from `at` on. */
  write(row: number, rows: number, weights: Float32Array, at: number): void {
    const end = row + rows;
    for (let table = this.#tableOf(row); row < end; row++) {
      while (row >= this.#first[table + 1]) table++;
      const bound = this.#bounds[table];
      // Two state words that are distinct for all rows of a table, and a counter.
      const a = mix((row - this.#zero[table]) ^ this.#keys[table]);
      const b = mix(a ^ STEP);
      for (let d = 1; d <= this.#dim; d++, at++) {
        const bits = mix(mix(a + Math.imul(d, STEP)) ^ b) >>> 0;
        weights[at] = bound * (bits / 2147483648 - 1);
      }
    }
  }

  #tableOf(row: number): number {
    let low = 0, high = this.#keys.length;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (this.#first[middle] <= row) low = middle;
      else high = middle;
    }
    return low;
  }
}

/** Initialises all rows of a matrix in host memory, in parts; of several ranks that share it, each calls this. */
export function* initialiseMatrix(
  host: HostBackend,
  shape: EmbeddingShape,
  matrix: RowMatrix,
  seed: number,
  { rank, size } = { rank: 0, size: 1 },
): Parts<void> {
  const { dim, optimizer } = shape;
  const stateWords = rowStateWords(optimizer, dim);
  const weights = host.floats(matrix.weights);
  const state = matrix.state && host.floats(matrix.state);
  const initial = new InitialRows(shape, seed);
  let index = 0;
  for (const chunk of rowChunks(shape)) {
    if (index++ % size !== rank) continue;
    initial.write(chunk.row, chunk.rows, weights, chunk.row * dim);
    // The memory is zero but not yet allocated by the system, which would do that page by page during the first steps.
    state?.fill(0, chunk.row * stateWords, (chunk.row + chunk.rows) * stateWords);
    yield;
  }
}

/** Writes initial records of rows to `records` from `at` on: the weights, then the optimizer state, which is 0. */
export function initialRecords(
  initial: Pick<InitialRows, "write">,
  shape: Pick<EmbeddingShape, "dim" | "optimizer">,
): (row: number, records: Float32Array, at: number) => void {
  const words = rowWords(shape);
  return (row, records, at) => {
    initial.write(row, 1, records, at);
    records.fill(0, at + shape.dim, at + words);
  };
}
