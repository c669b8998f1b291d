/** Packed copies of weights that are kept while a model is scored. */
import type { Buffer, LinearShape } from "../backend.ts";
import { at } from "./cpu_buffer.ts";
import type { Address } from "./wasm/kernels.ts";

/** How a library packs weights. */
export interface Packing<Packed> {
  /** Takes memory for the weight of a layer, to be multiplied by `samples` samples or other numbers. */
  take(shape: LinearShape, samples: number): Packed;
  pack(shape: LinearShape, weight: Buffer, packed: Packed): void;
}

/** A packed weight for each weight of a rank, made at the first product after weights may have changed. */
export class KeptWeights<Packed> {
  readonly #packing: Packing<Packed>;
  readonly #packed = new Map<Address, { readonly packed: Packed; since: number }>();
  /** Counts how often weights were no longer kept. */
  #changes = 0;
  #kept = false;

  constructor(packing: Packing<Packed>) {
    this.#packing = packing;
  }

  /** See `Backend.keepWeights`. */
  keep(kept: boolean): void {
    if (this.#kept && !kept) this.#changes++;
    this.#kept = kept;
  }

  /** The packed weight; undefined if weights are not kept. */
  of(shape: LinearShape, weight: Buffer, samples: number): Packed | undefined {
    if (!this.#kept) return undefined;
    let found = this.#packed.get(at(weight));
    if (found?.since === this.#changes) return found.packed;
    if (found === undefined) {
      found = { packed: this.#packing.take(shape, samples), since: this.#changes };
      this.#packed.set(at(weight), found);
    }
    found.since = this.#changes;
    this.#packing.pack(shape, weight, found.packed);
    return found.packed;
  }
}
