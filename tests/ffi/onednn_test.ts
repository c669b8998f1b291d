/** oneDNN in bf16: rounding is that of the WASM kernel, but for denormal numbers and the bits of NaN; products. */
import assert from "node:assert/strict";
import { openOneDnnBf16 } from "../../ffi/onednn.ts";
import { Random } from "../../src/random.ts";
import { assertClose } from "../support/close.ts";
import { absent } from "../support/libraries.ts";

const rounding = absent("bf16") === undefined ? openOneDnnBf16().rounding : undefined;
const missing = absent("bf16") ?? (rounding === undefined ? "this version of oneDNN has other functions" : undefined);

Deno.test({
  name: `oneDNN rounds to the nearest bf16, and only sizes that were prepared${
    missing ? ` (skipped: ${missing})` : ""
  }`,
  ignore: missing !== undefined,
  fn() {
    const random = new Random(4);
    const special = [0x3f808000, 0x3f818000, 0x3f808001, 0x3f807fff, 0x7f7fffff, 0xff800000, 0x7f800001, 0x7fffffff];
    for (const length of [1, 15, 40, 1000]) {
      const words = Uint32Array.from({ length }, () => random.below(2 ** 32));
      words.set(special.slice(0, length), Math.max(0, length - special.length));
      const rounded = new Uint16Array(length + 1).fill(7);
      const floats = new Float32Array(words.buffer);
      assert.equal(rounding!.round(length, floats, rounded), false);
      assert.ok(rounded.every((half) => half === 7));
      rounding!.prepare(length);
      assert.ok(rounding!.round(length, floats, rounded));
      assert.equal(rounded[length], 7);
      words.forEach((word, i) => {
        const [below, rest] = [word >>> 16, word & 0xffff];
        const isNaN = (word & 0x7fffffff) > 0x7f800000;
        const isDenormal = (word & 0x7f800000) === 0;
        const nearest = below + (rest > 0x8000 || (rest === 0x8000 && below % 2 === 1) ? 1 : 0);
        if (isNaN) assert.ok((rounded[i] & 0x7fff) > 0x7f80, word.toString(16));
        else if (isDenormal) assert.ok([nearest, below & 0x8000].includes(rounded[i]), word.toString(16));
        else assert.equal(rounded[i], nearest, word.toString(16));
      });
      assert.throws(() => rounding!.round(length, floats.subarray(1), rounded), RangeError);
    }
  },
});

const noBf16 = absent("bf16");
Deno.test({
  name: `oneDNN: products of expected sizes agree with others, written and added${
    noBf16 ? ` (skipped: ${noBf16})` : ""
  }`,
  ignore: noBf16 !== undefined,
  fn() {
    const [expecting, other] = [openOneDnnBf16(), openOneDnnBf16()];
    const random = new Random(6);
    const halves = (length: number) =>
      Uint16Array.from(new Uint32Array(Float32Array.from({ length }, () => random.normal()).buffer), (w) => w >>> 16);
    for (const [m, n, k] of [[1, 33, 40], [37, 64, 33], [33, 37, 100], [256, 40, 64]]) {
      for (const [transposeA, transposeB] of [[false, true], [false, false], [true, false]]) {
        expecting.expect(transposeA ? k : m);
        const [a, b] = [halves(m * k), halves(k * n)];
        const before = Float32Array.from({ length: m * n }, () => random.normal());
        for (const add of [false, true]) {
          const results = [expecting, other, expecting].map(({ gemm }) => {
            const c = before.slice();
            gemm(transposeA, transposeB, m, n, k, a, b, c, add);
            return c;
          });
          assertClose(results[0], results[1], 1e-4, `${m} ${n} ${k} ${add}`);
          assert.deepEqual(results[2], results[0]);
        }
        assert.throws(() => expecting.gemm(transposeA, transposeB, m, n, k, a.subarray(1), b, before), RangeError);
      }
    }
  },
});
