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
 */
import { mix } from "../random.ts";

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

const NONE = -1;
const CLEAN = 0, CHANGED = 1;
/**
 * Words of an entry: the row; its position; the number of announced, unfinished batches that use it (`USE`), and of
 * planned ones among them (`PIN`); whether it has changed; where it was last announced (`slotOfBatch * batchRows +
 * index`); its neighbours in its list of evictable rows, and that list.
 */
const ROW = 0, POSITION = 1, USES = 2, IS_CHANGED = 3, LAST_USE = 4, BEFORE = 5, AFTER = 6, LIST = 7;
const ENTRY_WORDS = 8;
const USE = 1, PIN = 1 << 16;
/** Rows whose memory is read before the first is processed, so that reads overlap instead of waiting for each other. */
const READ_AHEAD = 256;

/** Plans steps one after the other. Allocates nothing after construction. */
export class LookAheadPlan {
  readonly #lookAhead: number;
  /** Number of positions of the matrix. */
  readonly positions: number;
  /** Number of batches that have reached each state. */
  #announced = 0;
  #planned = 0;
  #finished = 0;

  /** Entries of rows in fast memory or in announced batches, each in one cache line, named by its first word. */
  readonly #entry: Int32Array;
  /** The first free entry; free entries are linked by `AFTER`. */
  #free = NONE;

  /** Open addressing from a row to its entry; NONE is empty. */
  readonly #table: Int32Array;
  readonly #mask: number;

  /** Unfinished batches by step modulo lookAhead + 1: entries of their rows, and the next step that uses each row. */
  readonly #batchRows: number;
  readonly #entries: Int32Array;
  readonly #nextUse: Int32Array;
  readonly #counts: Uint32Array;

  /** Lists of evictable rows: without an announced use, then by step modulo lookAhead + 1; clean, then changed. */
  readonly #first: Int32Array;
  readonly #last: Int32Array;
  #evictable = 0;
  readonly #freePositions: Uint32Array;
  #freePositionCount: number;
  readonly #moves: StepMoves;
  /** Places and entries that are read ahead. */
  readonly #ahead = new Int32Array(READ_AHEAD);
  /** Depends on the words that were read ahead, so that the compiler keeps the reads. */
  #read = 0;

  /** A plan before its first batch. */
  constructor({ slots, batchRows, lookAhead }: CacheSizes) {
    if (slots < 2 * batchRows) {
      throw new RangeError(`Cannot plan with ${slots} slots: two batches of ${batchRows} rows need ${2 * batchRows}`);
    }
    this.#lookAhead = lookAhead;
    this.positions = slots;
    this.#batchRows = batchRows;
    const window = lookAhead + 1;
    const entries = slots + window * batchRows;
    this.#entry = new Int32Array(entries * ENTRY_WORDS);
    for (let entry = (entries - 1) * ENTRY_WORDS; entry >= 0; entry -= ENTRY_WORDS) this.#freeEntry(entry);
    const places = 2 ** Math.ceil(Math.log2(2 * entries));
    this.#table = new Int32Array(places).fill(NONE);
    this.#mask = places - 1;
    this.#entries = new Int32Array(window * batchRows);
    this.#nextUse = new Int32Array(window * batchRows);
    this.#counts = new Uint32Array(window);
    this.#first = new Int32Array(2 * (window + 1)).fill(NONE);
    this.#last = new Int32Array(2 * (window + 1)).fill(NONE);
    this.#freePositions = Uint32Array.from({ length: slots }, (_, i) => slots - 1 - i);
    this.#freePositionCount = slots;
    const list = () => new Uint32Array(batchRows);
    this.#moves = {
      ...{ written: 0, writtenRows: list(), writtenPositions: list() },
      ...{ fetched: 0, fetchedRows: list(), fetchedPositions: list(), evicted: 0 },
    };
  }

  /** True if another batch may be announced. */
  get canAnnounce(): boolean {
    return this.#announced - this.#finished <= this.#lookAhead;
  }

  /** Number of planned, unfinished batches. */
  get planned(): number {
    return this.#planned - this.#finished;
  }

  /** Number of announced, unfinished batches. */
  get announced(): number {
    return this.#announced - this.#finished;
  }

  /** Position of row i of a planned batch; batches are counted from the oldest unfinished one. */
  positionIn(batch: number, i: number): number {
    const slot = (this.#finished + batch) % (this.#lookAhead + 1);
    return this.#entry[this.#entries[slot * this.#batchRows + i] + POSITION];
  }

  /** Position of a row, which every row of a planned batch has; -1 if it has none. */
  positionOf(row: number): number {
    const entry = this.#find(row);
    return entry === NONE ? NONE : this.#entry[entry + POSITION];
  }

  /** The row at a position; -1 if there is none. Searches all entries: for errors. */
  rowAt(position: number): number {
    for (let entry = 0; entry < this.#entry.length; entry += ENTRY_WORDS) {
      if (this.#entry[entry + POSITION] === position) return this.#entry[entry + ROW] >>> 0;
    }
    return NONE;
  }

  /** Announces the next batch: its `count` distinct rows are `words[at]`, `words[at + stride]`, ... */
  announce(words: Uint32Array, at: number, stride: number, count: number): void {
    if (!this.canAnnounce) throw new RangeError("Cannot announce a batch: as many as the look-ahead are");
    if (count > this.#batchRows) throw new RangeError(`Cannot announce ${count} rows: at most ${this.#batchRows} fit`);
    const step = this.#announced++;
    const slot = step % (this.#lookAhead + 1);
    this.#counts[slot] = count;
    const fields = this.#entry, entries = this.#entries, nextUse = this.#nextUse;
    for (let i = 0, use = slot * this.#batchRows; i < count; i++, use++, at += stride) {
      if (i % READ_AHEAD === 0) this.#readRows(words, at, stride, Math.min(READ_AHEAD, count - i));
      const row = words[at];
      let entry = this.#find(row);
      if (entry === NONE) entry = this.#newEntry(row);
      const lastUse = fields[entry + LAST_USE], list = fields[entry + LIST];
      if (lastUse !== NONE) nextUse[lastUse] = step;
      fields[entry + USES] += USE;
      fields[entry + LAST_USE] = use;
      entries[use] = entry;
      nextUse[use] = NONE;
      if (list === CLEAN || list === CHANGED) { // it was among the rows without a use
        this.#unlink(entry);
        this.#append(entry, step);
      }
    }
  }

  /**
   * Plans the next batch and returns the rows to move; undefined if none is announced, or if a step must finish before
   * there is space for its rows. The result is overwritten by the next call.
   */
  next(): StepMoves | undefined {
    if (this.#planned === this.#announced) return undefined;
    const slot = this.#planned % (this.#lookAhead + 1);
    const begin = slot * this.#batchRows, end = begin + this.#counts[slot];
    const fields = this.#entry, entries = this.#entries;
    let missing = 0, listed = end - begin; // counted by signs: these branches could not be predicted
    for (let use = begin; use < end; use++) {
      const entry = entries[use];
      missing += fields[entry + POSITION] >>> 31;
      listed -= fields[entry + LIST] >>> 31;
    }
    if (missing > this.#freePositionCount + this.#evictable - listed) return undefined;
    const step = this.#planned++;
    const moves = this.#moves;
    moves.fetched = moves.written = moves.evicted = 0;
    // Before the first eviction, which must not take them.
    for (let use = begin; use < end; use++) {
      const entry = entries[use];
      if (fields[entry + LIST] !== NONE) this.#unlink(entry);
      fields[entry + USES] += PIN;
    }
    for (let use = begin; use < end; use++) {
      const entry = entries[use];
      if (fields[entry + POSITION] !== NONE) continue;
      const isFree = this.#freePositionCount > 0;
      if (!isFree && moves.evicted % READ_AHEAD === 0) {
        this.#readVictims(step, Math.min(READ_AHEAD, missing - moves.fetched));
      }
      const position = isFree ? this.#freePositions[--this.#freePositionCount] : this.#evict(step, moves);
      fields[entry + POSITION] = position;
      moves.fetchedRows[moves.fetched] = fields[entry + ROW];
      moves.fetchedPositions[moves.fetched++] = position;
    }
    return moves;
  }

  /** Ends the oldest planned step, which has changed its first rows, or all of them. */
  finish(changed: number = this.#batchRows): void {
    if (this.#finished === this.#planned) throw new RangeError("Cannot finish a step: none is planned");
    const slot = this.#finished++ % (this.#lookAhead + 1);
    const begin = slot * this.#batchRows, end = begin + this.#counts[slot];
    const fields = this.#entry, entries = this.#entries, nextUse = this.#nextUse;
    for (let use = begin; use < end; use++) {
      const entry = entries[use];
      if (use < begin + changed) fields[entry + IS_CHANGED] = 1;
      const uses = fields[entry + USES] -= USE + PIN;
      if (fields[entry + LAST_USE] === use) fields[entry + LAST_USE] = NONE;
      if (uses < PIN) this.#append(entry, nextUse[use]);
    }
  }

  /** Calls `each` for every changed row in fast memory, and marks it as clean: the caller writes it back. */
  clean(each: (row: number, position: number) => void): void {
    for (let entry = 0; entry < this.#entry.length; entry += ENTRY_WORDS) {
      if (this.#entry[entry + IS_CHANGED] === 0) continue;
      each(this.#entry[entry + ROW] >>> 0, this.#entry[entry + POSITION]);
      this.#entry[entry + IS_CHANGED] = 0;
    }
    // Rows keep their order within a list: changed ones follow the clean ones with the same next use.
    for (let list = CHANGED; list < this.#first.length; list += 2) {
      while (this.#first[list] !== NONE) {
        const entry = this.#first[list];
        this.#unlink(entry);
        this.#link(entry, list - CHANGED);
      }
    }
  }

  /** Reads what finding rows needs. */
  #readRows(words: Uint32Array, at: number, stride: number, count: number): void {
    for (let i = 0; i < count; i++, at += stride) this.#ahead[i] = this.#home(words[at]);
    this.#readPlaces(count);
  }

  /** Reads the best candidates, at most `most`, and what removing them from the hash table needs: the next place. */
  #readVictims(step: number, most: number): void {
    let count = 0;
    for (let entry = this.#victim(step); entry !== NONE && count < most; entry = this.#entry[entry + AFTER]) {
      this.#ahead[count++] = (this.#home(this.#entry[entry + ROW]) + 1) & this.#mask;
    }
    this.#readPlaces(count);
  }

  /** Reads the hash table at the places in `#ahead`, and then the entries there. */
  #readPlaces(count: number): void {
    const fields = this.#entry, table = this.#table, ahead = this.#ahead;
    let read = 0;
    for (let i = 0; i < count; i++) ahead[i] = table[ahead[i]];
    for (let i = 0; i < count; i++) if (ahead[i] !== NONE) read ^= fields[ahead[i]];
    this.#read = read;
  }

  /** Evicts the best candidate and returns its position. */
  #evict(step: number, moves: StepMoves): number {
    const entry = this.#victim(step);
    const position = this.#entry[entry + POSITION];
    if (this.#entry[entry + IS_CHANGED] === 1) {
      moves.writtenRows[moves.written] = this.#entry[entry + ROW];
      moves.writtenPositions[moves.written++] = position;
      this.#entry[entry + IS_CHANGED] = 0;
    }
    moves.evicted++;
    this.#unlink(entry);
    this.#entry[entry + POSITION] = NONE;
    if (this.#entry[entry + USES] === 0) this.#dropEntry(entry);
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

  /** The list of clean rows whose next use is a step; the list of changed ones follows it. */
  #listOf(nextUse: number): number {
    return nextUse === NONE ? 0 : 2 * (1 + nextUse % (this.#lookAhead + 1));
  }

  #append(entry: number, nextUse: number): void {
    this.#link(entry, this.#listOf(nextUse) + this.#entry[entry + IS_CHANGED]);
  }

  #link(entry: number, list: number): void {
    const last = this.#last[list];
    this.#entry[entry + LIST] = list;
    this.#entry[entry + BEFORE] = last;
    this.#entry[entry + AFTER] = NONE;
    if (last === NONE) this.#first[list] = entry;
    else this.#entry[last + AFTER] = entry;
    this.#last[list] = entry;
    this.#evictable++;
  }

  #unlink(entry: number): void {
    const list = this.#entry[entry + LIST];
    const before = this.#entry[entry + BEFORE], after = this.#entry[entry + AFTER];
    if (before === NONE) this.#first[list] = after;
    else this.#entry[before + AFTER] = after;
    if (after === NONE) this.#last[list] = before;
    else this.#entry[after + BEFORE] = before;
    this.#entry[entry + LIST] = NONE;
    this.#evictable--;
  }

  #newEntry(row: number): number {
    const entry = this.#free;
    this.#free = this.#entry[entry + AFTER];
    this.#entry[entry + ROW] = row;
    let at = this.#home(row);
    while (this.#table[at] !== NONE) at = (at + 1) & this.#mask;
    this.#table[at] = entry;
    return entry;
  }

  /** Initialises an entry without a row. */
  #freeEntry(entry: number): void {
    this.#entry[entry + POSITION] = this.#entry[entry + LAST_USE] = this.#entry[entry + LIST] = NONE;
    this.#entry[entry + USES] = this.#entry[entry + IS_CHANGED] = 0;
    this.#entry[entry + AFTER] = this.#free;
    this.#free = entry;
  }

  #find(row: number): number {
    for (let at = this.#home(row); this.#table[at] !== NONE; at = (at + 1) & this.#mask) {
      if (this.#entry[this.#table[at] + ROW] === (row | 0)) return this.#table[at];
    }
    return NONE;
  }

  /** Removes an entry from the hash table and moves later entries of its chain up. */
  #dropEntry(entry: number): void {
    let hole = this.#home(this.#entry[entry + ROW]);
    while (this.#table[hole] !== entry) hole = (hole + 1) & this.#mask;
    for (let at = (hole + 1) & this.#mask; this.#table[at] !== NONE; at = (at + 1) & this.#mask) {
      const home = this.#home(this.#entry[this.#table[at] + ROW]);
      if (((at - home) & this.#mask) < ((at - hole) & this.#mask)) continue;
      this.#table[hole] = this.#table[at];
      hole = at;
    }
    this.#table[hole] = NONE;
    this.#freeEntry(entry);
  }

  #home(row: number): number {
    return mix(row) & this.#mask;
  }
}
