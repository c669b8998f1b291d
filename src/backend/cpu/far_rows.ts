/**
 * Embedding operations in TypeScript, for tables outside the kernels' memory because they exceed what WASM can address.
 */
import { Header, type RowUpdateShape } from "../backend.ts";
import { OPTIMIZERS, rowStateWords } from "../../optimizer/optimizers.ts";

/** See `Backend.pool`. */
export function poolFar(
  bags: number,
  dim: number,
  table: Float32Array,
  indices: Uint32Array,
  offsets: Uint32Array | undefined,
  pooled: Float32Array,
  weights?: Float32Array,
): void {
  if (offsets === undefined) {
    for (let bag = 0, at = 0; bag < bags; bag++) {
      for (let from = indices[bag] * dim, end = from + dim; from < end; from++, at++) pooled[at] = table[from];
    }
    return;
  }
  for (let bag = 0; bag < bags; bag++) {
    const at = bag * dim;
    for (let d = 0; d < dim; d++) pooled[at + d] = 0;
    for (let k = offsets[bag]; k < offsets[bag + 1]; k++) {
      const from = indices[k] * dim;
      const weight = weightOf(weights, k);
      for (let d = 0; d < dim; d++) pooled[at + d] += Math.fround(weight * table[from + d]);
    }
  }
}

/** See `Backend.packRows`. */
export function packFar(
  count: number,
  dim: number,
  table: Float32Array,
  rows: Uint32Array,
  packed: Float32Array,
): void {
  poolFar(count, dim, table, rows, undefined, packed);
}

/** See `Backend.unpackRows`. */
export function unpackFar(
  count: number,
  dim: number,
  packed: Float32Array,
  rows: Uint32Array,
  table: Float32Array,
): void {
  for (let i = 0, at = 0; i < count; i++) {
    for (let to = rows[i] * dim, end = to + dim; to < end; to++, at++) table[to] = packed[at];
  }
}

/** See `Backend.updateRows`. `gradient` is scratch of dim words; `state` is empty for optimizers without state. */
export function updateRowsFar(
  { optimizer, dim, rank, ranks }: RowUpdateShape,
  headerWords: Uint32Array,
  headerFloats: Float32Array,
  segments: Uint32Array,
  segmentBags: Uint32Array,
  segmentWeights: Float32Array | undefined,
  dPooled: Float32Array,
  table: Float32Array,
  state: Float32Array,
  gradient: Float32Array,
): void {
  const lookups = headerWords[Header.lookups];
  const distinct = headerWords[Header.distinct];
  const { updateRow } = OPTIMIZERS[optimizer];
  const stateWords = rowStateWords(optimizer, dim);
  const l2 = headerFloats[Header.rowL2];
  const first = segmentAt(segments, distinct, Math.floor(lookups * rank / ranks));
  const end = segmentAt(segments, distinct, Math.floor(lookups * (rank + 1) / ranks));
  for (let s = first; s < end; s++) {
    const row = segments[2 * s];
    const lastLookup = segments[2 * s + 3];
    let k = segments[2 * s + 1];
    let weight = weightOf(segmentWeights, k);
    for (let d = 0, from = segmentBags[k] * dim; d < dim; d++) gradient[d] = weight * dPooled[from + d];
    for (k++; k < lastLookup; k++) {
      weight = weightOf(segmentWeights, k);
      for (let d = 0, from = segmentBags[k] * dim; d < dim; d++) gradient[d] += Math.fround(weight * dPooled[from + d]);
    }
    for (let d = 0; l2 !== 0 && d < dim; d++) gradient[d] += l2 * table[row * dim + d];
    updateRow(headerFloats, dim, table, row * dim, gradient, 0, state, row * stateWords);
  }
}

/** The weight of a lookup. */
function weightOf(weights: Float32Array | undefined, lookup: number): number {
  return weights === undefined ? 1 : weights[lookup];
}

/** The first segment that begins at this lookup or after it. */
function segmentAt(segments: Uint32Array, distinct: number, lookup: number): number {
  let low = 0;
  let high = distinct;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (segments[2 * middle + 1] < lookup) low = middle + 1;
    else high = middle;
  }
  return low;
}
