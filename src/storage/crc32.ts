/** Checksums of data that is written in parts. */
import { crc32 } from "node:zlib";

/** The library counts bytes in 32 bits: longer data is passed in parts of this size. */
const PART_BYTES = 2 ** 30;

/** The CRC-32 of data whose first part has the CRC-32 `sum` and is followed by these bytes. */
export function crc32Of(bytes: Uint8Array, sum = 0): number {
  for (let done = 0; done < bytes.length; done += PART_BYTES) sum = crc32(bytes.subarray(done, done + PART_BYTES), sum);
  return sum;
}

/** CRC-32's polynomial, bits reversed. */
const POLYNOMIAL = 0xedb88320;

/**
 * The CRC-32 of two concatenated texts, from the CRC-32 of each and the length of the second. Appending a zero bit is a
 * linear map of the 32 bits, so appending many is a power of that map, computed by squaring.
 */
export function joinCrc32(first: number, second: number, secondBytes: number): number {
  // Column k of the map: what bit k becomes when one more zero bit is appended.
  let power = Uint32Array.from({ length: 32 }, (_, bit) => bit === 0 ? POLYNOMIAL : 1 << (bit - 1));
  let sum = first >>> 0;
  for (let bits = 8 * secondBytes; bits > 0; bits = Math.floor(bits / 2)) {
    if (bits % 2 === 1) sum = apply(power, sum);
    const square = power;
    power = square.map((column) => apply(square, column));
  }
  return (sum ^ second) >>> 0;
}

function apply(columns: Uint32Array, bits: number): number {
  let sum = 0;
  for (let bit = 0; bits !== 0; bit++, bits >>>= 1) if ((bits & 1) === 1) sum ^= columns[bit];
  return sum >>> 0;
}
