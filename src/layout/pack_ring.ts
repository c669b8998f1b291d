/** Batches on their way to the disk: filled by the caller, sorted and packed by another thread, written in order. */
import { Batch, batchSections, type BatchShape } from "./batch.ts";
import { BatchRecord, mostRecordBytes } from "./batch_record.ts";
import { SegmentSorter } from "./segment_sorter.ts";

/** Blocks in the ring: two being filled, the rest waiting for segments or for the disk. */
const SLOTS = 8;
/** What happens to a slot, in order. Whoever moves it from filled to claimed completes it. */
const SlotState = { filling: 0, filled: 1, claimed: 2, complete: 3 } as const;
/** Words of control after the states of the slots: a number that rises when there is news, and the end. */
const NEWS = SLOTS, STOP = SLOTS + 1;
/** Then the bytes of each slot's record. */
const RECORD_BYTES = SLOTS + 2;
const CONTROL_WORDS = RECORD_BYTES + SLOTS;
/** A slot takes milliseconds; a thread that takes this long is dead. */
const DEAD_MILLISECONDS = 60_000;

/** What the thread is given. Memory is shared. */
export interface SegmentThreadInput {
  readonly shape: BatchShape;
  readonly memory: SharedArrayBuffer;
  readonly control: Int32Array;
}

/** Claims filled slots, writes their segments and packs them. */
export class SegmentThread {
  readonly batches: Batch[];
  readonly records: BatchRecord[];
  readonly #control: Int32Array;
  readonly #sorter: SegmentSorter;

  constructor({ shape, memory, control }: SegmentThreadInput) {
    const bytes = 4 * batchSections(shape).capacity;
    this.batches = Array.from({ length: SLOTS }, (_, slot) => new Batch(shape, memory, slot * bytes));
    const longest = mostRecordBytes(shape);
    this.records = this.batches.map((_, slot) => new BatchRecord(shape, memory, SLOTS * bytes + slot * longest));
    this.#control = control;
    this.#sorter = new SegmentSorter(shape);
  }

  /** Works until told to stop; sleeps while nothing is filled. */
  run(): void {
    while (Atomics.load(this.#control, STOP) === 0) {
      const news = Atomics.load(this.#control, NEWS);
      let claimed = false;
      for (let slot = 0; slot < SLOTS; slot++) if (this.claim(slot)) claimed = true;
      if (!claimed) Atomics.wait(this.#control, NEWS, news);
    }
  }

  /** Completes the slot if it is filled and nobody has claimed it. */
  claim(slot: number): boolean {
    const control = this.#control;
    if (Atomics.compareExchange(control, slot, SlotState.filled, SlotState.claimed) !== SlotState.filled) return false;
    const batch = this.batches[slot];
    control[RECORD_BYTES + slot] = this.records[slot].pack(batch, this.#sorter.write(batch));
    Atomics.store(control, slot, SlotState.complete);
    Atomics.notify(control, slot);
    return true;
  }
}

/**
 * Hands out blocks and passes completed batches with their records to `write` in the order in which they were submitted. With a thread
 * the segments are written on another core; the caller does what the thread has not claimed, so the result neither
 * waits for the thread to start nor depends on it.
 */
export class PackRing implements Disposable {
  readonly #control = new Int32Array(new SharedArrayBuffer(4 * CONTROL_WORDS));
  readonly #own: SegmentThread;
  readonly #worker: Worker | undefined;
  readonly #write: (batch: Batch, record: Uint8Array) => void;
  readonly #free = Array.from({ length: SLOTS }, (_, slot) => slot);
  /** Slots submitted and not yet written, oldest first. */
  readonly #submitted: number[] = [];

  constructor(
    shape: BatchShape,
    withThread: boolean,
    write: (batch: Batch, record: Uint8Array) => void,
  ) {
    const memory = new SharedArrayBuffer(SLOTS * (4 * batchSections(shape).capacity + mostRecordBytes(shape)));
    const input: SegmentThreadInput = { shape, memory, control: this.#control };
    this.#own = new SegmentThread(input);
    this.#write = write;
    if (withThread) {
      this.#worker = new Worker(new URL("./segment_worker.ts", import.meta.url), { type: "module" });
      this.#worker.postMessage(input);
    }
  }

  /** A block to fill and submit. At most two may be out at a time. */
  take(): Batch {
    if (this.#free.length === 0) this.#writeOldest();
    return this.#own.batches[this.#free.pop()!];
  }

  /** Gives back a block that holds a whole batch, but for its segments. */
  submit(batch: Batch): void {
    const slot = this.#own.batches.indexOf(batch);
    this.#submitted.push(slot);
    Atomics.store(this.#control, slot, SlotState.filled);
    this.#announce();
  }

  /** Writes all that was submitted. */
  finish(): void {
    while (this.#submitted.length > 0) this.#writeOldest();
  }

  #writeOldest(): void {
    const slot = this.#submitted.shift()!;
    this.#own.claim(slot);
    while (Atomics.load(this.#control, slot) === SlotState.claimed) {
      // While the thread has the oldest one, the newest is done here.
      if (this.#submitted.findLast((newer) => this.#own.claim(newer)) !== undefined) continue;
      if (Atomics.wait(this.#control, slot, SlotState.claimed, DEAD_MILLISECONDS) === "timed-out") {
        throw new Error("the thread that writes segments does not answer");
      }
    }
    const bytes = this.#control[RECORD_BYTES + slot];
    this.#write(this.#own.batches[slot], this.#own.records[slot].bytes.subarray(0, bytes));
    Atomics.store(this.#control, slot, SlotState.filling);
    this.#free.push(slot);
  }

  #announce(): void {
    Atomics.add(this.#control, NEWS, 1);
    Atomics.notify(this.#control, NEWS);
  }

  [Symbol.dispose](): void {
    Atomics.store(this.#control, STOP, 1);
    this.#announce();
    this.#worker?.terminate();
  }
}
