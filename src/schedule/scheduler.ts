/**
 * The shuffle scheduler of FAE: decides when to switch between cold and hot batches, from the loss on held-out samples.
 *
 * An epoch is a sequence of turns, each a run of batches of one kind and then a run of the other. A turn takes `rate`
 * percent of the epoch's batches of each kind, so both queues finish together. At every switch the held-out loss is
 * compared with the one at the switch before: if it rose, the rate is halved (kinds alternate more often); if it fell
 * four times in a row, it is doubled; otherwise it stays. The run's configuration says what the rate begins with and
 * which kind begins a turn.
 */
import { z } from "zod";
import { HotsetError } from "../errors.ts";
import type { BatchKind } from "../layout/layout.ts";

/** The rate does not fall below this, in percent. */
export const MIN_RATE = 1;
/** Nor does it rise above this. */
export const MAX_RATE = 100;
/** Falls in a row that double the rate: u of the paper. */
const FALLS_TO_DOUBLE = 4;

/** Where the scheduler is; plain data, part of every checkpoint. */
export const schedulerState = z.object({
  /** Percent of an epoch's batches that a turn takes. */
  rate: z.number().min(MIN_RATE).max(MAX_RATE),
  /** Falls of the loss in a row. */
  falls: z.number().int().nonnegative(),
  /** Held-out loss at the last switch; null before the first. */
  lastLoss: z.number().nullable(),
  kind: z.enum(["cold", "hot"]),
  /** Share of the epoch that was done when the present turn began, and that is done when it ends. */
  begin: z.number().min(0).max(1),
  goal: z.number().min(0).max(1),
  /** Batches of each kind that were handed out in this epoch. */
  done: z.object({ cold: z.number().int().nonnegative(), hot: z.number().int().nonnegative() }),
});
/** Where the scheduler is. */
export type SchedulerState = z.infer<typeof schedulerState>;

/** Hands out the kinds of the batches of an epoch. */
export class ShuffleScheduler {
  readonly #batches: Readonly<Record<BatchKind, number>>;
  /** The kinds in the order of a turn. */
  readonly #first: BatchKind;
  readonly #second: BatchKind;
  readonly state: SchedulerState;

  /**
   * A scheduler over this many batches of each kind, whose turns begin with those of kind `first`: at the start of a run,
   * with the rate in percent that it begins with, or where a state says. Throws HotsetError if the state is that of more
   * batches.
   */
  constructor(batches: Readonly<Record<BatchKind, number>>, first: BatchKind, from: number | SchedulerState) {
    this.#batches = batches;
    this.#first = first;
    this.#second = first === "hot" ? "cold" : "hot";
    if (typeof from === "number") {
      const done = { cold: 0, hot: 0 };
      this.state = { rate: from, falls: 0, lastLoss: null, kind: first, begin: 0, goal: 0, done };
      this.startEpoch();
      return;
    }
    for (const kind of ["cold", "hot"] as const) {
      if (from.done[kind] <= batches[kind]) continue;
      throw new HotsetError(
        `Cannot resume: the checkpoint has ${from.done[kind]} ${kind} batches done, but there are ${batches[kind]}`,
      );
    }
    this.state = from;
  }

  /** Begins an epoch; the rate and the memory of the loss carry over. */
  startEpoch(): void {
    this.state.done = { cold: 0, hot: 0 };
    this.#startTurn(0);
  }

  get rate(): number {
    return this.state.rate;
  }

  /** Kind of the next batch, or undefined at the end of the epoch. Does not move on. */
  peek(): BatchKind | undefined {
    return this.#left(this.state.kind) > 0 ? this.state.kind : undefined;
  }

  /** What is sure to come next: so many batches of a kind, from a position in its queue on. */
  get run(): { kind: BatchKind; position: number; left: number } {
    const { kind, done } = this.state;
    return { kind, position: done[kind], left: this.#left(kind) };
  }

  /**
   * Takes the next batch: its position in its kind's queue. `switches` is true if the run of this kind ends with it and
   * the other kind follows; the caller then measures the held-out loss and calls `report`. (Few batches of one kind may
   * then be spread so thin by the new rate that the same kind goes on.)
   */
  take(): { kind: BatchKind; position: number; switches: boolean } {
    const { state } = this;
    const kind = state.kind;
    const position = state.done[kind]++;
    if (this.#left(kind) > 0) return { kind, position, switches: false };
    if (kind === this.#first && this.#left(this.#second) > 0) state.kind = this.#second;
    else this.#startTurn(state.goal);
    return { kind, position, switches: this.peek() !== undefined && state.kind !== kind };
  }

  /** Takes the held-out loss at a switch and adapts the rate. */
  report(loss: number): void {
    const { state } = this;
    if (state.lastLoss !== null && loss > state.lastLoss) {
      state.rate = Math.max(state.rate / 2, MIN_RATE);
      state.falls = 0;
    } else if (state.lastLoss !== null && loss < state.lastLoss && ++state.falls === FALLS_TO_DOUBLE) {
      state.rate = Math.min(2 * state.rate, MAX_RATE);
      state.falls = 0;
    } else if (loss === state.lastLoss) {
      state.falls = 0;
    }
    state.lastLoss = loss;
    if (this.#due(state.begin, "cold") === state.done.cold && this.#due(state.begin, "hot") === state.done.hot) {
      this.#startTurn(state.begin); // the turn that follows this switch already goes by the new rate
    }
  }

  /** Batches of a kind left in the present turn. */
  #left(kind: BatchKind): number {
    return this.#due(this.state.goal, kind) - this.state.done[kind];
  }

  /** Batches of a kind that are done when this share of the epoch is. */
  #due(share: number, kind: BatchKind): number {
    return Math.ceil(share * this.#batches[kind]);
  }

  /** Begins the turn after this share of the epoch. */
  #startTurn(begin: number): void {
    const { state } = this;
    state.begin = state.goal = begin;
    const alternates = this.#batches.cold > 0 && this.#batches.hot > 0;
    do {
      state.goal = alternates ? Math.min(1, state.goal + state.rate / 100) : 1;
      state.kind = this.#left(this.#first) > 0 ? this.#first : this.#second;
    } while (state.goal < 1 && this.#left(state.kind) === 0);
  }
}
