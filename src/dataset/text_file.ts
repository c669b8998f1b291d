/** Text files, plain and compressed: reads their text and detects truncation. */
import { createReadStream } from "node:fs";
import type { Transform } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { FileReader } from "../storage/artifact.ts";
import { HotsetError, messageOf } from "../errors.ts";
import type { FileContent } from "./file_content.ts";
import { LINE_TOO_LONG, MAX_LINE_BYTES, NOT_UTF8, rowError } from "./row_fault.ts";

export interface TextFile {
  readonly path: string;
  readonly content: FileContent;
}

const NEWLINE = 10, RETURN = 13;
const PIECE_BYTES = 1 << 20;
const ZSTD_FRAME = 0xfd2fb528;
/** Any of 16 magic numbers. */
const ZSTD_SKIPPED = 0x184d2a50;

/** The text of a file, decompressed if necessary. Throws HotsetError if the compressed data is truncated or invalid. */
export async function* textOf({ path, content }: TextFile): AsyncGenerator<Uint8Array> {
  if (content === "gzip") return yield* inflated(path, content, createGunzip({ chunkSize: PIECE_BYTES }));
  if (content === "zstd") {
    // The decompressor silently stops after the first frame.
    for (const frame of zstdFrames(path)) {
      yield* inflated(path, content, createZstdDecompress({ chunkSize: PIECE_BYTES }), frame);
    }
    return;
  }
  try {
    for await (const piece of createReadStream(path, { highWaterMark: PIECE_BYTES })) yield piece;
  } catch (error) {
    throw new HotsetError(`Cannot read ${path}: ${messageOf(error)}`, { cause: error });
  }
}

/** Decompresses a file, or its bytes from `start` to `end` (inclusive). */
async function* inflated(
  path: string,
  content: FileContent,
  inflate: Transform,
  range: { readonly start?: number; readonly end?: number } = {},
): AsyncGenerator<Uint8Array> {
  const source = createReadStream(path, { highWaterMark: PIECE_BYTES, ...range });
  source.on("error", (error) => inflate.destroy(error));
  try {
    for await (const piece of source.pipe(inflate)) yield piece;
  } catch (error) {
    throw compressionFailure(path, content, error);
  } finally {
    source.destroy();
  }
}

function compressionFailure(path: string, what: FileContent, error: unknown): HotsetError {
  const text = messageOf(error);
  const reason = /unexpected end|it ends before/i.test(text)
    ? `the ${what} file is truncated; download it again`
    : `not a ${what} file: ${text}`;
  return new HotsetError(`Cannot read ${path}: ${reason}`, { cause: error });
}

/**
 * The zstd frames with data in a file, found by the lengths of their blocks (RFC 8878, section 3.1). Throws HotsetError
 * if the file is truncated.
 */
function zstdFrames(path: string): { start: number; end: number }[] {
  const frames: { start: number; end: number }[] = [];
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
      const start = at;
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
      frames.push({ start, end: at - 1 });
    }
    if (at > end) throw new Error("it ends before its last frame");
  } catch (error) {
    throw compressionFailure(path, "zstd", error);
  }
  return frames;
}

/** The first nonblank line after the skipped ones, without its end; undefined if there is none. Throws HotsetError. */
export async function firstLine(file: TextFile, skip = 0): Promise<string | undefined> {
  const line: number[] = [];
  let lines = 0, afterReturn = false;
  const fail = (reason: string): never => {
    throw rowError(file.path, `line ${lines + 1}`, reason);
  };
  const text = () => {
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(line));
    } catch {
      return fail(NOT_UTF8);
    }
  };
  for await (const piece of textOf(file)) {
    for (const byte of piece) {
      if (byte !== NEWLINE && byte !== RETURN) line.push(byte);
      else if (lines >= skip && line.length > 0) return text();
      else {
        if (byte === RETURN || !afterReturn) lines++;
        line.length = 0;
      }
      afterReturn = byte === RETURN;
      if (line.length > MAX_LINE_BYTES) fail(LINE_TOO_LONG);
    }
  }
  return line.length === 0 || lines < skip ? undefined : text();
}
