/** Tables whose rows are dropped and created at random, kept in the plainest way. */
import { InitialRows } from "../../src/embedding/initialise.ts";
import { type RowGrowth, RowNumbers } from "../../src/embedding/stores/row_numbers.ts";
import type { Random } from "../../src/random.ts";

/** A row: its number, and its weights at first. */
export interface PlainRow {
  readonly number: number;
  readonly initial: Float32Array;
}

/** The tables, and the numbers that are tested. */
export class GrowingTables {
  readonly #dim: number;
  readonly #seed: number;
  readonly #dropped: number[];
  #tables: PlainRow[][];
  #next = 0;
  numbers: RowNumbers;

  constructor(tableRows: readonly number[], dim: number, seed: number) {
    this.#dim = dim;
    this.#seed = seed;
    this.#dropped = tableRows.map(() => 0);
    this.numbers = RowNumbers.first(seed, tableRows);
    this.#tables = tableRows.map(() => []);
    this.#create(tableRows, seed);
  }

  get rows(): PlainRow[] {
    return this.#tables.flat();
  }

  get tableRows(): number[] {
    return this.#tables.map((rows) => rows.length);
  }

  /** Adds rows to the ends of tables, with the initial values of a seed. */
  #create(added: readonly number[], seed: number): void {
    const tableRows = this.#tables.map((rows, t) => rows.length + added[t]);
    const initial = new InitialRows({ tableRows, dim: this.#dim }, seed, this.#dropped);
    let row = 0;
    for (const [t, rows] of this.#tables.entries()) {
      row += rows.length;
      for (let i = 0; i < added[t]; i++, row++) {
        const weights = new Float32Array(this.#dim);
        initial.write(row, 1, weights, 0);
        rows.push({ number: this.#next++, initial: weights });
      }
    }
  }

  /** Drops a share of the rows, creates up to `added` in each table, and grows the numbers likewise. */
  grow(random: Random, share: number, added: number): void {
    const before = this.rows;
    this.#tables = this.#tables.map((rows, t) => {
      const left = rows.filter((_, id) => id === 0 || random.uniform() >= share);
      this.#dropped[t] += rows.length - left.length;
      return left;
    });
    const seed = this.#seed + this.#next;
    this.#create(this.#tables.map(() => random.below(added + 1)), seed);
    const places = new Map(before.map((row, from) => [row, from]));
    const kept: { from: number; row: number; rows: number }[] = [];
    for (const [row, of] of this.rows.entries()) {
      const from = places.get(of);
      const last = kept.at(-1);
      if (from === undefined) continue;
      if (last && last.from + last.rows === from && last.row + last.rows === row) last.rows++;
      else kept.push({ from, row, rows: 1 });
    }
    const words = (of: "from" | "row" | "rows") => Uint32Array.from(kept, (run) => run[of]);
    const runs = { from: words("from"), row: words("row"), rows: words("rows") };
    const growth: RowGrowth = { kept: runs, dropped: [...this.#dropped] };
    this.numbers = this.numbers.grown(growth, this.tableRows, seed);
  }
}
