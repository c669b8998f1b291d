/**
 * Reads pages of a log: those of listed records, neighbours together and many at a time; or whole segments in order.
 */
import { HotsetError } from "../../errors.ts";
import { type PageWriter, WRITE_TAG } from "./page_writer.ts";
import type { StoreCounts } from "./row_store.ts";
import type { PageMemory } from "./row_page.ts";
import { type LogSegment, transferFault } from "./log_segments.ts";
import type { Transfers } from "./transfers.ts";

/** Maximum bytes of one read. */
const RUN_BYTES = 32 << 10;
/** Maximum number of pending reads. */
export const READ_DEPTH = 128;
/** Upper limit of a request's index. */
export const MAX_REQUESTS = 2 ** 20;

/** Maximum pages of a read. */
export function runPages(pageBytes: number): number {
  return Math.max(1, Math.floor(RUN_BYTES / pageBytes));
}

/** Location of the pages of a log. */
export interface PagePlaces {
  /** Pages per segment: page p is page p % segmentPages of segment floor(p / segmentPages). */
  readonly segmentPages: number;
  segmentAt(index: number): LogSegment;
  /** The number of a row in pages. */
  numberOf(row: number): number;
}

/** Reads pages into its part of the memory, which begins at `firstPage` and has `READ_DEPTH * runPages` pages. */
export class PageReader {
  readonly #memory: PageMemory;
  readonly #firstPage: number;
  readonly #runPages: number;
  readonly #transfers: Transfers;
  readonly #writer: PageWriter;
  readonly #counts: StoreCounts;
  /** For each pending read: its requests, its first page, and its bytes. */
  readonly #first = new Int32Array(READ_DEPTH);
  readonly #end = new Int32Array(READ_DEPTH);
  readonly #page = new Float64Array(READ_DEPTH);
  readonly #length = new Int32Array(READ_DEPTH);
  readonly #free = new Int32Array(READ_DEPTH);

  constructor(memory: PageMemory, firstPage: number, transfers: Transfers, writer: PageWriter, counts: StoreCounts) {
    this.#memory = memory;
    this.#firstPage = firstPage;
    this.#runPages = runPages(memory.shape.bytes);
    this.#transfers = transfers;
    this.#writer = writer;
    this.#counts = counts;
  }

  /** Maximum number of pending reads: one transfer is left for the write of a buffer. */
  get #depth(): number {
    return Math.max(1, Math.min(this.#transfers.depth, READ_DEPTH) - 1);
  }

  /**
   * Reads the records of sorted requests, `place * MAX_REQUESTS + index`, and copies each to `records` at its index
   * from `firstRecord` on; `rows` are the expected rows.
   */
  readRecords(
    requests: Float64Array,
    places: PagePlaces,
    rows: Uint32Array,
    firstRecord: number,
    records: Float32Array,
  ): void {
    const { shape: { rows: pageRows, recordWords, bytes: pageBytes } } = this.#memory;
    const { segmentPages } = places;
    const count = requests.length;
    const pageOf = (request: number) => Math.floor(requests[request] / MAX_REQUESTS / pageRows);
    let free = 0, underWay = 0;
    for (let run = this.#depth; run > 0; run--) this.#free[free++] = run - 1;
    for (let next = 0; next < count || underWay > 0;) {
      if (next < count && free > 0) {
        const run = this.#free[--free];
        const firstPage = pageOf(next);
        const segment = Math.floor(firstPage / segmentPages);
        let end = next, last = firstPage;
        for (; end < count; end++) {
          const page = pageOf(end);
          // Reading an unneeded page between two needed ones is cheaper than a second read.
          if (page > last + 2 || page - firstPage >= this.#runPages) break;
          if (Math.floor(page / segmentPages) !== segment) break;
          last = page;
        }
        this.#first[run] = next;
        this.#end[run] = end;
        this.#begin(run, places.segmentAt(segment), firstPage, firstPage % segmentPages, last - firstPage + 1);
        underWay++;
        next = end;
        continue;
      }
      const run = this.#finish(underWay);
      if (run < 0) continue;
      underWay--;
      const firstPage = this.#page[run];
      const segment = places.segmentAt(Math.floor(firstPage / segmentPages));
      this.#expectAll(run, segment, firstPage % segmentPages, underWay);
      for (let request = this.#first[run], checked = -1; request < this.#end[run]; request++) {
        const page = pageOf(request);
        const word = this.#wordOf(run) + (page - firstPage) * pageBytes / 4;
        if (page !== checked) this.#expectPage(word, segment, page % segmentPages, underWay);
        checked = page;
        const index = Math.floor(requests[request] / MAX_REQUESTS) % pageRows;
        const i = firstRecord + requests[request] % MAX_REQUESTS;
        if (this.#memory.rowAt(word, index) !== places.numberOf(rows[i])) {
          this.#fail(segment, page % segmentPages, "the page holds other rows", "damaged", underWay);
        }
        this.#memory.copy(word, index, records, i * recordWords);
      }
      this.#free[free++] = run;
    }
  }

  /** Reads all pages of a segment in order; no write may be pending, but `visit` may begin one. */
  scan(segment: LogSegment, visit: (word: number, page: number) => void): void {
    const { bytes: pageBytes } = this.#memory.shape;
    const windowPages = this.#depth * this.#runPages;
    for (let first = 0; first < segment.pages; first += windowPages) {
      this.#writer.settle();
      const end = Math.min(first + windowPages, segment.pages);
      let runs = 0;
      for (let page = first; page < end; page += this.#runPages) {
        this.#begin(runs++, segment, page, page, Math.min(this.#runPages, end - page));
      }
      for (let underWay = runs; underWay > 0;) {
        const run = this.#finish(underWay);
        this.#expectAll(run, segment, this.#page[run], --underWay);
      }
      for (let page = first; page < end; page++) {
        const word = this.#wordOf(0) + (page - first) * pageBytes / 4;
        this.#expectPage(word, segment, page, 0);
        visit(word, page);
      }
    }
  }

  #begin(run: number, { fd }: LogSegment, page: number, pageInSegment: number, pages: number): void {
    const { bytes } = this.#memory.shape;
    this.#page[run] = page;
    this.#length[run] = pages * bytes;
    this.#transfers.begin(false, fd, pageInSegment * bytes, 4 * this.#wordOf(run), pages * bytes, run);
  }

  /** The read that has completed; -1 if it was the write. */
  #finish(underWay: number): number {
    const run = this.#transfers.finish();
    if (run !== WRITE_TAG) return run;
    try {
      this.#writer.expectWritten();
    } catch (error) {
      this.#writer.abandon(underWay);
      throw error;
    }
    return -1;
  }

  #wordOf(run: number): number {
    return (this.#firstPage + run * this.#runPages) * this.#memory.shape.bytes / 4;
  }

  #expectAll(run: number, segment: LogSegment, page: number, underWay: number): void {
    const { result } = this.#transfers;
    if (result !== this.#length[run]) this.#fail(segment, page, transferFault(result, false), "failed", underWay);
    this.#counts.reads++;
    this.#counts.bytesRead += result;
  }

  #expectPage(word: number, segment: LogSegment, page: number, underWay: number): void {
    const fault = this.#memory.fault(word, segment.number, page);
    if (fault !== undefined) this.#fail(segment, page, fault, "damaged", underWay);
  }

  /** Waits for pending transfers, so that none writes to the memory later, and throws. */
  #fail(segment: LogSegment, page: number, reason: string, code: "damaged" | "failed", underWay: number): never {
    this.#writer.abandon(underWay);
    const byte = page * this.#memory.shape.bytes;
    throw new HotsetError(`Cannot read rows from ${segment.path} at byte ${byte}: ${reason}`, { code });
  }
}
