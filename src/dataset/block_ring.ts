/** Blocks of generated clicks drawn ahead on other threads and handed out in order. */
import { availableParallelism } from "node:os";
import { BLOCK_SAMPLES, type ClickBlock, type ClickModel, type ClickModelOptions } from "./click_model.ts";

const SLOTS = 32;
/** From so many samples on a thread is worth its start. */
const THREAD_SAMPLES = 200_000;
/** A block takes milliseconds; a thread that takes this long is dead. */
const DEAD_MILLISECONDS = 60_000;
/** Words of control after one word a slot (the block that is complete in it, plus 1): the next to draw, and the consumed. */
const NEXT = SLOTS, CONSUMED = SLOTS + 1;

/** What a thread is given; memory is shared. */
export interface DrawingInput {
  readonly options: ClickModelOptions;
  /** Samples of all blocks. */
  readonly samples: number;
  readonly memory: SharedArrayBuffer;
  readonly control: Int32Array;
}

/** Draws blocks into slots, each by whichever thread comes first. */
export class Drawer {
  /** Blocks to draw. */
  readonly count: number;
  readonly blocks: ClickBlock[];
  readonly #model: ClickModel;
  readonly #control: Int32Array;

  constructor({ samples, memory, control }: DrawingInput, model: ClickModel) {
    this.#model = model;
    this.#control = control;
    this.count = Math.ceil(samples / BLOCK_SAMPLES);
    this.blocks = Array.from({ length: SLOTS }, (_, slot) => model.blockIn(memory, slot * model.blockBytes));
  }

  /** Draws the next block if its slot is free. */
  drawNext(): boolean {
    const control = this.#control;
    const block = Atomics.load(control, NEXT);
    if (block >= this.count || block - Atomics.load(control, CONSUMED) >= SLOTS) return false;
    if (Atomics.compareExchange(control, NEXT, block, block + 1) !== block) return true;
    const slot = block % SLOTS;
    this.#model.draw(block, this.blocks[slot], block / this.count);
    Atomics.store(control, slot, block + 1);
    Atomics.notify(control, slot);
    return true;
  }

  /** Works until all blocks are drawn; sleeps while no slot is free. */
  run(): void {
    const control = this.#control;
    while (Atomics.load(control, NEXT) < this.count) {
      const consumed = Atomics.load(control, CONSUMED);
      if (!this.drawNext()) Atomics.wait(control, CONSUMED, consumed, DEAD_MILLISECONDS);
    }
  }
}

/** The blocks of a log in order. The caller draws too while it waits, so the result depends on no thread. */
export class BlockRing implements Disposable {
  readonly #control = new Int32Array(new SharedArrayBuffer(4 * (SLOTS + 2)));
  readonly #drawer: Drawer;
  readonly #workers: Worker[];
  #next = 0;

  constructor(options: ClickModelOptions, model: ClickModel, samples: number) {
    const memory = new SharedArrayBuffer(SLOTS * model.blockBytes);
    const { seed, scale, shape, drift } = options;
    const modelOptions = JSON.parse(JSON.stringify({ seed, scale, shape, drift }));
    const input: DrawingInput = { options: modelOptions, samples, memory, control: this.#control };
    this.#drawer = new Drawer(input, model);
    const threads = samples < THREAD_SAMPLES ? 0 : availableParallelism() - 1;
    this.#workers = Array.from({ length: threads }, () => {
      const worker = new Worker(new URL("./block_worker.ts", import.meta.url), { type: "module" });
      worker.postMessage(input);
      return worker;
    });
  }

  /** The next block, good until the next call. */
  next(): ClickBlock {
    const control = this.#control;
    Atomics.store(control, CONSUMED, this.#next);
    Atomics.notify(control, CONSUMED);
    const block = this.#next++;
    const slot = block % SLOTS;
    for (let found = 0; (found = Atomics.load(control, slot)) !== block + 1;) {
      if (this.#drawer.drawNext()) continue;
      if (Atomics.wait(control, slot, found, DEAD_MILLISECONDS) === "timed-out") {
        throw new Error("the thread that draws samples does not answer");
      }
    }
    return this.#drawer.blocks[slot];
  }

  [Symbol.dispose](): void {
    // A thread that sleeps cannot be terminated: it would keep the process alive. This wakes it, with nothing left to do.
    Atomics.store(this.#control, NEXT, this.#drawer.count);
    Atomics.store(this.#control, CONSUMED, -1);
    Atomics.notify(this.#control, CONSUMED);
    for (const worker of this.#workers) worker.terminate();
  }
}
