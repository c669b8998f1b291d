/**
 * The shuffle scheduler of FAE: decides when to switch between cold and hot batches, from the loss on held-out samples.
 *
 * An epoch is a sequence of turns; a turn is consecutive batches of one kind followed by batches of the other. It takes
 * `rate` percent of the batches of each kind, so both queues finish together: equal turns that share of the epoch's,
 * shrinking turns that share of those that are left, so that an epoch ends with few batches of each kind in turn. At every
 * switch the held-out loss is compared with that at the previous switch: if it rose, the rate is halved (kinds alternate
 * more often); if it fell four times in a row, the rate is doubled; otherwise it is unchanged. The configuration sets the
 * initial rate, the kind that begins a turn, and whether turns shrink.
 */
import { z } from "zod";
import { HotsetError } from "../errors.ts";
import type { BatchKind } from "../layout/layout.ts";

/** Minimum rate, in percent. */
export const MIN_RATE = 1;
/** Maximum rate, in percent. */
export const MAX_RATE = 100;
/**
 * Rates between which the scheduler adapts. With a larger one the rest of an epoch would soon be one shrinking turn, and
 * with a smaller one shrinking turns would be many.
 */
const RATES = { equal: [MIN_RATE, MAX_RATE], shrinking: [10, 50] } as const;
/** Consecutive decreases of the loss that double the rate: u in the paper. */
const FALLS_TO_DOUBLE = 4;

/** Size of turns: the same in an epoch, or less and less. */
type Turns = "equal" | "shrinking";

/** State of the scheduler; plain data, part of every checkpoint. */
export interface SchedulerState {
  /** Percent of the batches of each kind in a turn. */
  rate: number;
  /** Consecutive decreases of the loss. */
  falls: number;
  /** Held-out loss at the last switch; null before the first. */
  lastLoss: number | null;
  /** Kind of the present batches. */
  kind: BatchKind;
  /** Shares of the epoch that are complete when the present turn begins and when it ends. */
  begin: number;
  goal: number;
  /** Batches of each kind taken in this epoch. */
  done: Record<BatchKind, number>;
}

const count = z.number().int().nonnegative();

export const schedulerState: z.ZodType<SchedulerState> = z.object({
  rate: z.number().min(MIN_RATE).max(MAX_RATE),
  falls: count,
  lastLoss: z.number().nullable(),
  kind: z.enum(["cold", "hot"]),
  begin: z.number().min(0).max(1),
  goal: z.number().min(0).max(1),
  done: z.object({ cold: count, hot: count }),
});

/** Decides the kinds of the batches of an epoch. */
export class ShuffleScheduler {
  readonly #batches: Readonly<Record<BatchKind, number>>;
  /** The kinds in the order of a turn. */
  readonly #first: BatchKind;
  readonly #second: BatchKind;
  readonly #turns: Turns;
  readonly state: SchedulerState;

  /**
   * A scheduler for these numbers of batches of each kind, whose turns begin with kind `first`: with an initial rate in
   * percent, or from a saved state; turns are equal or shrink. Throws HotsetError if the state has more batches.
   */
  constructor(
    batches: Readonly<Record<BatchKind, number>>,
    first: BatchKind,
    from: number | SchedulerState,
    turns: Turns = "equal",
  ) {
    this.#batches = batches;
    this.#turns = turns;
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

  /** Begins an epoch; the rate and the previous losses carry over. */
  startEpoch(): void {
    this.state.done = { cold: 0, hot: 0 };
    this.#startTurn(0);
  }

  /** Kind of the next batch, or undefined at the end of the epoch. Does not advance. */
  peek(): BatchKind | undefined {
    return this.#left(this.state.kind) > 0 ? this.state.kind : undefined;
  }

  /** Batches that are certain to come next: their kind, number and first position in the queue. */
  get run(): { kind: BatchKind; position: number; left: number } {
    const { kind, done } = this.state;
    return { kind, position: done[kind], left: this.#left(kind) };
  }

  /**
   * Takes the next batch and returns its position in the queue of its kind. `switches` is true if the other kind
   * follows; the caller then measures the held-out loss and calls `report`. (With few batches of a kind, the new rate
   * may leave none of them in the next turn.)
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

  /** Adapts the rate to the held-out loss at a switch. */
  report(loss: number): void {
    const { state } = this;
    const [least, most] = RATES[this.#turns];
    if (state.lastLoss !== null && loss > state.lastLoss) {
      state.rate = Math.min(state.rate, Math.max(state.rate / 2, least));
      state.falls = 0;
    } else if (state.lastLoss !== null && loss < state.lastLoss && ++state.falls === FALLS_TO_DOUBLE) {
      state.rate = Math.max(state.rate, Math.min(2 * state.rate, most));
      state.falls = 0;
    } else if (loss === state.lastLoss) {
      state.falls = 0;
    }
    state.lastLoss = loss;
    if (this.#due(state.begin, "cold") === state.done.cold && this.#due(state.begin, "hot") === state.done.hot) {
      this.#startTurn(state.begin); // the new rate applies from the turn that follows this switch
    }
  }

  /** Batches of a kind left in the present turn. */
  #left(kind: BatchKind): number {
    return this.#due(this.state.goal, kind) - this.state.done[kind];
  }

  /** Batches of a kind that are complete at this share of the epoch. */
  #due(share: number, kind: BatchKind): number {
    return Math.ceil(share * this.#batches[kind]);
  }

  /** Share of the epoch in the turn that begins at a share of it; in shrinking turns at least one batch. */
  #share(begin: number): number {
    const share = this.state.rate / 100;
    if (this.#turns === "equal") return share;
    return Math.max(share * (1 - begin), 1 / Math.max(this.#batches.cold, this.#batches.hot));
  }

  /** Begins the turn after this share of the epoch. */
  #startTurn(begin: number): void {
    const { state } = this;
    state.begin = state.goal = begin;
    const alternates = this.#batches.cold > 0 && this.#batches.hot > 0;
    do {
      state.goal = alternates ? Math.min(1, state.goal + this.#share(state.goal)) : 1;
      state.kind = this.#left(this.#first) > 0 ? this.#first : this.#second;
    } while (state.goal < 1 && this.#left(state.kind) === 0);
  }
}
