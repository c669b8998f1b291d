/**
 * Prefetched work. The owner submits slots and takes them in the same order when they are done; threads claim submitted
 * slots. If no thread has claimed a slot when the owner needs it, the owner does the work itself, so the result does
 * not depend on threads.
 */
import { atOnce, inParts, type Parts } from "../breaks.ts";

/** States of a slot, in order. Whoever moves a slot from submitted to claimed does its work. */
const SlotState = { free: 0, submitted: 1, claimed: 2, done: 3, failed: 4 } as const;
/**
 * Control words: a counter that increases with every change, and the end flag; then for each slot its state and its
 * words.
 */
const NEWS = 0, STOP = 1, FIRST_SLOT = 2;
/** Words of a slot for its work: the request, or the result. */
const OWN_WORDS = 2;
const SLOT_WORDS = 1 + OWN_WORDS;
/** Milliseconds after which a thread counts as dead; the work of a slot takes a few. */
const DEAD_MS = 60_000;

/** Does the work of a slot, at once or in parts; its words contain the request, and then the result. */
export type Work = (slot: number, words: Int32Array) => void | Parts<void>;

/** Memory that the threads of a ring share; can be posted. */
type RingControl = Int32Array<SharedArrayBuffer>;

/** The slots as every thread sees them. */
class WorkSlots {
  readonly words: readonly Int32Array[];
  readonly #control: RingControl;
  readonly #work: Work;

  constructor(control: RingControl, work: Work) {
    this.#control = control;
    this.#work = work;
    this.words = Array.from({ length: (control.length - FIRST_SLOT) / SLOT_WORDS }, (_, slot) => {
      const first = stateOf(slot) + 1;
      return control.subarray(first, first + OWN_WORDS);
    });
  }

  /** Works until the ring is stopped; sleeps while nothing is submitted. */
  run(): void {
    const control = this.#control;
    const count = this.words.length;
    let next = 0;
    while (Atomics.load(control, STOP) === 0) {
      const news = Atomics.load(control, NEWS);
      let looked = 0;
      while (looked < count && !this.claim((next + looked) % count)) looked++;
      if (looked === count) {
        Atomics.wait(control, NEWS, news);
        continue;
      }
      const slot = (next + looked) % count;
      atOnce(this.complete(slot));
      next = slot + 1;
    }
  }

  /** Claims the slot, whose work must then be completed, if it is submitted and unclaimed. */
  claim(slot: number): boolean {
    const { submitted, claimed } = SlotState;
    return Atomics.compareExchange(this.#control, stateOf(slot), submitted, claimed) === submitted;
  }

  /** Does the work of a claimed slot. */
  *complete(slot: number): Parts<void> {
    const at = stateOf(slot);
    let state: number = SlotState.done;
    try {
      const parts = this.#work(slot, this.words[slot]);
      if (parts !== undefined) yield* parts;
    } catch {
      state = SlotState.failed; // the owner repeats the work, and reports the error itself
    }
    Atomics.store(this.#control, at, state);
    Atomics.notify(this.#control, at);
  }
}

function stateOf(slot: number): number {
  return FIRST_SLOT + SLOT_WORDS * slot;
}

export interface RingThreads {
  /** The module they run, which calls `serveRing`. */
  readonly module: URL;
  readonly count: number;
  /** What they make their work from; can be posted. */
  readonly input: unknown;
}

/**
 * The owner's side: submits and takes slots. Starting a thread takes some 20 ms: the constructor starts one, and each of
 * the first calls of `take` another one, so that the owner can make breaks in between.
 */
export class WorkRing implements Disposable {
  readonly #control: RingControl;
  readonly #work: Work;
  readonly #doing: string;
  readonly #slots: WorkSlots;
  readonly #threads: RingThreads;
  readonly #workers: Worker[] = [];
  /** Slots submitted and not taken, oldest first. */
  readonly #submitted: number[] = [];

  /** `doing` describes the work in error messages. */
  constructor(slots: number, doing: string, work: Work, threads: RingThreads) {
    this.#control = new Int32Array(new SharedArrayBuffer(4 * stateOf(slots)));
    this.#work = work;
    this.#doing = doing;
    this.#slots = new WorkSlots(this.#control, work);
    this.#threads = threads;
    if (threads.count > 0) this.#startThread();
  }

  /** Slots submitted and not taken. */
  get waiting(): number {
    return this.#submitted.length;
  }

  /** The words of a slot, to be set before it is submitted and read after it is taken. */
  words(slot: number): Int32Array {
    return this.#slots.words[slot];
  }

  submit(slot: number): void {
    Atomics.store(this.#control, stateOf(slot), SlotState.submitted);
    this.#announce();
    this.#submitted.push(slot);
  }

  /** The oldest submitted slot, once its work is done; the slot is then free. Throws the error of the work. */
  take(): number {
    const slot = this.#next();
    while (!this.#isDone(slot)) {
      const own = this.#claim(slot);
      if (own !== undefined) atOnce(this.#slots.complete(own));
      else this.#expectAnswer(Atomics.wait(this.#control, stateOf(slot), SlotState.claimed, DEAD_MS));
    }
    return this.#finish(slot);
  }

  /** The same, while the event loop turns. */
  async taken(): Promise<number> {
    const slot = this.#next();
    while (!this.#isDone(slot)) {
      const own = this.#claim(slot);
      if (own !== undefined) await inParts(this.#slots.complete(own));
      else this.#expectAnswer(await Atomics.waitAsync(this.#control, stateOf(slot), SlotState.claimed, DEAD_MS).value);
    }
    return this.#finish(slot);
  }

  #next(): number {
    if (this.#workers.length < this.#threads.count) this.#startThread();
    return this.#submitted.shift()!;
  }

  /** Claims the slot, or if a thread works on it the newest one. */
  #claim(slot: number): number | undefined {
    return this.#slots.claim(slot) ? slot : this.#submitted.findLast((newer) => this.#slots.claim(newer));
  }

  #isDone(slot: number): boolean {
    return Atomics.load(this.#control, stateOf(slot)) >= SlotState.done;
  }

  #expectAnswer(waited: string): void {
    if (waited === "timed-out") throw new Error(`the thread that ${this.#doing} does not answer`);
  }

  /** Frees a slot whose work is done or has failed. */
  #finish(slot: number): number {
    const state = Atomics.exchange(this.#control, stateOf(slot), SlotState.free);
    const again = state === SlotState.failed ? this.#work(slot, this.words(slot)) : undefined;
    if (again !== undefined) atOnce(again);
    return slot;
  }

  #startThread(): void {
    const { module, input } = this.#threads;
    const worker = new Worker(module, { type: "module" });
    worker.onerror = (event) => event.preventDefault(); // a thread that fails to start claims no slots
    worker.postMessage({ control: this.#control, input });
    this.#workers.push(worker);
  }

  #announce(): void {
    Atomics.add(this.#control, NEWS, 1);
    Atomics.notify(this.#control, NEWS);
  }

  /** Stops the threads; submitted slots are abandoned. */
  [Symbol.dispose](): void {
    // A sleeping thread cannot be terminated and would keep the process alive: wake it.
    Atomics.store(this.#control, STOP, 1);
    this.#announce();
    for (const worker of this.#workers) worker.terminate();
  }
}

/** Lets this worker work for a ring until it is stopped; `workOf` makes its work from the input. */
export function serveRing<Input>(workOf: (input: Input) => Work): void {
  addEventListener("message", (event) => {
    const { control, input } = (event as MessageEvent<{ control: RingControl; input: Input }>).data;
    new WorkSlots(control, workOf(input)).run();
    close();
  });
}
