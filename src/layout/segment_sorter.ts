/** Groups the lookups of a batch by row. */
import { Header } from "../backend/backend.ts";
import { type Batch, type BatchShape, SEGMENTS_END } from "./batch.ts";

const MOST_DIGIT_BITS = 11;

/**
 * Writes the segment lists of batches of one shape: a stable radix sort of the lookups by row, so that rows ascend and
 * the bags of a row keep their order. Allocates only when made.
 */
export class SegmentSorter {
  readonly #passes: number;
  readonly #digitBits: number;
  readonly #starts: Uint32Array;
  readonly #rows: [Uint32Array, Uint32Array];
  readonly #positions: [Uint32Array, Uint32Array];
  /** Bag of each lookup; without bags that is its position. */
  readonly #bags: Uint32Array | undefined;

  /** `rowLimit`: all rows of the batches are below it. */
  constructor({ lookupCapacity, bags }: BatchShape, rowLimit: number) {
    const rowBits = 32 - Math.clz32(Math.max(1, rowLimit - 1));
    this.#passes = Math.ceil(rowBits / MOST_DIGIT_BITS);
    this.#digitBits = Math.ceil(rowBits / this.#passes);
    this.#starts = new Uint32Array(1 << this.#digitBits);
    this.#rows = [new Uint32Array(lookupCapacity), new Uint32Array(lookupCapacity)];
    this.#positions = [new Uint32Array(lookupCapacity), new Uint32Array(lookupCapacity)];
    this.#bags = bags ? new Uint32Array(lookupCapacity) : undefined;
  }

  /**
   * Writes segment bags, segments and `distinct` of a batch whose lookups are complete. Returns the positions of the
   * lookups in the order of the segments, good until the next call.
   */
  write(batch: Batch): Uint32Array {
    const { words, sections, lookups } = batch;
    let rows = words.subarray(sections.indices, sections.indices + lookups);
    let positions = this.#positions[1];
    for (let k = 0; k < lookups; k++) positions[k] = k;
    for (let pass = 0; pass < this.#passes; pass++) {
      const nextRows = this.#rows[pass & 1];
      const nextPositions = this.#positions[pass & 1];
      sortByDigit(rows, positions, pass * this.#digitBits, this.#starts, nextRows, nextPositions, lookups);
      rows = nextRows;
      positions = nextPositions;
    }
    const bags = this.#bags;
    if (bags !== undefined) fillBags(batch, bags);
    for (let k = 0; k < lookups; k++) {
      words[sections.segmentBags + k] = bags === undefined ? positions[k] : bags[positions[k]];
    }
    let at = sections.segments;
    for (let k = 0; k < lookups; k++) {
      if (k > 0 && rows[k] === rows[k - 1]) continue;
      words[at++] = rows[k];
      words[at++] = k;
    }
    words[Header.distinct] = (at - sections.segments) / 2;
    words[at++] = SEGMENTS_END;
    words[at] = lookups;
    return positions;
  }
}

function fillBags({ shape, words, sections, samples }: Batch, bags: Uint32Array): void {
  for (let bag = 0, k = 0; bag < samples * shape.tables; bag++) {
    for (const end = words[sections.offsets + bag + 1]; k < end; k++) bags[k] = bag;
  }
}

/** One stable counting sort by the digit at `shift`; `starts` is scratch, as long as there are digits. */
function sortByDigit(
  rows: Uint32Array,
  positions: Uint32Array,
  shift: number,
  starts: Uint32Array,
  sortedRows: Uint32Array,
  sortedPositions: Uint32Array,
  count: number,
): void {
  const mask = starts.length - 1;
  starts.fill(0);
  for (let k = 0; k < count; k++) starts[rows[k] >>> shift & mask]++;
  for (let digit = 0, sum = 0; digit <= mask; digit++) {
    const size = starts[digit];
    starts[digit] = sum;
    sum += size;
  }
  for (let k = 0; k < count; k++) {
    const at = starts[rows[k] >>> shift & mask]++;
    sortedRows[at] = rows[k];
    sortedPositions[at] = positions[k];
  }
}
