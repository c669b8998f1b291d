/** Groups the lookups of a batch by row. */
import { Header } from "../backend/backend.ts";
import { atOnce, type Parts } from "../breaks.ts";
import { type Batch, type BatchShape, SEGMENTS_END } from "./batch.ts";

const MAX_DIGIT_BITS = 11;

/**
 * Writes the lists of segments of batches of one shape: stable radix sorts of the lookups by row, so that rows ascend
 * and the bags of a row keep their order. Without bags each table is sorted separately: its lookups stay in the nearest
 * cache, and a small table needs one pass. Allocates only in the constructor.
 */
export class SegmentSorter {
  readonly #starts = new Uint32Array(1 << MAX_DIGIT_BITS);
  readonly #rows: [Uint32Array, Uint32Array];
  readonly #positions: [Uint32Array, Uint32Array];
  /** Position of each lookup in the order of the segments; without bags those are the segment bags. */
  readonly #order: Uint32Array | undefined;
  /** Bag of each lookup; without bags that is its position. */
  readonly #bags: Uint32Array | undefined;
  /** The rows to sort next: their number and their range [#least, #most]. */
  #count = 0;
  #least = 0;
  #most = 0;

  constructor({ lookupCapacity, bags }: BatchShape) {
    this.#rows = [new Uint32Array(lookupCapacity), new Uint32Array(lookupCapacity)];
    this.#positions = [new Uint32Array(lookupCapacity), new Uint32Array(lookupCapacity)];
    this.#order = bags ? new Uint32Array(lookupCapacity) : undefined;
    this.#bags = bags ? new Uint32Array(lookupCapacity) : undefined;
  }

  /**
   * Writes segment bags and weights, segments and `distinct` of a batch whose lookups are complete. Returns the positions
   * of the lookups in the order of the segments, valid until the next call or a change of the batch.
   */
  write(batch: Batch): Uint32Array {
    return atOnce(this.writeInParts(batch));
  }

  /** The same in parts. */
  *writeInParts(batch: Batch): Parts<Uint32Array> {
    const { words, sections, shape, lookups } = batch;
    const order = this.#order ?? words.subarray(sections.segmentBags, sections.segmentBags + lookups);
    // Rows of a table are smaller than those of the next one. Any other batch is sorted as if it had one table.
    const distinct = shape.bags ? undefined : yield* this.#sortColumns(batch, shape.tables, order);
    words[Header.distinct] = distinct ?? (yield* this.#sortColumns(batch, 1, order))!;
    const end = sections.segments + 2 * words[Header.distinct];
    words[end] = SEGMENTS_END;
    words[end + 1] = lookups;
    if (this.#bags !== undefined) {
      fillBags(batch, this.#bags);
      for (let k = 0; k < lookups; k++) words[sections.segmentBags + k] = this.#bags[order[k]];
    }
    if (shape.weightedLookups) {
      for (let k = 0; k < lookups; k++) words[sections.segmentWeights + k] = words[sections.lookupWeights + order[k]];
    }
    return order;
  }

  /**
   * Sorts every `columns`-th lookup, for each first lookup in turn. Returns the number of distinct rows, or undefined
   * if not all rows of a column are smaller than all of the next.
   */
  *#sortColumns(batch: Batch, columns: number, order: Uint32Array): Parts<number | undefined> {
    const { words, sections, lookups } = batch;
    let at = sections.segments;
    for (let column = 0, k = 0, last = -1; k < lookups; column++) {
      this.#collect(words.subarray(sections.indices, sections.indices + lookups), column, columns);
      if (this.#least <= last) return undefined;
      last = this.#most;
      const sorted = yield* this.#sort();
      const rows = this.#rows[sorted];
      const positions = this.#positions[sorted];
      for (let i = 0, count = this.#count; i < count; i++, k++) {
        order[k] = positions[i];
        if (i > 0 && rows[i] === rows[i - 1]) continue;
        words[at++] = rows[i];
        words[at++] = k;
      }
    }
    return (at - sections.segments) / 2;
  }

  /** Copies every `columns`-th of the lookups from `column` on. */
  #collect(indices: Uint32Array, column: number, columns: number): void {
    const [rows] = this.#rows;
    const [positions] = this.#positions;
    let count = 0, least = SEGMENTS_END, most = 0;
    for (let position = column; position < indices.length; position += columns) {
      const row = indices[position];
      rows[count] = row;
      positions[count++] = position;
      if (row < least) least = row;
      if (row > most) most = row;
    }
    this.#count = count;
    this.#least = least;
    this.#most = most;
  }

  /** Sorts the copied lookups. Returns which of the two buffers has the result. */
  *#sort(): Parts<0 | 1> {
    const rowBits = 32 - Math.clz32(this.#most - this.#least);
    const passes = Math.ceil(rowBits / MAX_DIGIT_BITS);
    const digitBits = Math.ceil(rowBits / passes);
    for (let pass = 0; pass < passes; pass++) {
      this.#sortByDigit(pass * digitBits, digitBits, pass % 2 === 0 ? 0 : 1);
      yield;
    }
    return passes % 2 === 0 ? 0 : 1;
  }

  /** One stable counting sort by the digit at `shift`, from one buffer to the other. */
  #sortByDigit(shift: number, digitBits: number, from: 0 | 1): void {
    const rows = this.#rows[from];
    const positions = this.#positions[from];
    const sortedRows = this.#rows[1 - from];
    const sortedPositions = this.#positions[1 - from];
    const count = this.#count;
    const least = this.#least;
    const starts = this.#starts;
    const mask = (1 << digitBits) - 1;
    for (let digit = 0; digit <= mask; digit++) starts[digit] = 0;
    for (let i = 0; i < count; i++) starts[(rows[i] - least) >>> shift & mask]++;
    for (let digit = 0, sum = 0; digit <= mask; digit++) {
      const size = starts[digit];
      starts[digit] = sum;
      sum += size;
    }
    for (let i = 0; i < count; i++) {
      const at = starts[(rows[i] - least) >>> shift & mask]++;
      sortedRows[at] = rows[i];
      sortedPositions[at] = positions[i];
    }
  }
}

function fillBags({ shape, words, sections, samples }: Batch, bags: Uint32Array): void {
  for (let bag = 0, k = 0; bag < samples * shape.tables; bag++) {
    for (const end = words[sections.offsets + bag + 1]; k < end; k++) bags[k] = bag;
  }
}
