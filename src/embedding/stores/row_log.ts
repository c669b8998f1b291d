/**
 * A log-structured row store on disk. Rows that are written together are stored together, whatever their numbers are,
 * and a table in memory has the position of each row's latest record. Random updates thus become sequential writes, and
 * the rows of a batch, which are evicted together, are read again with few long reads.
 *
 * The log consists of segments (log_segments.ts), files of pages (row_page.ts) of which only the last one grows. When a row
 * is written again, its old record is dead. When the segments hold more than 1.5 times the live rows, those with the
 * smallest share of live rows are compacted: their live rows are written again, and the log's name of the file is
 * removed.
 *
 * A checkpoint seals the last segment and links all of them under names of its own. Another log can begin with the
 * segments of a checkpoint: the last record of a row in the log is the latest one.
 *
 * Pages have numbers of rows that never change (row_numbers.ts), so a log can also begin with the segments of a model that
 * has grown since.
 *
 * Hosts that shard the rows have a log each, which ignores records of other hosts' rows. No two hosts give the same number
 * to segments, so the segments of all of them, in the order of their numbers, are a log of all rows.
 */
import { HotsetError } from "../../errors.ts";
import { alignedBytes } from "../../storage/direct_file.ts";
import { MAX_REQUESTS, PageReader, READ_DEPTH, runPages } from "./page_reader.ts";
import { PageWriter } from "./page_writer.ts";
import { EXPONENT, NO_ROW, PageMemory, pageShape } from "./row_page.ts";
import type { RowNumbers } from "./row_numbers.ts";
import { NotFiniteRow, type RowStore, type StoreCounts } from "./row_store.ts";
import { holds, rowsOf, type Shard, WHOLE } from "../shard.ts";
import {
  createSegment,
  hasDirect,
  type LogSegment,
  type LogSegmentEntry,
  openSegment,
  removeSegment,
  type SavedRows,
  syncSegment,
} from "./log_segments.ts";
import { bufferPagesOf, type LogContent, logSizes, SPACE } from "./log_sizes.ts";
import { openTransfers, type Transfers } from "./transfers.ts";

export interface RowLogOptions extends Omit<LogContent, "created"> {
  /** Directory of its segments; undefined for a log that only reads those of a checkpoint. */
  readonly directory: string | undefined;
  /** The host whose rows the log has, if rows are sharded; default all. */
  readonly shard?: Shard | undefined;
  /** Writes the initial record of a row to `records` from `at` on. */
  readonly initial: (row: number, records: Float32Array, at: number) => void;
  /** How pages are transferred; for tests. */
  readonly transfers?: ((memory: Uint8Array, depth: number) => Transfers) | undefined;
}

/** Stores the latest record of each written row. Used by one thread. */
export class RowLog implements RowStore {
  readonly rows: number;
  readonly recordWords: number;
  readonly counts: StoreCounts = {
    ...{ rowsRead: 0, rowsComputed: 0, rowsWritten: 0, bytesRead: 0, bytesWritten: 0, reads: 0, writes: 0 },
  };
  readonly #options: RowLogOptions;
  readonly #direct: boolean;
  readonly #transfers: Transfers;
  readonly #memory: PageMemory;
  readonly #writer: PageWriter;
  readonly #reader: PageReader;
  readonly #pageBytes: number;
  readonly #pageRows: number;
  /** Numbers of the rows in pages; undefined if these are the rows. */
  #numbers: RowNumbers | undefined;
  /** See LogSizes; the first for its reader, too. */
  segmentPages = 0;
  #maxSegments = 0;
  #segmentLimit = 0;
  readonly #shard: Shard;
  /** Position of each own row's latest record plus one: `page * pageRows + index`; 0 if it was never written. */
  readonly #places: Uint32Array;
  /** By index; undefined for free indices. */
  readonly #segments: (LogSegment | undefined)[] = [];
  /**
   * Index of the last segment, its page that is being filled (over all segments), and the number of rows in that page.
   */
  #current = -1;
  #page = -1;
  #filled = 0;
  #nextNumber: number;
  /** Requests of a read, sorted by position: `place * MAX_REQUESTS + index`. */
  #requests = new Float64Array(0);
  #emptying = false;

  /** An empty log. Throws HotsetError if it cannot be created. */
  constructor(options: RowLogOptions) {
    const { directory, rows, recordWords, shard = WHOLE } = options;
    this.#options = options;
    this.#shard = shard;
    const ownRows = rowsOf(shard, rows);
    this.rows = rows;
    this.recordWords = recordWords;
    const shape = pageShape(recordWords);
    this.#pageBytes = shape.bytes;
    this.#pageRows = shape.rows;
    this.#numberBy(undefined);
    this.#places = new Uint32Array(new SharedArrayBuffer(4 * ownRows));
    this.#nextNumber = this.#numberAfter(0);
    this.#direct = directory === undefined || hasDirect(directory);
    const bufferPages = bufferPagesOf(shape);
    const bytes = alignedBytes((2 * bufferPages + READ_DEPTH * runPages(shape.bytes)) * shape.bytes);
    this.#memory = new PageMemory(bytes, shape);
    this.#transfers = (options.transfers ?? openTransfers)(bytes, READ_DEPTH);
    this.#writer = new PageWriter(this.#memory, this.#transfers, this.counts, bufferPages);
    this.#reader = new PageReader(this.#memory, 2 * bufferPages, this.#transfers, this.#writer, this.counts);
  }

  /** How it reads and writes, as text. */
  get name(): string {
    return `${this.#transfers.name}${this.#direct ? "" : ", through the page cache"}`;
  }

  get diskBytes(): number {
    return this.#segments.reduce((sum, segment) => sum + (segment?.pages ?? 0), 0) * this.#pageBytes;
  }

  /** Rows that were written. */
  get writtenRows(): number {
    return this.#segments.reduce((sum, segment) => sum + (segment?.alive ?? 0), 0);
  }

  /** For its reader. */
  segmentAt(index: number): LogSegment {
    return this.#segments[index]!;
  }

  read(rows: Uint32Array, count: number, records: Float32Array): void {
    for (let first = 0; first < count; first += MAX_REQUESTS) {
      this.#read(rows, first, Math.min(first + MAX_REQUESTS, count), records);
    }
  }

  #read(rows: Uint32Array, first: number, end: number, records: Float32Array): void {
    const { recordWords } = this;
    // Grows to the largest batch.
    if (this.#requests.length < end - first) this.#requests = new Float64Array(end - first);
    let requests = 0;
    for (let i = first; i < end; i++) {
      const place = this.#places[this.#indexOf(rows[i])];
      if (place === 0) {
        this.#options.initial(rows[i], records, i * recordWords);
        this.counts.rowsComputed++;
      } else {
        this.counts.rowsRead++;
        const word = this.#writer.find(Math.floor((place - 1) / this.#pageRows));
        if (word < 0) this.#requests[requests++] = (place - 1) * MAX_REQUESTS + (i - first);
        else this.#memory.copy(word, (place - 1) % this.#pageRows, records, i * recordWords);
      }
    }
    if (requests === 0) return;
    this.#reader.readRecords(this.#requests.subarray(0, requests).sort(), this, rows, first, records);
  }

  write(rows: Uint32Array, count: number, records: Float32Array): void {
    const words = new Int32Array(records.buffer, records.byteOffset, count * this.recordWords);
    for (let i = 0; i < words.length; i++) {
      if ((words[i] & EXPONENT) === EXPONENT) {
        const row = rows[Math.floor(i / this.recordWords)];
        throw new NotFiniteRow(row, `row ${row} of all tables holds ${records[i]}`);
      }
    }
    for (let i = 0; i < count; i++) {
      const word = this.#pageForRow();
      this.#memory.put(word, this.#filled, this.numberOf(rows[i]), records, i * this.recordWords);
      this.#appended(rows[i]);
    }
    this.counts.rowsWritten += count;
  }

  /** The page that is being filled, as a word of the memory. */
  #pageForRow(): number {
    if (this.#page < 0) this.#nextPage();
    return this.#writer.find(this.#page);
  }

  /** Ends the append of a row to the page that is being filled. */
  #appended(row: number): void {
    this.#moveTo(row, this.#current, this.#page, this.#filled);
    if (++this.#filled === this.#pageRows) this.#endPage();
  }

  /** Records that the latest record of a row is at this position. */
  #moveTo(row: number, segment: number, page: number, index: number): void {
    const at = this.#indexOf(row);
    const old = this.#places[at];
    if (old > 0) this.#segments[Math.floor((old - 1) / this.#pageRows / this.segmentPages)]!.alive--;
    this.#places[at] = page * this.#pageRows + index + 1;
    this.#segments[segment]!.alive++;
  }

  /** The number of a row in pages; for its reader, too. */
  numberOf(row: number): number {
    return this.#numbers === undefined ? row : this.#numbers.numberOf(row);
  }

  /** The row with a number; `NO_ROW` if it was dropped. */
  #rowOf(number: number): number {
    return this.#numbers === undefined ? number : this.#numbers.rowOf(number);
  }

  /** Gives rows these numbers from now on; the log is empty. */
  #numberBy(numbers: RowNumbers | undefined): void {
    this.#numbers = numbers;
    const sizes = logSizes({ ...this.#options, created: numbers?.next }, this.#shard);
    this.segmentPages = sizes.segmentPages;
    this.#maxSegments = sizes.maxSegments;
    this.#segmentLimit = sizes.segmentLimit;
  }

  /** Index of an own row in `places`. */
  #indexOf(row: number): number {
    return Math.floor(row / this.#shard.hosts);
  }

  /** The first number above another one that only this host gives to segments. */
  #numberAfter(number: number): number {
    const { host, hosts } = this.#shard;
    return number + 1 + (host - number % hosts + hosts) % hosts;
  }

  /** Completes the page that is being filled, and writes the buffer if it is full. */
  #endPage(): void {
    const { number } = this.#segments[this.#current]!;
    this.#memory.close(this.#writer.find(this.#page), this.#filled, number, this.#page % this.segmentPages);
    this.#page = -1;
    this.#filled = 0;
    this.#writer.writeIfFull();
  }

  #nextPage(): void {
    const isFull = () => (this.#segments[this.#current]?.pages ?? this.segmentPages) === this.segmentPages;
    while (this.#page < 0 && isFull()) this.#nextSegment();
    if (this.#page >= 0) return; // compaction has begun another page, possibly the last one of its segment
    const segment = this.#segments[this.#current]!;
    this.#page = this.#current * this.segmentPages + segment.pages;
    this.#writer.add(this.#page, segment);
  }

  #nextSegment(): void {
    const { directory } = this.#options;
    if (directory === undefined) throw new Error("a log that only reads is written to");
    this.#current = this.#freeIndex();
    this.#segments[this.#current] = createSegment(directory, this.#nextNumber);
    this.#nextNumber = this.#numberAfter(this.#nextNumber);
    if (!this.#emptying) this.#emptySegments();
  }

  #freeIndex(): number {
    const free = this.#segments.indexOf(undefined);
    return free < 0 ? this.#segments.length : free;
  }

  /** Compacts segments until they are within the limits of space and number. */
  #emptySegments(): void {
    this.#emptying = true;
    const capacity = this.segmentPages * this.#pageRows;
    for (;;) {
      let count = 0, pages = 0, alive = 0;
      // The segment with the smallest share of live rows, and the one with the fewest.
      let least: LogSegment | undefined, fewest: LogSegment | undefined;
      for (const [index, segment] of this.#segments.entries()) {
        if (segment === undefined || index === this.#current) continue;
        count++;
        pages += segment.pages;
        alive += segment.alive;
        if (least === undefined || segment.alive * least.pages < least.alive * segment.pages) least = segment;
        if (fewest === undefined || segment.alive < fewest.alive) fewest = segment;
      }
      if (pages * this.#pageRows > SPACE * alive + capacity) this.#empty(least!);
      else if (count + 4 > this.#maxSegments) this.#empty(fewest!);
      else break;
    }
    this.#emptying = false;
  }

  /** Writes the live rows of a segment again, and removes it. */
  #empty(segment: LogSegment): void {
    const index = this.#segments.indexOf(segment);
    this.#writer.settle(); // the write of its last pages may be pending
    this.#reader.scan(segment, (word, page) => {
      const first = (index * this.segmentPages + page) * this.#pageRows + 1;
      for (let i = 0; i < this.#pageRows && segment.alive > 0; i++) {
        const row = this.#rowOf(this.#memory.rowAt(word, i));
        if (row === NO_ROW || this.#places[this.#indexOf(row)] !== first + i) continue;
        this.#memory.move(word, i, this.#pageForRow(), this.#filled);
        this.#appended(row);
      }
    });
    this.#writer.settle();
    this.#writer.forget(segment);
    removeSegment(segment);
    this.#segments[index] = undefined;
  }

  /** Seals the last segment, so that none changes any more, and returns all in order. They are then on disk. */
  seal(): LogSegmentEntry[] {
    if (this.#page >= 0) this.#endPage();
    this.#writer.flush();
    this.#current = -1;
    const segments = this.#segments.filter((segment) => segment !== undefined);
    for (const segment of segments) syncSegment(segment);
    return segments.sort((a, b) => a.number - b.number)
      .map(({ number, pages, crc32 }) => ({ number, bytes: pages * this.#pageBytes, crc32 }));
  }

  /**
   * Begins the log with the segments of a checkpoint, linked under its own names if it has a directory. Reads all pages
   * and calls `visit` with every record of an own row; of several records of a row the last one is valid. Throws
   * HotsetError.
   */
  adopt(
    saved: SavedRows,
    visit: (row: number, memory: PageMemory, page: number, index: number) => void = () => {},
  ): void {
    this.clear();
    this.#numberBy(saved.numbers);
    const created = saved.numbers?.next ?? this.rows;
    for (const entry of saved.segments) {
      const segment = openSegment(saved, entry, this.#pageBytes, this.#options.directory);
      const index = this.#segments.push(segment) - 1;
      const expect = (isSo: boolean, what: string) => {
        if (isSo) return;
        throw new HotsetError(`Cannot read rows from ${segment.path}: ${what}`, { code: "damaged" });
      };
      expect(segment.pages <= this.segmentPages && index < this.#segmentLimit, "it is no segment of these tables");
      this.#nextNumber = this.#numberAfter(entry.number);
      this.#reader.scan(segment, (word, page) => {
        for (let i = 0; i < this.#pageRows; i++) {
          const number = this.#memory.rowAt(word, i);
          if (number === NO_ROW) continue;
          expect(number < created, `it holds row ${number} of ${created}`);
          const row = this.#rowOf(number);
          if (row === NO_ROW || !holds(this.#shard, row)) continue;
          expect(this.#memory.isFinite(word, i), `row ${row} of all tables is not finite`);
          this.#moveTo(row, index, index * this.segmentPages + page, i);
          visit(row, this.#memory, word, i);
        }
      });
    }
  }

  clear(): void {
    this.#writer.abandon(0);
    for (const segment of this.#segments) if (segment !== undefined) removeSegment(segment);
    this.#segments.length = 0;
    this.#numberBy(undefined);
    this.#places.fill(0);
    this.#current = this.#page = -1;
    this.#filled = 0;
  }

  /** Closes its segments. Files without a checkpoint's name are removed. */
  [Symbol.dispose](): void {
    this.clear();
    this.#transfers[Symbol.dispose]();
  }
}
