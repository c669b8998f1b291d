/** Batches on their way to disk: filled by the caller, sorted and packed by another thread, written in order. */
import { breaks, type Parts } from "../breaks.ts";
import { type Work, WorkRing } from "../threads/work_ring.ts";
import { Batch, batchSections, type BatchShape } from "./batch.ts";
import { BatchRecord, maxRecordBytes } from "./batch_record.ts";
import { SegmentSorter } from "./segment_sorter.ts";

/** Blocks in the ring: two are filled, the others wait to be packed or written. */
const SLOTS = 8;

/** The input of the thread. Memory is shared. */
interface PackInput {
  readonly shape: BatchShape;
  readonly memory: SharedArrayBuffer;
}

/** The blocks of a ring, and the work on each: writing its segments and packing it. */
class SegmentWork {
  readonly batches: Batch[];
  readonly records: BatchRecord[];
  readonly #sorter: SegmentSorter;

  constructor({ shape, memory }: PackInput) {
    const bytes = 4 * batchSections(shape).capacity;
    this.batches = Array.from({ length: SLOTS }, (_, slot) => new Batch(shape, memory, slot * bytes));
    const longest = maxRecordBytes(shape);
    this.records = this.batches.map((_, slot) => new BatchRecord(shape, memory, SLOTS * bytes + slot * longest));
    this.#sorter = new SegmentSorter(shape);
  }

  /** Stores the bytes of the slot's record in its first word. */
  *pack(slot: number, words: Int32Array): Parts<void> {
    const batch = this.batches[slot];
    words[0] = yield* this.records[slot].pack(batch, yield* this.#sorter.writeInParts(batch));
  }
}

export function packing(input: PackInput): Work {
  const blocks = new SegmentWork(input);
  return (slot, words) => blocks.pack(slot, words);
}

/**
 * Provides blocks and passes completed batches with their records to `write` in the order of submission. With a thread,
 * the segments are computed on another core.
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
    const memory = new SharedArrayBuffer(SLOTS * (4 * batchSections(shape).capacity + maxRecordBytes(shape)));
    const input = { shape, memory };
    this.#blocks = new SegmentWork(input);
    this.#write = write;
    this.#ring = new WorkRing(SLOTS, "writes segments", (slot, words) => this.#blocks.pack(slot, words), {
      module: new URL("./segment_worker.ts", import.meta.url),
      count: withThread ? 1 : 0,
      input,
    });
  }

  /** A block to fill and submit. At most two may be in use at a time. */
  async take(): Promise<Batch> {
    if (this.#free.length === 0) await this.#writeOldest();
    return this.#blocks.batches[this.#free.pop()!];
  }

  /** Submits a block with a complete batch, without its segments. */
  submit(batch: Batch): void {
    this.#ring.submit(this.#blocks.batches.indexOf(batch));
  }

  /** Writes all submitted batches. */
  async finish(): Promise<void> {
    while (this.#ring.waiting > 0) {
      await this.#writeOldest();
      if (breaks.due) await breaks.take();
    }
  }

  async #writeOldest(): Promise<void> {
    const slot = await this.#ring.taken();
    const [bytes] = this.#ring.words(slot);
    this.#write(this.#blocks.batches[slot], this.#blocks.records[slot].bytes.subarray(0, bytes));
    this.#free.push(slot);
  }

  [Symbol.dispose](): void {
    this.#ring[Symbol.dispose]();
  }
}
