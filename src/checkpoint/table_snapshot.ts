/**
 * The full tables as they were at one step, read by a writer on another thread while training goes on.
 *
 * The writer takes the tables chunk by chunk. Before training changes a row of a chunk that was not taken yet, the
 * coordinator keeps the row's old words in a journal; the writer takes the chunk as it is and then puts the kept words
 * over it. So a snapshot costs memory only for the rows that change before they are written.
 *
 * Why no word is missed: a changed word can only be read after the row was kept (tables name rows before the step is
 * posted) and before the chunk is marked as taken; the writer looks into the journal after it marked the chunk.
 */
import type { RowMatrix } from "../embedding/tables.ts";
import { rowStateWords } from "../optimizer/optimizers.ts";
import type { HostBackend } from "../backend/backend.ts";
import type { ModelShape } from "../model/shape.ts";
import { alignedBytes } from "../storage/direct_file.ts";

/** Bytes of a chunk's rows, without their optimizer state; at least one row. */
const CHUNK_BYTES = 4 << 20;
/**
 * The journal has room for the rows of the hot replica and this share of all rows, within these bounds. What is not used
 * takes addresses but no memory.
 */
const JOURNAL_SHARE = 1 / 8;
const MIN_JOURNAL_ROWS = 65_536;
const MAX_JOURNAL_BYTES = 2 ** 30;
/** What the coordinator and the writer share; can be posted. */
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
  /** 1 for each chunk that was taken, (chunks). */
  readonly taken: Int32Array;
  /** The last kept row of each chunk, as its place in the journal plus one; 0 for none, (chunks). */
  readonly last: Int32Array;
  /** The journal: the row, its words with its state, and the one kept before it in the same chunk (as in `last`). */
  readonly keptRows: Uint32Array;
  readonly keptWords: Uint32Array;
  readonly before: Int32Array;
}

/**
 * Memory for snapshots of these tables, whose hot replica has `hotRows` rows; the journal has room for `journalRows` more.
 * Throws RangeError if there is none.
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
  const chunks = Math.max(1, Math.ceil(rows / 2 ** chunkShift)); // without rows one chunk of none
  const capacity = Math.min(rows, hotRows + journalRows);
  const shared = (words: number) => new SharedArrayBuffer(4 * words);
  const view = (buffer: RowMatrix["weights"]) => {
    const { buffer: memory, byteOffset, length } = host.floats(buffer);
    return new Uint32Array(memory, byteOffset, length);
  };
  return {
    rows,
    dim,
    stateWords,
    chunkShift,
    weights: view(full.weights),
    state: full.state && view(full.state),
    taken: new Int32Array(shared(chunks)),
    last: new Int32Array(shared(chunks)),
    keptRows: new Uint32Array(shared(capacity)),
    keptWords: new Uint32Array(shared(capacity * (dim + stateWords))),
    before: new Int32Array(shared(capacity)),
  };
}

function journalRowsFor({ dim, optimizer }: ModelShape, rows: number): number {
  const most = Math.floor(MAX_JOURNAL_BYTES / (4 * (dim + rowStateWords(optimizer, dim))));
  return Math.max(MIN_JOURNAL_ROWS, Math.min(Math.ceil(rows * JOURNAL_SHARE), most));
}

/** The coordinator's side: keeps rows before they change. */
export class SnapshotKeeper {
  readonly #memory: SnapshotMemory;
  /** One bit for each row: kept in this snapshot. */
  readonly #kept: Uint32Array;
  #count = 0;
  #active = false;

  constructor(memory: SnapshotMemory) {
    this.#memory = memory;
    this.#kept = new Uint32Array(Math.ceil(memory.rows / 32));
  }

  /** Rows kept in this snapshot. */
  get count(): number {
    return this.#count;
  }

  /** Begins a snapshot of the tables as they are: the writer of the one before must be done, and no step under way. */
  begin(): void {
    this.#kept.fill(0);
    this.#count = 0;
    this.#memory.last.fill(0);
    this.#memory.taken.fill(0);
    this.#active = true;
  }

  /** Ends it: every chunk was taken, or the writer failed. */
  end(): void {
    this.#active = false;
  }

  /**
   * Keeps `count` rows that are about to change, `words[at]`, `words[at + stride]`, ... The journal being full, calls
   * `waitForAll`, which must return only when the writer has taken all chunks.
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

/** The writer's side: takes chunks in order. */
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

  /** Number of chunks. */
  get chunks(): number {
    return this.#memory.taken.length;
  }

  /** A chunk's rows and their state as they were when the snapshot began. The arrays are used again by the next call. */
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
