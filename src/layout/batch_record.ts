/**
 * The record of a batch on disk. It begins as the batch itself, so that this part is read straight into the batch. It
 * omits what can be derived from the rest: a layout takes half of the space of its batches.
 *
 * ```
 * block      sections.indices    the words of the batch before its indices: header, labels, dense features, offsets
 * weights    lookups  f32        only with weights of lookups: in the order of the indices
 * rows       distinct u32        row of each segment, ascending
 * places     lookups  u16/u32    of each lookup, in the order of the segments: its sample (its table follows, as rows
 *                                ascend from table to table); with bags its position in the indices
 * lengths    distinct u16/u32    lookups of each segment minus 1
 * ```
 * followed by zeros to a whole word. Places and lengths have 16 bits if that suffices for every batch of the shape. No
 * number has a variable length: a processor cannot predict where such numbers end. batch_unpacker.ts reads records.
 */
import type { Parts } from "../breaks.ts";
import { type Batch, batchSections, type BatchShape } from "./batch.ts";

/** Lookups that are packed between breaks. */
const LOOKUPS_AT_ONCE = 2 ** 17;

/** True if places and lengths have 32 bits in the records of a shape. */
export function hasWidePlaces({ batchSize, bags, lookupCapacity }: BatchShape): boolean {
  return (bags ? lookupCapacity : batchSize) > 2 ** 16;
}

/** Where the parts of a record after its block begin, and where it ends, in bytes after the block. */
export class RecordParts {
  rows = 0;
  places = 0;
  lengths = 0;
  end = 0;
  readonly #weightBytes: 0 | 4;
  readonly #placeBytes: 2 | 4;

  /** The parts of an empty record of this shape. */
  constructor(shape: BatchShape) {
    this.#weightBytes = shape.weightedLookups ? 4 : 0;
    this.#placeBytes = hasWidePlaces(shape) ? 4 : 2;
  }

  /** Sets them to those of a record of this many lookups and distinct rows. */
  set(lookups: number, distinct: number): void {
    this.rows = this.#weightBytes * lookups;
    this.places = this.rows + 4 * distinct;
    this.lengths = this.places + this.#placeBytes * lookups;
    this.end = 4 * Math.ceil((this.lengths + this.#placeBytes * distinct) / 4);
  }
}

/** Maximum bytes of a record of a shape after its block. */
export function maxPackedBytes(shape: BatchShape): number {
  const parts = new RecordParts(shape);
  parts.set(shape.lookupCapacity, shape.lookupCapacity);
  return parts.end;
}

/** Maximum bytes of a record of a shape. */
export function maxRecordBytes(shape: BatchShape): number {
  return 4 * batchSections(shape).indices + maxPackedBytes(shape);
}

/** Packs batches of one shape into records. Allocates no arrays after construction. */
export class BatchRecord {
  /** The record: memory for the longest. */
  readonly bytes: Uint8Array;
  readonly #words: Uint32Array;
  readonly #numbers: Uint16Array | Uint32Array;
  readonly #parts: RecordParts;

  /** A record in `memory` from `byteOffset` on, a multiple of 4, or in new memory. */
  constructor(shape: BatchShape, memory?: ArrayBufferLike, byteOffset = 0) {
    const length = maxRecordBytes(shape);
    const block = memory ?? new ArrayBuffer(length);
    this.bytes = new Uint8Array(block, byteOffset, length);
    this.#words = new Uint32Array(block, byteOffset, length / 4);
    this.#numbers = hasWidePlaces(shape) ? this.#words : new Uint16Array(block, byteOffset, length / 2);
    this.#parts = new RecordParts(shape);
  }

  /**
   * Packs a complete batch, in parts; `positions` are those of its lookups in the order of its segments. Returns the bytes of the
   * record.
   */
  *pack({ shape, sections, words, samples, lookups, distinct }: Batch, positions: Uint32Array): Parts<number> {
    const parts = this.#parts;
    parts.set(lookups, distinct);
    const block = 4 * sections.indices;
    const record = this.#words;
    for (let w = 0; w < sections.indices; w++) record[w] = words[w];
    const weights = sections.lookupWeights;
    for (let w = 0; 4 * w < parts.rows; w++) record[sections.indices + w] = words[weights + w];
    const numbers = this.#numbers;
    const [placesAt, lengthsAt] = [parts.places, parts.lengths].map((at) => (block + at) / numbers.BYTES_PER_ELEMENT);
    const { bags, tables } = shape;
    for (let k = 0; k < lookups; k++) {
      if (k % LOOKUPS_AT_ONCE === 0) yield;
      const table = bags ? 0 : Math.floor(k / samples);
      const place = bags ? positions[k] : (positions[k] - table) / tables;
      if (!Number.isInteger(place)) {
        throw new RangeError(`Cannot pack lookup ${positions[k]}: its row is no row of its table`);
      }
      numbers[placesAt + k] = place;
    }
    yield;
    for (let s = 0, o = sections.segments, row = (block + parts.rows) / 4; s < distinct; s++, o += 2) {
      record[row + s] = words[o];
      numbers[lengthsAt + s] = words[o + 3] - words[o + 1] - 1;
    }
    const end = block + parts.end;
    this.bytes.fill(0, (lengthsAt + distinct) * numbers.BYTES_PER_ELEMENT, end);
    return end;
  }
}
