/** How large the segments of a log are, and how many there may be. */
import { HotsetError } from "../../errors.ts";
import { rowsOf, type Shard } from "../shard.ts";
import { NO_ROW, type PageShape, pageShape } from "./row_page.ts";

/** Bytes of each of the two buffers of pages. */
const GATHER_BYTES = 256 << 10;
/** All rows, each written once, fill about this many segments of minimum size. */
const SEGMENTS = 256;
const MIN_SEGMENT_BYTES = 1 << 20;
/** Maximum number of segments, with those sealed before they were full and those of rows that are written again. */
export const MAX_SEGMENTS = 768;
/** Segments hold at most this many times the live rows, plus two segments. */
export const SPACE = 1.5;
/** Hosts whose segments are one checkpoint's: each needs `SPACE * SEGMENTS / hosts + 8`. */
const MAX_HOSTS = 48;

/** What determines the sizes. */
export interface LogContent {
  readonly rows: number;
  /** Number of rows that were created, dropped ones included, if tables have grown; segments never become smaller. */
  readonly created?: number | undefined;
  /** Words of a row: its weights, then its optimizer state. */
  readonly recordWords: number;
  /** Bytes of a segment, if not chosen; for tests. */
  readonly segmentBytes?: number | undefined;
}

export interface LogSizes {
  /** Pages of a segment, a multiple of a buffer's, so that a buffer never contains pages of two segments. */
  readonly segmentPages: number;
  /** Above the first number segments are compacted; the second cannot be exceeded. */
  readonly maxSegments: number;
  readonly segmentLimit: number;
}

export function bufferPagesOf({ bytes }: PageShape): number {
  return Math.max(2, Math.floor(GATHER_BYTES / bytes));
}

/** The sizes of a host's log. Throws HotsetError if there are too many rows or hosts. */
export function logSizes(content: LogContent, shard: Shard): LogSizes {
  const { rows, recordWords, segmentBytes } = content;
  const segmentPages = segmentPagesOf(content);
  const segmentRows = segmentPages * pageShape(recordWords).rows;
  const segmentLimit = Math.min(MAX_SEGMENTS, Math.floor((NO_ROW - 1) / segmentRows));
  // A checkpoint has the segments of all hosts.
  const maxSegments = Math.min(segmentLimit, Math.floor(MAX_SEGMENTS / shard.hosts));
  if (SPACE * rowsOf(shard, rows) + 8 * segmentRows > maxSegments * segmentRows && segmentBytes === undefined) {
    const most = `${Math.floor(NO_ROW / 2)} rows and ${MAX_HOSTS} hosts`;
    throw new HotsetError(`Cannot store ${rows} rows (hosts: ${shard.hosts}) on disk: at most ${most} are supported`);
  }
  return { segmentPages, maxSegments, segmentLimit };
}

/** Maximum bytes of a log with `written` of the rows that were created. */
export function maxLogBytes(written: number, created: number, recordWords: number): number {
  const shape = pageShape(recordWords);
  const segment = segmentPagesOf({ rows: created, recordWords }) * shape.bytes;
  return SPACE * shape.bytes * Math.ceil(written / shape.rows) + 2 * segment;
}

function segmentPagesOf({ rows, created = rows, recordWords, segmentBytes }: LogContent): number {
  const shape = pageShape(recordWords);
  const bufferPages = bufferPagesOf(shape);
  const most = shape.bytes * Math.ceil(created / shape.rows);
  const bytes = segmentBytes ?? Math.max(MIN_SEGMENT_BYTES, Math.ceil(most / SEGMENTS));
  return bufferPages * Math.max(1, Math.ceil(bytes / (bufferPages * shape.bytes)));
}
