// bf16: the upper half of a single-precision word.

/** Rounds words to the nearest bf16, ties to even; NaN stays NaN. */
export function roundToBf16(words: u32, from: usize, to: usize): void {
  let i: u32 = 0;
  for (; i + 8 <= words; i += 8) {
    const low = roundVector(v128.load(from, 0)), high = roundVector(v128.load(from, 16));
    // The upper halves of the words of both.
    v128.store(to, v128.shuffle<i16>(low, high, 1, 3, 5, 7, 9, 11, 13, 15));
    from += 32;
    to += 16;
  }
  for (; i < words; i++) {
    const word = load<u32>(from);
    const isNaN = (word & 0x7fffffff) > 0x7f800000;
    store<u16>(to, <u16> ((isNaN ? word | 0x400000 : word + 0x7fff + (word >> 16 & 1)) >> 16));
    from += 4;
    to += 2;
  }
}

/** Four words whose upper halves are the nearest bf16. */
function roundVector(words: v128): v128 {
  const odd = v128.and(i32x4.shr_u(words, 16), i32x4.splat(1));
  const rounded = i32x4.add(words, i32x4.add(odd, i32x4.splat(0x7fff)));
  const quiet = v128.or(words, i32x4.splat(0x400000));
  return v128.bitselect(rounded, quiet, f32x4.eq(words, words));
}
