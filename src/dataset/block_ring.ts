/** Blocks of generated clicks drawn ahead on other threads and handed out in order. */
import { availableParallelism } from "node:os";
import { type RingControl, type Work, WorkRing, WorkSlots } from "../threads/work_ring.ts";
import { BLOCK_SAMPLES, type ClickBlock, ClickModel, type ClickModelOptions } from "./click_model.ts";

const SLOTS = 32;
/** From so many samples on a thread is worth its start. */
const THREAD_SAMPLES = 200_000;

/** What a thread is given; memory is shared. */
export interface DrawingInput {
  readonly options: ClickModelOptions;
  /** Blocks of the whole log. */
  readonly count: number;
  readonly memory: SharedArrayBuffer;
  readonly control: RingControl;
}

function blocksIn(model: ClickModel, memory: SharedArrayBuffer): ClickBlock[] {
  return Array.from({ length: SLOTS }, (_, slot) => model.blockIn(memory, slot * model.blockBytes));
}

/** Draws the block that a slot's first word names into the slot. */
function drawing(model: ClickModel, blocks: readonly ClickBlock[], count: number): Work {
  return (slot, [block]) => void model.draw(block, blocks[slot], block / count);
}

/** Draws what is asked until the ring is ended. */
export function runDrawingThread({ options, count, memory, control }: DrawingInput): void {
  const model = new ClickModel(options);
  new WorkSlots(control, drawing(model, blocksIn(model, memory), count)).run();
}

/** The blocks of a log in order. */
export class BlockRing implements Disposable {
  readonly #blocks: readonly ClickBlock[];
  readonly #ring: WorkRing;
  readonly #count: number;
  /** Blocks submitted, and the slot of the block that was handed out last. */
  #submitted = 0;
  #out: number | undefined;

  constructor(options: ClickModelOptions, model: ClickModel, samples: number) {
    const memory = new SharedArrayBuffer(SLOTS * model.blockBytes);
    const { seed, scale, shape, drift } = options;
    const modelOptions = JSON.parse(JSON.stringify({ seed, scale, shape, drift }));
    const count = this.#count = Math.ceil(samples / BLOCK_SAMPLES);
    this.#blocks = blocksIn(model, memory);
    this.#ring = new WorkRing(SLOTS, "draws samples", drawing(model, this.#blocks, count), {
      module: new URL("./block_worker.ts", import.meta.url),
      count: samples < THREAD_SAMPLES ? 0 : availableParallelism() - 1,
      input: (control): DrawingInput => ({ options: modelOptions, count, memory, control }),
    });
    for (let slot = 0; slot < SLOTS; slot++) this.#submit(slot);
  }

  /** The next block, good until the next call. */
  next(): ClickBlock {
    if (this.#out !== undefined) this.#submit(this.#out);
    this.#out = this.#ring.take();
    return this.#blocks[this.#out];
  }

  /** Submits the next block to draw, if there is another one. */
  #submit(slot: number): void {
    if (this.#submitted === this.#count) return;
    this.#ring.words(slot)[0] = this.#submitted++;
    this.#ring.submit(slot);
  }

  [Symbol.dispose](): void {
    this.#ring[Symbol.dispose]();
  }
}
