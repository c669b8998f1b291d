/** Lengths and checksums of files. */
import { crc32 } from "node:zlib";
import { z } from "zod";
import { breaks } from "../breaks.ts";

/** Bytes that are read at a time, which takes less than a millisecond. */
const CHUNK_BYTES = 1 << 20;

/** What a manifest records of a file. */
export const fileEntry = z.object({ bytes: z.number().int().nonnegative(), crc32: z.number().int().nonnegative() });
/** Length and checksum of a file. */
export type FileEntry = z.infer<typeof fileEntry>;

/** Length and checksum of a file. */
export function measure(path: string): FileEntry {
  let total: FileEntry = { bytes: 0, crc32: 0 };
  for (const part of partsOf(path)) total = extended(total, part);
  return total;
}

/** The same, in parts between which the event loop turns. */
export async function measureInParts(path: string): Promise<FileEntry> {
  let total: FileEntry = { bytes: 0, crc32: 0 };
  for (const part of partsOf(path)) {
    total = extended(total, part);
    if (breaks.due) await breaks.take();
  }
  return total;
}

function extended({ bytes, crc32: sum }: FileEntry, part: Uint8Array): FileEntry {
  return { bytes: bytes + part.length, crc32: crc32(part, sum) };
}

/** The bytes of a file in parts, each valid until the next one. */
function* partsOf(path: string): Generator<Uint8Array> {
  using file = Deno.openSync(path);
  const chunk = new Uint8Array(Math.min(CHUNK_BYTES, file.statSync().size + 1));
  for (let count = file.readSync(chunk); count !== null; count = file.readSync(chunk)) yield chunk.subarray(0, count);
}
