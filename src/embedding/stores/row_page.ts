/**
 * A page of a log of rows, in memory and on the disk:
 *
 * ```
 * checksum of the rest, number of the segment, number of the page in it, row numbers (n), records (n, recordWords)
 * ```
 * u32 and f32, little-endian. Row numbers that are not used are 2^32 - 1.
 */
import { crc32Of } from "../../storage/crc32.ts";

/** Alignment for direct I/O; also the page size of most models. */
const BLOCK_BYTES = 4096;
const BLOCK_WORDS = BLOCK_BYTES / 4;
/** Words before the row numbers, and their positions. */
const CHECKSUM = 0, SEGMENT = 1, PAGE = 2, HEADER = 3;
/** Exponent bits, all set in NaN and infinity. */
export const EXPONENT = 0x7f800000;
/** Not the number of any row. */
export const NO_ROW = 0xffffffff;

/** Layout of a page of records. */
export interface PageShape {
  readonly recordWords: number;
  readonly bytes: number;
  readonly rows: number;
}

/** Layout of pages for records of this number of words. */
export function pageShape(recordWords: number): PageShape {
  const blocks = Math.ceil((HEADER + 1 + recordWords) / BLOCK_WORDS);
  const rows = Math.floor((blocks * BLOCK_WORDS - HEADER) / (1 + recordWords));
  return { recordWords, bytes: blocks * BLOCK_BYTES, rows };
}

/** Memory for pages; each is identified by its first word. */
export class PageMemory {
  readonly bytes: Uint8Array;
  readonly shape: PageShape;
  readonly #words: Uint32Array;
  readonly #floats: Float32Array;

  constructor(bytes: Uint8Array, shape: PageShape) {
    this.bytes = bytes;
    this.shape = shape;
    this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    this.#floats = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  }

  /** The row of a page's record. */
  rowAt(page: number, index: number): number {
    return this.#words[page + HEADER + index];
  }

  /** Stores a row and its record, from `records[at]` on, in a page. */
  put(page: number, index: number, row: number, records: Float32Array, at: number): void {
    const { recordWords } = this.shape;
    this.#words[page + HEADER + index] = row;
    // Records are short: a loop is faster than creating views.
    for (let to = this.#recordAt(page, index), end = to + recordWords; to < end; to++, at++) {
      this.#floats[to] = records[at];
    }
  }

  /** True if all words of a record are finite. */
  isFinite(page: number, index: number): boolean {
    const record = this.#recordAt(page, index);
    for (let at = record; at < record + this.shape.recordWords; at++) {
      if ((this.#words[at] & EXPONENT) === EXPONENT) return false;
    }
    return true;
  }

  /** Copies words `[first, end)` of a record to `records[at]` and on. */
  copy(page: number, index: number, records: Float32Array, at: number, first = 0, end = this.shape.recordWords): void {
    const record = this.#recordAt(page, index);
    for (let from = record + first; from < record + end; from++, at++) records[at] = this.#floats[from];
  }

  /** Copies a record of one page to another. */
  move(page: number, index: number, to: number, toIndex: number): void {
    this.put(to, toIndex, this.rowAt(page, index), this.#floats, this.#recordAt(page, index));
  }

  #recordAt(page: number, index: number): number {
    const { rows, recordWords } = this.shape;
    return page + HEADER + rows + index * recordWords;
  }

  /** Completes a page with this number of records. */
  close(page: number, filled: number, segment: number, number: number): void {
    this.#words.fill(NO_ROW, page + HEADER + filled, page + HEADER + this.shape.rows);
    this.#words[page + SEGMENT] = segment;
    this.#words[page + PAGE] = number;
    this.#words[page + CHECKSUM] = this.#checksum(page);
  }

  /** Why bytes read from disk are not this page; undefined if they are. */
  fault(page: number, segment: number, number: number): string | undefined {
    if (this.#checksum(page) !== this.#words[page + CHECKSUM]) return "the page is damaged";
    const isIt = this.#words[page + SEGMENT] === segment && this.#words[page + PAGE] === number;
    return isIt ? undefined : "the page is a different page";
  }

  #checksum(page: number): number {
    return crc32Of(this.bytes.subarray(4 * page + 4, 4 * page + this.shape.bytes));
  }
}
