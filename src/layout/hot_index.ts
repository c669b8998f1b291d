/** Index of hot rows and their hot-row ids: one bit and one word of rank per 32 rows. */

/** Words of the index of this number of rows. */
export function hotIndexWords(rows: number): number {
  return 2 * Math.ceil(rows / 32);
}

/** Takes a quarter of a byte per row, so that it stays in the cache. */
export class HotIndex {
  /** One bit per row, low bits first: is the row hot? */
  readonly bits: Uint32Array;
  /** Number of hot rows before each word of bits. */
  readonly #ranks: Uint32Array;

  /** Of an ascending list of hot rows; in `hotIndexWords` of zeroed memory, or in its own. */
  constructor(hotRows: Uint32Array, rows: number, memory: Uint32Array = new Uint32Array(hotIndexWords(rows))) {
    const words = memory.length / 2;
    this.bits = memory.subarray(0, words);
    this.#ranks = memory.subarray(words);
    for (let i = 0; i < hotRows.length; i++) this.bits[hotRows[i] >>> 5] |= 1 << (hotRows[i] & 31);
    for (let w = 1; w < words; w++) this.#ranks[w] = this.#ranks[w - 1] + countOnes(this.bits[w - 1]);
  }

  /** Hot-row id of a hot row: its position in the list of hot rows. */
  id(row: number): number {
    const word = row >>> 5;
    return this.#ranks[word] + countOnes(this.bits[word] & ((1 << (row & 31)) - 1));
  }
}

function countOnes(word: number): number {
  const pairs = word - (word >>> 1 & 0x55555555);
  const nibbles = (pairs & 0x33333333) + (pairs >>> 2 & 0x33333333);
  return Math.imul(nibbles + (nibbles >>> 4) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
