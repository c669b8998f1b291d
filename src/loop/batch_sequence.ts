/** The batches of a run: turns of hot and cold batches, the order within each kind, and prefetching. */
import { breaks } from "../breaks.ts";
import type { TrainConfig } from "../config/config.ts";
import type { BatchKind, Layout } from "../layout/layout.ts";
import { ReadAhead, readThreads } from "../layout/read_ahead.ts";
import { Random } from "../random.ts";
import type { RankGroup } from "../ranks/rank_group.ts";
import { type SchedulerState, ShuffleScheduler } from "../schedule/shuffle_scheduler.ts";

const ORDER_STREAM = 3;
/** Maximum number of steps that are queued but not done. */
const STEPS_IN_FLIGHT = 16;

export interface SequenceOptions {
  readonly config: TrainConfig;
  readonly layout: Layout;
  readonly group: RankGroup;
}

/** The batches of a run, epoch by epoch. */
export class BatchSequence implements Disposable {
  /** Batches per epoch. */
  readonly batches: number;
  /** Decides the turns; its state is part of checkpoints. */
  readonly scheduler: ShuffleScheduler;
  readonly #options: SequenceOptions;
  readonly #counts: Readonly<Record<BatchKind, number>>;
  #order: Record<BatchKind, Uint32Array> = { cold: new Uint32Array(0), hot: new Uint32Array(0) };
  /** Undefined until the first epoch begins. */
  #reading: ReadAhead | undefined;
  /** Batches of the latest steps: kind and number, by step modulo STEPS_IN_FLIGHT. */
  readonly #kinds = new Array<BatchKind>(STEPS_IN_FLIGHT).fill("cold");
  readonly #numbers = new Uint32Array(STEPS_IN_FLIGHT);
  /** Kind of the batch taken last, and whether the kind changes after it. */
  kind: BatchKind = "cold";
  switches = false;

  /** Continues from the state of a scheduler; undefined to begin. */
  constructor(options: SequenceOptions, state?: SchedulerState) {
    const { config: { firstTurn, schedulerRate, turns }, layout } = options;
    this.#options = options;
    this.#counts = { cold: layout.batches("cold"), hot: layout.batches("hot") };
    this.batches = this.#counts.cold + this.#counts.hot;
    this.scheduler = new ShuffleScheduler(this.#counts, firstTurn, state ?? schedulerRate, turns);
  }

  /** True if all batches of the epoch have been taken. */
  get ended(): boolean {
    return this.scheduler.peek() === undefined;
  }

  /**
   * Order of the batches of each kind: shuffled for every epoch, depending only on the seed and the epoch, or as in the
   * log.
   */
  begin(epoch: number): void {
    const { config: { seed, shuffle }, layout, group } = this.#options;
    this.#reading ??= new ReadAhead(layout, group.batches, readThreads(layout, group.freeCores));
    const order = (kind: BatchKind, stream: number) => {
      const batches = Uint32Array.from({ length: this.#counts[kind] }, (_, i) => i);
      return shuffle === "none" ? batches : new Random(seed, ORDER_STREAM, epoch, stream).shuffle(batches);
    };
    this.#order = { cold: order("cold", 0), hot: order("hot", 1) };
  }

  /** Takes the next batch, for this step, and returns its slot; the event loop turns while it is waited for or read. */
  async take(step: number): Promise<number> {
    const slot = await this.#read(step - 1);
    const { kind, position, switches } = this.scheduler.take();
    this.kind = kind;
    this.switches = switches;
    this.#kinds[step % STEPS_IN_FLIGHT] = kind;
    this.#numbers[step % STEPS_IN_FLIGHT] = this.#order[kind][position];
    return slot;
  }

  /**
   * Prefetches the batches that are certain to follow: no switch, which may change the order, and no evaluation, which
   * needs the slots, can come between.
   */
  async #read(stepsDone: number): Promise<number> {
    const reading = this.#reading!;
    const { group } = this.#options;
    const { kind, position } = this.scheduler.run;
    const sure = this.#sure(stepsDone);
    while (reading.waiting < sure) {
      if (!group.isReady) await group.ready();
      if (breaks.due) await breaks.take();
      reading.ask(group.acquire(), kind, this.#order[kind][position + reading.waiting]);
    }
    return await reading.taken();
  }

  /** Batches that are certain to follow, as many as are read ahead. */
  #sure(stepsDone: number): number {
    const { config: { testFreq } } = this.#options;
    const { left } = this.scheduler.run;
    return Math.min(left, testFreq > 0 ? testFreq - stepsDone % testFreq : left, this.#reading!.depth);
  }

  /** The name of a recent step's batch, for errors. */
  nameOf(step: number): string {
    return `${this.#kinds[step % STEPS_IN_FLIGHT]} batch ${this.#numbers[step % STEPS_IN_FLIGHT]}`;
  }

  /** Stops the prefetching threads. */
  [Symbol.dispose](): void {
    this.#reading?.[Symbol.dispose]();
  }
}
