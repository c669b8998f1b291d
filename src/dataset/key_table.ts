/** Counts of 32-bit keys, and the ids that follow from them: by falling frequency, ties by key, from 1; id 0 is the rest. */
import { HotsetError } from "../errors.ts";

const MIN_SLOTS = 1024;
const MAX_LOAD = 0.7;
const MAX_COUNT = 2 ** 32 - 1;
/**
 * Words that a slot of the old table stands for while the table grows to twice its length (the old one and the new) and,
 * which is more, once that is full and its keys are sorted and listed.
 */
const GROWTH_WORDS = 10;
/** 2^32 / golden ratio: multiplying by it spreads keys over the upper bits. */
const SPREAD = 0x9e3779b1;

/** Thrown when the distinct keys do not fit into the memory that was given. */
export class KeysDoNotFit extends HotsetError {}

/** A hash table with open addressing of pairs of words: key, and a value that is 0 where the slot is free. */
export class KeyTable implements Disposable {
  /** Distinct keys. */
  keys = 0;
  readonly #memoryBytes: number;
  #pairs = new Uint32Array(2 * MIN_SLOTS);

  /** Holds at most so many bytes at any time. */
  constructor(memoryBytes: number) {
    this.#memoryBytes = memoryBytes;
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

  /** Gives ids to the keys counted at least so often. Returns those keys and their counts in the order of their ids. */
  number(minFrequency: number): { keys: Uint32Array<ArrayBuffer>; counts: Uint32Array<ArrayBuffer> } {
    // Words of a 64-bit number: the key, and above it the count upside down.
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

  /** Gives ids to keys in an empty table: to `keys[i]` i + 1. Throws KeysDoNotFit. */
  learn(keys: Uint32Array): void {
    this.count(keys);
    for (let i = 0; i < keys.length; i++) this.#pairs[2 * this.#slotOf(keys[i]) + 1] = i + 2;
  }

  /** Replaces keys by their ids, once these are given. */
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

  /** Gives the memory back. */
  [Symbol.dispose](): void {
    release(this.#pairs);
  }
}

/** Gives the memory of a large array back at once: the garbage collector takes its time, and the limit counts it. */
export function release(array: Uint32Array<ArrayBuffer> | BigUint64Array<ArrayBuffer>): void {
  array.buffer.transfer(0);
}

/** Of a table of so many slots, a power of two. */
function geometry(pairs: Uint32Array): { mask: number; shift: number } {
  const mask = pairs.length / 2 - 1;
  return { mask, shift: Math.clz32(mask) };
}
