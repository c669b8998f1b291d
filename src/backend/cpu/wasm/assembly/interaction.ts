// The interaction of four samples at a time, one in each lane of a vector register: a word of a sample is a vector of four
// words in scratch, and sums need no order other than that of the terms. Without a bottom vector (address 0), all vectors
// of a sample are pooled. The forward pass needs the lower triangle of V Vᵀ, where V (vectors, dim) are the vectors of a
// sample. The backward pass needs G V, where the symmetric matrix G contains the gradients of that triangle.
import { copyWords } from "./copy";
import { add } from "./dense";
import { transpose } from "./gemm";

const LANES: i32 = 4;
/** Bytes of a word of all lanes. */
const WORD: usize = 16;

/** Scratch that each thread needs for the dot interaction, forward and backward: G, V, and the gradients of V. */
export function interactScratchBytes(tables: i32, dim: i32): u32 {
  const vectors = <usize> tables + 1;
  return <u32> ((vectors * vectors + 2 * vectors * <usize> dim) * WORD);
}

/** output = the bottom vector, or all pooled vectors if there is none, then the products of vectors i and j < i. */
export function interactDot(
  samples: i32,
  tables: i32,
  dim: i32,
  bottom: usize,
  pooled: usize,
  output: usize,
  scratch: usize,
): void {
  const vectors = tables + (bottom == 0 ? 0 : 1);
  const bottomWords = bottom == 0 ? 0 : dim, pooledWords = tables * dim;
  const passedWords = bottom == 0 ? pooledWords : dim;
  const pairs = vectors * (vectors - 1) / 2;
  const bottomBytes = <usize> bottomWords << 2, pooledBytes = <usize> pooledWords << 2;
  const passedBytes = <usize> passedWords << 2, outputBytes = <usize> (passedWords + pairs) << 2;
  const stride = <usize> dim * WORD;
  const products = scratch, matrix = products + <usize> pairs * WORD;

  for (let sample = 0; sample < samples; sample += LANES) {
    const lanes = min(LANES, samples - sample);
    transpose(lanes, bottomWords, bottom, bottomBytes, matrix, WORD);
    transpose(lanes, pooledWords, pooled, pooledBytes, matrix + <usize> bottomWords * WORD, WORD);
    for (let i = 1; i < vectors; i += 3) {
      const rows = min(3, vectors - i);
      for (let j = 0; j < i + rows - 1; j += 3) {
        productTile(i, rows, j, dim, matrix + <usize> i * stride, matrix + <usize> j * stride, stride, products);
      }
    }
    const passed = bottom == 0 ? pooled : bottom;
    for (let lane: usize = 0; lane < <usize> lanes; lane++) {
      copyWords(output + lane * outputBytes, passed + lane * passedBytes, passedBytes);
    }
    transpose(pairs, lanes, products, WORD, output + passedBytes, outputBytes);
    output += LANES * outputBytes;
    bottom += LANES * bottomBytes;
    pooled += LANES * pooledBytes;
  }
}

/**
 * Products of up to 3 vectors from i on (a, `stride` bytes apart) and up to 3 from j on (b), whose 9 sums stay in
 * registers. Those of vectors beyond the last row or at the diagonal are computed but not stored.
 */
function productTile(
  i: i32,
  rows: i32,
  j: i32,
  dim: i32,
  a: usize,
  b: usize,
  stride: usize,
  products: usize,
): void {
  const last = i + rows - 2 - j; // the last column that any row needs
  let a0 = a, a1 = a + (rows > 1 ? stride : 0), a2 = a1 + (rows > 2 ? stride : 0);
  let b0 = b, b1 = b0 + (last > 0 ? stride : 0), b2 = b1 + (last > 1 ? stride : 0);
  const zero = f32x4.splat(0);
  let s00 = zero, s01 = zero, s02 = zero;
  let s10 = zero, s11 = zero, s12 = zero;
  let s20 = zero, s21 = zero, s22 = zero;
  for (let k = dim; k > 0; k--) {
    const u0 = v128.load(a0), u1 = v128.load(a1), u2 = v128.load(a2);
    let v = v128.load(b0);
    s00 = f32x4.relaxed_madd(u0, v, s00), s10 = f32x4.relaxed_madd(u1, v, s10), s20 = f32x4.relaxed_madd(u2, v, s20);
    v = v128.load(b1);
    s01 = f32x4.relaxed_madd(u0, v, s01), s11 = f32x4.relaxed_madd(u1, v, s11), s21 = f32x4.relaxed_madd(u2, v, s21);
    v = v128.load(b2);
    s02 = f32x4.relaxed_madd(u0, v, s02), s12 = f32x4.relaxed_madd(u1, v, s12), s22 = f32x4.relaxed_madd(u2, v, s22);
    a0 += WORD, a1 += WORD, a2 += WORD;
    b0 += WORD, b1 += WORD, b2 += WORD;
  }
  storeProducts(i, j, products, s00, s01, s02);
  if (rows > 1) storeProducts(i + 1, j, products, s10, s11, s12);
  if (rows > 2) storeProducts(i + 2, j, products, s20, s21, s22);
}

/** Stores the products of vector i and those from j on that are before it. */
// @ts-ignore: a decorator of AssemblyScript
@inline
function storeProducts(i: i32, j: i32, products: usize, s0: v128, s1: v128, s2: v128): void {
  const at = products + <usize> (i * (i - 1) / 2 + j) * WORD;
  if (j < i) v128.store(at, s0, 0);
  if (j + 1 < i) v128.store(at, s1, 16);
  if (j + 2 < i) v128.store(at, s2, 32);
}

/** Gradients of interactDot: dBottom (samples, dim), address 0 if bottom is, and dPooled (samples, tables, dim). */
export function interactDotBackward(
  samples: i32,
  tables: i32,
  dim: i32,
  bottom: usize,
  pooled: usize,
  dOutput: usize,
  dBottom: usize,
  dPooled: usize,
  scratch: usize,
): void {
  const vectors = tables + (bottom == 0 ? 0 : 1);
  const bottomWords = bottom == 0 ? 0 : dim, pooledWords = tables * dim;
  const passedWords = bottom == 0 ? pooledWords : dim;
  const bottomBytes = <usize> bottomWords << 2, pooledBytes = <usize> pooledWords << 2;
  const passedBytes = <usize> passedWords << 2;
  const outputBytes = <usize> (passedWords + vectors * (vectors - 1) / 2) << 2;
  const row = <usize> vectors * WORD, stride = <usize> dim * WORD;
  const gradients = scratch, matrix = gradients + <usize> vectors * row, dMatrix = matrix + <usize> vectors * stride;

  for (let sample = 0; sample < samples; sample += LANES) {
    const lanes = min(LANES, samples - sample);
    transpose(lanes, bottomWords, bottom, bottomBytes, matrix, WORD);
    transpose(lanes, pooledWords, pooled, pooledBytes, matrix + <usize> bottomWords * WORD, WORD);
    symmetricMatrix(lanes, vectors, dOutput + passedBytes, outputBytes, gradients);
    for (let i = 0; i < vectors; i += 3) {
      const rows = min(3, vectors - i);
      const g = gradients + <usize> i * row, target = dMatrix + <usize> i * stride;
      for (let d = 0; d < dim; d += 4) gradientTile(rows, vectors, d, dim, g, row, matrix, target, stride);
    }
    transpose(bottomWords, lanes, dMatrix, WORD, dBottom, bottomBytes);
    transpose(pooledWords, lanes, dMatrix + <usize> bottomWords * WORD, WORD, dPooled, pooledBytes);
    const passed = bottom == 0 ? dPooled : dBottom;
    for (let lane: usize = 0; lane < <usize> lanes; lane++) {
      add(passedWords, dOutput + lane * outputBytes, passed + lane * passedBytes);
    }
    dOutput += LANES * outputBytes;
    bottom += LANES * bottomBytes;
    pooled += LANES * pooledBytes;
    dBottom += LANES * bottomBytes;
    dPooled += LANES * pooledBytes;
  }
}

/** The symmetric matrix with the given lower triangle of each lane, `stride` bytes apart, and a zero diagonal. */
function symmetricMatrix(lanes: i32, size: i32, triangle: usize, stride: usize, matrix: usize): void {
  const row = <usize> size * WORD;
  for (let i = 0; i < size; i++) {
    const own = matrix + <usize> i * row;
    transpose(lanes, i, triangle, stride, own, WORD);
    triangle += <usize> i << 2;
    let mirrored = matrix + <usize> i * WORD;
    for (let j = 0; j < i; j++) {
      v128.store(mirrored, v128.load(own + <usize> j * WORD));
      mirrored += row;
    }
    v128.store(mirrored, f32x4.splat(0));
  }
}

/**
 * Up to 3 rows, `stride` bytes apart, and up to 4 columns from d on, of a product with `matrix` (count, dim): rows of g
 * (count) are `row` bytes apart. What exceeds the last row or column is computed again and stored at the same address.
 */
function gradientTile(
  rows: i32,
  count: i32,
  d: i32,
  dim: i32,
  g: usize,
  row: usize,
  matrix: usize,
  target: usize,
  stride: usize,
): void {
  const r1: usize = rows > 1 ? 1 : 0, r2: usize = r1 + (rows > 2 ? 1 : 0);
  const c1: usize = d + 1 < dim ? WORD : 0, c2 = c1 + (d + 2 < dim ? WORD : 0), c3 = c2 + (d + 3 < dim ? WORD : 0);
  let g0 = g, g1 = g + r1 * row, g2 = g + r2 * row;
  let v0 = matrix + <usize> d * WORD, v1 = v0 + c1, v2 = v0 + c2, v3 = v0 + c3;
  const zero = f32x4.splat(0);
  let s00 = zero, s01 = zero, s02 = zero, s03 = zero;
  let s10 = zero, s11 = zero, s12 = zero, s13 = zero;
  let s20 = zero, s21 = zero, s22 = zero, s23 = zero;
  for (let k = count; k > 0; k--) {
    const u0 = v128.load(g0), u1 = v128.load(g1), u2 = v128.load(g2);
    let v = v128.load(v0);
    s00 = f32x4.relaxed_madd(u0, v, s00), s10 = f32x4.relaxed_madd(u1, v, s10), s20 = f32x4.relaxed_madd(u2, v, s20);
    v = v128.load(v1);
    s01 = f32x4.relaxed_madd(u0, v, s01), s11 = f32x4.relaxed_madd(u1, v, s11), s21 = f32x4.relaxed_madd(u2, v, s21);
    v = v128.load(v2);
    s02 = f32x4.relaxed_madd(u0, v, s02), s12 = f32x4.relaxed_madd(u1, v, s12), s22 = f32x4.relaxed_madd(u2, v, s22);
    v = v128.load(v3);
    s03 = f32x4.relaxed_madd(u0, v, s03), s13 = f32x4.relaxed_madd(u1, v, s13), s23 = f32x4.relaxed_madd(u2, v, s23);
    g0 += WORD, g1 += WORD, g2 += WORD;
    v0 += stride, v1 += stride, v2 += stride, v3 += stride;
  }
  let t = target + <usize> d * WORD;
  v128.store(t, s00), v128.store(t + c1, s01), v128.store(t + c2, s02), v128.store(t + c3, s03);
  t += r1 * stride;
  v128.store(t, s10), v128.store(t + c1, s11), v128.store(t + c2, s12), v128.store(t + c3, s13);
  t += (r2 - r1) * stride;
  v128.store(t, s20), v128.store(t + c1, s21), v128.store(t + c2, s22), v128.store(t + c3, s23);
}

/** output (samples, (tables + 1) dim) = the bottom vector and all pooled vectors of each sample. */
export function interactCat(
  samples: i32,
  tables: i32,
  dim: i32,
  bottom: usize,
  pooled: usize,
  output: usize,
): void {
  const vectorBytes = <usize> dim << 2;
  const restBytes = vectorBytes * tables;
  for (let sample = 0; sample < samples; sample++) {
    copyWords(output, bottom, vectorBytes);
    copyWords(output + vectorBytes, pooled, restBytes);
    output += vectorBytes + restBytes;
    bottom += vectorBytes;
    pooled += restBytes;
  }
}

/** Gradients of interactCat. */
export function interactCatBackward(
  samples: i32,
  tables: i32,
  dim: i32,
  dOutput: usize,
  dBottom: usize,
  dPooled: usize,
): void {
  const vectorBytes = <usize> dim << 2;
  const restBytes = vectorBytes * tables;
  for (let sample = 0; sample < samples; sample++) {
    copyWords(dBottom, dOutput, vectorBytes);
    copyWords(dPooled, dOutput + vectorBytes, restBytes);
    dOutput += vectorBytes + restBytes;
    dBottom += vectorBytes;
    dPooled += restBytes;
  }
}
