/** Distinguishes hot from cold samples, and maps rows to hot-row ids. */
import type { Lookups } from "../dataset/dataset.ts";
import { HotIndex } from "./hot_index.ts";

/** Looks rows up in an ascending list of hot rows. */
export class HotMap {
  readonly #index: HotIndex;
  readonly #bags: number;
  /** Bags of a sample in tables with cold rows, those with the largest share of them first; other bags need no check. */
  readonly #partial: Uint32Array;

  /**
   * `firstRows`: global row of each table's first row, then the number of all rows; `hotRows`: the hot ones, ascending;
   * `steps`: steps of a sample.
   */
  constructor(firstRows: Float64Array, hotRows: Uint32Array, steps = 1) {
    const tables = firstRows.length - 1;
    this.#bags = steps * tables;
    this.#index = new HotIndex(hotRows, firstRows[tables]);
    const hotShares = hotShareOfTables(firstRows, hotRows);
    this.#partial = Uint32Array.from({ length: this.#bags }, (_, bag) => bag)
      .filter((bag) => hotShares[bag % tables] < 1)
      .sort((a, b) => hotShares[a % tables] - hotShares[b % tables]);
  }

  /** True if all rows that sample `i` looks up are hot; true if it looks up none. */
  allHot({ indices, offsets }: Lookups, i: number): boolean {
    const { bits } = this.#index;
    const partial = this.#partial;
    for (let p = 0; p < partial.length; p++) {
      const bag = i * this.#bags + partial[p];
      const end = offsets === undefined ? bag + 1 : offsets[bag + 1];
      for (let k = offsets === undefined ? bag : offsets[bag]; k < end; k++) {
        if ((bits[indices[k] >>> 5] >>> (indices[k] & 31) & 1) === 0) return false;
      }
    }
    return true;
  }

  /** Hot-row id of a hot row: its position in the list of hot rows. */
  id(row: number): number {
    return this.#index.id(row);
  }
}

function hotShareOfTables(firstRows: Float64Array, hotRows: Uint32Array): Float64Array {
  const shares = new Float64Array(firstRows.length - 1);
  for (let i = 0, table = 0; i < hotRows.length; i++) {
    while (hotRows[i] >= firstRows[table + 1]) table++;
    shares[table]++;
  }
  return shares.map((hotRows, table) => hotRows / (firstRows[table + 1] - firstRows[table]));
}
