import { HEADER_STEP } from "./codes";
import { copyWords } from "./copy";

/**
 * y (words) = x times 0 or 1 / (1 - rate), by the bits of each position in the batch, of which `first` is that of the
 * first word. In step 0 y = x.
 */
export function dropout(words: u32, rate: f64, key: u32, first: u32, header: usize, x: usize, y: usize): void {
  const bytes = <usize> words << 2;
  const step = load<u32>(header + HEADER_STEP);
  if (step == 0) return copyWords(y, x, bytes);
  const mask = mix(key + 0x9e3779b9 * step);
  const dropped = <u32> ceil(rate * 4294967296.0); // a bit pattern is below rate 2^32 if it is below the next integer
  const kept = <f32> (1 / (1 - rate));
  const vectorEnd = bytes & ~15;
  const masks = i32x4.splat(mask), limits = i32x4.splat(dropped), factors = f32x4.splat(kept), four = i32x4.splat(4);
  let positions = i32x4.add(i32x4.splat(first), i32x4(0, 1, 2, 3));
  let i: usize = 0;
  for (; i < vectorEnd; i += 16) {
    const zeros = i32x4.lt_u(mixed(v128.xor(positions, masks)), limits);
    v128.store(y + i, f32x4.mul(v128.load(x + i), v128.andnot(factors, zeros)));
    positions = i32x4.add(positions, four);
  }
  for (; i < bytes; i += 4) {
    const bits = mix((first + <u32> (i >> 2)) ^ mask);
    store<f32>(y + i, load<f32>(x + i) * (bits < dropped ? 0 : kept));
  }
}

/** `mix` of src/random.ts. */
function mix(x: u32): u32 {
  x = (x ^ (x >> 16)) * 0x7feb352d;
  x = (x ^ (x >> 15)) * 0x846ca68b;
  return x ^ (x >> 16);
}

/** The same of four numbers. */
@inline
function mixed(x: v128): v128 {
  x = i32x4.mul(v128.xor(x, i32x4.shr_u(x, 16)), i32x4.splat(0x7feb352d));
  x = i32x4.mul(v128.xor(x, i32x4.shr_u(x, 15)), i32x4.splat(0x846ca68b));
  return v128.xor(x, i32x4.shr_u(x, 16));
}
