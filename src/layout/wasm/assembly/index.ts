// See src/layout/wasm/kernels.ts, which says what each function computes. Addresses are in bytes.

/** No row: the place has not been written. */
const NONE: i32 = -1;

// @ts-ignore: decorator
@inline
function numberAt(numbers: usize, i: u32, wide: bool): u32 {
  return wide ? load<u32>(numbers + 4 * i) : <u32>load<u16>(numbers + 2 * i);
}

export function expandSegments(
  distinct: u32,
  rows: usize,
  lengths: usize,
  wide: bool,
  samples: u32,
  lookups: u32,
  firstLookup: u32,
  leastRow: u32,
  rowLimit: u32,
  segments: usize,
  expanded: usize,
): u32 {
  let next = leastRow;
  for (let s: u32 = 0, k: u32 = 0, end = samples; s < distinct; s++) {
    const row = load<u32>(rows + 4 * s);
    const more = numberAt(lengths, s, wide);
    if (row < next || row >= rowLimit || more >= end - k) return 0;
    next = row + 1;
    store<u32>(segments + 8 * s, row, 0);
    store<u32>(segments + 8 * s, firstLookup + k, 4);
    // The length of a segment cannot be predicted, so short ones are written without a branch: what is written after
    // their end is overwritten by the next segment.
    const value = i32x4.splat(row);
    const to = expanded + 4 * k;
    v128.store(to, value, 0);
    v128.store(to, value, 16);
    for (let i: u32 = 8; i <= more; i += 8) {
      v128.store(to + 4 * i, value, 0);
      v128.store(to + 4 * i, value, 16);
    }
    k += more + 1;
    if (k < end) continue;
    if (k == lookups) return s + 1;
    end += samples;
  }
  return 0;
}

export function scatterRows(
  samples: u32,
  tables: u32,
  table: u32,
  places: usize,
  wide: bool,
  expanded: usize,
  collected: usize,
  bags: usize,
): bool {
  memory.fill(collected, 255, 4 * samples);
  let k: u32 = 0;
  if (!wide) {
    const last = i16x8.splat(<i16>(samples - 1));
    const factor = i32x4.splat(tables);
    const first = i32x4.splat(table);
    for (; k + 8 <= samples; k += 8) {
      const from = places + 2 * k;
      const eight = v128.load(from);
      if (v128.any_true(i16x8.gt_u(eight, last))) return false;
      const to = bags + 4 * k;
      v128.store(to, i32x4.add(i32x4.mul(i32x4.extend_low_i16x8_u(eight), factor), first), 0);
      v128.store(to, i32x4.add(i32x4.mul(i32x4.extend_high_i16x8_u(eight), factor), first), 16);
      const row = expanded + 4 * k;
      store<u32>(collected + 4 * <usize>load<u16>(from, 0), load<u32>(row, 0));
      store<u32>(collected + 4 * <usize>load<u16>(from, 2), load<u32>(row, 4));
      store<u32>(collected + 4 * <usize>load<u16>(from, 4), load<u32>(row, 8));
      store<u32>(collected + 4 * <usize>load<u16>(from, 6), load<u32>(row, 12));
      store<u32>(collected + 4 * <usize>load<u16>(from, 8), load<u32>(row, 16));
      store<u32>(collected + 4 * <usize>load<u16>(from, 10), load<u32>(row, 20));
      store<u32>(collected + 4 * <usize>load<u16>(from, 12), load<u32>(row, 24));
      store<u32>(collected + 4 * <usize>load<u16>(from, 14), load<u32>(row, 28));
    }
  }
  for (; k < samples; k++) {
    const place = numberAt(places, k, wide);
    if (place >= samples) return false;
    store<u32>(collected + 4 * place, load<u32>(expanded + 4 * k));
    store<u32>(bags + 4 * k, place * tables + table);
  }
  return true;
}

export function transposeRows(
  first: u32,
  count: u32,
  tables: u32,
  collected: usize,
  stride: u32,
  indices: usize,
): bool {
  const none = i32x4.splat(NONE);
  let missing = i32x4.splat(0);
  const row = 4 * tables;
  let s: u32 = 0;
  for (; s + 4 <= count; s += 4) {
    const to = indices + s * row;
    let t: u32 = 0;
    for (; t + 4 <= tables; t += 4) {
      const from = collected + t * stride + 4 * (first + s);
      const a = v128.load(from), b = v128.load(from + stride);
      const c = v128.load(from + 2 * stride), d = v128.load(from + 3 * stride);
      missing = v128.or(missing, v128.or(i32x4.eq(a, none), i32x4.eq(b, none)));
      missing = v128.or(missing, v128.or(i32x4.eq(c, none), i32x4.eq(d, none)));
      const ab = v128.shuffle<i32>(a, b, 0, 4, 1, 5), abHigh = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
      const cd = v128.shuffle<i32>(c, d, 0, 4, 1, 5), cdHigh = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
      const at = to + 4 * t;
      v128.store(at, v128.shuffle<i64>(ab, cd, 0, 2));
      v128.store(at + row, v128.shuffle<i64>(ab, cd, 1, 3));
      v128.store(at + 2 * row, v128.shuffle<i64>(abHigh, cdHigh, 0, 2));
      v128.store(at + 3 * row, v128.shuffle<i64>(abHigh, cdHigh, 1, 3));
    }
    for (; t < tables; t++) {
      const from = v128.load(collected + t * stride + 4 * (first + s));
      missing = v128.or(missing, i32x4.eq(from, none));
      v128.store32_lane(to + 4 * t, from, 0);
      v128.store32_lane(to + 4 * t + row, from, 1);
      v128.store32_lane(to + 4 * t + 2 * row, from, 2);
      v128.store32_lane(to + 4 * t + 3 * row, from, 3);
    }
  }
  for (; s < count; s++) {
    for (let t: u32 = 0; t < tables; t++) {
      const from = load<i32>(collected + t * stride + 4 * (first + s));
      missing = v128.or(missing, i32x4.eq(i32x4.splat(from), none));
      store<i32>(indices + s * row + 4 * t, from);
    }
  }
  return !v128.any_true(missing);
}
