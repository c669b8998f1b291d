/**
 * Work done ahead of the thread that needs it: it submits slots and takes them in the same order when they are done. Other
 * threads claim what is submitted; what none has claimed when it is needed the caller does itself, so the result neither
 * waits for a thread to start nor depends on one.
 */

/** What happens to a slot, in order. Whoever moves it from submitted to claimed does its work. */
const SlotState = { free: 0, submitted: 1, claimed: 2, done: 3, failed: 4 } as const;
/** Words of control: a number that rises when there is news, and the end; then for each slot its state and its words. */
const NEWS = 0, STOP = 1, FIRST_SLOT = 2;
/** Words of a slot that are the work's own: what is asked, or what came of it. */
const OWN_WORDS = 2;
const SLOT_WORDS = 1 + OWN_WORDS;
/** The work of a slot takes milliseconds; a thread that takes this long is dead. */
const DEAD_MS = 60_000;

/** Does the work of a slot, whose own words say what, or take what came of it. */
export type Work = (slot: number, words: Int32Array) => void;

/** What the threads of a ring share; can be posted. */
export type RingControl = Int32Array<SharedArrayBuffer>;

/** The slots as every thread sees them. */
export class WorkSlots {
  /** The own words of each slot. */
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

  /** Works until told to stop; sleeps while nothing is submitted. */
  run(): void {
    const control = this.#control;
    const count = this.words.length;
    let next = 0;
    while (Atomics.load(control, STOP) === 0) {
      const news = Atomics.load(control, NEWS);
      let looked = 0;
      while (looked < count && !this.claim((next + looked) % count)) looked++;
      if (looked === count) Atomics.wait(control, NEWS, news);
      else next = (next + looked + 1) % count;
    }
  }

  /** Does the work of the slot if it is submitted and nobody has claimed it. */
  claim(slot: number): boolean {
    const control = this.#control;
    const at = stateOf(slot);
    if (Atomics.compareExchange(control, at, SlotState.submitted, SlotState.claimed) !== SlotState.submitted) {
      return false;
    }
    let state: number = SlotState.done;
    try {
      this.#work(slot, this.words[slot]);
    } catch {
      state = SlotState.failed; // whoever needs it does it again, and meets the error where it can be told
    }
    Atomics.store(control, at, state);
    Atomics.notify(control, at);
    return true;
  }
}

function stateOf(slot: number): number {
  return FIRST_SLOT + SLOT_WORDS * slot;
}

/** Threads that work for a ring. */
export interface RingThreads {
  /** The module they run; it gets `input` in a message, makes a WorkSlots of the control and runs it. */
  readonly module: URL;
  readonly count: number;
  input(control: RingControl): unknown;
}

/** The slots of the thread that submits and takes. */
export class WorkRing implements Disposable {
  readonly #control: RingControl;
  readonly #work: Work;
  readonly #doing: string;
  readonly #slots: WorkSlots;
  readonly #workers: readonly Worker[];
  /** Slots submitted and not taken, oldest first. */
  readonly #submitted: number[] = [];

  /** `doing` is what the threads do, for messages. */
  constructor(slots: number, doing: string, work: Work, { module, count, input }: RingThreads) {
    this.#control = new Int32Array(new SharedArrayBuffer(4 * stateOf(slots)));
    this.#work = work;
    this.#doing = doing;
    this.#slots = new WorkSlots(this.#control, work);
    this.#workers = Array.from({ length: count }, () => {
      const worker = new Worker(module, { type: "module" });
      worker.onerror = (event) => event.preventDefault(); // a thread that cannot start claims nothing
      worker.postMessage(input(this.#control));
      return worker;
    });
  }

  /** Slots submitted and not taken. */
  get waiting(): number {
    return this.#submitted.length;
  }

  /** The own words of a slot, to be set before it is submitted and read after it is taken. */
  words(slot: number): Int32Array {
    return this.#slots.words[slot];
  }

  /** Submits a slot that is free. */
  submit(slot: number): void {
    Atomics.store(this.#control, stateOf(slot), SlotState.submitted);
    this.#announce();
    this.#submitted.push(slot);
  }

  /** The slot that was submitted first, once its work is done; it is free then. Throws what the work throws. */
  take(): number {
    const control = this.#control;
    const slot = this.#submitted.shift()!;
    const at = stateOf(slot);
    this.#slots.claim(slot);
    while (Atomics.load(control, at) === SlotState.claimed) {
      // While a thread has the oldest one, the newest is done here.
      if (this.#submitted.findLast((newer) => this.#slots.claim(newer)) !== undefined) continue;
      if (Atomics.wait(control, at, SlotState.claimed, DEAD_MS) === "timed-out") {
        throw new Error(`the thread that ${this.#doing} does not answer`);
      }
    }
    if (Atomics.exchange(control, at, SlotState.free) === SlotState.failed) this.#work(slot, this.words(slot));
    return slot;
  }

  #announce(): void {
    Atomics.add(this.#control, NEWS, 1);
    Atomics.notify(this.#control, NEWS);
  }

  /** Stops the threads; slots that are submitted are as they may be. */
  [Symbol.dispose](): void {
    // A thread that sleeps cannot be terminated: it would keep the process alive. This wakes it.
    Atomics.store(this.#control, STOP, 1);
    this.#announce();
    for (const worker of this.#workers) worker.terminate();
  }
}
