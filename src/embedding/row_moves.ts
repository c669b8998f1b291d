/** Rows that move between host memory and the devices that cache them: the coordinator lists them, devices copy them. */
import type { StepMoves } from "./look_ahead_plan.ts";

/** Positions of the numbers of rows, before the lists. */
const WRITTEN = 0, FETCHED = 1, LISTS = 2;

/** Words of the lists for at most `batchRows` rows in each direction. */
export function rowMovesWords(batchRows: number): number {
  return LISTS + 4 * batchRows;
}

/** Rows to copy from the matrix on a device, and then rows to copy to it, in memory that threads share. */
export class RowMoves {
  readonly #words: Uint32Array;
  /** The written rows, then the fetched ones. Once host memory has located them, their positions there. */
  readonly rows: Uint32Array;
  /** Their positions in the matrix. */
  readonly positions: Uint32Array;

  /** A view of rowMovesWords words. */
  constructor(words: Uint32Array) {
    const each = (words.length - LISTS) / 2;
    this.#words = words;
    this.rows = words.subarray(LISTS, LISTS + each);
    this.positions = words.subarray(LISTS + each);
  }

  /** Number of rows to copy from the matrix. */
  get written(): number {
    return this.#words[WRITTEN];
  }

  set written(count: number) {
    this.#words[WRITTEN] = count;
  }

  /** Number of rows to copy to the matrix. */
  get fetched(): number {
    return this.#words[FETCHED];
  }

  set fetched(count: number) {
    this.#words[FETCHED] = count;
  }

  get count(): number {
    return this.written + this.fetched;
  }

  /** Copies a step of a plan. */
  set({ written, writtenRows, writtenPositions, fetched, fetchedRows, fetchedPositions }: StepMoves): void {
    this.written = written;
    this.fetched = fetched;
    for (let i = 0; i < written; i++) {
      this.rows[i] = writtenRows[i];
      this.positions[i] = writtenPositions[i];
    }
    for (let i = 0, at = written; i < fetched; i++, at++) {
      this.rows[at] = fetchedRows[i];
      this.positions[at] = fetchedPositions[i];
    }
  }
}
