/** Operations on tables that lie outside the kernels' memory, in plain TypeScript: tables may exceed what WASM can address. */
import { ADAGRAD_EPSILON, Header, type RowUpdateShape } from "../backend.ts";

/** See `Backend.pool`. */
export function poolFar(
  bags: number,
  dim: number,
  table: Float32Array,
  indices: Uint32Array,
  offsets: Uint32Array | undefined,
  pooled: Float32Array,
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
      for (let d = 0; d < dim; d++) pooled[at + d] += table[from + d];
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

/** See `Backend.updateRows`; `gradient` is scratch of dim words. */
export function updateRowsFar(
  { optimizer, dim, rank, ranks }: RowUpdateShape,
  headerWords: Uint32Array,
  headerFloats: Float32Array,
  segments: Uint32Array,
  segmentBags: Uint32Array,
  dPooled: Float32Array,
  table: Float32Array,
  state: Float32Array | undefined,
  gradient: Float32Array,
): void {
  const lookups = headerWords[Header.lookups];
  const distinct = headerWords[Header.distinct];
  const learningRate = headerFloats[Header.learningRate];
  const first = segmentAt(segments, distinct, Math.floor(lookups * rank / ranks));
  const end = segmentAt(segments, distinct, Math.floor(lookups * (rank + 1) / ranks));
  for (let s = first; s < end; s++) {
    const row = segments[2 * s];
    const lastLookup = segments[2 * s + 3];
    let k = segments[2 * s + 1];
    for (let d = 0, from = segmentBags[k] * dim; d < dim; d++) gradient[d] = dPooled[from + d];
    for (k++; k < lastLookup; k++) {
      for (let d = 0, from = segmentBags[k] * dim; d < dim; d++) gradient[d] += dPooled[from + d];
    }
    const at = row * dim;
    if (optimizer === "sgd") {
      for (let d = 0; d < dim; d++) table[at + d] -= learningRate * gradient[d];
    } else if (optimizer === "adagrad") {
      for (let d = 0; d < dim; d++) {
        const g = gradient[d];
        const squares = Math.fround(state![at + d] + g * g);
        state![at + d] = squares;
        table[at + d] -= learningRate * g / (Math.sqrt(squares) + ADAGRAD_EPSILON);
      }
    } else {
      let sum = 0;
      for (let d = 0; d < dim; d++) sum += gradient[d] * gradient[d];
      const squares = Math.fround(state![row] + sum / dim);
      state![row] = squares;
      const scale = learningRate / (Math.sqrt(squares) + ADAGRAD_EPSILON);
      for (let d = 0; d < dim; d++) table[at + d] -= scale * gradient[d];
    }
  }
}

/** The first segment that begins at or after a lookup. */
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
