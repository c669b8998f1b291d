/** Ids of values by their hashes. */

/**
 * The ids of one table's values, found by a 64-bit hash of the value. Ids are assigned in the order of adding, from 1;
 * other values have id 0. Because frequent values come first, the keys that are compared most are close together in
 * memory.
 */
export class Dictionary {
  /** Rows of the table: the values and row 0. */
  rows = 1;
  /** Hash table of ids, 0 in free slots; its length is a power of two. */
  readonly #slots: Uint32Array;
  /** The two halves of each id's hash. */
  readonly #low: Uint32Array;
  readonly #high: Uint32Array;

  /** Bytes of a dictionary of this number of values. */
  static bytes(values: number): number {
    return 4 * slotsFor(values) + 8 * (values + 1);
  }

  /** An empty dictionary with space for this number of values. */
  constructor(values: number) {
    this.#slots = new Uint32Array(slotsFor(values));
    this.#low = new Uint32Array(values + 1);
    this.#high = new Uint32Array(values + 1);
  }

  /** Assigns the next id to a value. Throws if another value has the same hash (probability 10^-4 for 60 M values). */
  add(low: number, high: number): void {
    const mask = this.#slots.length - 1;
    let slot = high & mask;
    for (let id = this.#slots[slot]; id !== 0; id = this.#slots[slot]) {
      if (this.#low[id] === low && this.#high[id] === high) throw new Error("two values have the same 64-bit hash");
      slot = (slot + 1) & mask;
    }
    this.#slots[slot] = this.rows;
    this.#low[this.rows] = low;
    this.#high[this.rows] = high;
    this.rows++;
  }

  /** Looks up `count` hashes (pairs of words: low, high) from pair `from` on and writes their ids. */
  encode(hashes: Uint32Array, from: number, count: number, ids: Uint32Array): void {
    const slots = this.#slots;
    const lows = this.#low;
    const highs = this.#high;
    const mask = slots.length - 1;
    for (let i = 0, k = 2 * from; i < count; i++, k += 2) {
      const low = hashes[k];
      const high = hashes[k + 1];
      let slot = high & mask;
      let id = slots[slot];
      while (id !== 0 && (lows[id] !== low || highs[id] !== high)) {
        slot = (slot + 1) & mask;
        id = slots[slot];
      }
      ids[i] = id;
    }
  }
}

function slotsFor(values: number): number {
  let slots = 16;
  while (slots < 1.5 * values) slots *= 2;
  return slots;
}
