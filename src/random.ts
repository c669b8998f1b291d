/**
 * Seeded random numbers. A generator is identified by a seed and a stream: every table, epoch or chunk has its own
 * sequence, so the result does not depend on who draws first.
 */

/** xoshiro128** (Blackman and Vigna), seeded through a 32-bit mixing function. Same seed and stream: same numbers. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  constructor(seed: number, ...stream: number[]) {
    let h = mix(seed >>> 0);
    for (const part of stream) h = mix((h ^ (part >>> 0)) + 0x9e3779b9);
    this.#a = mix(h + 1);
    this.#b = mix(h + 2);
    this.#c = mix(h + 3);
    this.#d = mix(h + 4) | 1; // never all zero
  }

  /** 32 random bits, as an unsigned integer. */
  next(): number {
    const scaled = Math.imul(this.#b, 5);
    const result = Math.imul((scaled << 7) | (scaled >>> 25), 9);
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result >>> 0;
  }

  /** Uniform in [0, 1), 53 bits. */
  uniform(): number {
    return ((this.next() >>> 5) * 67108864 + (this.next() >>> 6)) / 9007199254740992;
  }

  /** Uniform integer in [0, bound), bound at most 2^32. */
  below(bound: number): number {
    return Math.floor(this.uniform() * bound);
  }

  /** Standard normal, by the polar method. It caches nothing, so that every draw is a function of the state alone. */
  normal(): number {
    for (;;) {
      const u = 2 * this.uniform() - 1;
      const v = 2 * this.uniform() - 1;
      const s = u * u + v * v;
      if (s > 0 && s < 1) return u * Math.sqrt(-2 * Math.log(s) / s);
    }
  }

  /** Shuffles in place (Fisher and Yates) and returns the array. */
  shuffle<T extends { [index: number]: number; length: number }>(array: T): T {
    for (let i = array.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      const kept = array[i];
      array[i] = array[j];
      array[j] = kept;
    }
    return array;
  }
}

/** A bijective 32-bit finaliser (the constants of lowbias32, Wellons). */
export function mix(x: number): number {
  x |= 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) | 0;
}
