import assert from "node:assert/strict";
import { crc32 } from "node:zlib";
import { joinCrc32 } from "../../src/storage/crc32.ts";
import { Random } from "../../src/random.ts";

Deno.test("joined checksums are those of the joined bytes", () => {
  const random = new Random(1);
  for (const [a, b] of [[0, 0], [0, 5], [5, 0], [1, 1], [7, 1000], [1000, 4096], [3, 100_001]]) {
    const bytes = Uint8Array.from({ length: a + b }, () => random.below(256));
    const joined = joinCrc32(crc32(bytes.subarray(0, a)), crc32(bytes.subarray(a)), b);
    assert.equal(joined, crc32(bytes), `${a} and ${b} bytes`);
  }
});

Deno.test("a checksum over more zeros than 32 bits can count", () => {
  const zeros = new Uint8Array(1 << 20);
  const doubled = (bytes: number): number => {
    if (bytes === zeros.length) return crc32(zeros);
    const half = doubled(bytes / 2);
    return joinCrc32(half, half, bytes / 2);
  };
  // The same length put together otherwise.
  const whole = doubled(2 ** 33);
  assert.equal(
    joinCrc32(crc32(zeros), joinCrc32(doubled(2 ** 32), doubled(2 ** 32), 2 ** 32), 2 ** 33),
    joinCrc32(whole, crc32(zeros), 2 ** 20),
  );
});
