/** Compressed files: their content, and whether they are whole. */
import { createReadStream } from "node:fs";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { FileReader } from "../artifact.ts";
import { HotsetError, messageOf } from "../errors.ts";

const PIECE_BYTES = 1 << 20;
const ZSTD_FRAME = 0xfd2fb528;
/** Any of 16 numbers. */
const ZSTD_SKIPPED = 0x184d2a50;

/** True if the name says so. */
export function isCompressed(path: string): boolean {
  return path.endsWith(".gz") || path.endsWith(".zst");
}

/** The content of a .gz or .zst file. Throws HotsetError if it is cut off or something else. */
export async function* decompressed(path: string): AsyncGenerator<Uint8Array> {
  const gzip = path.endsWith(".gz");
  if (!gzip) checkZstd(path);
  const inflate = gzip ? createGunzip({ chunkSize: PIECE_BYTES }) : createZstdDecompress({ chunkSize: PIECE_BYTES });
  const source = createReadStream(path, { highWaterMark: PIECE_BYTES });
  source.on("error", (error) => inflate.destroy(error));
  try {
    for await (const piece of source.pipe(inflate)) yield piece;
  } catch (error) {
    throw compressionFailure(path, error);
  }
}

/**
 * Checks that a .gz or .zst file is whole, for readers that take the start of one that was cut off as if it were all.
 * Throws HotsetError.
 */
export async function checkWhole(path: string): Promise<void> {
  if (path.endsWith(".zst")) checkZstd(path);
  else for await (const _ of decompressed(path)); // only its end tells
}

/** Why a compressed file cannot be read. */
function compressionFailure(path: string, error: unknown): HotsetError {
  const text = messageOf(error);
  const what = path.endsWith(".gz") ? "gzip" : "zstd";
  const reason = /unexpected end|it ends before/i.test(text)
    ? `the ${what} file is cut off; fetch it again`
    : `not a ${what} file: ${text}`;
  return new HotsetError(`Cannot read ${path}: ${reason}`, { cause: error });
}

/** Walks through the frames and blocks of a zstd file by their lengths alone (RFC 8878, section 3.1). */
function checkZstd(path: string): void {
  try {
    using reader = new FileReader(path);
    const end = Deno.statSync(path).size;
    const number = (at: number, bytes: number) => {
      const read = new Uint8Array(4);
      reader.read(at, read.subarray(0, bytes));
      return new DataView(read.buffer).getUint32(0, true);
    };
    let at = 0;
    while (at < end) {
      const magic = number(at, 4);
      at += 4;
      if ((magic & 0xfffffff0) >>> 0 === ZSTD_SKIPPED) {
        at += 4 + number(at, 4);
        continue;
      }
      if (magic !== ZSTD_FRAME) throw new Error("a frame does not begin as one");
      const descriptor = number(at, 1);
      const single = descriptor >> 5 & 1;
      at += 1 + (1 - single) + [0, 1, 2, 4][descriptor & 3] + [single, 2, 4, 8][descriptor >> 6];
      for (let last = false; !last;) {
        const block = number(at, 3);
        last = (block & 1) === 1;
        at += 3 + ((block >> 1 & 3) === 1 ? 1 : block >> 3);
      }
      at += 4 * (descriptor >> 2 & 1);
    }
    if (at > end) throw new Error("it ends before its last frame");
  } catch (error) {
    throw compressionFailure(path, error);
  }
}
