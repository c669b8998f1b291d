/** Products of bf16 matrices by oneDNN's matmul, which takes a quarter less time than its gemm with AMX. */
import { check, created, DESCRIPTION_BYTES, type OneDnnPrimitives, type Primitive } from "./onednn_primitives.ts";

/** DNNL_ARG_SRC, DNNL_ARG_WEIGHTS and DNNL_ARG_DST. */
const [LEFT, RIGHT, RESULT] = [1n, 33n, 17n];

/** A product that was computed before. */
interface Product extends Primitive {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly add: boolean;
}

/** A primitive for each kind and size of a product. */
export class OneDnnMatmul {
  readonly #primitives: OneDnnPrimitives;
  readonly #expected = new Set<number>();
  readonly #products: Product[] = [];

  constructor(primitives: OneDnnPrimitives) {
    this.#primitives = primitives;
  }

  /** See `Bf16Gemm.expect`. */
  expect(samples: number): void {
    this.#expected.add(samples);
  }

  /** `Gemm.gemm` without checks; false, and nothing is done, if its number of samples is not expected. */
  multiply(
    transposeA: boolean,
    transposeB: boolean,
    m: number,
    n: number,
    k: number,
    a: Uint16Array,
    b: Uint16Array,
    c: Float32Array,
    add: boolean,
  ): boolean {
    if (!this.#expected.has(transposeA ? k : m)) return false;
    const product = this.#find(transposeA, transposeB, m, n, k, add) ??
      this.#make(transposeA, transposeB, m, n, k, add);
    this.#primitives.place(product, 0, a);
    this.#primitives.place(product, 1, b);
    this.#primitives.place(product, 2, c);
    this.#primitives.execute(product);
    return true;
  }

  /** A loop, because a key made of all sizes would be an allocation. */
  #find(transposeA: boolean, transposeB: boolean, m: number, n: number, k: number, add: boolean): Product | undefined {
    for (let i = 0; i < this.#products.length; i++) {
      const p = this.#products[i];
      const isSame = p.m === m && p.n === n && p.k === k && p.transposeA === transposeA &&
        p.transposeB === transposeB && p.add === add;
      if (isSame) return p;
    }
    return undefined;
  }

  /** Attributes of a product that is added to what is there. */
  #adding(): Deno.PointerValue {
    const { functions } = this.#primitives;
    const after = created((handle) => functions.dnnl_post_ops_create(handle));
    check(functions.dnnl_post_ops_append_sum(after, 1));
    const attributes = created((handle) => functions.dnnl_primitive_attr_create(handle));
    check(functions.dnnl_primitive_attr_set_post_ops(attributes, after));
    return attributes;
  }

  #make(transposeA: boolean, transposeB: boolean, m: number, n: number, k: number, add: boolean): Product {
    const { functions, engine } = this.#primitives;
    const left = this.#primitives.matrix("bf16", m, k, transposeA);
    const right = this.#primitives.matrix("bf16", k, n, transposeB);
    const result = this.#primitives.matrix("fp32", m, n);
    const operation = new Uint8Array(DESCRIPTION_BYTES);
    check(functions.dnnl_matmul_desc_init(operation, left, right, null, result));
    const description = created((handle) =>
      functions.dnnl_primitive_desc_create(handle, operation, add ? this.#adding() : null, engine, null)
    );
    const primitive = this.#primitives.primitive(description, [[LEFT, left], [RIGHT, right], [RESULT, result]]);
    const product = { transposeA, transposeB, m, n, k, add, ...primitive };
    this.#products.push(product);
    return product;
  }
}
