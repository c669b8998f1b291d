/**
 * Counts of 32-bit keys, and ids derived from them: by falling frequency, ties by key, from 1; id 0 is everything else.
 */
import { HotsetError } from "../errors.ts";

const MIN_SLOTS = 1024;
const MAX_LOAD = 0.7;
const MAX_COUNT = 2 ** 32 - 1;
/**
 * Peak words per slot: while the table doubles, the old and the new one exist; the maximum is reached when a full
 * table's keys are sorted and listed.
 */
const GROWTH_WORDS = 10;
/** 2^32 / golden ratio: multiplying by it distributes keys over the upper bits. */
const SPREAD = 0x9e3779b1;

/** Thrown if the distinct keys do not fit in the given memory. */
export class KeysDoNotFit extends HotsetError {}

/** A hash table with open addressing of pairs of words: key, and a value that is 0 in free slots. */
export class KeyTable implements Disposable {
  /** Distinct keys. */
  keys = 0;
  readonly #memoryBytes: number;
  #pairs: Uint32Array<ArrayBuffer>;

  /** Uses at most this number of bytes at any time. It need not grow, which takes long, for `expected` keys. */
  constructor(memoryBytes: number, expected = 0) {
    this.#memoryBytes = memoryBytes;
    let slots = MIN_SLOTS;
    while (expected > MAX_LOAD * slots) slots *= 2;
    this.#pairs = new Uint32Array(2 * slots);
  }

  /** Counts keys. Throws KeysDoNotFit. */
  count(keys: Uint32Array): void {
    let pairs = this.#pairs;
    let { mask, shift } = geometry(pairs);
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i];
      let slot = Math.imul(key, SPREAD) >>> shift;
      while (pairs[2 * slot + 1] !== 0 && pairs[2 * slot] !== key) slot = (slot + 1) & mask;
      const count = pairs[2 * slot + 1];
      if (count === MAX_COUNT) continue;
      pairs[2 * slot + 1] = count + 1;
      if (count !== 0) continue;
      pairs[2 * slot] = key;
      if (++this.keys > MAX_LOAD * (mask + 1)) {
        this.#grow();
        pairs = this.#pairs;
        ({ mask, shift } = geometry(pairs));
      }
    }
  }

  /**
   * Assigns ids to the keys with at least this count. Returns those keys and their counts in the order of their ids.
   */
  number(minFrequency: number): { keys: Uint32Array<ArrayBuffer>; counts: Uint32Array<ArrayBuffer> } {
    // Words of a 64-bit number: the key, and above it the inverted count.
    const sorted = new BigUint64Array(this.keys);
    const words = new Uint32Array(sorted.buffer);
    const pairs = this.#pairs;
    for (let slot = 0, at = 0; slot < pairs.length; slot += 2) {
      const count = pairs[slot + 1];
      if (count === 0) continue;
      words[at++] = pairs[slot];
      words[at++] = ~count;
    }
    sorted.sort();
    let kept = 0;
    while (kept < this.keys && (~words[2 * kept + 1] >>> 0) >= minFrequency) kept++;
    const keys = new Uint32Array(kept);
    const counts = new Uint32Array(kept);
    for (let id = 1; id <= this.keys; id++) {
      const key = words[2 * id - 2];
      pairs[2 * this.#slotOf(key) + 1] = id <= kept ? id + 1 : 1;
      if (id > kept) continue;
      keys[id - 1] = key;
      counts[id - 1] = ~words[2 * id - 1];
    }
    release(sorted);
    return { keys, counts };
  }

  /** Assigns the next ids, from 1 on, to keys that are all different. Throws KeysDoNotFit. */
  learn(keys: Uint32Array): void {
    const known = this.keys;
    this.count(keys);
    for (let i = 0; i < keys.length; i++) this.#pairs[2 * this.#slotOf(keys[i]) + 1] = known + i + 2;
  }

  /**
   * Counts the keys with an id, in `counts[id - 1]`, and moves the others to the beginning of `keys`. Returns those.
   */
  countKnown(keys: Uint32Array, counts: Uint32Array): Uint32Array {
    let others = 0;
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i];
      const value = this.#pairs[2 * this.#slotOf(key) + 1];
      if (value === 0) keys[others++] = key;
      else if (counts[value - 2] < MAX_COUNT) counts[value - 2]++;
    }
    return keys.subarray(0, others);
  }

  /** Replaces keys by their ids, after ids were assigned. */
  encode(keys: Uint32Array): void {
    const pairs = this.#pairs;
    const { mask, shift } = geometry(pairs);
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i];
      let slot = Math.imul(key, SPREAD) >>> shift;
      while (pairs[2 * slot + 1] !== 0 && pairs[2 * slot] !== key) slot = (slot + 1) & mask;
      const value = pairs[2 * slot + 1];
      keys[i] = value === 0 ? 0 : value - 1;
    }
  }

  #slotOf(key: number): number {
    const pairs = this.#pairs;
    const { mask, shift } = geometry(pairs);
    let slot = Math.imul(key, SPREAD) >>> shift;
    while (pairs[2 * slot + 1] !== 0 && pairs[2 * slot] !== key) slot = (slot + 1) & mask;
    return slot;
  }

  #grow(): void {
    const old = this.#pairs;
    const bytes = old.length / 2 * GROWTH_WORDS * 4;
    if (bytes > this.#memoryBytes) {
      throw new KeysDoNotFit(`more than ${this.keys - 1} values need more than ${Math.ceil(bytes / 1e6)} MB`);
    }
    const pairs = this.#pairs = new Uint32Array(2 * old.length);
    const { mask, shift } = geometry(pairs);
    for (let from = 0; from < old.length; from += 2) {
      if (old[from + 1] === 0) continue;
      let slot = Math.imul(old[from], SPREAD) >>> shift;
      while (pairs[2 * slot + 1] !== 0) slot = (slot + 1) & mask;
      pairs[2 * slot] = old[from];
      pairs[2 * slot + 1] = old[from + 1];
    }
    release(old);
  }

  [Symbol.dispose](): void {
    release(this.#pairs);
  }
}

/** Frees the memory of a large array at once: the garbage collector may be slow, and the limit counts it. */
export function release(array: Uint32Array<ArrayBuffer> | BigUint64Array<ArrayBuffer>): void {
  array.buffer.transfer(0);
}

/** A table with this number of slots, a power of two. */
function geometry(pairs: Uint32Array): { mask: number; shift: number } {
  const mask = pairs.length / 2 - 1;
  return { mask, shift: Math.clz32(mask) };
}
