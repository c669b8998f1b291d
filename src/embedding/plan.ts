/**
 * The look-ahead plan: which rows of a batch have to be brought into the fast memory before its step, and which rows make
 * room for them. It is a pure function of the order of batches, the resident rows, the number of slots and the look-ahead:
 * it moves nothing itself, and its answers decide where a row lies, never what it holds.
 *
 * The fast memory is one matrix, `[resident rows | slots]`. A batch goes through three states, oldest first:
 *
 * ```
 * announced   its rows are known: they are evicted last
 * planned     each of its rows has a position, which is pinned until its step is over
 * finished    its rows may be evicted; they have changed, so an eviction writes them back
 * ```
 * Why a step never sees an old value: a row is in one place. It is evicted only when no planned step uses it, so the value
 * that is written back is final, and a store that carries out its jobs in the order of these answers reads a row after it
 * wrote it. There is nothing to forward from slot to slot.
 *
 * Eviction takes the row whose next announced use is farthest (rows without one first), then clean rows before changed
 * ones, then the row that has been so for longest, which is the one used least recently; rows of one batch in ascending
 * order. The lowest row first would evict the most popular: the rows of a table are numbered by falling popularity.
 */
import { mix } from "../random.ts";

/** What decides a plan. */
export interface PlanOptions {
  /** Rows that never leave the fast memory; `resident[i]` lies at position i. */
  readonly resident: Uint32Array;
  /** Positions behind the resident rows; at least twice `batchRows`, so that a batch can be brought in while one trains. */
  readonly slots: number;
  /** The most distinct rows of a batch. */
  readonly batchRows: number;
  /** How many batches after the one that trains are known. */
  readonly lookAhead: number;
}

/** Rows that move before a step; only the first `fetched` and `written` entries are meant. */
export interface StepMoves {
  /** Rows that are written back, and where they lie: read them before rows are put into their positions. */
  written: number;
  readonly writtenRows: Uint32Array;
  readonly writtenPositions: Uint32Array;
  /** Rows that are brought in, and where they go. */
  fetched: number;
  readonly fetchedRows: Uint32Array;
  readonly fetchedPositions: Uint32Array;
  /** Rows that left, written back or not. */
  evicted: number;
}

const NONE = -1;
const CLEAN = 0, CHANGED = 1;

/** Plans one step after the other; allocates nothing after its construction. */
export class LookAheadPlan {
  readonly #lookAhead: number;
  readonly #slots: number;
  readonly #resident: number;
  /** Batches so far in each state. */
  #announced = 0;
  #planned = 0;
  #finished = 0;

  /** Entries: rows that lie in the fast memory or that an announced batch uses. Each is a number in all these arrays. */
  readonly #row: Uint32Array;
  readonly #position: Int32Array;
  /** Announced batches that are not finished, and planned ones among them, which use the row. */
  readonly #uses: Uint16Array;
  readonly #pins: Uint16Array;
  readonly #changed: Uint8Array;
  /** Where the row was last announced: `slotOfBatch * batchRows + index`. */
  readonly #lastUse: Int32Array;
  /** Neighbours in the list of rows that can be evicted in which the entry is, and that list. */
  readonly #before: Int32Array;
  readonly #after: Int32Array;
  readonly #list: Int32Array;
  readonly #freeEntries: Int32Array;
  #freeEntryCount: number;

  /** Open addressing from a row to its entry plus one; 0 is empty. */
  readonly #table: Int32Array;
  readonly #mask: number;

  /** Unfinished batches by step modulo lookAhead + 1: entries of their rows, and the step that uses each next. */
  readonly #batchRows: number;
  readonly #entries: Int32Array;
  readonly #nextUse: Int32Array;
  readonly #counts: Uint32Array;

  /** Lists: rows without an announced use, then by step modulo lookAhead + 1; each clean, then changed. */
  readonly #first: Int32Array;
  readonly #last: Int32Array;
  #evictable = 0;
  readonly #freePositions: Uint32Array;
  #freePositionCount: number;
  readonly #moves: StepMoves;

  /** A plan before its first batch. The resident rows have their positions. */
  constructor({ resident, slots, batchRows, lookAhead }: PlanOptions) {
    if (slots < 2 * batchRows) {
      throw new RangeError(`Cannot plan with ${slots} slots: two batches of ${batchRows} rows need ${2 * batchRows}`);
    }
    this.#lookAhead = lookAhead;
    this.#slots = slots;
    this.#resident = resident.length;
    this.#batchRows = batchRows;
    const window = lookAhead + 1;
    const entries = resident.length + slots + window * batchRows;
    this.#row = new Uint32Array(entries);
    this.#position = new Int32Array(entries).fill(NONE);
    this.#uses = new Uint16Array(entries);
    this.#pins = new Uint16Array(entries);
    this.#changed = new Uint8Array(entries);
    this.#lastUse = new Int32Array(entries);
    this.#before = new Int32Array(entries);
    this.#after = new Int32Array(entries);
    this.#list = new Int32Array(entries).fill(NONE);
    this.#freeEntries = Int32Array.from({ length: entries }, (_, i) => entries - 1 - i);
    this.#freeEntryCount = entries;
    const places = 2 ** Math.ceil(Math.log2(2 * entries + 1));
    this.#table = new Int32Array(places);
    this.#mask = places - 1;
    this.#entries = new Int32Array(window * batchRows);
    this.#nextUse = new Int32Array(window * batchRows);
    this.#counts = new Uint32Array(window);
    this.#first = new Int32Array(2 * (window + 1)).fill(NONE);
    this.#last = new Int32Array(2 * (window + 1)).fill(NONE);
    this.#freePositions = Uint32Array.from({ length: slots }, (_, i) => resident.length + slots - 1 - i);
    this.#freePositionCount = slots;
    const list = () => new Uint32Array(batchRows);
    this.#moves = {
      ...{ written: 0, writtenRows: list(), writtenPositions: list() },
      ...{ fetched: 0, fetchedRows: list(), fetchedPositions: list(), evicted: 0 },
    };
    for (const [position, row] of resident.entries()) {
      const entry = this.#newEntry(row);
      this.#position[entry] = position;
      this.#uses[entry] = this.#pins[entry] = 1; // for good
    }
  }

  /** Positions of the matrix. */
  get positions(): number {
    return this.#resident + this.#slots;
  }

  /** True if one more batch may be announced. */
  get canAnnounce(): boolean {
    return this.#announced - this.#finished <= this.#lookAhead;
  }

  /** Batches that are planned and not finished. */
  get planned(): number {
    return this.#planned - this.#finished;
  }

  /** Where a row lies; every row of a planned batch does. */
  positionOf(row: number): number {
    return this.#position[this.#find(row)];
  }

  /** Announces the batch after the last one: its `count` distinct rows are `words[at]`, `words[at + stride]`, ... */
  announce(words: Uint32Array, at: number, stride: number, count: number): void {
    if (!this.canAnnounce) throw new RangeError("Cannot announce a batch: as many as the look-ahead are");
    if (count > this.#batchRows) throw new RangeError(`Cannot announce ${count} rows: ${this.#batchRows} are the most`);
    const step = this.#announced++;
    const slot = step % (this.#lookAhead + 1);
    this.#counts[slot] = count;
    for (let i = 0, use = slot * this.#batchRows; i < count; i++, use++, at += stride) {
      const row = words[at];
      let entry = this.#find(row);
      if (entry === NONE) entry = this.#newEntry(row);
      if (this.#lastUse[entry] !== NONE) this.#nextUse[this.#lastUse[entry]] = step;
      this.#uses[entry]++;
      this.#lastUse[entry] = use;
      this.#entries[use] = entry;
      this.#nextUse[use] = NONE;
      // Among the rows without a use: it has one now.
      if (this.#list[entry] >= 0 && this.#list[entry] < 2) {
        this.#unlink(entry);
        this.#append(entry, step);
      }
    }
  }

  /**
   * Plans the oldest batch that is not planned, and says what moves; undefined if none is announced, or if its rows have no
   * room before one more step is finished. The answer is overwritten by the next call.
   */
  next(): StepMoves | undefined {
    if (this.#planned === this.#announced) return undefined;
    const slot = this.#planned % (this.#lookAhead + 1);
    const begin = slot * this.#batchRows, end = begin + this.#counts[slot];
    let missing = 0, listed = 0;
    for (let use = begin; use < end; use++) {
      const entry = this.#entries[use];
      if (this.#position[entry] === NONE) missing++;
      else if (this.#list[entry] !== NONE) listed++;
    }
    if (missing > this.#freePositionCount + this.#evictable - listed) return undefined;
    const step = this.#planned++;
    const moves = this.#moves;
    moves.fetched = moves.written = moves.evicted = 0;
    // Before the first eviction, which must not take them.
    for (let use = begin; use < end; use++) {
      const entry = this.#entries[use];
      if (this.#list[entry] !== NONE) this.#unlink(entry);
      this.#pins[entry]++;
    }
    for (let use = begin; use < end; use++) {
      const entry = this.#entries[use];
      if (this.#position[entry] !== NONE) continue;
      const position = this.#freePositionCount > 0
        ? this.#freePositions[--this.#freePositionCount]
        : this.#evict(step, moves);
      this.#position[entry] = position;
      moves.fetchedRows[moves.fetched] = this.#row[entry];
      moves.fetchedPositions[moves.fetched++] = position;
    }
    return moves;
  }

  /** The oldest planned step is over: it has changed all of its rows. */
  finish(): void {
    if (this.#finished === this.#planned) throw new RangeError("Cannot finish a step: none is planned");
    const slot = this.#finished++ % (this.#lookAhead + 1);
    const begin = slot * this.#batchRows, end = begin + this.#counts[slot];
    for (let use = begin; use < end; use++) {
      const entry = this.#entries[use];
      this.#changed[entry] = 1;
      this.#uses[entry]--;
      this.#pins[entry]--;
      if (this.#lastUse[entry] === use) this.#lastUse[entry] = NONE;
      if (this.#pins[entry] === 0) this.#append(entry, this.#nextUse[use]);
    }
  }

  /**
   * Calls `each` for every row in the fast memory that has changed since it was last written, and counts it as clean from
   * now on: the caller writes it back.
   */
  clean(each: (row: number, position: number) => void): void {
    for (let entry = 0; entry < this.#row.length; entry++) {
      if (this.#changed[entry] === 0) continue;
      each(this.#row[entry], this.#position[entry]);
      this.#changed[entry] = 0;
    }
    // Rows keep their order within a list: changed ones go behind the clean ones of the same next use.
    for (let list = CHANGED; list < this.#first.length; list += 2) {
      while (this.#first[list] !== NONE) {
        const entry = this.#first[list];
        this.#unlink(entry);
        this.#link(entry, list - CHANGED);
      }
    }
  }

  /** Takes the position of the row that can best be done without. */
  #evict(step: number, moves: StepMoves): number {
    const entry = this.#victim(step);
    const position = this.#position[entry];
    if (this.#changed[entry] === 1) {
      moves.writtenRows[moves.written] = this.#row[entry];
      moves.writtenPositions[moves.written++] = position;
      this.#changed[entry] = 0;
    }
    moves.evicted++;
    this.#unlink(entry);
    this.#position[entry] = NONE;
    if (this.#uses[entry] === 0) this.#dropEntry(entry);
    return position;
  }

  #victim(step: number): number {
    if (this.#first[CLEAN] !== NONE) return this.#first[CLEAN];
    if (this.#first[CHANGED] !== NONE) return this.#first[CHANGED];
    for (let use = this.#announced - 1; use > step; use--) {
      const list = this.#listOf(use);
      if (this.#first[list + CLEAN] !== NONE) return this.#first[list + CLEAN];
      if (this.#first[list + CHANGED] !== NONE) return this.#first[list + CHANGED];
    }
    throw new Error("no row can be evicted, although they were counted");
  }

  /** The list of clean rows that a step uses next; that of changed ones follows it. */
  #listOf(nextUse: number): number {
    return nextUse === NONE ? 0 : 2 * (1 + nextUse % (this.#lookAhead + 1));
  }

  #append(entry: number, nextUse: number): void {
    this.#link(entry, this.#listOf(nextUse) + this.#changed[entry]);
  }

  #link(entry: number, list: number): void {
    const last = this.#last[list];
    this.#list[entry] = list;
    this.#before[entry] = last;
    this.#after[entry] = NONE;
    if (last === NONE) this.#first[list] = entry;
    else this.#after[last] = entry;
    this.#last[list] = entry;
    this.#evictable++;
  }

  #unlink(entry: number): void {
    const list = this.#list[entry];
    const before = this.#before[entry], after = this.#after[entry];
    if (before === NONE) this.#first[list] = after;
    else this.#after[before] = after;
    if (after === NONE) this.#last[list] = before;
    else this.#before[after] = before;
    this.#list[entry] = NONE;
    this.#evictable--;
  }

  #newEntry(row: number): number {
    const entry = this.#freeEntries[--this.#freeEntryCount];
    this.#row[entry] = row;
    this.#lastUse[entry] = NONE;
    let at = this.#home(row);
    while (this.#table[at] !== 0) at = (at + 1) & this.#mask;
    this.#table[at] = entry + 1;
    return entry;
  }

  #find(row: number): number {
    for (let at = this.#home(row); this.#table[at] !== 0; at = (at + 1) & this.#mask) {
      if (this.#row[this.#table[at] - 1] === row) return this.#table[at] - 1;
    }
    return NONE;
  }

  /** Removes an entry from the table; those behind it that would be lost move up. */
  #dropEntry(entry: number): void {
    let hole = this.#home(this.#row[entry]);
    while (this.#table[hole] !== entry + 1) hole = (hole + 1) & this.#mask;
    for (let at = (hole + 1) & this.#mask; this.#table[at] !== 0; at = (at + 1) & this.#mask) {
      const home = this.#home(this.#row[this.#table[at] - 1]);
      if (((at - home) & this.#mask) < ((at - hole) & this.#mask)) continue;
      this.#table[hole] = this.#table[at];
      hole = at;
    }
    this.#table[hole] = 0;
    this.#freeEntries[this.#freeEntryCount++] = entry;
  }

  #home(row: number): number {
    return mix(row) & this.#mask;
  }
}
