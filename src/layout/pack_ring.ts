/** Batches on their way to the disk: filled by the caller, sorted and packed by another thread, written in order. */
import { type RingControl, type Work, WorkRing, WorkSlots } from "../threads/work_ring.ts";
import { Batch, batchSections, type BatchShape } from "./batch.ts";
import { BatchRecord, mostRecordBytes } from "./batch_record.ts";
import { SegmentSorter } from "./segment_sorter.ts";

/** Blocks in the ring: two being filled, the rest waiting for segments or for the disk. */
const SLOTS = 8;

/** What the thread is given. Memory is shared. */
export interface SegmentThreadInput {
  readonly shape: BatchShape;
  readonly memory: SharedArrayBuffer;
  readonly control: RingControl;
}

/** The blocks of a ring, and what is done to each: its segments are written and it is packed. */
class SegmentWork {
  readonly batches: Batch[];
  readonly records: BatchRecord[];
  readonly #sorter: SegmentSorter;

  constructor(shape: BatchShape, memory: SharedArrayBuffer) {
    const bytes = 4 * batchSections(shape).capacity;
    this.batches = Array.from({ length: SLOTS }, (_, slot) => new Batch(shape, memory, slot * bytes));
    const longest = mostRecordBytes(shape);
    this.records = this.batches.map((_, slot) => new BatchRecord(shape, memory, SLOTS * bytes + slot * longest));
    this.#sorter = new SegmentSorter(shape);
  }

  /** Leaves the bytes of the slot's record in its first word. */
  readonly pack: Work = (slot, words) => {
    const batch = this.batches[slot];
    words[0] = this.records[slot].pack(batch, this.#sorter.write(batch));
  };
}

/** Packs what is submitted until the ring is ended. */
export function runSegmentThread({ shape, memory, control }: SegmentThreadInput): void {
  new WorkSlots(control, new SegmentWork(shape, memory).pack).run();
}

/**
 * Hands out blocks and passes completed batches with their records to `write` in the order in which they were submitted. With
 * a thread the segments are written on another core.
 */
export class PackRing implements Disposable {
  readonly #blocks: SegmentWork;
  readonly #ring: WorkRing;
  readonly #write: (batch: Batch, record: Uint8Array) => void;
  readonly #free = Array.from({ length: SLOTS }, (_, slot) => slot);

  constructor(
    shape: BatchShape,
    withThread: boolean,
    write: (batch: Batch, record: Uint8Array) => void,
  ) {
    const memory = new SharedArrayBuffer(SLOTS * (4 * batchSections(shape).capacity + mostRecordBytes(shape)));
    this.#blocks = new SegmentWork(shape, memory);
    this.#write = write;
    this.#ring = new WorkRing(SLOTS, "writes segments", this.#blocks.pack, {
      module: new URL("./segment_worker.ts", import.meta.url),
      count: withThread ? 1 : 0,
      input: (control): SegmentThreadInput => ({ shape, memory, control }),
    });
  }

  /** A block to fill and submit. At most two may be out at a time. */
  take(): Batch {
    if (this.#free.length === 0) this.#writeOldest();
    return this.#blocks.batches[this.#free.pop()!];
  }

  /** Gives back a block that holds a whole batch, but for its segments. */
  submit(batch: Batch): void {
    this.#ring.submit(this.#blocks.batches.indexOf(batch));
  }

  /** Writes all that was submitted. */
  finish(): void {
    while (this.#ring.waiting > 0) this.#writeOldest();
  }

  #writeOldest(): void {
    const slot = this.#ring.take();
    const [bytes] = this.#ring.words(slot);
    this.#write(this.#blocks.batches[slot], this.#blocks.records[slot].bytes.subarray(0, bytes));
    this.#free.push(slot);
  }

  [Symbol.dispose](): void {
    this.#ring[Symbol.dispose]();
  }
}
