/**
 * A snapshot of the full tables at one step, read by a writer on another thread while training continues
 * (copy-on-write).
 *
 * The writer copies the tables chunk by chunk. Before training changes a row of a chunk that has not been copied, the
 * coordinator saves the row's before-image in a journal; the writer copies the chunk and then overwrites those rows
 * with their before-images. A snapshot therefore needs memory only for rows that change before they are written.
 *
 * No before-image is missed: a changed word can be read only after its row was saved (tables announce rows before the
 * step is queued) and before the chunk is marked as copied; the writer reads the journal after it has marked the chunk.
 */
import type { RowMatrix } from "../embedding/tables.ts";
import { rowStateWords, rowWords } from "../optimizer/optimizers.ts";
import type { HostBackend } from "../backend/backend.ts";
import type { ModelShape } from "../model/shape.ts";
import { alignedBytes } from "../storage/direct_file.ts";

/** Bytes of a chunk's rows, without their optimizer state; at least one row. */
const CHUNK_BYTES = 4 << 20;
/**
 * The journal has space for the rows of the hot replica and this share of all rows, within these bounds. Unused space
 * takes addresses but no memory.
 */
const JOURNAL_SHARE = 1 / 8;
const MIN_JOURNAL_ROWS = 65_536;
const MAX_JOURNAL_BYTES = 2 ** 30;
/** Memory that the coordinator and the writer share; can be posted. */
export interface SnapshotMemory {
  readonly rows: number;
  readonly dim: number;
  /** Words of optimizer state of a row; 0 for none. */
  readonly stateWords: number;
  /** A chunk has 2^chunkShift rows. */
  readonly chunkShift: number;
  /** The tables (rows, dim) and their state (rows, stateWords), which training changes. */
  readonly weights: Uint32Array;
  readonly state: Uint32Array | undefined;
  /** 1 for each chunk that has been copied, (chunks). */
  readonly taken: Int32Array;
  /** Journal position of the last row saved of each chunk, plus 1; 0 for none, (chunks). */
  readonly last: Int32Array;
  /** The journal: row, its words and state, and the previous journal position of the same chunk (as in `last`). */
  readonly keptRows: Uint32Array;
  readonly keptWords: Uint32Array;
  readonly before: Int32Array;
}

/**
 * Memory for snapshots of these tables, whose hot replica has `hotRows` rows; the journal has space for `journalRows`
 * more. Throws RangeError if it cannot be allocated.
 */
export function newSnapshotMemory(
  shape: ModelShape,
  full: RowMatrix,
  host: HostBackend,
  hotRows: number,
  { chunkBytes = CHUNK_BYTES, journalRows = journalRowsFor(shape, full.rows) } = {},
): SnapshotMemory {
  const { dim, optimizer } = shape;
  const { rows } = full;
  const stateWords = rowStateWords(optimizer, dim);
  const chunkShift = Math.max(0, Math.floor(Math.log2(chunkBytes / (4 * dim))));
  const chunks = Math.max(1, Math.ceil(rows / 2 ** chunkShift)); // without rows there is one empty chunk
  const capacity = Math.min(rows, hotRows + journalRows);
  const shared = (words: number) => new SharedArrayBuffer(4 * words);
  return {
    rows,
    dim,
    stateWords,
    chunkShift,
    weights: host.integers(full.weights),
    state: full.state && host.integers(full.state),
    taken: new Int32Array(shared(chunks)),
    last: new Int32Array(shared(chunks)),
    keptRows: new Uint32Array(shared(capacity)),
    keptWords: new Uint32Array(shared(capacity * (dim + stateWords))),
    before: new Int32Array(shared(capacity)),
  };
}

function journalRowsFor(shape: ModelShape, rows: number): number {
  const most = Math.floor(MAX_JOURNAL_BYTES / (4 * rowWords(shape)));
  return Math.max(MIN_JOURNAL_ROWS, Math.min(Math.ceil(rows * JOURNAL_SHARE), most));
}

/** The coordinator's side: saves before-images. */
export class SnapshotKeeper {
  readonly #memory: SnapshotMemory;
  /** One bit per row: saved in this snapshot. */
  readonly #kept: Uint32Array;
  #count = 0;
  #active = false;

  constructor(memory: SnapshotMemory) {
    this.#memory = memory;
    this.#kept = new Uint32Array(Math.ceil(memory.rows / 32));
  }

  /** Rows saved in this snapshot. */
  get count(): number {
    return this.#count;
  }

  /** Begins a snapshot of the present tables. The previous writer must be done, and no step running. */
  begin(): void {
    this.#kept.fill(0);
    this.#count = 0;
    this.#memory.last.fill(0);
    this.#memory.taken.fill(0);
    this.#active = true;
  }

  /** Ends the snapshot: every chunk has been copied, or the writer failed. */
  end(): void {
    this.#active = false;
  }

  /**
   * Saves `count` rows that are about to change, `words[at]`, `words[at + stride]`, ... If the journal is full, calls
   * `waitForAll`, which must return only when the writer has copied all chunks.
   */
  keep(words: Uint32Array, at: number, stride: number, count: number, waitForAll: () => void): void {
    const { chunkShift, taken, keptRows } = this.#memory;
    if (!this.#active || Atomics.load(taken, taken.length - 1) === 1) return;
    const kept = this.#kept;
    for (let i = 0; i < count; i++, at += stride) {
      const row = words[at];
      if ((kept[row >>> 5] >>> (row & 31) & 1) === 1 || Atomics.load(taken, row >>> chunkShift) === 1) continue;
      if (this.#count === keptRows.length) {
        waitForAll();
        return this.end();
      }
      kept[row >>> 5] |= 1 << (row & 31);
      this.#append(row);
    }
  }

  #append(row: number): void {
    const { dim, stateWords, chunkShift, weights, state, last, keptRows, keptWords, before } = this.#memory;
    const entry = this.#count++;
    const chunk = row >>> chunkShift;
    let to = entry * (dim + stateWords);
    for (let from = row * dim, end = from + dim; from < end; from++) keptWords[to++] = weights[from];
    if (state !== undefined) {
      for (let from = row * stateWords, end = from + stateWords; from < end; from++) keptWords[to++] = state[from];
    }
    keptRows[entry] = row;
    before[entry] = last[chunk];
    Atomics.store(last, chunk, entry + 1);
  }
}

/** The writer's side: copies chunks in order. */
export class SnapshotTaker {
  readonly #memory: SnapshotMemory;
  readonly #weights: Uint32Array;
  readonly #state: Uint32Array;

  constructor(memory: SnapshotMemory) {
    this.#memory = memory;
    const words = (count: number) => new Uint32Array(alignedBytes(4 * count).buffer, 0, count);
    this.#weights = words(2 ** memory.chunkShift * memory.dim);
    this.#state = words(2 ** memory.chunkShift * memory.stateWords);
  }

  get chunks(): number {
    return this.#memory.taken.length;
  }

  /** A chunk's rows and their state as of the beginning of the snapshot. The arrays are reused by the next call. */
  take(chunk: number): { weights: Uint32Array; state: Uint32Array } {
    const { rows, dim, stateWords, chunkShift, weights, state, taken, last, keptRows, keptWords, before } =
      this.#memory;
    const first = chunk * 2 ** chunkShift;
    const end = Math.min(first + 2 ** chunkShift, rows);
    const copy = this.#weights.subarray(0, (end - first) * dim);
    const stateCopy = this.#state.subarray(0, (end - first) * stateWords);
    copy.set(weights.subarray(first * dim, end * dim));
    if (state !== undefined) stateCopy.set(state.subarray(first * stateWords, end * stateWords));
    Atomics.store(taken, chunk, 1);
    Atomics.notify(taken, chunk);
    for (let entry = Atomics.load(last, chunk); entry > 0; entry = before[entry - 1]) {
      const from = (entry - 1) * (dim + stateWords);
      const row = keptRows[entry - 1] - first;
      copy.set(keptWords.subarray(from, from + dim), row * dim);
      stateCopy.set(keptWords.subarray(from + dim, from + dim + stateWords), row * stateWords);
    }
    return { weights: copy, state: stateCopy };
  }
}
