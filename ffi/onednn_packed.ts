/** Products with weights that oneDNN has packed in the layout of its matmul. */
import type { PackedWeights } from "./gemm.ts";
import type { OneDnnPrimitives, Primitive } from "./onednn_primitives.ts";

/** Weights (n, k), packed, and a primitive for each number of rows. */
export class OneDnnPackedWeights<Matrix extends Float32Array | Uint16Array> implements PackedWeights<Matrix> {
  readonly bytes: number;
  readonly #primitives: OneDnnPrimitives;
  readonly #type: "fp32" | "bf16";
  readonly #n: number;
  readonly #k: number;
  readonly #layout: Uint8Array<ArrayBuffer>;
  readonly #packing: Primitive;
  readonly #products = new Map<number, Primitive>();
  #memory = new Uint8Array(0);

  /** Of operands of this type, in the layout for products of m rows. */
  constructor(primitives: OneDnnPrimitives, type: "fp32" | "bf16", m: number, n: number, k: number) {
    this.#primitives = primitives;
    this.#type = type;
    this.#n = n;
    this.#k = k;
    const { matrix, bytes } = primitives.packedMatrix(type, m, n, k);
    this.#layout = matrix;
    this.bytes = bytes;
    this.#packing = primitives.reorder(primitives.matrix("fp32", k, n, true), matrix);
  }

  pack(weights: Float32Array, memory: Uint8Array<ArrayBuffer>): void {
    if (weights.length < this.#n * this.#k || memory.length < this.bytes) {
      throw new RangeError(`Cannot pack (${this.#n}, ${this.#k}): an array is too short`);
    }
    this.#memory = memory;
    for (const product of this.#products.values()) this.#primitives.place(product, 1, memory);
    this.#primitives.place(this.#packing, 0, weights);
    this.#primitives.place(this.#packing, 1, memory);
    this.#primitives.execute(this.#packing);
  }

  multiply(m: number, a: Matrix, c: Float32Array): void {
    if (a.length < m * this.#k || c.length < m * this.#n || this.#memory.length < this.bytes) {
      throw new RangeError(
        `Cannot multiply (${m}, ${this.#k}) by packed (${this.#n}, ${this.#k}): an array is too short`,
      );
    }
    const product = this.#products.get(m) ?? this.#make(m);
    this.#primitives.place(product, 0, a);
    this.#primitives.place(product, 2, c);
    this.#primitives.execute(product);
  }

  #make(m: number): Primitive {
    const primitives = this.#primitives;
    const [left, result] = [primitives.matrix(this.#type, m, this.#k), primitives.matrix("fp32", m, this.#n)];
    const product = primitives.product(left, this.#layout, result);
    primitives.place(product, 1, this.#memory);
    this.#products.set(m, product);
    return product;
  }
}
