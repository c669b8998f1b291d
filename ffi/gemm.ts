/** What native libraries of matrix products offer. They run on the calling thread alone: ranks are how Hotset uses cores. */
export interface Gemm {
  /** Name and version of the library, and what else decides the bits of its products. */
  readonly version: string;
  /**
   * Row-major `c = op(a) op(b)` with c (m, n) and inner length k; a is (m, k), or (k, m) when transposed; b is (k, n), or
   * (n, k) when transposed. No leading dimension exceeds its row.
   */
  gemm(
    transposeA: boolean,
    transposeB: boolean,
    m: number,
    n: number,
    k: number,
    a: Float32Array,
    b: Float32Array,
    c: Float32Array,
  ): void;
}
