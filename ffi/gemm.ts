/**
 * Matrix product that native libraries implement. They run on the calling thread only, because Hotset uses cores by
 * ranks. `Matrix` is the type of the operands: single precision, or bf16 as 16-bit words.
 */
export interface Gemm<Matrix extends Float32Array | Uint16Array = Float32Array> {
  /** Name and version of the library, with all settings that affect the bits of its products. */
  readonly version: string;
  /** True if it can add a product to a matrix. */
  readonly adds: boolean;
  /**
   * Row-major `c = op(a) op(b)`, or `c += op(a) op(b)` with `add`, which takes a library that `adds`: c (m, n) and inner
   * length k. a is (m, k), or (k, m) if transposed; b is (k, n), or (n, k) if transposed. Leading dimensions are the row
   * lengths. Throws RangeError if an array is shorter than its matrix.
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
    add?: boolean,
  ): void;
  /**
   * Binds row-major `c[i] = a[i] op(b[i])` for i < count: c[i] (m, n) and inner length k, the matrices of each array one
   * after the other. The result computes the products of what the arrays then hold. Undefined if many small products take
   * as many calls. Throws RangeError if an array is shorter than its matrices.
   */
  readonly bindMany?:
    | ((
      count: number,
      transposeB: boolean,
      m: number,
      n: number,
      k: number,
      a: Matrix,
      b: Matrix,
      c: Float32Array,
    ) => () => void)
    | undefined;
  /** Weights (n, k) to be packed, for products of m rows or other numbers; undefined if the library cannot pack. */
  readonly packed?: ((m: number, n: number, k: number) => PackedWeights<Matrix>) | undefined;
}

/** Weights b (n, k) in the layout that their library multiplies fastest. */
export interface PackedWeights<Matrix extends Float32Array | Uint16Array = Float32Array> {
  /** Bytes that they take. */
  readonly bytes: number;
  /** Packs weights into memory that begins at a multiple of 64, and is read by later products. */
  pack(weights: Float32Array, memory: Uint8Array): void;
  /** c (m, n) = a (m, k) bᵀ; the bits of a row are the same for any m. Throws RangeError if an array is shorter. */
  multiply(m: number, a: Matrix, c: Float32Array): void;
}

/** Throws RangeError unless arrays hold their matrices: libraries read and write by address. */
export function checkMatrices(
  m: number,
  n: number,
  k: number,
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  c: ArrayLike<number>,
): void {
  if (a.length >= m * k && b.length >= k * n && c.length >= m * n) return;
  throw new RangeError(
    `Cannot multiply (${m}, ${k}) by (${k}, ${n}): a has ${a.length} elements, b ${b.length} and c ${c.length}`,
  );
}

/** Rounds words to the nearest bf16, ties to even. NaN stays NaN; denormal numbers may become 0. */
export interface Rounding {
  /** Makes `round` ready for matrices of `words` words. */
  prepare(words: number): void;
  /** Rounds the first `words` of a matrix; false, and nothing is done, if that size was not prepared. */
  round(words: number, from: Float32Array, to: Uint16Array): boolean;
}

/** Products of matrices in bf16. */
export interface Bf16Gemm extends Gemm<Uint16Array> {
  /**
   * Says that products of this many samples recur, so that the first one of each size may make the next ones faster.
   * Samples are the rows of a, or, if it is transposed, its columns.
   */
  expect(samples: number): void;
  /** Undefined if the library cannot round. */
  readonly rounding: Rounding | undefined;
}
