// bf16 is the upper half of a single-precision word.

/** Rounds words to the nearest bf16, ties to even; NaN stays NaN. */
export function roundToBf16(words: u32, from: usize, to: usize): void {
  let i: u32 = 0;
  for (; i + 16 <= words; i += 16) {
    const w0 = rounded(v128.load(from, 0)), w1 = rounded(v128.load(from, 16));
    const w2 = rounded(v128.load(from, 32)), w3 = rounded(v128.load(from, 48));
    v128.store(to, i16x8.narrow_i32x4_u(w0, w1), 0);
    v128.store(to, i16x8.narrow_i32x4_u(w2, w3), 16);
    from += 64;
    to += 32;
  }
  for (; i < words; i++) {
    const word = load<u32>(from);
    const isNaN = (word & 0x7fffffff) > 0x7f800000;
    store<u16>(to, <u16> ((isNaN ? word | 0x400000 : word + 0x7fff + (word >> 16 & 1)) >> 16));
    from += 4;
    to += 2;
  }
}

/** Rounds four words to bf16; the result is in their upper halves. */
// @ts-ignore: a decorator of AssemblyScript
@inline
function rounded(words: v128): v128 {
  const odd = v128.and(i32x4.shr_u(words, 16), i32x4.splat(1));
  const nearest = i32x4.add(words, i32x4.add(odd, i32x4.splat(0x7fff)));
  return i32x4.shr_u(v128.or(nearest, f32x4.ne(words, words)), 16);
}
