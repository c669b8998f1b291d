// Lookups and updates of rows in the kernels' memory. Copying or updating one row takes so many instructions that the
// processor overlaps the cache misses of only a few rows. A short loop therefore reads one word of each cache line of
// the next BLOCK rows first, so that their misses overlap.
import { ADAGRAD_EPSILON, HEADER_DISTINCT, HEADER_LEARNING_RATE, HEADER_LOOKUPS, HEADER_ROW_L2, ROW_WISE_ADAGRAD } from "./codes";
import { copyWords } from "./copy";
import { descend, squares, updateWeights } from "./dense";

/** Number of rows that are prefetched together. */
const BLOCK: u32 = 64;

/** packed[i] = table[rows[i]] for i < count. */
export function gatherRows(count: u32, dim: u32, table: usize, rows: usize, packed: usize): void {
  const bytes = <usize> dim << 2;
  for (let first: u32 = 0; first < count; first += BLOCK) {
    const block = min(BLOCK, count - first);
    touchRows(block, bytes, table, rows, 4, packed);
    for (let i: u32 = 0; i < block; i++) {
      copyWords(packed, table + <usize> load<u32>(rows) * bytes, bytes);
      packed += bytes;
      rows += 4;
    }
  }
}

/** table[rows[i]] = packed[i] for i < count; rows are distinct. */
export function scatterRows(count: u32, dim: u32, packed: usize, rows: usize, table: usize): void {
  const bytes = <usize> dim << 2;
  for (let i: u32 = 0; i < count; i++) {
    copyWords(table + <usize> load<u32>(rows) * bytes, packed, bytes);
    packed += bytes;
    rows += 4;
  }
}

/**
 * pooled[b] = the sum of table[indices[k]] over offsets[b] <= k < offsets[b + 1], each times weights[k] unless there are
 * no weights (0).
 */
export function pool(
  bags: u32,
  dim: u32,
  table: usize,
  indices: usize,
  offsets: usize,
  weights: usize,
  pooled: usize,
): void {
  const bytes = <usize> dim << 2;
  const lookups = load<u32>(offsets + (<usize> bags << 2));
  let touched = load<u32>(offsets);
  for (let b: u32 = 0; b < bags; b++) {
    const begin = load<u32>(offsets, 0);
    const end = load<u32>(offsets, 4);
    const count = end - begin;
    while (touched < end) {
      const block = min(BLOCK, lookups - touched);
      touchRows(block, bytes, table, indices + (<usize> touched << 2), 4, pooled);
      touched += block;
    }
    const at = <usize> begin << 2;
    if (weights != 0) sumWeightedRows(count, bytes, table, indices + at, weights + at, pooled);
    else if (count == 1) copyWords(pooled, table + <usize> load<u32>(indices + at) * bytes, bytes);
    else sumRows(count, bytes, table, indices + at, pooled);
    offsets += 4;
    pooled += bytes;
  }
}

/** y[b] = x[b] / n for the n lookups of bag b, or x[b] if it has none. */
export function meanOfBags(bags: u32, dim: u32, offsets: usize, x: usize, y: usize): void {
  const bytes = <usize> dim << 2;
  const vectorEnd = bytes & ~15;
  for (let b: u32 = 0; b < bags; b++) {
    const lookups = <f32> max<u32>(load<u32>(offsets, 4) - load<u32>(offsets, 0), 1);
    const divisors = f32x4.splat(lookups);
    let i: usize = 0;
    for (; i < vectorEnd; i += 16) v128.store(y + i, f32x4.div(v128.load(x + i), divisors));
    for (; i < bytes; i += 4) store<f32>(y + i, load<f32>(x + i) / lookups);
    offsets += 4;
    x += bytes;
    y += bytes;
  }
}

/**
 * Updates the rows of a batch. Segment s is row segments[2s]; its gradient is the sum of dPooled over the bags
 * segmentBags[segments[2s + 1] .. segments[2s + 3]], each times its weight of segmentWeights unless that is 0.
 * Rank r of `ranks` updates the segments that begin within its share of the lookups. A row has `stateWords` words of
 * state; scratch holds one row.
 */
export function updateRows(
  optimizer: i32,
  stateWords: u32,
  dim: u32,
  rank: u32,
  ranks: u32,
  header: usize,
  segments: usize,
  segmentBags: usize,
  segmentWeights: usize,
  dPooled: usize,
  table: usize,
  state: usize,
  scratch: usize,
): void {
  const bytes = <usize> dim << 2;
  const stateBytes = <usize> stateWords << 2;
  const rate = load<f32>(header + HEADER_LEARNING_RATE);
  const l2 = load<f32>(header + HEADER_ROW_L2);
  const lookups = <u64> load<u32>(header + HEADER_LOOKUPS);
  const distinct = load<u32>(header + HEADER_DISTINCT);
  let s = firstSegment(segments, distinct, <u32> (lookups * rank / ranks));
  const end = firstSegment(segments, distinct, <u32> (lookups * (rank + 1) / ranks));
  for (let touched = s; s < end; s++) {
    if (s == touched) {
      const block = min(BLOCK, end - s);
      const rows = segments + (<usize> s << 3);
      touchRows(block, bytes, table, rows, 8, scratch);
      if (stateWords > 0) touchRows(block, stateBytes, state, rows, 8, scratch);
      touched += block;
    }
    const segment = segments + (<usize> s << 3);
    const row = <usize> load<u32>(segment);
    const weights = table + row * bytes;
    let gradient = gradientOf(segment, bytes, segmentBags, segmentWeights, dPooled, scratch);
    if (l2 != 0) gradient = withL2(dim, l2, weights, gradient, scratch);
    if (optimizer != ROW_WISE_ADAGRAD) {
      updateWeights(optimizer, dim, header, weights, gradient, state + row * stateBytes);
    } else {
      const at = state + (row << 2);
      const squares = load<f32>(at) + sumOfSquares(bytes, gradient) / <f32> dim;
      store<f32>(at, squares);
      descend(dim, rate / (sqrt(squares) + ADAGRAD_EPSILON), weights, gradient);
    }
  }
}

/** scratch (dim) = gradient + l2 weights; gradient may be scratch. Returns its address. */
function withL2(dim: u32, l2: f32, weights: usize, gradient: usize, scratch: usize): usize {
  for (let i: usize = 0; i < <usize> dim << 2; i += 4) {
    store<f32>(scratch + i, load<f32>(gradient + i) + l2 * load<f32>(weights + i));
  }
  return scratch;
}

/** The sum of the squares of the gradients of the rows that updateRows writes; scratch holds one row. */
export function rowSquares(
  dim: u32,
  rank: u32,
  ranks: u32,
  header: usize,
  segments: usize,
  segmentBags: usize,
  segmentWeights: usize,
  dPooled: usize,
  scratch: usize,
): f64 {
  const bytes = <usize> dim << 2;
  const lookups = <u64> load<u32>(header + HEADER_LOOKUPS);
  const distinct = load<u32>(header + HEADER_DISTINCT);
  let s = firstSegment(segments, distinct, <u32> (lookups * rank / ranks));
  const end = firstSegment(segments, distinct, <u32> (lookups * (rank + 1) / ranks));
  let sum: f64 = 0;
  for (; s < end; s++) {
    const segment = segments + (<usize> s << 3);
    sum += squares(dim, gradientOf(segment, bytes, segmentBags, segmentWeights, dPooled, scratch));
  }
  return sum;
}

/**
 * Reads a word of every cache line of table[rows[i]] for i < count; rows are `stride` bytes apart. The combined words
 * are written to `sink`, which nothing reads, because the compiler removes reads whose results are unused.
 */
function touchRows(count: u32, bytes: usize, table: usize, rows: usize, stride: usize, sink: usize): void {
  let read: u32 = 0;
  for (let line: usize = 0; line < bytes; line += 64) {
    let at = rows;
    for (let i: u32 = 0; i < count; i++) {
      read |= load<u32>(table + <usize> load<u32>(at) * bytes + line);
      at += stride;
    }
  }
  store<u32>(sink, read);
}

/**
 * Address of the gradient of a segment's row: its sum over the bags in `scratch`, or the row of dPooled if there is one
 * bag and no weight.
 */
function gradientOf(
  segment: usize,
  bytes: usize,
  segmentBags: usize,
  segmentWeights: usize,
  dPooled: usize,
  scratch: usize,
): usize {
  const begin = load<u32>(segment, 4);
  const count = load<u32>(segment, 12) - begin;
  const at = <usize> begin << 2;
  const bags = segmentBags + at;
  if (segmentWeights != 0) sumWeightedRows(count, bytes, dPooled, bags, segmentWeights + at, scratch);
  else if (count == 1) return dPooled + <usize> load<u32>(bags) * bytes;
  else sumRows(count, bytes, dPooled, bags, scratch);
  return scratch;
}

/** The first of `distinct` segments that begins at `position` or after it; `distinct` if there is none. */
function firstSegment(segments: usize, distinct: u32, position: u32): u32 {
  let low: u32 = 0;
  let high = distinct;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (load<u32>(segments + (<usize> middle << 3), 4) < position) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** sum (dim) = the sum of table[rows[i]] for i < count, in order. */
function sumRows(count: u32, bytes: usize, table: usize, rows: usize, sum: usize): void {
  const last = rows + (<usize> count << 2);
  let j: usize = 0;
  for (; j + 64 <= bytes; j += 64) {
    let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
    for (let at = rows; at != last; at += 4) {
      const from = table + <usize> load<u32>(at) * bytes + j;
      s0 = f32x4.add(s0, v128.load(from, 0));
      s1 = f32x4.add(s1, v128.load(from, 16));
      s2 = f32x4.add(s2, v128.load(from, 32));
      s3 = f32x4.add(s3, v128.load(from, 48));
    }
    v128.store(sum + j, s0, 0);
    v128.store(sum + j, s1, 16);
    v128.store(sum + j, s2, 32);
    v128.store(sum + j, s3, 48);
  }
  for (; j + 16 <= bytes; j += 16) {
    let s0 = f32x4.splat(0);
    for (let at = rows; at != last; at += 4) {
      s0 = f32x4.add(s0, v128.load(table + <usize> load<u32>(at) * bytes + j));
    }
    v128.store(sum + j, s0);
  }
  for (; j < bytes; j += 4) {
    let s0: f32 = 0;
    for (let at = rows; at != last; at += 4) s0 += load<f32>(table + <usize> load<u32>(at) * bytes + j);
    store<f32>(sum + j, s0);
  }
}

/** sum (dim) = the sum of weights[i] * table[rows[i]] for i < count, in order. */
function sumWeightedRows(count: u32, bytes: usize, table: usize, rows: usize, weights: usize, sum: usize): void {
  const vectorEnd = bytes & ~15;
  let j: usize = 0;
  for (; j < vectorEnd; j += 16) v128.store(sum + j, f32x4.splat(0));
  for (; j < bytes; j += 4) store<f32>(sum + j, 0);
  for (let i: u32 = 0; i < count; i++) {
    const from = table + <usize> load<u32>(rows) * bytes;
    const weight = load<f32>(weights);
    const factors = f32x4.splat(weight);
    for (j = 0; j < vectorEnd; j += 16) {
      v128.store(sum + j, f32x4.add(v128.load(sum + j), f32x4.mul(factors, v128.load(from + j))));
    }
    for (; j < bytes; j += 4) store<f32>(sum + j, load<f32>(sum + j) + weight * load<f32>(from + j));
    rows += 4;
    weights += 4;
  }
}

function sumOfSquares(bytes: usize, row: usize): f32 {
  const vectorEnd = bytes & ~15;
  let squares = f32x4.splat(0);
  let j: usize = 0;
  for (; j < vectorEnd; j += 16) {
    const v = v128.load(row + j);
    squares = f32x4.relaxed_madd(v, v, squares);
  }
  let sum = (f32x4.extract_lane(squares, 0) + f32x4.extract_lane(squares, 1)) +
    (f32x4.extract_lane(squares, 2) + f32x4.extract_lane(squares, 3));
  for (; j < bytes; j += 4) sum += load<f32>(row + j) * load<f32>(row + j);
  return sum;
}
