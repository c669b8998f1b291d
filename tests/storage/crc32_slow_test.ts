/** Checksums of more bytes than 32 bits can count. */
import assert from "node:assert/strict";
import { crc32Of, joinCrc32 } from "../../src/storage/crc32.ts";

Deno.test("the CRC-32 of more than 4 GiB is that of its parts", () => {
  const bytes = new Uint8Array(2 ** 32 + 4096); // zeros, which take no memory until they are written
  bytes[2 ** 32 + 7] = 1;
  const [first, second] = [bytes.subarray(0, 2 ** 31), bytes.subarray(2 ** 31)].map((part) => crc32Of(part));
  assert.equal(crc32Of(bytes), joinCrc32(first, second, 2 ** 31 + 4096));
});
