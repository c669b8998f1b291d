/** Which rows are hot and what their hot-row ids are: one bit and one word of rank for each 32 rows. */
import type { Lookups } from "../dataset/dataset.ts";

/** Looks rows up in an ascending list of hot rows. Takes a quarter of a byte a row, so that it stays in cache. */
export class HotMap {
  readonly #bits: Uint32Array;
  /** Hot rows before each word of bits. */
  readonly #ranks: Uint32Array;
  readonly #tables: number;
  /** Tables with rows that are not hot, those with the largest share of them first; no other needs a look. */
  readonly #partial: Uint32Array;

  /** `firstRows`: global row of each table's first row, then the number of all rows; `hotRows`: the hot ones, ascending. */
  constructor(firstRows: Float64Array, hotRows: Uint32Array) {
    this.#tables = firstRows.length - 1;
    const words = (firstRows[this.#tables] + 31) >>> 5;
    this.#bits = new Uint32Array(words);
    this.#ranks = new Uint32Array(words);
    for (let i = 0; i < hotRows.length; i++) this.#bits[hotRows[i] >>> 5] |= 1 << (hotRows[i] & 31);
    for (let w = 1; w < words; w++) this.#ranks[w] = this.#ranks[w - 1] + countOnes(this.#bits[w - 1]);
    const hotShares = hotShareOfTables(firstRows, hotRows);
    this.#partial = Uint32Array.from(hotShares.keys())
      .filter((table) => hotShares[table] < 1)
      .sort((a, b) => hotShares[a] - hotShares[b]);
  }

  /** True if all rows that sample `i` looks up are hot; true if it looks up none. */
  allHot({ indices, offsets }: Lookups, i: number): boolean {
    const bits = this.#bits;
    const partial = this.#partial;
    for (let p = 0; p < partial.length; p++) {
      const bag = i * this.#tables + partial[p];
      const end = offsets === undefined ? bag + 1 : offsets[bag + 1];
      for (let k = offsets === undefined ? bag : offsets[bag]; k < end; k++) {
        if ((bits[indices[k] >>> 5] >>> (indices[k] & 31) & 1) === 0) return false;
      }
    }
    return true;
  }

  /** Hot-row id of a hot row: its position in the list of hot rows. */
  id(row: number): number {
    const word = row >>> 5;
    return this.#ranks[word] + countOnes(this.#bits[word] & ((1 << (row & 31)) - 1));
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

/** Bits that are set in a word: added up in pairs, nibbles and bytes. */
function countOnes(word: number): number {
  const pairs = word - (word >>> 1 & 0x55555555);
  const nibbles = (pairs & 0x33333333) + (pairs >>> 2 & 0x33333333);
  return Math.imul(nibbles + (nibbles >>> 4) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
