/** Blocks of generated clicks, computed ahead on other threads and returned in order. */
import { availableParallelism } from "node:os";
import { type Work, WorkRing } from "../threads/work_ring.ts";
import { BLOCK_SAMPLES, type ClickBlock, ClickModel, type ClickModelOptions } from "./click_model.ts";

const SLOTS = 32;
/** From this number of samples on, starting threads pays off. */
const THREAD_SAMPLES = 200_000;

/** The input of a thread; memory is shared. */
interface DrawingInput {
  readonly options: ClickModelOptions;
  readonly bias: number;
  /** Blocks of the whole log. */
  readonly count: number;
  readonly memory: SharedArrayBuffer;
}

function blocksIn(model: ClickModel, memory: SharedArrayBuffer): ClickBlock[] {
  return Array.from({ length: SLOTS }, (_, slot) => model.blockIn(memory, slot * model.blockBytes));
}

/** Computes the block whose number is a slot's first word. */
function drawing(model: ClickModel, blocks: readonly ClickBlock[], count: number): Work {
  return (slot, [block]) => void model.draw(block, blocks[slot], block / count);
}

export function drawingOf({ options, bias, count, memory }: DrawingInput): Work {
  const model = new ClickModel(options, bias);
  return drawing(model, blocksIn(model, memory), count);
}

/** The blocks of a log in order. */
export class BlockRing implements Disposable {
  readonly #blocks: readonly ClickBlock[];
  readonly #ring: WorkRing;
  readonly #count: number;
  /** Blocks submitted, and the slot of the block returned last. */
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
      input: { options: modelOptions, bias: model.bias, count, memory } satisfies DrawingInput,
    });
    for (let slot = 0; slot < SLOTS; slot++) this.#submit(slot);
  }

  /** The next block, valid until the next call. */
  next(): ClickBlock {
    if (this.#out !== undefined) this.#submit(this.#out);
    this.#out = this.#ring.take();
    return this.#blocks[this.#out];
  }

  /** Submits the next block, if there is one. */
  #submit(slot: number): void {
    if (this.#submitted === this.#count) return;
    this.#ring.words(slot)[0] = this.#submitted++;
    this.#ring.submit(slot);
  }

  [Symbol.dispose](): void {
    this.#ring[Symbol.dispose]();
  }
}
