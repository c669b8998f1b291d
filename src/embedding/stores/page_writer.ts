/** Collects pages of a log in two buffers: one is filled while the other is written. */
import { HotsetError } from "../../errors.ts";
import { crc32Of } from "../../storage/crc32.ts";
import type { StoreCounts } from "./row_store.ts";
import type { PageMemory } from "./row_page.ts";
import { type LogSegment, transferFault } from "./log_segments.ts";
import type { Transfers } from "./transfers.ts";

/** Tag of a buffer's transfer; reads are numbered from 0. */
export const WRITE_TAG = 0x7fffffff;

/** Content of a buffer. */
interface Gathered {
  segment: LogSegment | undefined;
  /** Number of its first page over all segments, and in its segment. */
  first: number;
  firstInSegment: number;
  pages: number;
}

/** Writes consecutive pages of segments; pages that are not on disk yet can be read from its memory. */
export class PageWriter {
  readonly #memory: PageMemory;
  readonly #transfers: Transfers;
  readonly #counts: StoreCounts;
  readonly #bufferPages: number;
  readonly #buffers: readonly Gathered[] = [0, 1].map(() => ({
    ...{ segment: undefined, first: -1, firstInSegment: 0, pages: 0 },
  }));
  #current = 0;
  #writing = false;

  /** The buffers are the first `2 * bufferPages` pages of the memory. */
  constructor(memory: PageMemory, transfers: Transfers, counts: StoreCounts, bufferPages: number) {
    this.#memory = memory;
    this.#transfers = transfers;
    this.#counts = counts;
    this.#bufferPages = bufferPages;
  }

  /** Position of a page in the buffers, as a word of the memory; -1 if it is not there. */
  find(page: number): number {
    for (let buffer = 0; buffer < 2; buffer++) {
      const { first, pages } = this.#buffers[buffer];
      if (page >= first && page < first + pages) {
        return this.#memory.shape.bytes / 4 * (buffer * this.#bufferPages + page - first);
      }
    }
    return -1;
  }

  /** Reserves the next page of a segment, which has this number over all segments. */
  add(page: number, segment: LogSegment): void {
    const buffer = this.#buffers[this.#current];
    if (buffer.pages === 0) Object.assign(buffer, { segment, first: page, firstInSegment: segment.pages });
    buffer.pages++;
    segment.pages++;
  }

  /** Writes the buffer if it has no space for another page. */
  writeIfFull(): void {
    if (this.#buffers[this.#current].pages === this.#bufferPages) this.#write();
  }

  /** Writes all pages, and waits for that. */
  flush(): void {
    if (this.#buffers[this.#current].pages > 0) this.#write();
    this.settle();
  }

  /** Begins to write the buffer, and switches to the other one after its write has completed. */
  #write(): void {
    this.settle();
    const { segment, firstInSegment, pages } = this.#buffers[this.#current];
    const { bytes } = this.#memory.shape;
    const at = this.#current * this.#bufferPages * bytes;
    segment!.crc32 = crc32Of(this.#memory.bytes.subarray(at, at + pages * bytes), segment!.crc32);
    this.#transfers.begin(true, segment!.fd, firstInSegment * bytes, at, pages * bytes, WRITE_TAG);
    this.#writing = true;
    this.#counts.writes++;
    this.#counts.bytesWritten += pages * bytes;
    // The pages of the other buffer are on disk. Those of this one are read from memory until it is reused.
    this.#current = 1 - this.#current;
    this.#buffers[this.#current].pages = 0;
    if (this.#transfers.depth === 1) this.settle();
  }

  /** Waits for the pending write; no read may be pending. */
  settle(): void {
    if (!this.#writing) return;
    this.#transfers.finish();
    this.expectWritten();
  }

  /**
   * To be called when `finish` of the transfers has returned the write: throws HotsetError unless all of it was
   * written.
   */
  expectWritten(): void {
    this.#writing = false;
    const { result } = this.#transfers;
    const { segment, firstInSegment, pages } = this.#buffers[1 - this.#current];
    const { bytes } = this.#memory.shape;
    if (result === pages * bytes) return;
    const place = `${segment!.path} at byte ${firstInSegment * bytes}`;
    throw new HotsetError(`Cannot write rows to ${place}: ${transferFault(result, true)}`, {
      code: result >= 0 || result === -28 || result === -122 ? "no-space" : "failed",
    });
  }

  /** Forgets the written pages of a removed segment. */
  forget(segment: LogSegment): void {
    const other = this.#buffers[1 - this.#current];
    if (other.segment === segment) other.pages = 0;
  }

  /** Waits for the write and for this number of pending reads, whether they succeed or not, and forgets all pages. */
  abandon(reads: number): void {
    for (let left = reads + (this.#writing ? 1 : 0); left > 0; left--) this.#transfers.finish();
    this.#writing = false;
    for (const buffer of this.#buffers) buffer.pages = 0;
  }
}
