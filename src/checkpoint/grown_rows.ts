/** The rows of a checkpoint that has them in files, and whose tables have grown since. */
import { InitialRows } from "../embedding/initialise.ts";
import type { KeptRuns, RowGrowth } from "../embedding/stores/row_numbers.ts";
import type { ModelShape } from "../model/shape.ts";
import type { ByteReader } from "./weights.ts";

/** A matrix of all rows: the kept rows of a saved matrix, and initial rows for new values. */
export class GrownRows implements ByteReader {
  readonly #saved: ByteReader;
  readonly #width: number;
  readonly #kept: KeptRuns;
  /** Undefined for optimizer state, which is 0 at first. */
  readonly #initial: InitialRows | undefined;

  /** The matrix has `width` words a row; `seed` is undefined for optimizer state. */
  constructor(saved: ByteReader, { kept, dropped }: RowGrowth, shape: ModelShape, width: number, seed?: number) {
    this.#saved = saved;
    this.#width = width;
    this.#kept = kept;
    this.#initial = seed === undefined ? undefined : new InitialRows(shape, seed, dropped);
  }

  /** Fills `target`, whole rows, from byte `position` on. Throws HotsetError. */
  read(position: number, target: Uint8Array): void {
    const rowBytes = 4 * this.#width;
    const first = position / rowBytes;
    const end = first + target.length / rowBytes;
    const { from, row: begins, rows } = this.#kept;
    for (let row = first, next = this.#nextKept(first); row < end; next++) {
      const begin = begins[next] ?? end;
      const partOf = (last: number) =>
        target.subarray((row - first) * rowBytes, (Math.min(last, end) - first) * rowBytes);
      if (row < begin) {
        const part = partOf(begin);
        const weights = new Float32Array(part.buffer, part.byteOffset, part.length / 4);
        if (this.#initial === undefined) weights.fill(0);
        else this.#initial.write(row, part.length / rowBytes, weights, 0);
        row = Math.min(begin, end);
      }
      if (row === end) return;
      this.#saved.read((from[next] + row - begin) * rowBytes, partOf(begin + rows[next]));
      row = Math.min(begin + rows[next], end);
    }
  }

  /** Index of the first run that ends behind a row. */
  #nextKept(row: number): number {
    const { row: begins, rows } = this.#kept;
    let [low, high] = [0, rows.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (begins[middle] + rows[middle] <= row) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Closes the saved matrix. */
  [Symbol.dispose](): void {
    this.#saved[Symbol.dispose]();
  }
}
