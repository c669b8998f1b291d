/**
 * A row store on a disk: a log of rows. Rows that are written together lie together, whatever their numbers are, and a
 * table in memory says where each row's latest record is. So random updates become sequential writes, and the rows of a
 * batch, which leave the memory together, come back in a few long reads.
 *
 * ```
 * log      segments, each a file, of pages; only the last one grows
 * page     checksum of the rest, number of the page, row numbers (n), records (n, recordWords); u32 and f32
 * ```
 * A row that is written again leaves its old record behind. When the segments hold more than 1.5 times the rows that are
 * alive, the one with the fewest of these is emptied: they are written again, and its file is closed.
 *
 * Files lose their names when they are opened, so that they vanish with the process, however that ends. What must outlive
 * it is a checkpoint.
 */
import { closeSync, constants, openSync } from "node:fs";
import { join } from "node:path";
import { HotsetError, messageOf } from "../../errors.ts";
import { crc32Of } from "../../storage/crc32.ts";
import { alignedBytes } from "../../storage/direct_file.ts";
import type { RowStore, StoreCounts } from "./row_store.ts";
import { openTransfers, type Transfers } from "./transfers.ts";

/** Direct transfers need multiples of this; the page of most models. */
const BLOCK_BYTES = 4096;
const BLOCK_WORDS = BLOCK_BYTES / 4;
/** Words of a page before its row numbers, and where they are. */
const PAGE_HEADER = 2;
const CHECKSUM = 0, NUMBER = 1;
const NO_ROW = 0xffffffff;
/** Bytes of the two buffers that pages are gathered in; a read of neighbours is at most as long as one of these parts. */
const GATHER_BYTES = 256 << 10;
const RUN_BYTES = 32 << 10;
/** Reads under way. */
const DEPTH = 128;
/** A store has at most about this many segments, each at least so large. */
const SEGMENTS = 256;
const LEAST_SEGMENT_BYTES = 1 << 20;
/** Segments hold at most this many times the rows that are alive, beside two of them. */
const SPACE = 1.5;
/** All bits of the exponent: NaN or infinite. */
const EXPONENT = 0x7f800000;
/** A request's row is below this. */
const MOST_REQUESTS = 2 ** 20;
const ERRORS: Readonly<Record<number, string>> = { 5: "the disk reports an error", 28: "the disk is full" };

/** What a log is made for. */
export interface RowLogOptions {
  /** Where its files are, without a name. */
  readonly directory: string;
  readonly rows: number;
  /** Words of a row: its weights, then its optimizer state. */
  readonly recordWords: number;
  /** Puts the initial record of a row to `records[at]` and on. */
  readonly initial: (row: number, records: Float32Array, at: number) => void;
  /** How pages are transferred; for tests. */
  readonly transfers?: ((memory: Uint8Array, depth: number) => Transfers) | undefined;
  /** Bytes of a segment; for tests. */
  readonly segmentBytes?: number | undefined;
}

/** A file of pages. */
interface Segment {
  readonly fd: number;
  /** Pages that are in it or in the buffers. */
  pages: number;
  /** Rows whose latest record is in it. */
  alive: number;
}

/** The latest record of each row that was written. One thread uses it. */
export class RowLog implements RowStore {
  readonly rows: number;
  readonly recordWords: number;
  readonly counts: StoreCounts = {
    ...{ rowsRead: 0, rowsComputed: 0, rowsWritten: 0, bytesRead: 0, bytesWritten: 0, reads: 0, writes: 0 },
  };
  readonly #options: RowLogOptions;
  readonly #direct: boolean;
  readonly #transfers: Transfers;
  readonly #pageBytes: number;
  readonly #pageRows: number;
  /** Pages of a segment, of a buffer, and of a read. */
  readonly #segmentPages: number;
  readonly #bufferPages: number;
  readonly #runPages: number;
  /** Place of each row's latest record plus one: `page * pageRows + index`; 0 if it was never written. */
  readonly #places: Uint32Array;
  /** By number; undefined where a number is free. */
  readonly #segments: (Segment | undefined)[] = [];

  /** Two buffers that pages are gathered in, then the places for reads. */
  readonly #bytes: Uint8Array;
  readonly #words: Uint32Array;
  readonly #floats: Float32Array;
  /** The last segment, its page that is being filled, and the rows in it. */
  #current = -1;
  #page = -1;
  #filled = 0;
  /** The pages that lie in each buffer: the first, and how many. */
  readonly #firstPages = [-1, -1];
  readonly #pagesIn = [0, 0];
  #buffer = 0;
  #writing = false;

  /** Requests of a read, in the order of their places: `place * MOST_REQUESTS + index`; and of the reads under way. */
  #requests = new Float64Array(0);
  readonly #runFirst: Int32Array;
  readonly #runEnd: Int32Array;
  readonly #runPage: Float64Array;
  readonly #runLength: Int32Array;
  readonly #freeRuns: Int32Array;
  #emptying = false;

  /** An empty log. Throws HotsetError if it cannot be made. */
  constructor(options: RowLogOptions) {
    const { rows, recordWords } = options;
    this.#options = options;
    this.rows = rows;
    this.recordWords = recordWords;
    const blocks = Math.ceil((PAGE_HEADER + 1 + recordWords) / BLOCK_WORDS);
    this.#pageBytes = blocks * BLOCK_BYTES;
    this.#pageRows = Math.floor((blocks * BLOCK_WORDS - PAGE_HEADER) / (1 + recordWords));
    this.#bufferPages = Math.max(2, Math.floor(GATHER_BYTES / this.#pageBytes));
    this.#runPages = Math.max(1, Math.floor(RUN_BYTES / this.#pageBytes));
    const most = this.#pageBytes * Math.ceil(rows / this.#pageRows);
    const segmentBytes = options.segmentBytes ?? Math.max(LEAST_SEGMENT_BYTES, Math.ceil(most / SEGMENTS));
    const bufferBytes = this.#bufferPages * this.#pageBytes;
    this.#segmentPages = this.#bufferPages * Math.max(1, Math.ceil(segmentBytes / bufferBytes));
    // Emptied segments' numbers are used again, so places stay as low as this.
    if (SPACE * rows + 4 * this.#segmentPages * this.#pageRows >= NO_ROW) {
      throw new HotsetError(`Cannot make a row store for ${rows} rows: ${Math.floor(NO_ROW / 2)} are the most`);
    }
    this.#places = new Uint32Array(new SharedArrayBuffer(4 * rows));
    const runBytes = this.#runPages * this.#pageBytes;
    const depth = DEPTH;
    this.#bytes = alignedBytes(2 * bufferBytes + depth * runBytes);
    this.#words = new Uint32Array(this.#bytes.buffer);
    this.#floats = new Float32Array(this.#bytes.buffer);
    this.#direct = this.#hasDirect();
    this.#transfers = (options.transfers ?? openTransfers)(this.#bytes, depth);
    this.#runFirst = new Int32Array(depth);
    this.#runEnd = new Int32Array(depth);
    this.#runPage = new Float64Array(depth);
    this.#runLength = new Int32Array(depth);
    this.#freeRuns = new Int32Array(depth);
  }

  /** How it reads and writes, for people. */
  get name(): string {
    return `${this.#transfers.name}${this.#direct ? "" : ", through the page cache"}`;
  }

  /** Bytes of its files. */
  get diskBytes(): number {
    return this.#segments.reduce((sum, segment) => sum + (segment?.pages ?? 0), 0) * this.#pageBytes;
  }

  /** Rows that were written. */
  get writtenRows(): number {
    return this.#segments.reduce((sum, segment) => sum + (segment?.alive ?? 0), 0);
  }

  read(rows: Uint32Array, count: number, records: Float32Array): void {
    for (let first = 0; first < count; first += MOST_REQUESTS) {
      this.#read(rows, first, Math.min(first + MOST_REQUESTS, count), records);
    }
  }

  #read(rows: Uint32Array, first: number, end: number, records: Float32Array): void {
    const { recordWords } = this;
    // Grows to the largest batch.
    if (this.#requests.length < end - first) this.#requests = new Float64Array(end - first);
    let requests = 0;
    for (let i = first; i < end; i++) {
      const place = this.#places[rows[i]];
      if (place === 0) {
        this.#options.initial(rows[i], records, i * recordWords);
        this.counts.rowsComputed++;
      } else {
        this.counts.rowsRead++;
        const page = Math.floor((place - 1) / this.#pageRows);
        const at = this.#bufferedWord(page);
        if (at < 0) this.#requests[requests++] = (place - 1) * MOST_REQUESTS + (i - first);
        else this.#copy(at, (place - 1) % this.#pageRows, records, i);
      }
    }
    if (requests > 0) this.#readPages(rows, first, requests, records);
  }

  /** Where a page lies in the buffers, as a word of the memory; -1 if it does not. */
  #bufferedWord(page: number): number {
    for (let buffer = 0; buffer < 2; buffer++) {
      const index = page - this.#firstPages[buffer];
      if (this.#pagesIn[buffer] > 0 && index >= 0 && index < this.#pagesIn[buffer]) {
        return this.#pageBytes / 4 * (buffer * this.#bufferPages + index);
      }
    }
    return -1;
  }

  #copy(pageWord: number, index: number, records: Float32Array, i: number): void {
    const { recordWords } = this;
    let from = pageWord + PAGE_HEADER + this.#pageRows + index * recordWords;
    for (let to = i * recordWords, end = to + recordWords; to < end; to++, from++) records[to] = this.#floats[from];
  }

  /** Reads the pages of sorted requests, neighbours together, as many at a time as the disk likes. */
  #readPages(rows: Uint32Array, firstRow: number, count: number, records: Float32Array): void {
    const requests = this.#requests.subarray(0, count).sort();
    const { depth } = this.#transfers;
    const pageOf = (request: number) => Math.floor(requests[request] / MOST_REQUESTS / this.#pageRows);
    let free = 0, underWay = 0;
    // One is left for the write of a buffer that may be under way.
    for (let run = Math.max(1, Math.min(depth, DEPTH) - 1); run > 0; run--) this.#freeRuns[free++] = run - 1;
    for (let next = 0; next < count || underWay > 0;) {
      if (next < count && free > 0) {
        const run = this.#freeRuns[--free];
        const firstPage = pageOf(next);
        const segment = Math.floor(firstPage / this.#segmentPages);
        let end = next, last = firstPage;
        for (; end < count; end++) {
          const page = pageOf(end);
          // A page that nobody asked for costs less between two than a second read.
          if (page > last + 2 || page - firstPage >= this.#runPages) break;
          if (Math.floor(page / this.#segmentPages) !== segment) break;
          last = page;
        }
        this.#runFirst[run] = next;
        this.#runEnd[run] = end;
        this.#runPage[run] = firstPage;
        this.#runLength[run] = (last - firstPage + 1) * this.#pageBytes;
        const position = firstPage % this.#segmentPages * this.#pageBytes;
        const { fd } = this.#segments[segment]!;
        this.#transfers.begin(false, fd, position, this.#runByte(run), this.#runLength[run], run);
        underWay++;
        next = end;
        continue;
      }
      const run = this.#transfers.finish();
      if (run === WRITE_TAG) {
        this.#expectWritten();
        continue;
      }
      underWay--;
      const { result } = this.#transfers;
      const firstPage = this.#runPage[run];
      if (result !== this.#runLength[run]) this.#failRead(firstPage, result, underWay);
      this.counts.reads++;
      this.counts.bytesRead += result;
      for (let request = this.#runFirst[run], checked = -1; request < this.#runEnd[run]; request++) {
        const page = pageOf(request);
        const at = (this.#runByte(run) + (page - firstPage) * this.#pageBytes) / 4;
        if (page !== checked) this.#expectPage(at, page, underWay);
        checked = page;
        const index = Math.floor(requests[request] / MOST_REQUESTS) % this.#pageRows;
        const i = firstRow + requests[request] % MOST_REQUESTS;
        if (this.#words[at + PAGE_HEADER + index] !== rows[i]) this.#damaged(page, "holds other rows", underWay);
        this.#copy(at, index, records, i);
      }
      this.#freeRuns[free++] = run;
    }
  }

  #runByte(run: number): number {
    return (2 * this.#bufferPages + run * this.#runPages) * this.#pageBytes;
  }

  /** Throws HotsetError unless the page at this word of the memory is what was written as that page. */
  #expectPage(word: number, page: number, underWay: number): void {
    if (this.#checksum(word) !== this.#words[word + CHECKSUM]) this.#damaged(page, "is damaged", underWay);
    if (this.#words[word + NUMBER] !== page) this.#damaged(page, "is another page", underWay);
  }

  #checksum(word: number): number {
    return crc32Of(this.#bytes.subarray(4 * word + 4, 4 * word + this.#pageBytes));
  }

  #damaged(page: number, what: string, underWay: number): never {
    this.#drain(underWay);
    throw new HotsetError(`Cannot read rows from ${this.#placeOf(page)}: the page ${what}`, { code: "damaged" });
  }

  #failRead(page: number, result: number, underWay: number): never {
    this.#drain(underWay);
    const reason = result >= 0 ? "the file ends early" : ERRORS[-result] ?? `error ${-result}`;
    throw new HotsetError(`Cannot read rows from ${this.#placeOf(page)}: ${reason}`, { code: "failed" });
  }

  /** Waits for what is under way, so that nothing comes into the memory later. */
  #drain(underWay: number): void {
    for (let left = underWay + (this.#writing ? 1 : 0); left > 0; left--) this.#transfers.finish();
    this.#writing = false;
  }

  #placeOf(page: number): string {
    const segment = Math.floor(page / this.#segmentPages);
    const byte = page % this.#segmentPages * this.#pageBytes;
    return `${this.#options.directory} (segment ${segment} at byte ${byte})`;
  }

  write(rows: Uint32Array, count: number, records: Float32Array): void {
    const words = new Int32Array(records.buffer, records.byteOffset, count * this.recordWords);
    for (let i = 0; i < words.length; i++) {
      if ((words[i] & EXPONENT) === EXPONENT) {
        const row = rows[Math.floor(i / this.recordWords)];
        throw new NotFiniteRow(row, `row ${row} of all tables holds ${records[i]}`);
      }
    }
    for (let i = 0; i < count; i++) this.#append(rows[i], records, i * this.recordWords);
    this.counts.rowsWritten += count;
  }

  #append(row: number, records: Float32Array, at: number): void {
    if (this.#page < 0) this.#nextPage();
    const { recordWords } = this;
    const word = this.#bufferedWord(this.#page);
    const index = this.#filled;
    this.#words[word + PAGE_HEADER + index] = row;
    let to = word + PAGE_HEADER + this.#pageRows + index * recordWords;
    for (let from = at, end = at + recordWords; from < end; from++, to++) this.#floats[to] = records[from];
    const old = this.#places[row];
    if (old > 0) this.#segmentOf(old - 1).alive--;
    this.#places[row] = this.#page * this.#pageRows + index + 1;
    this.#segments[this.#current]!.alive++;
    if (++this.#filled === this.#pageRows) this.#endPage();
  }

  #segmentOf(place: number): Segment {
    return this.#segments[Math.floor(place / this.#pageRows / this.#segmentPages)]!;
  }

  /** Completes the page that is being filled, and writes the buffer if that is full. */
  #endPage(): void {
    const word = this.#bufferedWord(this.#page);
    this.#words.fill(NO_ROW, word + PAGE_HEADER + this.#filled, word + PAGE_HEADER + this.#pageRows);
    this.#words[word + NUMBER] = this.#page;
    this.#words[word + CHECKSUM] = this.#checksum(word);
    this.#page = -1;
    this.#filled = 0;
    if (this.#pagesIn[this.#buffer] === this.#bufferPages) this.#writeBuffer();
  }

  #nextPage(): void {
    while (this.#current < 0 || this.#segments[this.#current]!.pages === this.#segmentPages) this.#nextSegment();
    if (this.#page >= 0) return; // emptying another segment has begun one
    const segment = this.#segments[this.#current]!;
    this.#page = this.#current * this.#segmentPages + segment.pages++;
    if (this.#pagesIn[this.#buffer] === 0) this.#firstPages[this.#buffer] = this.#page;
    this.#pagesIn[this.#buffer]++;
  }

  /** Begins to write the buffer, whose pages are consecutive, and goes on with the other when that one's write is over. */
  #writeBuffer(): void {
    this.#waitForWrite();
    const first = this.#firstPages[this.#buffer];
    const { fd } = this.#segments[Math.floor(first / this.#segmentPages)]!;
    const length = this.#pagesIn[this.#buffer] * this.#pageBytes;
    const at = this.#buffer * this.#bufferPages * this.#pageBytes;
    this.#transfers.begin(true, fd, first % this.#segmentPages * this.#pageBytes, at, length, WRITE_TAG);
    this.#writing = true;
    this.counts.writes++;
    this.counts.bytesWritten += length;
    // The other one's pages are on the disk. Those of this one are read from it until it is used again.
    this.#buffer = 1 - this.#buffer;
    this.#pagesIn[this.#buffer] = 0;
    if (this.#transfers.depth === 1) this.#waitForWrite();
  }

  #waitForWrite(): void {
    if (!this.#writing) return;
    this.#transfers.finish();
    this.#expectWritten();
  }

  /** A write has ended: throws HotsetError unless all of it was written. */
  #expectWritten(): void {
    this.#writing = false;
    const { result } = this.#transfers;
    const buffer = 1 - this.#buffer;
    if (result === this.#pagesIn[buffer] * this.#pageBytes) return;
    const reason = result >= 0 ? "the disk is full" : ERRORS[-result] ?? `error ${-result}`;
    throw new HotsetError(`Cannot write rows to ${this.#placeOf(this.#firstPages[buffer])}: ${reason}`, {
      code: result >= 0 || result === -28 ? "no-space" : "failed",
    });
  }

  #nextSegment(): void {
    let number = this.#segments.indexOf(undefined);
    if (number < 0) number = this.#segments.length;
    this.#segments[number] = { fd: this.#openFile(this.#direct), pages: 0, alive: 0 };
    this.#current = number;
    if (!this.#emptying) this.#emptySegments();
  }

  /** A new file without a name. */
  #openFile(direct: boolean): number {
    const { directory } = this.#options;
    const path = join(directory, `.hotset-rows-${Deno.pid}-${crypto.randomUUID()}`);
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
    try {
      const fd = openSync(path, direct ? flags | constants.O_DIRECT : flags, 0o600);
      Deno.removeSync(path);
      return fd;
    } catch (error) {
      throw new HotsetError(`Cannot write rows to ${directory}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** True if files can be read and written past the page cache. Throws HotsetError if there can be none. */
  #hasDirect(): boolean {
    closeSync(this.#openFile(false));
    if (constants.O_DIRECT === undefined) return false;
    try {
      closeSync(this.#openFile(true));
      return true;
    } catch {
      return false; // a file system without it
    }
  }

  /** Empties the segments with the fewest rows until all take no more than the space that they may. */
  #emptySegments(): void {
    this.#emptying = true;
    const capacity = this.#segmentPages * this.#pageRows;
    for (;;) {
      let used = 0, alive = 0, least = -1;
      for (const [number, segment] of this.#segments.entries()) {
        if (segment === undefined || number === this.#current) continue;
        used++;
        alive += segment.alive;
        if (least < 0 || segment.alive < this.#segments[least]!.alive) least = number;
      }
      if (used * capacity <= SPACE * alive + capacity) break;
      this.#empty(least);
    }
    this.#emptying = false;
  }

  /** Writes the rows of a segment again that are alive, and removes it. */
  #empty(number: number): void {
    const segment = this.#segments[number]!;
    const { recordWords } = this;
    this.#waitForWrite(); // its last pages may be under way
    const page = this.#pageBytes;
    for (let first = 0; first < segment.pages && segment.alive > 0; first += this.#runPages) {
      const pages = Math.min(this.#runPages, segment.pages - first);
      this.#transfers.begin(false, segment.fd, first * page, this.#runByte(0), pages * page, 0);
      this.#transfers.finish();
      const { result } = this.#transfers;
      const number0 = number * this.#segmentPages + first;
      if (result !== pages * page) this.#failRead(number0, result, 0);
      this.counts.reads++;
      this.counts.bytesRead += result;
      for (let p = 0; p < pages; p++) {
        const word = (this.#runByte(0) + p * page) / 4;
        this.#expectPage(word, number0 + p, 0);
        for (let index = 0; index < this.#pageRows; index++) {
          const row = this.#words[word + PAGE_HEADER + index];
          if (row === NO_ROW || this.#places[row] !== (number0 + p) * this.#pageRows + index + 1) continue;
          this.#append(row, this.#floats, word + PAGE_HEADER + this.#pageRows + index * recordWords);
        }
        this.#waitForWrite(); // so that the next read is the only transfer
      }
    }
    closeSync(segment.fd);
    this.#segments[number] = undefined;
    for (let buffer = 0; buffer < 2; buffer++) {
      const gone = Math.floor(this.#firstPages[buffer] / this.#segmentPages) === number;
      if (gone && buffer !== this.#buffer) this.#pagesIn[buffer] = 0;
    }
  }

  clear(): void {
    if (this.#writing) this.#transfers.finish();
    this.#writing = false;
    for (const segment of this.#segments) if (segment !== undefined) closeSync(segment.fd);
    this.#segments.length = 0;
    this.#places.fill(0);
    this.#pagesIn.fill(0);
    this.#current = this.#page = -1;
    this.#filled = 0;
  }

  /** Closes its files, which then are gone. */
  [Symbol.dispose](): void {
    this.clear();
    this.#transfers[Symbol.dispose]();
  }
}

/** Names the transfer of a buffer; reads are numbered from 0. */
const WRITE_TAG = 0x7fffffff;

/** A row that would be written holds what is no number. */
export class NotFiniteRow extends HotsetError {
  /** Name of the class. */
  override name = "NotFiniteRow";
  readonly row: number;

  /** Made where the row is written. */
  constructor(row: number, message: string) {
    super(message, { code: "diverged" });
    this.row = row;
  }
}
