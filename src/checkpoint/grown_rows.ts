/** The rows of a checkpoint whose tables have grown since. */
import { InitialRows } from "../embedding/initialise.ts";
import type { ModelShape } from "../model/shape.ts";
import type { ByteReader } from "./weights.ts";

/** A matrix of all rows: the rows of a saved matrix, and initial rows after the end of each of its tables. */
export class GrownRows implements ByteReader {
  readonly #saved: ByteReader;
  readonly #width: number;
  /** Undefined for optimizer state, which is 0 at first. */
  readonly #initial: InitialRows | undefined;
  /** First global row of each table, then the number of all rows: now, and in the saved matrix. */
  readonly #firstRows: Float64Array;
  readonly #savedFirstRows: Float64Array;

  /** The matrix has `width` words a row; `seed` is undefined for optimizer state. */
  constructor(saved: ByteReader, savedRows: readonly number[], shape: ModelShape, width: number, seed?: number) {
    this.#saved = saved;
    this.#width = width;
    this.#initial = seed === undefined ? undefined : new InitialRows(shape, seed);
    this.#firstRows = firstRowsOf(shape.tableRows);
    this.#savedFirstRows = firstRowsOf(savedRows);
  }

  /** Fills `target`, whole rows, from byte `position` on. Throws HotsetError. */
  read(position: number, target: Uint8Array): void {
    const rowBytes = 4 * this.#width;
    const first = position / rowBytes;
    const end = first + target.length / rowBytes;
    for (let row = first, table = 0; row < end;) {
      while (row >= this.#firstRows[table + 1]) table++;
      const id = row - this.#firstRows[table];
      const saved = this.#savedFirstRows[table + 1] - this.#savedFirstRows[table];
      const last = id < saved ? this.#firstRows[table] + saved : this.#firstRows[table + 1];
      const count = Math.min(end, last) - row;
      const part = target.subarray((row - first) * rowBytes, (row - first + count) * rowBytes);
      if (id < saved) this.#saved.read((this.#savedFirstRows[table] + id) * rowBytes, part);
      else if (this.#initial === undefined) part.fill(0);
      else this.#initial.write(row, count, new Float32Array(part.buffer, part.byteOffset, part.length / 4), 0);
      row += count;
    }
  }

  /** Closes the saved matrix. */
  [Symbol.dispose](): void {
    this.#saved[Symbol.dispose]();
  }
}

function firstRowsOf(tableRows: readonly number[]): Float64Array {
  const first = new Float64Array(tableRows.length + 1);
  for (const [t, rows] of tableRows.entries()) first[t + 1] = first[t] + rows;
  return first;
}
