/** Reads the rows in segments of a checkpoint as one matrix; rows that are in no segment are computed. */
import { rowStateWords, rowWords } from "../../optimizer/optimizers.ts";
import { initialRecords, InitialRows } from "../initialise.ts";
import type { EmbeddingShape } from "../tables.ts";
import { RowLog } from "./row_log.ts";
import type { SavedRows } from "./log_segments.ts";

/** Computes the initial values of rows in tables of this shape. */
export function initialRowsOf(
  { seed, numbers }: Pick<SavedRows, "seed" | "numbers">,
  shape: Pick<EmbeddingShape, "tableRows" | "dim" | "rowInit">,
): Pick<InitialRows, "write"> {
  return numbers?.initialRows(shape) ?? new InitialRows(shape, seed);
}

/** Words of records read at a time. */
const CHUNK_WORDS = 8 << 20;

function newLog(saved: SavedRows, shape: EmbeddingShape): RowLog {
  return new RowLog({
    directory: undefined,
    rows: shape.tableRows.reduce((sum, count) => sum + count, 0),
    recordWords: rowWords(shape),
    initial: initialRecords(initialRowsOf(saved, shape), shape),
  });
}

/** The bytes of the matrix of all weights, or of all optimizer state. */
export class SavedRowFile implements Disposable {
  readonly #log: RowLog;
  /** Words of a row of the matrix, and their position in a record. */
  readonly #width: number;
  readonly #at: number;
  readonly #rows: Uint32Array;
  #records = new Float32Array(0);

  /** Reads all segments. Throws HotsetError. */
  constructor(saved: SavedRows, shape: EmbeddingShape, part: "weights" | "state") {
    const { dim, optimizer } = shape;
    this.#width = part === "weights" ? dim : rowStateWords(optimizer, dim);
    this.#at = part === "weights" ? 0 : dim;
    this.#rows = new Uint32Array(Math.max(1, Math.floor(CHUNK_WORDS / rowWords(shape))));
    this.#log = newLog(saved, shape);
    try {
      this.#log.adopt(saved);
    } catch (error) {
      this.#log[Symbol.dispose]();
      throw error;
    }
  }

  /** Fills `target`, whole words, from byte `position` on. Throws HotsetError. */
  read(position: number, target: Uint8Array): void {
    const words = new Float32Array(target.buffer, target.byteOffset, target.length / 4);
    const [width, recordWords] = [this.#width, this.#log.recordWords];
    const first = position / 4;
    const end = first + words.length;
    for (let row = Math.floor(first / width); row * width < end;) {
      const rows = this.#rows.subarray(0, Math.ceil(end / width) - row);
      for (let i = 0; i < rows.length; i++) rows[i] = row + i;
      if (this.#records.length < rows.length * recordWords) this.#records = new Float32Array(rows.length * recordWords);
      this.#log.read(rows, rows.length, this.#records);
      for (let i = 0; i < rows.length; i++, row++) {
        const begin = Math.max(first, row * width);
        const from = i * recordWords + this.#at + begin - row * width;
        const to = begin - first;
        const count = Math.min(end, (row + 1) * width) - begin;
        for (let w = 0; w < count; w++) words[to + w] = this.#records[from + w];
      }
    }
  }

  /** Closes the segments. */
  [Symbol.dispose](): void {
    this.#log[Symbol.dispose]();
  }
}

/** Fills the matrices of all weights and of all optimizer state, in one pass over the segments. Throws HotsetError. */
export function loadSavedRows(
  saved: SavedRows,
  shape: EmbeddingShape,
  weights: Float32Array,
  state: Float32Array,
): void {
  const { dim, optimizer } = shape;
  const stateWords = rowStateWords(optimizer, dim);
  using log = newLog(saved, shape);
  initialRowsOf(saved, shape).write(0, log.rows, weights, 0);
  state.fill(0);
  log.adopt(saved, (row, memory, page, index) => {
    memory.copy(page, index, weights, row * dim, 0, dim);
    memory.copy(page, index, state, row * stateWords, dim);
  });
}
