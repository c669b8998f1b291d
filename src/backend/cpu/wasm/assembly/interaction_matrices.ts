// The dot interaction around products that a library computes, of a block of samples: their vectors V (vectors, dim) one
// after the other, V Vᵀ (vectors, vectors), the matrices G of the gradients of its lower triangle, and G V. Vector 0 is
// the bottom vector. `first` is the block's first sample; what belongs to the block alone begins with that sample.
import { copyWords } from "./copy";
import { add } from "./dense";
import { transpose } from "./gemm";

/** vectors (samples, tables + 1, dim) = the bottom vector and all pooled vectors of each sample. */
export function packVectors(
  first: i32,
  samples: i32,
  tables: i32,
  dim: i32,
  bottom: usize,
  pooled: usize,
  vectors: usize,
): void {
  const vectorBytes = <usize> dim << 2;
  const pooledBytes = vectorBytes * tables;
  bottom += <usize> first * vectorBytes;
  pooled += <usize> first * pooledBytes;
  for (let sample = 0; sample < samples; sample++) {
    copyWords(vectors, bottom, vectorBytes);
    copyWords(vectors + vectorBytes, pooled, pooledBytes);
    vectors += vectorBytes + pooledBytes;
    bottom += vectorBytes;
    pooled += pooledBytes;
  }
}

/** The rows of output from `first` on = the bottom vector, then the lower triangle of the sample's products. */
export function unpackProducts(
  first: i32,
  samples: i32,
  tables: i32,
  dim: i32,
  bottom: usize,
  products: usize,
  output: usize,
): void {
  const vectorBytes = <usize> dim << 2, rowBytes = <usize> (tables + 1) << 2;
  const outputBytes = vectorBytes + (<usize> (tables * (tables + 1) / 2) << 2);
  bottom += <usize> first * vectorBytes;
  output += <usize> first * outputBytes;
  for (let sample = 0; sample < samples; sample++) {
    copyWords(output, bottom, vectorBytes);
    output += vectorBytes;
    for (let bytes: usize = 0; bytes < rowBytes; bytes += 4) {
      copyWords(output, products, bytes);
      output += bytes;
      products += rowBytes;
    }
    bottom += vectorBytes;
  }
}

/** gradients (samples, tables + 1, tables + 1) = symmetric, with the lower triangles of dOutput and a zero diagonal. */
export function packGradients(
  first: i32,
  samples: i32,
  tables: i32,
  dim: i32,
  dOutput: usize,
  gradients: usize,
): void {
  const vectors = tables + 1;
  const vectorBytes = <usize> dim << 2, rowBytes = <usize> (tables + 1) << 2;
  let triangle = dOutput + <usize> first * (vectorBytes + (<usize> (tables * vectors / 2) << 2));
  for (let sample = 0; sample < samples; sample++) {
    triangle += vectorBytes;
    let row = gradients;
    for (let bytes: usize = 0; bytes < rowBytes; bytes += 4) {
      copyWords(row, triangle, bytes);
      store<f32>(row + bytes, 0);
      triangle += bytes;
      row += rowBytes;
    }
    for (let i = 0; i < vectors; i += 4) mirror(vectors - i, gradients + <usize> i * (rowBytes + 4), rowBytes);
    gradients = row;
  }
}

/** Copies up to 4 columns below the diagonal to the rows right of it, in a matrix of `size` rows with this stride. */
function mirror(size: i32, matrix: usize, stride: usize): void {
  const columns = min(4, size);
  for (let i = 1; i < columns; i++) {
    for (let j = 0; j < i; j++) {
      store<f32>(matrix + <usize> j * stride + (<usize> i << 2), load<f32>(matrix + <usize> i * stride + (<usize> j << 2)));
    }
  }
  transpose(size - columns, columns, matrix + <usize> columns * stride, stride, matrix + (<usize> columns << 2), stride);
}

/** dBottom and dPooled from `first` on = the gradients of the vectors (samples, tables + 1, dim), and what passes on. */
export function unpackGradients(
  first: i32,
  samples: i32,
  tables: i32,
  dim: i32,
  dVectors: usize,
  dOutput: usize,
  dBottom: usize,
  dPooled: usize,
): void {
  const vectorBytes = <usize> dim << 2;
  const pooledBytes = vectorBytes * tables, outputBytes = vectorBytes + (<usize> (tables * (tables + 1) / 2) << 2);
  dOutput += <usize> first * outputBytes;
  dBottom += <usize> first * vectorBytes;
  dPooled += <usize> first * pooledBytes;
  for (let sample = 0; sample < samples; sample++) {
    copyWords(dBottom, dVectors, vectorBytes);
    add(dim, dOutput, dBottom);
    copyWords(dPooled, dVectors + vectorBytes, pooledBytes);
    dVectors += vectorBytes + pooledBytes;
    dOutput += outputBytes;
    dBottom += vectorBytes;
    dPooled += pooledBytes;
  }
}
