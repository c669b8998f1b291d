/** Batches of a layout read, unpacked and checked ahead of their steps by other threads, straight into the run's slots. */
import { type RingControl, type Work, WorkRing, WorkSlots } from "../threads/work_ring.ts";
import { Batch, type BatchShape } from "./batch.ts";
import { BATCH_KINDS, type BatchKind, Layout } from "./layout.ts";

/** From so many samples on threads are worth their start. */
const THREAD_SAMPLES = 100_000;
/** More would wait for slots. */
const MAX_THREADS = 3;

/** What a thread is given. Memory is shared. */
export interface ReadThreadInput {
  readonly directory: string;
  readonly shape: BatchShape;
  readonly slots: readonly { readonly memory: ArrayBufferLike; readonly byteOffset: number }[];
  readonly control: RingControl;
}

/** Reads the batch that a slot's words name, its kind and its number, into the slot. */
function reading(layout: Layout, batches: readonly Batch[]): Work {
  return (slot, words) => layout.readBatch(BATCH_KINDS[words[0]], words[1], batches[slot]);
}

/** Reads what is asked until the ring is ended. */
export function runReadThread({ directory, shape, slots, control }: ReadThreadInput): void {
  using layout = Layout.open(directory, "lengths");
  const batches = slots.map(({ memory, byteOffset }) => new Batch(shape, memory, byteOffset));
  new WorkSlots(control, reading(layout, batches)).run();
}

/** How many threads are worth it for a layout where so many cores are free. */
export function readThreads({ body: { samples } }: Layout, freeCores: number): number {
  return samples < THREAD_SAMPLES ? 0 : Math.min(MAX_THREADS, freeCores);
}

/** Reads batches into slots in the order in which they are asked. */
export class ReadAhead implements Disposable {
  /** How many batches are worth asking at a time. */
  readonly depth: number;
  readonly #ring: WorkRing;

  /** With so many threads. Of `batches`, in shared memory, all but one may be asked at a time. */
  constructor(layout: Layout, batches: readonly Batch[], threads: number) {
    this.depth = threads === 0 ? 1 : batches.length - 1;
    const { directory, shape } = layout;
    const slots = batches.map(({ bytes: { buffer, byteOffset } }) => ({ memory: buffer, byteOffset }));
    this.#ring = new WorkRing(batches.length, "reads batches", reading(layout, batches), {
      module: new URL("./read_worker.ts", import.meta.url),
      count: threads,
      input: (control): ReadThreadInput => ({ directory, shape, slots, control }),
    });
  }

  /** Batches asked and not taken. */
  get waiting(): number {
    return this.#ring.waiting;
  }

  /** Asks for a batch in a slot that is free. */
  ask(slot: number, kind: BatchKind, index: number): void {
    const words = this.#ring.words(slot);
    words[0] = BATCH_KINDS.indexOf(kind);
    words[1] = index;
    this.#ring.submit(slot);
  }

  /** The slot that was asked first, once its batch is there. Throws what `readBatch` throws. */
  take(): number {
    return this.#ring.take();
  }

  /** Stops the threads; slots that are asked are as they may be. */
  [Symbol.dispose](): void {
    this.#ring[Symbol.dispose]();
  }
}
