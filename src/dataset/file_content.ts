/** The content type of a raw log's file, from its first bytes, and from its name only if they are not sufficient. */

/** Content types: text or numbers, plain or compressed; columns; archives. */
const CONTENTS = ["plain", "gzip", "zstd", "parquet", "zip"] as const;
export type FileContent = typeof CONTENTS[number];

/** Bytes at each end of a file that identify its content. */
export const MAGIC_BYTES = 6;

const GZIP = [0x1f, 0x8b];
const ZSTD = [0x28, 0xb5, 0x2f, 0xfd];
const PARQUET = bytesOf("PAR1");
const ZIP = bytesOf("PK\x03\x04");
const UTF16 = [[0xff, 0xfe], [0xfe, 0xff]];
/** Other compression formats, which are not supported. */
const UNREADABLE: readonly [name: string, magic: number[]][] = [
  ["bzip2", bytesOf("BZh")],
  ["xz", [0xfd, ...bytesOf("7zXZ\x00")]],
  ["lz4", [0x04, 0x22, 0x4d, 0x18]],
  ["7z", [...bytesOf("7z"), 0xbc, 0xaf, 0x27, 0x1c]],
];
const NAMES: readonly [RegExp, FileContent][] = [
  [/\.(gz|gzip)$/i, "gzip"],
  [/\.(zst|zstd)$/i, "zstd"],
  [/\.(parquet|pq)$/i, "parquet"],
  [/\.npz$/i, "zip"],
  [/\.(csv|tsv|txt)$/i, "plain"],
];

function bytesOf(text: string): number[] {
  return Array.from(text, (character) => character.charCodeAt(0));
}

function isAt(bytes: Uint8Array, magic: readonly number[]): boolean {
  return bytes.length >= magic.length && magic.every((byte, i) => bytes[i] === byte);
}

/** The content type from the bytes at both ends of a file; `standard` if neither they nor the name determine it. */
export function contentOf(path: string, begin: Uint8Array, end: Uint8Array, standard: FileContent): FileContent {
  if (isAt(begin, GZIP)) return "gzip";
  if (isAt(begin, ZSTD) || isSkippableZstd(begin)) return "zstd";
  if (isAt(begin, ZIP)) return "zip";
  if (isAt(begin, PARQUET) && isAt(end.subarray(-PARQUET.length), PARQUET)) return "parquet";
  return NAMES.find(([name]) => name.test(path))?.[1] ?? standard;
}

/** Why a file with this beginning cannot be read; undefined if it may be readable. */
export function unreadable(begin: Uint8Array): string | undefined {
  if (UTF16.some((mark) => isAt(begin, mark))) return "it is UTF-16; convert it to UTF-8, for example with iconv";
  const other = UNREADABLE.find(([, magic]) => isAt(begin, magic));
  return other && `it is a ${other[0]} file; unpack it, or compress it with gzip or zstd`;
}

/** Skips empty zstd frames at the beginning. */
function isSkippableZstd(begin: Uint8Array): boolean {
  return (begin[0] & 0xf0) === 0x50 && isAt(begin.subarray(1), [0x2a, 0x4d, 0x18]);
}
