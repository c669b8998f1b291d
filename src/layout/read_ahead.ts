/** Prefetches batches of a layout: other threads read, unpack and validate them into the run's slots. */
import { type Work, WorkRing } from "../threads/work_ring.ts";
import { Batch, type BatchShape } from "./batch.ts";
import { BATCH_KINDS, type BatchKind, Layout } from "./layout.ts";

/** From this number of samples on, threads pay off. */
const THREAD_SAMPLES = 100_000;
/** More threads would wait for slots. */
const MAX_THREADS = 7;

/** The input of a thread. Memory is shared. */
interface ReadInput {
  readonly directory: string;
  readonly shape: BatchShape;
  readonly slots: readonly { readonly memory: ArrayBufferLike; readonly byteOffset: number }[];
}

/** Reads the batch whose kind and number are a slot's words into the slot. */
function reading(layout: Layout, batches: readonly Batch[]): Work {
  return (slot, words) => layout.readInParts(BATCH_KINDS[words[0]], words[1], batches[slot]);
}

/** The work of a thread, which keeps the layout open until it ends. */
export function readingFrom({ directory, shape, slots }: ReadInput): Work {
  const batches = slots.map(({ memory, byteOffset }) => new Batch(shape, memory, byteOffset));
  return reading(Layout.open(directory, "lengths"), batches);
}

/** How many threads pay off for a layout, with this number of free cores. */
export function readThreads({ body: { samples } }: Layout, freeCores: number): number {
  return samples < THREAD_SAMPLES ? 0 : Math.min(MAX_THREADS, freeCores);
}

/** Reads batches into slots in the order of the requests. */
export class ReadAhead implements Disposable {
  /** Maximum number of useful requests at a time. */
  readonly depth: number;
  readonly #ring: WorkRing;

  /** With this number of threads. All but one of `batches`, in shared memory, may be requested at a time. */
  constructor(layout: Layout, batches: readonly Batch[], threads: number) {
    this.depth = threads === 0 ? 1 : batches.length - 1;
    const { directory, shape } = layout;
    const slots = batches.map(({ bytes: { buffer, byteOffset } }) => ({ memory: buffer, byteOffset }));
    this.#ring = new WorkRing(batches.length, "reads batches", reading(layout, batches), {
      module: new URL("./read_worker.ts", import.meta.url),
      count: threads,
      input: { directory, shape, slots } satisfies ReadInput,
    });
  }

  /** Number of batches requested and not taken. */
  get waiting(): number {
    return this.#ring.waiting;
  }

  /** Requests a batch in a free slot. */
  ask(slot: number, kind: BatchKind, index: number): void {
    const words = this.#ring.words(slot);
    words[0] = BATCH_KINDS.indexOf(kind);
    words[1] = index;
    this.#ring.submit(slot);
  }

  /** The slot of the oldest request, once its batch has been read. Throws the errors of `readBatch`. */
  take(): number {
    return this.#ring.take();
  }

  /** The same, while the event loop turns. */
  taken(): Promise<number> {
    return this.#ring.taken();
  }

  /** Stops the threads; requested slots are abandoned. */
  [Symbol.dispose](): void {
    this.#ring[Symbol.dispose]();
  }
}
