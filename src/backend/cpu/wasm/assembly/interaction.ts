// The interaction as small matrix products, one sample at a time. The vectors of a sample are a matrix V (vectors, dim)
// whose first row is the bottom vector; without one (address 0), all rows are pooled vectors. The forward pass needs
// the lower triangle of V Vᵀ. The backward pass needs G V, where the symmetric matrix G contains the gradients of that
// triangle.
import { copyWords } from "./copy";
import { add } from "./dense";
import { multiply, NO_FLOOR, packPanels, packTransposed, roundUp, TILE_BYTES, transpose } from "./gemm";

/** Scratch that each thread needs for the dot interaction, forward and backward. */
export function interactScratchBytes(tables: i32, dim: i32): u32 {
  const vectors = <usize> tables + 1;
  const columns = <usize> dim;
  const panelWords = max<usize>(vectors * roundUp(columns, 8), columns * roundUp(vectors, 8));
  return <u32> (TILE_BYTES + startBytes(vectors, columns) + squareBytes(vectors) + ((vectors * columns + panelWords) << 2));
}

/** Bytes of a row that is at least as long as any row of V, G or V Vᵀ. */
function startBytes(vectors: usize, dim: usize): usize {
  return roundUp(max(vectors, dim), 8) << 2;
}

/** Bytes of G or V Vᵀ with rows padded to whole panels. */
function squareBytes(vectors: usize): usize {
  return vectors * roundUp(vectors, 8) << 2;
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
  const vectorBytes = <usize> dim << 2;
  const bottomBytes = bottom == 0 ? 0 : vectorBytes;
  const pooledBytes = vectorBytes * tables;
  const passedBytes = bottom == 0 ? pooledBytes : bottomBytes;
  const vectors = (bottomBytes + pooledBytes) / vectorBytes;
  const zeros = scratch + TILE_BYTES;
  const matrix = zeros + startBytes(vectors, dim);
  const products = matrix + vectors * vectorBytes;
  const panels = products + squareBytes(vectors);
  const productStride = roundUp(vectors, 8) << 2;
  const panelBytes = vectorBytes << 3;
  const last = <i32> vectors - 1;
  memory.fill(zeros, 0, startBytes(vectors, dim));

  for (let sample = 0; sample < samples; sample++) {
    copyWords(matrix, bottom, bottomBytes);
    copyWords(matrix + bottomBytes, pooled, pooledBytes);
    packTransposed(dim, last, matrix, vectorBytes, panels);
    // Columns j .. j + 7 are needed only below the diagonal, from row j + 1.
    let panel = panels;
    for (let j: usize = 0; j < <usize> last; j += 8) {
      const left = matrix + (j + 1) * vectorBytes;
      const target = products + (j + 1) * productStride + (j << 2);
      multiply(last - <i32> j, 8, dim, left, vectorBytes, panel, target, productStride, zeros, 0, NO_FLOOR, scratch);
      panel += panelBytes;
    }
    copyWords(output, matrix, passedBytes);
    output += passedBytes;
    for (let i: usize = 1; i < vectors; i++) {
      copyWords(output, products + i * productStride, i << 2);
      output += i << 2;
    }
    bottom += bottomBytes;
    pooled += pooledBytes;
  }
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
  const vectorBytes = <usize> dim << 2;
  const bottomBytes = bottom == 0 ? 0 : vectorBytes;
  const pooledBytes = vectorBytes * tables;
  const passedBytes = bottom == 0 ? pooledBytes : bottomBytes;
  const vectors = (bottomBytes + pooledBytes) / vectorBytes;
  const zeros = scratch + TILE_BYTES;
  const matrix = zeros + startBytes(vectors, dim);
  const gradients = matrix + vectors * vectorBytes;
  const panels = gradients + squareBytes(vectors);
  const stride = vectors << 2;
  const count = <i32> vectors;
  memory.fill(zeros, 0, startBytes(vectors, dim));

  for (let sample = 0; sample < samples; sample++) {
    copyWords(matrix, bottom, bottomBytes);
    copyWords(matrix + bottomBytes, pooled, pooledBytes);
    packPanels(count, dim, matrix, vectorBytes, panels);
    const passed = dOutput;
    dOutput = symmetricMatrix(vectors, dOutput + passedBytes, gradients);
    // The panels contain the vectors now, so `matrix` can hold the products.
    multiply(count, dim, count, gradients, stride, panels, matrix, vectorBytes, zeros, 0, NO_FLOOR, scratch);
    add(<i32> (passedBytes >> 2), passed, matrix);
    copyWords(dBottom, matrix, bottomBytes);
    copyWords(dPooled, matrix + bottomBytes, pooledBytes);
    bottom += bottomBytes;
    pooled += pooledBytes;
    dBottom += bottomBytes;
    dPooled += pooledBytes;
  }
}

/** Writes the symmetric matrix with the given lower triangle and a zero diagonal. Returns the end of the triangle. */
function symmetricMatrix(size: usize, triangle: usize, matrix: usize): usize {
  const stride = size << 2;
  for (let i: usize = 0; i < size; i++) {
    copyWords(matrix + i * stride, triangle, i << 2);
    triangle += i << 2;
  }
  for (let first: usize = 0; first < size; first += 4) {
    const rows = min<usize>(4, size - first);
    const block = matrix + first * stride;
    transpose(<i32> rows, <i32> first, block, stride, matrix + (first << 2), stride);
    const corner = block + (first << 2);
    for (let i: usize = 0; i < rows; i++) {
      for (let j: usize = 0; j < i; j++) {
        store<f32>(corner + j * stride + (i << 2), load<f32>(corner + i * stride + (j << 2)));
      }
      store<f32>(corner + i * (stride + 4), 0);
    }
  }
  return triangle;
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
