/** The exact rule for hot rows, which fills the budget to the last row. */
import { breaks } from "../breaks.ts";
import type { RowCounts } from "./tally.ts";

/** Rows that are compared at a time, which takes about a millisecond. */
const ROWS_AT_ONCE = 1 << 16;

/** Which rows of a table may be hot: all, none (Infinity), or those with at least this number of accesses. */
export type TableCutoff = "whole" | number;

/**
 * All rows of whole tables are hot, and of the other tables the `limit` most frequent rows among those that reach their
 * table's cut-off. If not all rows with equally many accesses fit, every table gets the same share of its own, in the
 * order of rows.
 */
export class HotRule {
  readonly #rows: RowCounts;
  readonly #cutoffs: readonly TableCutoff[];
  /** Candidates are hot from this number of accesses on, and up to row `#lastTies[table]` with one access less. */
  readonly #keptFrom: number;
  readonly #lastTies: Float64Array;
  /** Number of hot rows with one access less. */
  readonly #ties: number;

  constructor(rows: RowCounts, cutoffs: readonly TableCutoff[], limit: number) {
    this.#rows = rows;
    this.#cutoffs = cutoffs;
    let keptFrom = 1;
    for (let high = 2 ** 32; keptFrom < high;) {
      const middle = Math.floor((keptFrom + high) / 2);
      if (this.#candidates(middle) > limit) keptFrom = middle + 1;
      else high = middle;
    }
    this.#keptFrom = keptFrom;
    const sure = this.#candidates(keptFrom);
    this.#ties = keptFrom === 1 ? 0 : Math.min(limit, this.#candidates(keptFrom - 1)) - sure;
    this.#lastTies = this.#shareTies(this.#ties);
  }

  isHot(table: number, row: number): boolean {
    const cutoff = this.#cutoffs[table];
    if (cutoff === "whole") return true;
    const count = this.#rows.counts[row];
    return count >= cutoff && (count >= this.#keptFrom || count === this.#keptFrom - 1 && row <= this.#lastTies[table]);
  }

  /** Number of hot rows, and of lookups of them. */
  measure(): { rows: number; lookups: number } {
    let rows = this.#ties;
    let lookups = this.#ties * (this.#keptFrom - 1);
    this.#cutoffs.forEach((cutoff, t) => {
      const from = cutoff === "whole" ? 0 : Math.max(cutoff, this.#keptFrom);
      rows += this.#rows.tallies[t].rowsAtLeast(from);
      lookups += this.#rows.tallies[t].accessesAtLeast(from);
    });
    return { rows, lookups };
  }

  /** Hot global rows, ascending. */
  async select(): Promise<Uint32Array> {
    const { firstRows, tallies } = this.#rows;
    const selected = new Uint32Array(this.measure().rows);
    let count = 0;
    for (let t = 0; t < tallies.length; t++) {
      if (this.#cutoffs[t] === Infinity) continue;
      for (let first = firstRows[t]; first < firstRows[t + 1]; first += ROWS_AT_ONCE) {
        const end = Math.min(first + ROWS_AT_ONCE, firstRows[t + 1]);
        for (let row = first; row < end; row++) if (this.isHot(t, row)) selected[count++] = row;
        if (breaks.due) await breaks.take();
      }
    }
    return selected;
  }

  /** Rows of tables that are not whole which reach both their table's cut-off and `accesses`. */
  #candidates(accesses: number): number {
    let rows = 0;
    this.#cutoffs.forEach((cutoff, t) => {
      if (cutoff !== "whole") rows += this.#rows.tallies[t].rowsAtLeast(Math.max(cutoff, accesses));
    });
    return rows;
  }

  /** Divides `ties` hot rows among the tables: for each the last row that is hot with one access less, or -1. */
  #shareTies(ties: number): Float64Array {
    const { counts, firstRows, tallies } = this.#rows;
    const lastTies = new Float64Array(this.#cutoffs.length).fill(-1);
    if (ties === 0) return lastTies;
    const tied = this.#keptFrom - 1;
    const tiedRows = this.#cutoffs.map((cutoff, t) =>
      cutoff === "whole" || tied < cutoff ? 0 : tallies[t].rowsAtLeast(tied) - tallies[t].rowsAtLeast(tied + 1)
    );
    const all = tiedRows.reduce((sum, rows) => sum + rows, 0);
    let passed = 0;
    for (let t = 0; t < lastTies.length; t++) {
      // Rounded cumulative sums, so that the parts add up.
      const before = Math.round(passed / all * ties);
      passed += tiedRows[t];
      let left = Math.round(passed / all * ties) - before;
      for (let row = firstRows[t]; left > 0; row++) if (counts[row] === tied && --left === 0) lastTies[t] = row;
    }
    return lastTies;
  }
}
