/** Batches of a layout read, unpacked and checked ahead of their steps by other threads, straight into the run's slots. */
import type { Batch, BatchShape } from "./batch.ts";
import { BATCH_KINDS, type BatchKind, type Layout } from "./layout.ts";

/** From so many samples on threads are worth their start. */
const THREAD_SAMPLES = 100_000;
/** More would wait for slots. */
const MOST_THREADS = 3;
/** What happens to a slot, in order. Whoever moves it from asked to claimed reads it; a thread may fail at that. */
const SlotState = { free: 0, asked: 1, claimed: 2, read: 3, failed: 4 } as const;
/** Words of control: a number that rises when there is news, and the end; then for each slot its state and what is asked. */
const NEWS = 0, STOP = 1, FIRST_SLOT = 2, SLOT_WORDS = 3;
/** A batch takes milliseconds; a thread that takes this long is dead. */
const DEAD_MILLISECONDS = 60_000;

/** What a thread is given. Memory is shared. */
export interface ReadThreadInput {
  readonly directory: string;
  readonly shape: BatchShape;
  readonly slots: readonly { readonly memory: ArrayBufferLike; readonly byteOffset: number }[];
  readonly control: Int32Array;
}

/** Claims slots that a batch is asked for, and reads it. */
export class ReadThread {
  readonly #layout: Layout;
  readonly #batches: readonly Batch[];
  readonly #control: Int32Array;

  constructor(layout: Layout, batches: readonly Batch[], control: Int32Array) {
    this.#layout = layout;
    this.#batches = batches;
    this.#control = control;
  }

  /** Works until told to stop; sleeps while nothing is asked. */
  run(): void {
    while (Atomics.load(this.#control, STOP) === 0) {
      const news = Atomics.load(this.#control, NEWS);
      let claimed = false;
      for (let slot = 0; slot < this.#batches.length; slot++) if (this.claim(slot)) claimed = true;
      if (!claimed) Atomics.wait(this.#control, NEWS, news);
    }
  }

  /** Reads the batch of the slot if one is asked that nobody has claimed. */
  claim(slot: number): boolean {
    const control = this.#control;
    const at = FIRST_SLOT + SLOT_WORDS * slot;
    if (Atomics.compareExchange(control, at, SlotState.asked, SlotState.claimed) !== SlotState.asked) return false;
    let state: number = SlotState.read;
    try {
      this.#layout.readBatch(BATCH_KINDS[control[at + 1]], control[at + 2], this.#batches[slot]);
    } catch {
      state = SlotState.failed; // whoever needs the batch reads it again, and meets the error where it can be told
    }
    Atomics.store(control, at, state);
    Atomics.notify(control, at);
    return true;
  }
}

/** How many threads are worth it for a layout where so many cores are free. */
export function readThreads({ body: { samples } }: Layout, freeCores: number): number {
  return samples < THREAD_SAMPLES ? 0 : Math.min(MOST_THREADS, freeCores);
}

/**
 * Reads batches into slots in the order in which they are asked. What no thread has claimed when it is needed the caller
 * reads, so that the result neither waits for a thread to start nor depends on one.
 */
export class ReadAhead implements Disposable {
  /** How many batches are worth asking at a time. */
  readonly depth: number;
  readonly #layout: Layout;
  readonly #batches: readonly Batch[];
  readonly #control: Int32Array<SharedArrayBuffer>;
  readonly #own: ReadThread;
  readonly #workers: readonly Worker[];
  /** Slots asked and not taken, oldest first. */
  readonly #asked: number[] = [];

  /** With so many threads. Of `batches`, in shared memory, all but one may be asked at a time. */
  constructor(layout: Layout, batches: readonly Batch[], threads: number) {
    this.depth = threads === 0 ? 1 : batches.length - 1;
    this.#layout = layout;
    this.#batches = batches;
    this.#control = new Int32Array(new SharedArrayBuffer(4 * (FIRST_SLOT + SLOT_WORDS * batches.length)));
    this.#own = new ReadThread(layout, batches, this.#control);
    const input: ReadThreadInput = {
      directory: layout.directory,
      shape: layout.shape,
      slots: batches.map(({ bytes: { buffer, byteOffset } }) => ({ memory: buffer, byteOffset })),
      control: this.#control,
    };
    this.#workers = Array.from({ length: threads }, () => {
      const worker = new Worker(new URL("./read_worker.ts", import.meta.url), { type: "module" });
      worker.onerror = (event) => event.preventDefault(); // a thread that cannot start claims nothing
      worker.postMessage(input);
      return worker;
    });
  }

  /** Batches asked and not taken. */
  get waiting(): number {
    return this.#asked.length;
  }

  /** Asks for a batch in a slot that is free. */
  ask(slot: number, kind: BatchKind, index: number): void {
    const at = FIRST_SLOT + SLOT_WORDS * slot;
    this.#control[at + 1] = BATCH_KINDS.indexOf(kind);
    this.#control[at + 2] = index;
    Atomics.store(this.#control, at, SlotState.asked);
    this.#announce();
    this.#asked.push(slot);
  }

  /** The slot that was asked first, once its batch is there. Throws what `readBatch` throws. */
  take(): number {
    const control = this.#control;
    const slot = this.#asked.shift()!;
    const at = FIRST_SLOT + SLOT_WORDS * slot;
    this.#own.claim(slot);
    while (Atomics.load(control, at) === SlotState.claimed) {
      // While a thread has the oldest one, the newest is read here.
      if (this.#asked.findLast((newer) => this.#own.claim(newer)) !== undefined) continue;
      if (Atomics.wait(control, at, SlotState.claimed, DEAD_MILLISECONDS) === "timed-out") {
        throw new Error("the thread that reads batches does not answer");
      }
    }
    if (Atomics.exchange(control, at, SlotState.free) === SlotState.failed) {
      this.#layout.readBatch(BATCH_KINDS[control[at + 1]], control[at + 2], this.#batches[slot]);
    }
    return slot;
  }

  #announce(): void {
    Atomics.add(this.#control, NEWS, 1);
    Atomics.notify(this.#control, NEWS);
  }

  /** Stops the threads; slots that are asked are as they may be. */
  [Symbol.dispose](): void {
    Atomics.store(this.#control, STOP, 1);
    this.#announce();
    for (const worker of this.#workers) worker.terminate();
  }
}
