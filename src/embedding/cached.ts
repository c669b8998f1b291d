/**
 * Tables larger than memory: a matrix in host memory caches the rows in use, and a store on disk has all others. A
 * look-ahead plan decides which rows are fetched and evicted; they move while steps compute. Kernels see one matrix and
 * positions in it, so the result is bit for bit that of tables in memory.
 */
import type { HostBackend } from "../backend/backend.ts";
import type { Batch } from "../layout/batch.ts";
import { rowStateWords } from "../optimizer/optimizers.ts";
import { ScoredRows, setPositions } from "./cached_batch.ts";
import { type CacheSizes, LookAheadPlan } from "./look_ahead_plan.ts";
import type { SavedRows } from "./stores/log_segments.ts";
import type { StoreThread } from "./stores/store_thread.ts";
import type { HostRows, RowBlock, RowMatrix, TableContext } from "./tables.ts";

/** Rows in host memory as numbers. */
interface RowFloats {
  readonly weights: Float32Array;
  /** Without words if the optimizer has no state. */
  readonly state: Float32Array;
}

function floatsOf(host: HostBackend, { weights, state }: RowBlock): RowFloats {
  return { weights: host.floats(weights), state: state === undefined ? new Float32Array(0) : host.floats(state) };
}

/** The store of rows that are not in the matrix, and sizes of the cache. */
export interface RowCache extends CacheSizes {
  /** Undefined if another process of the host, with the same matrix, moves the rows. */
  readonly store: StoreThread | undefined;
}

export type CachedContext = Pick<TableContext, "host" | "shape" | "batchShape">;

/** Counters since the run began. */
export interface CacheCounts {
  /** Distinct rows of the batches in training, and how many of them had to be fetched. */
  rows: number;
  fetched: number;
  written: number;
}

/**
 * Rows cached in a matrix that is smaller than the tables: for the batches of ranks, or for a device. Used by the thread
 * that queues the steps of the ranks.
 */
export class CachedTables implements HostRows {
  readonly counts: CacheCounts = { rows: 0, fetched: 0, written: 0 };
  /** What determines the initial values of rows that were never written. */
  #origin: Pick<SavedRows, "seed" | "numbers"> = { seed: 0 };
  readonly #host: HostBackend;
  readonly #cache: RowCache;
  #plan: LookAheadPlan;
  readonly #matrix: RowFloats;
  readonly #dim: number;
  readonly #stateWords: number;
  /** Planned steps by number modulo lookAhead + 1: the job that fetches their rows, and the positions of the rows. */
  readonly #jobs: Float64Array;
  readonly #arrivals: readonly Uint32Array[];
  readonly #arriving: Uint32Array;
  /** The same for groups: their first rows, which are not read from the store because they will be overwritten. */
  readonly #overwritten: readonly Uint32Array[];
  readonly #overwriting: Uint32Array;
  #announced = 0;
  #planned = 0;
  #prepared = 0;
  #finished = 0;
  readonly #scored: ScoredRows;

  /** The matrix, in host memory, has a row for each position. */
  constructor(
    { host, shape: { dim, optimizer }, batchShape: { lookupCapacity } }: CachedContext,
    matrix: RowMatrix,
    cache: RowCache,
  ) {
    const { batchRows, lookAhead } = cache;
    this.#host = host;
    this.#cache = cache;
    this.#plan = new LookAheadPlan(cache);
    this.#matrix = floatsOf(host, matrix);
    this.#dim = dim;
    this.#stateWords = rowStateWords(optimizer, dim);
    this.#jobs = new Float64Array(lookAhead + 1);
    this.#arrivals = Array.from({ length: lookAhead + 1 }, () => new Uint32Array(batchRows));
    this.#arriving = new Uint32Array(lookAhead + 1);
    this.#overwritten = Array.from({ length: lookAhead + 1 }, () => new Uint32Array(batchRows));
    this.#overwriting = new Uint32Array(lookAhead + 1);
    this.#scored = new ScoredRows(lookupCapacity);
  }

  /** Rows get their initial values when they are first used. */
  initialise(seed: number): void {
    this.#expectIdle();
    this.#plan = new LookAheadPlan(this.#cache);
    this.#cache.store?.clear(seed);
    this.#origin = { seed };
  }

  /** Replaces all rows by those of a checkpoint. */
  adopt(saved: SavedRows): void {
    this.#expectIdle();
    this.#plan = new LookAheadPlan(this.#cache);
    this.#cache.store?.adopt(saved);
    this.#origin = { seed: saved.seed, numbers: saved.numbers };
  }

  /** Writes all changed rows, and returns the segments that contain them; undefined if another process does it. */
  seal(): SavedRows | undefined {
    const { store } = this.#cache;
    this.#expectIdle();
    this.#writeBack();
    return store && { ...store.seal(), ...this.#origin };
  }

  /** The row at a position of the matrix; -1 if there is none in training. */
  rowAt(position: number): number {
    return this.#plan.rowAt(position);
  }

  /** True if `write` may be called with this row: it is not on another host. */
  holds(_row: number): boolean {
    return true;
  }

  /** Announces a batch that will be trained after those before, and begins to fetch its rows if there is space. */
  announce({ words, sections: { segments }, distinct }: Batch): void {
    this.#overwriting[this.#announced % this.#jobs.length] = 0;
    this.#plan.announce(words, segments, 2, distinct);
    this.#announced++;
    this.#advance();
  }

  announceGroup(rows: Uint32Array, count: number, overwritten: number): void {
    const at = this.#announced % this.#jobs.length;
    this.#overwritten[at].set(rows.subarray(0, overwritten));
    this.#overwriting[at] = overwritten;
    this.#plan.announce(rows, 0, 1, count);
    this.#announced++;
    this.#advance();
  }

  /**
   * Waits for the rows of the batch that is trained next, and sets their positions in it. The step before it may still run:
   * rows arrive at positions that it does not use.
   */
  prepareToTrain(batch: Batch): void {
    if (this.isIdle) this.announce(batch);
    setPositions(this.#plan, this.#prepare(), batch);
    this.counts.rows += batch.distinct;
  }

  locateGroup(rows: Uint32Array, count: number): void {
    const positions = this.#plan.positionsIn(this.#prepare());
    for (let i = 0; i < count; i++) rows[i] = positions[i];
  }

  /** Waits for the rows of the next step, and returns its number, counted from the oldest unfinished one. */
  #prepare(): number {
    const step = this.#prepared - this.#finished;
    const at = this.#prepared++ % this.#jobs.length;
    if (this.#arriving[at] > 0) this.#arrive(at);
    return step;
  }

  #arrive(at: number): void {
    const store = this.#cache.store!;
    store.wait(this.#jobs[at]);
    const { records } = store.job(this.#jobs[at]);
    const positions = this.#arrivals[at];
    for (let i = 0, end = this.#arriving[at]; i < end; i++) this.#fromRecord(records, i, positions[i]);
  }

  /** Ends the step over the oldest prepared batch. */
  finish(): void {
    this.#finished++;
    this.#plan.finish();
    this.#advance();
  }

  finishGroup(): void {
    const changed = this.#overwriting[this.#finished++ % this.#jobs.length];
    this.#plan.finish(changed);
    this.#advance();
  }

  /** Begins all transfers for which there is space. */
  #advance(): void {
    const { store } = this.#cache;
    for (let moves = this.#plan.next(); moves !== undefined; moves = this.#plan.next()) {
      const { written, writtenRows, writtenPositions, fetched, fetchedRows, fetchedPositions } = moves;
      const at = this.#planned++ % this.#jobs.length;
      this.#arriving[at] = 0;
      if (store === undefined || (written === 0 && fetched === 0)) continue;
      const job = store.next;
      for (let i = 0; i < written; i++) {
        job.written[i] = writtenRows[i];
        this.#toRecord(this.#matrix, writtenPositions[i], job.records, i);
      }
      let read = 0;
      for (let i = 0, passed = 0; i < fetched; i++) {
        // Rows are fetched in the order of their group.
        const row = fetchedRows[i];
        while (passed < this.#overwriting[at] && this.#overwritten[at][passed] !== row) passed++;
        if (passed < this.#overwriting[at]) continue;
        job.read[read] = row;
        this.#arrivals[at][read++] = fetchedPositions[i];
      }
      if (written === 0 && read === 0) continue;
      this.#arriving[at] = read;
      this.#jobs[at] = store.begun;
      store.begin(written, read);
      this.counts.fetched += read;
      this.counts.written += written;
    }
  }

  /** Fetches the rows of a batch that is only scored, and sets their positions in it. */
  prepareToScore({ words, sections: { indices }, lookups }: Batch): void {
    this.locateToRead(words, indices, lookups);
  }

  /** Replaces rows that are only read by their positions; they stay there until the next call. Evicts no row. */
  locateToRead(words: Uint32Array, begin: number, count: number): void {
    const { store } = this.#cache;
    this.#expectIdle();
    // As many as a job can read.
    const next = () => store?.next.read;
    this.#scored.locate(words, begin, count, this.#plan, next, (count, first) => this.#read(store!, count, first));
  }

  /** Reads the rows that the next job lists to consecutive positions. */
  #read(store: StoreThread, count: number, first: number): void {
    const number = store.begun;
    store.begin(0, count);
    store.wait(number);
    const { records } = store.job(number);
    for (let i = 0; i < count; i++) this.#fromRecord(records, i, first + i);
  }

  /** Writes rows before any is used; requires a store. */
  write(rows: Uint32Array, block: RowBlock): void {
    const store = this.#cache.store!;
    const given = floatsOf(this.#host, block);
    this.#expectIdle();
    this.#writeBack();
    for (let i = 0; i < rows.length;) {
      const job = store.next;
      let count = 0;
      for (; i < rows.length && count < job.written.length; i++, count++) {
        job.written[count] = rows[i];
        this.#toRecord(given, i, job.records, count);
        const position = this.#plan.positionOf(rows[i]);
        if (position >= 0) this.#fromRecord(job.records, count, position);
      }
      store.begin(count, 0);
    }
  }

  /** Writes back all changed rows. */
  #writeBack(): void {
    const { store } = this.#cache;
    if (store === undefined) return this.#plan.clean(() => {});
    let job = store.next;
    let count = 0;
    this.#plan.clean((row, position) => {
      job.written[count] = row;
      this.#toRecord(this.#matrix, position, job.records, count++);
      if (count < job.written.length) return;
      store.begin(count, 0);
      job = store.next;
      count = 0;
    });
    if (count > 0) store.begin(count, 0);
  }

  /** True if no step is announced. */
  protected get isIdle(): boolean {
    return this.#plan.announced === 0;
  }

  #expectIdle(): void {
    if (!this.isIdle) throw new Error("rows are read while a step is announced");
  }

  #toRecord({ weights, state }: RowFloats, position: number, records: Float32Array, i: number): void {
    const [dim, words] = [this.#dim, this.#stateWords];
    copyWords(weights, position * dim, records, i * (dim + words), dim);
    copyWords(state, position * words, records, i * (dim + words) + dim, words);
  }

  #fromRecord(records: Float32Array, i: number, position: number): void {
    const [dim, words] = [this.#dim, this.#stateWords];
    const { weights, state } = this.#matrix;
    copyWords(records, i * (dim + words), weights, position * dim, dim);
    copyWords(records, i * (dim + words) + dim, state, position * words, words);
  }
}

/** Rows are short: a loop is faster than creating views. */
function copyWords(source: Float32Array, from: number, target: Float32Array, to: number, count: number): void {
  for (let i = 0; i < count; i++) target[to + i] = source[from + i];
}
