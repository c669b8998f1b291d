/** Exact numbers of rows that reach a cut-off. */
import { breaks } from "../breaks.ts";
import type { Dataset } from "../dataset/dataset.ts";

/** Counts from here on are stored individually; smaller ones as a histogram. */
const HISTOGRAM_COUNTS = 1 << 16;

/** Rows that are counted at a time, which takes about a millisecond. */
const ROWS_AT_ONCE = 1 << 18;

/** Bytes of the histogram of a table. */
export const TALLY_BYTES = 2 * 8 * (HISTOGRAM_COUNTS + 1);

/** Numbers of rows, and of accesses to them, that reach any cut-off, exactly. */
export class Tally {
  /** Number of rows with at least this number of accesses, and of accesses to them. */
  readonly #rows = new Float64Array(HISTOGRAM_COUNTS + 1);
  /** Ascending. */
  readonly #large: number[] = [];
  readonly #accesses = new Float64Array(HISTOGRAM_COUNTS + 1);

  /** Counts the accesses of every row of a table. */
  constructor(counts: Uint32Array) {
    for (let i = 0; i < counts.length; i++) {
      const count = counts[i];
      if (count < HISTOGRAM_COUNTS) this.#rows[count]++;
      else this.#large.push(count);
    }
    this.#large.sort((a, b) => a - b);
    this.#rows[HISTOGRAM_COUNTS] = this.#large.length;
    this.#accesses[HISTOGRAM_COUNTS] = this.#large.reduce((sum, count) => sum + count, 0);
    for (let count = HISTOGRAM_COUNTS - 1; count >= 0; count--) {
      this.#accesses[count] = this.#accesses[count + 1] + count * this.#rows[count];
      this.#rows[count] += this.#rows[count + 1];
    }
  }

  /** Accesses to all rows. */
  get accesses(): number {
    return this.#accesses[0];
  }

  /** Rows with at least `cutoff` accesses. */
  rowsAtLeast(cutoff: number): number {
    return cutoff < HISTOGRAM_COUNTS ? this.#rows[cutoff] : this.#large.length - lowerBound(this.#large, cutoff);
  }

  /** Accesses to the rows with at least `cutoff` accesses each. */
  accessesAtLeast(cutoff: number): number {
    if (cutoff < HISTOGRAM_COUNTS) return this.#accesses[cutoff];
    let sum = 0;
    for (let i = lowerBound(this.#large, cutoff); i < this.#large.length; i++) sum += this.#large[i];
    return sum;
  }
}

/** Position of the first value that is at least `limit`; the number of values if there is none. */
export function lowerBound(ascending: ArrayLike<number>, limit: number): number {
  let low = 0;
  for (let high = ascending.length; low < high;) {
    const middle = (low + high) >>> 1;
    if (ascending[middle] < limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Accesses of every row of a dataset, by table. */
export class RowCounts {
  /** Accesses of every global row. */
  readonly counts: Uint32Array;
  /** Global row of each table's first row, then the number of all rows. */
  readonly firstRows: Float64Array;
  /** One a table. */
  readonly tallies: readonly Tally[];

  private constructor(counts: Uint32Array, firstRows: Float64Array, tallies: readonly Tally[]) {
    this.counts = counts;
    this.firstRows = firstRows;
    this.tallies = tallies;
  }

  /** Counts the accesses of the rows of each table. */
  static async of(counts: Uint32Array, firstRows: Float64Array): Promise<RowCounts> {
    const tallies: Tally[] = [];
    for (let t = 0; t < firstRows.length - 1; t++) {
      tallies.push(new Tally(counts.subarray(firstRows[t], firstRows[t + 1])));
      if (breaks.due) await breaks.take();
    }
    return new RowCounts(counts, firstRows, tallies);
  }

  /** Those of a dataset's train split, exactly. */
  static async ofTrainSplit(dataset: Dataset): Promise<RowCounts> {
    return await RowCounts.of(await dataset.readCounts(), dataset.firstRows);
  }

  /** By table, how many of these global rows, which ascend, it has, and the accesses to them. */
  async ofRows(selected: Uint32Array): Promise<{ readonly rows: number[]; readonly lookups: number[] }> {
    const { counts, firstRows } = this;
    const rows = new Array<number>(firstRows.length - 1).fill(0);
    const lookups = [...rows];
    for (let i = 0, t = 0; i < selected.length;) {
      for (const end = Math.min(i + ROWS_AT_ONCE, selected.length); i < end; i++) {
        while (selected[i] >= firstRows[t + 1]) t++;
        rows[t]++;
        lookups[t] += counts[selected[i]];
      }
      if (breaks.due) await breaks.take();
    }
    return { rows, lookups };
  }

  /** Accesses of the rows of one table. */
  ofTable(table: number): Uint32Array {
    return this.counts.subarray(this.firstRows[table], this.firstRows[table + 1]);
  }
}
