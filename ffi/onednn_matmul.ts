/**
 * Products by oneDNN's matmul: of bf16 matrices, where it takes a quarter less time than the gemm with AMX, and of many
 * small matrices, which it multiplies in one call.
 */
import { checkMatrices, type Gemm } from "./gemm.ts";
import { check, created, type OneDnnPrimitives, type Primitive } from "./onednn_primitives.ts";

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
    const primitive = this.#primitives.product(
      this.#primitives.matrix("bf16", m, k, transposeA),
      this.#primitives.matrix("bf16", k, n, transposeB),
      this.#primitives.matrix("fp32", m, n),
      add ? this.#adding() : null,
    );
    const product = { transposeA, transposeB, m, n, k, add, ...primitive };
    this.#products.push(product);
    return product;
  }
}

/** `Gemm.bindMany` in single precision. */
export function bindManyTo(primitives: OneDnnPrimitives): NonNullable<Gemm["bindMany"]> {
  return (count, transposeB, m, n, k, a, b, c) => {
    checkMatrices(count * m, n, k, a, b, c);
    checkMatrices(m, count * n, k, a, b, c);
    const product = primitives.product(
      primitives.matrices("fp32", count, m, k),
      primitives.matrices("fp32", count, k, n, transposeB),
      primitives.matrices("fp32", count, m, n),
    );
    [a, b, c].forEach((matrices, i) => primitives.place(product, i, matrices));
    return () => primitives.execute(product);
  };
}
