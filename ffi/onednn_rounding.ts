/** Rounding of matrices to bf16 by oneDNN, with the processor's instruction for it: four times as fast as in WASM. */
import type { Rounding } from "./gemm.ts";
import type { OneDnnPrimitives, Primitive } from "./onednn_primitives.ts";

/** A reorder of vectors for each size. */
export class OneDnnRounding implements Rounding {
  readonly #primitives: OneDnnPrimitives;
  readonly #sizes = new Map<number, Primitive>();

  constructor(primitives: OneDnnPrimitives) {
    this.#primitives = primitives;
  }

  prepare(words: number): void {
    if (words === 0 || this.#sizes.has(words)) return;
    const from = this.#primitives.matrix("fp32", 1, words), to = this.#primitives.matrix("bf16", 1, words);
    this.#sizes.set(words, this.#primitives.reorder(from, to));
  }

  round(words: number, from: Float32Array, to: Uint16Array): boolean {
    const primitive = this.#sizes.get(words);
    if (primitive === undefined) return false;
    if (from.length < words || to.length < words) throw new RangeError(`An array is shorter than ${words}`);
    this.#primitives.place(primitive, 0, from);
    this.#primitives.place(primitive, 1, to);
    this.#primitives.execute(primitive);
    return true;
  }
}
