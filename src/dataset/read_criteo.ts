/** Reads Criteo text, plain or compressed, into staged chunks; runs on worker threads. */
import { HotsetError } from "../errors.ts";
import { CriteoParser, DENSE, type LabelField, MIN_ROW_BYTES, TABLES } from "./criteo_parser.ts";
import { LINE_TOO_LONG, MAX_LINE_BYTES } from "./row_fault.ts";
import { ChunkBuffer, type StagedChunk } from "./staged_chunk.ts";
import { textOf } from "./text_file.ts";
import type { FileContent } from "./file_content.ts";

export const CHUNK_BYTES = 16 << 20;
const NEWLINE = 10;
const PIECE_BYTES = 1 << 16;
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];

/** A part of a log that is read into staged chunks. */
export interface LogPart {
  /** The user's file. */
  readonly path: string;
  readonly label: LabelField;
  readonly maxIndRange: number | undefined;
  /** True if malformed rows are counted, otherwise they are errors. */
  readonly skip: boolean;
  /** The beginning of the paths of the chunks. */
  readonly prefix: string;
}

/** A file or a part of it. */
export interface CriteoTask extends LogPart {
  readonly kind: "criteo";
  readonly content: FileContent;
  /** Lines that begin in this range of bytes are read; undefined for the whole file, which may be compressed. */
  readonly range: { readonly begin: number; readonly end: number } | undefined;
}

export interface ReadResult {
  readonly chunks: readonly StagedChunk[];
  readonly skippedRows: number;
  /** Number of blank lines; undefined if there are no lines. */
  readonly blankLines: number | undefined;
}

/** Memory of this thread, reused for every task. */
let memory: { text: Uint8Array; rows: ChunkBuffer } | undefined;

function threadMemory() {
  const bytes = CHUNK_BYTES + MAX_LINE_BYTES + PIECE_BYTES;
  return memory ??= {
    text: new Uint8Array(bytes),
    rows: new ChunkBuffer(Math.ceil(bytes / MIN_ROW_BYTES), DENSE, TABLES),
  };
}

/** Reads the lines of a task. Throws HotsetError that names file, line and reason. */
export async function readCriteo(task: CriteoTask): Promise<ReadResult> {
  const parser = new CriteoParser(task.path, task);
  threadMemory().rows.rows = 0;
  const chunks = task.range === undefined
    ? await readStream(task, parser)
    : readRange(task.path, task.range, parser, task.prefix);
  return { chunks: chunks.filter(({ rows }) => rows > 0), skippedRows: parser.skippedRows, blankLines: parser.blank };
}

function readRange(path: string, range: { begin: number; end: number }, parser: CriteoParser, prefix: string) {
  const { text, rows } = threadMemory();
  using file = Deno.openSync(path);
  // The byte before the range shows whether a line begins with the range.
  const start = Math.max(range.begin - 1, 0);
  file.seekSync(start, Deno.SeekMode.Start);
  let length = 0;
  while (start + length < range.end) {
    const count = file.readSync(text.subarray(length, range.end - start));
    if (count === null) throw new HotsetError(`Cannot read ${path}: it became shorter while it was read`);
    length += count;
  }
  const from = range.begin > 0 ? text.subarray(0, length).indexOf(NEWLINE) + 1 : skipMark(text);
  if (range.begin > 0 && from === 0) return []; // a line that began before covers the range
  const last = text.lastIndexOf(NEWLINE, length - 1);
  let tooLong = false;
  for (let open = last !== length - 1; open;) {
    const count = file.readSync(text.subarray(length, length + PIECE_BYTES));
    const end = text.subarray(length, length + (count ?? 0)).indexOf(NEWLINE);
    open = count !== null && end < 0;
    if (count === null) text[length++] = NEWLINE;
    else length += end < 0 ? count : end + 1;
    if (open && length - last > MAX_LINE_BYTES) {
      tooLong = true;
      open = false;
      length = last + 1;
    }
  }
  const firstLine = () => 1 + countLines(path, start + from);
  parser.parse(text, from, length, rows, firstLine);
  if (tooLong) parser.fault(() => LINE_TOO_LONG, firstLine);
  return [rows.flush(`${prefix}.0.rows`)];
}

async function readStream({ path, content, prefix }: CriteoTask, parser: CriteoParser): Promise<StagedChunk[]> {
  const { text, rows } = threadMemory();
  const chunks: StagedChunk[] = [];
  let length = 0;
  let first = true;
  let inLongLine = false;
  const parse = () => {
    let from = first ? skipMark(text) : 0;
    first = false;
    let to = text.lastIndexOf(NEWLINE, length - 1) + 1;
    if (inLongLine && to > 0) {
      from = text.indexOf(NEWLINE) + 1;
      inLongLine = false;
      parser.lines++;
    }
    if (to === 0 && length > MAX_LINE_BYTES) {
      if (!inLongLine) parser.fault(() => LINE_TOO_LONG, () => 1);
      inLongLine = true;
      to = length;
    } else {
      parser.parse(text, from, to, rows, () => 1);
    }
    text.copyWithin(0, to, length);
    length -= to;
    if (rows.rows > 0) chunks.push(rows.flush(`${prefix}.${chunks.length}.rows`));
  };
  for await (const piece of textOf({ path, content })) {
    for (let done = 0; done < piece.length;) {
      const part = piece.subarray(done, done + text.length - 1 - length);
      text.set(part, length);
      length += part.length;
      done += part.length;
      if (length >= CHUNK_BYTES) parse();
    }
  }
  if (length > 0) {
    if (text[length - 1] !== NEWLINE) text[length++] = NEWLINE;
    parse();
  }
  return chunks;
}

function skipMark(text: Uint8Array): number {
  return BYTE_ORDER_MARK.every((byte, i) => text[i] === byte) ? BYTE_ORDER_MARK.length : 0;
}

/** Line ends in the first `bytes` bytes of a file. */
function countLines(path: string, bytes: number): number {
  using file = Deno.openSync(path);
  const piece = new Uint8Array(1 << 20);
  let lines = 0;
  for (let left = bytes; left > 0;) {
    const count = file.readSync(piece.subarray(0, Math.min(left, piece.length))) ?? left;
    for (let i = 0; i < count; i++) if (piece[i] === NEWLINE) lines++;
    left -= count;
  }
  return lines;
}
