/** Rewrites the rows of a batch to their positions in a matrix that caches them. */
import type { Batch } from "../layout/batch.ts";
import type { LookAheadPlan } from "./look_ahead_plan.ts";

/** Sets the positions of a planned batch, counted from the oldest unfinished one, in its segments and indices. */
export function setPositions(plan: LookAheadPlan, step: number, batch: Batch): void {
  const { words, shape: { bags }, sections: { indices, segments, segmentBags }, lookups, distinct } = batch;
  // With bags, lookups are found by their row; without, the index of a lookup is the number of its bag.
  for (let i = indices, end = indices + lookups; i < end && bags; i++) words[i] = plan.positionOf(words[i]);
  const positions = plan.positionsIn(step);
  for (let s = 0, i = segments; s < distinct; s++, i += 2) {
    const position = positions[s];
    words[i] = position;
    for (let k = words[i + 1], end = words[i + 3]; k < end && !bags; k++) {
      words[indices + words[segmentBags + k]] = position;
    }
  }
}

/** Positions for rows that are only read: those that are not cached get positions after the slots. */
export class ScoredRows {
  /** Open addressing from a row to its position; 0 is empty. */
  readonly #rows: Uint32Array;
  readonly #positions: Uint32Array;

  constructor(lookupCapacity: number) {
    const places = 2 ** Math.ceil(Math.log2(2 * lookupCapacity + 1));
    this.#rows = new Uint32Array(places);
    this.#positions = new Uint32Array(places);
  }

  /**
   * Replaces `count` rows, `words[begin]` and those after it, by their positions. `next` returns a list for rows, `read`
   * is called with their number and the first of their consecutive positions when it is full or complete. Without a list
   * nothing is read.
   */
  locate(
    words: Uint32Array,
    begin: number,
    count: number,
    plan: LookAheadPlan,
    next: () => Uint32Array | undefined,
    read: (count: number, first: number) => void,
  ): void {
    this.#positions.fill(0);
    let position = plan.positions;
    for (let i = begin, end = begin + count; i < end;) {
      const list = next();
      const first = position;
      for (; i < end && (list === undefined || position - first < list.length); i++) {
        const row = words[i];
        const cached = plan.positionOf(row);
        words[i] = cached >= 0 ? cached : this.#position(row, position);
        if (words[i] !== position) continue;
        if (list !== undefined) list[position - first] = row;
        position++;
      }
      if (list !== undefined && position > first) read(position - first, first);
    }
  }

  /** The position of a row after the slots, which is `free` if it has none yet. */
  #position(row: number, free: number): number {
    const mask = this.#rows.length - 1;
    let at = Math.imul(row, 0x9e3779b1) >>> 5 & mask;
    for (; this.#positions[at] !== 0; at = (at + 1) & mask) {
      if (this.#rows[at] === row) return this.#positions[at];
    }
    this.#rows[at] = row;
    return this.#positions[at] = free;
  }
}
