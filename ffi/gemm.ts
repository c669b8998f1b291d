/**
 * What native libraries of matrix products offer. They run on the calling thread alone: ranks are how Hotset uses cores.
 * `Matrix` is what they multiply: single precision, or bf16 as words of 16 bits.
 */
export interface Gemm<Matrix extends Float32Array | Uint16Array = Float32Array> {
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
    a: Matrix,
    b: Matrix,
    c: Float32Array,
  ): void;
}
