/**
 * The look-ahead plan: which rows are fetched into fast memory before a step, and which rows are evicted for them. It is
 * a pure function of the order of batches, the number of slots and the look-ahead. It moves nothing itself, and decides
 * only where rows are, never their values.
 *
 * The fast memory is one matrix of slots. A batch goes through three states, oldest first:
 *
 * ```
 * announced   its rows are known: they are evicted last
 * planned     each of its rows has a position, which is pinned until its step is over
 * finished    its rows may be evicted; they have changed, so an eviction writes them back
 * ```
 * Why a step never sees an old value: each row is in one place. It is evicted only when no planned step uses it, so the
 * value that is written back is final. A store that executes its jobs in the order of the plan reads a row only after it
 * has written it. Rows are never copied from slot to slot.
 *
 * The row with the farthest announced next use is evicted first (rows without one before all others), then clean rows
 * before changed ones, then the least recently used row; rows of one batch in ascending order. Evicting the lowest row
 * numbers first would evict the most popular rows: the rows of a table are numbered by descending popularity.
 *
 * WASM kernels (`wasm/assembly/`) do the work. They wait for memory most of the time, so a row in use is one cache line.
 */
import { instantiatePlan, type PlanInstance, State } from "./wasm/kernels.ts";

/** Sizes of a cache of rows. */
export interface CacheSizes {
  /**
   * Positions of the matrix for rows in training; at least twice `batchRows`, so that a batch can be fetched while another
   * one trains. Those after them are for rows that are only read.
   */
  readonly slots: number;
  /** Maximum number of distinct rows of a batch in training. */
  readonly batchRows: number;
  /** Number of known batches after the one in training. */
  readonly lookAhead: number;
}

/** Rows to move before a step; only the first `fetched` and `written` entries are valid. */
export interface StepMoves {
  /** Rows to write back and their positions: read them before other rows are stored there. */
  written: number;
  readonly writtenRows: Uint32Array;
  readonly writtenPositions: Uint32Array;
  /** Rows to fetch and their positions. */
  fetched: number;
  readonly fetchedRows: Uint32Array;
  readonly fetchedPositions: Uint32Array;
  /** Evicted rows, written back or not. */
  evicted: number;
}

/** Plans steps one after the other. Allocates nothing after construction. */
export class LookAheadPlan {
  /** Number of positions of the matrix. */
  readonly positions: number;
  readonly #lookAhead: number;
  readonly #batchRows: number;
  readonly #kernels: PlanInstance;
  readonly #state: Uint32Array;
  readonly #moves: StepMoves;

  /** A plan before its first batch. */
  constructor({ slots, batchRows, lookAhead }: CacheSizes) {
    if (slots < 2 * batchRows) {
      throw new RangeError(`Cannot plan with ${slots} slots: two batches of ${batchRows} rows need ${2 * batchRows}`);
    }
    this.positions = slots;
    this.#lookAhead = lookAhead;
    this.#batchRows = batchRows;
    this.#kernels = instantiatePlan({ slots, batchRows, window: lookAhead + 1 });
    this.#state = this.#kernels.state;
    const { writtenRows, writtenPositions, fetchedRows, fetchedPositions } = this.#kernels;
    this.#moves = {
      ...{ written: 0, writtenRows, writtenPositions },
      ...{ fetched: 0, fetchedRows, fetchedPositions, evicted: 0 },
    };
  }

  /** True if another batch may be announced. */
  get canAnnounce(): boolean {
    return this.announced <= this.#lookAhead;
  }

  /** Number of planned, unfinished batches. */
  get planned(): number {
    return this.#since(State.planned);
  }

  /** Number of announced, unfinished batches. */
  get announced(): number {
    return this.#since(State.announced);
  }

  #since(counter: number): number {
    return (this.#state[counter] - this.#state[State.finished]) >>> 0;
  }

  /** Positions of the rows of a planned batch, in their order; batches are counted from the oldest unfinished one. */
  positionsIn(batch: number): Uint32Array {
    const { positions } = this.#kernels;
    return positions[(this.#state[State.finished] + batch) % positions.length];
  }

  /** Position of a row, which every row of a planned batch has; -1 if it has none. */
  positionOf(row: number): number {
    return this.#kernels.positionOf(row);
  }

  /** The row at a position; -1 if there is none. Searches all entries: for errors. */
  rowAt(position: number): number {
    return this.#kernels.rowAt(position);
  }

  /** Announces the next batch: its `count` distinct rows are `words[at]`, `words[at + stride]`, ... */
  announce(words: Uint32Array, at: number, stride: number, count: number): void {
    if (!this.canAnnounce) throw new RangeError("Cannot announce a batch: as many as the look-ahead are");
    if (count > this.#batchRows) throw new RangeError(`Cannot announce ${count} rows: at most ${this.#batchRows} fit`);
    const { rows } = this.#kernels;
    for (let i = 0; i < count; i++, at += stride) rows[i] = words[at];
    this.#kernels.announce(count);
  }

  /**
   * Plans the next batch and returns the rows to move; undefined if none is announced, or if a step must finish before
   * there is space for its rows. The result is overwritten by the next call.
   */
  next(): StepMoves | undefined {
    if (this.#kernels.next() === 0) return undefined;
    const moves = this.#moves;
    moves.written = this.#state[State.written];
    moves.fetched = this.#state[State.fetched];
    moves.evicted = this.#state[State.evicted];
    return moves;
  }

  /** Ends the oldest planned step, which has changed its first rows, or all of them. */
  finish(changed: number = this.#batchRows): void {
    if (this.planned === 0) throw new RangeError("Cannot finish a step: none is planned");
    this.#kernels.finish(changed);
  }

  /** Calls `each` for every changed row in fast memory, and marks it as clean: the caller writes it back. */
  clean(each: (row: number, position: number) => void): void {
    const { writtenRows, writtenPositions } = this.#kernels;
    for (let count = this.#kernels.clean(); count > 0; count = this.#kernels.clean()) {
      for (let i = 0; i < count; i++) each(writtenRows[i], writtenPositions[i]);
    }
  }
}
