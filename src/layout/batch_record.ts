/**
 * A batch as it lies on disk: without what follows from the rest, so that a layout takes a third of the space of its
 * batches and the disk does not hold up the packing.
 *
 * ```
 * header     HEADER_WORDS        see backend.ts
 * dense      samples * dense     f32
 * bagLengths samples * tables    u32      only with bags: lookups of each bag
 * labels     samples             u8
 * segments   distinct            numbers  row minus the row after the last segment's, lookups minus 1, then for each lookup
 *                                         its position in `indices`, of all but the first the distance from the last
 * ```
 * and zeros to a whole word. A number has 7 bits a byte, low ones first, and the high bit where more follow. Without bags
 * all lookups of a row are in one table, and so their distances are in samples, less 1.
 */
import { Header, HEADER_WORDS } from "../backend/backend.ts";
import { type Batch, type BatchShape, SEGMENTS_END } from "./batch.ts";

/** Bytes of the largest number. */
const MOST_NUMBER_BYTES = 5;

/** Bytes of the longest record of a shape. */
export function mostRecordBytes({ batchSize, denseFeatures, tables, bags, lookupCapacity }: BatchShape): number {
  const words = HEADER_WORDS + batchSize * (denseFeatures + (bags ? tables : 0) + 1);
  return 4 * words + 4 * Math.ceil(3 * MOST_NUMBER_BYTES * lookupCapacity / 4);
}

/** Packs batches of one shape into records and back. Allocates no arrays after it is made. */
export class BatchRecord {
  /** The record: room for the longest. */
  readonly bytes: Uint8Array;
  readonly #shape: BatchShape;
  readonly #words: Uint32Array;
  readonly #floats: Float32Array;
  /** What distances of lookups are divided by, and the least of them. */
  readonly #step: number;
  readonly #least: number;
  /** Bag of each lookup, where that is not its position. */
  readonly #bags: Uint32Array | undefined;
  /** Where the next number is. */
  #at = 0;

  /** A record in `memory` from `byteOffset` on, a multiple of 4, or in new memory. */
  constructor(shape: BatchShape, memory?: ArrayBufferLike, byteOffset = 0) {
    const length = mostRecordBytes(shape);
    const block = memory ?? new ArrayBuffer(length);
    this.#shape = shape;
    this.bytes = new Uint8Array(block, byteOffset, length);
    this.#words = new Uint32Array(block, byteOffset, length / 4);
    this.#floats = new Float32Array(block, byteOffset, length / 4);
    this.#step = shape.bags ? 1 : shape.tables;
    this.#least = shape.bags ? 0 : 1;
    this.#bags = shape.bags ? new Uint32Array(shape.lookupCapacity) : undefined;
  }

  /**
   * Packs a complete batch; `positions` are those of its lookups in the order of its segments. Returns the bytes of the
   * record.
   */
  pack(batch: Batch, positions: Uint32Array): number {
    const { shape, sections, words, floats, samples, distinct } = batch;
    const record = this.#words;
    for (let w = 0; w < HEADER_WORDS; w++) record[w] = words[w];
    let at = HEADER_WORDS;
    for (let d = 0; d < samples * shape.denseFeatures; d++) this.#floats[at++] = floats[sections.dense + d];
    for (let b = 0; shape.bags && b < samples * shape.tables; b++) {
      record[at++] = words[sections.offsets + b + 1] - words[sections.offsets + b];
    }
    const { bytes } = this;
    at *= 4;
    for (let i = 0; i < samples; i++) bytes[at++] = floats[sections.labels + i];
    const step = this.#step;
    const least = this.#least;
    for (let s = 0, k = 0, nextRow = 0, o = sections.segments; s < distinct; s++, o += 2) {
      const end = words[o + 3];
      at = put(bytes, at, words[o] - nextRow);
      at = put(bytes, at, end - k - 1);
      nextRow = words[o] + 1;
      if (k >= end) continue;
      let position = positions[k++];
      at = put(bytes, at, position);
      for (; k < end; k++) {
        at = put(bytes, at, ((positions[k] - position) / step | 0) - least);
        position = positions[k];
      }
    }
    while (at % 4 !== 0) bytes[at++] = 0;
    return at;
  }

  /**
   * Unpacks a record of `byteLength` bytes. Returns what keeps it from being a batch of this shape, or undefined. Values
   * are not checked; where lookups are missing, indices are SEGMENTS_END.
   */
  unpack(batch: Batch, byteLength: number): string | undefined {
    const { sections, words, floats } = batch;
    const { batchSize, tables, denseFeatures, bags, lookupCapacity } = this.#shape;
    const record = this.#words;
    for (let w = 0; w < HEADER_WORDS; w++) words[w] = record[w];
    const samples = words[Header.samples], lookups = words[Header.lookups], distinct = words[Header.distinct];
    if (samples === 0 || samples > batchSize) return `${samples} samples in a batch of ${batchSize}`;
    if (lookups > lookupCapacity) return `${lookups} lookups where ${lookupCapacity} is the most`;
    if (!bags && lookups !== samples * tables) return `${lookups} lookups for ${samples} samples`;
    if (distinct > lookups) return `${distinct} distinct rows of ${lookups} lookups`;
    const denseEnd = HEADER_WORDS + samples * denseFeatures;
    floats.set(this.#floats.subarray(HEADER_WORDS, denseEnd), sections.dense);
    words.fill(0, sections.dense + samples * denseFeatures, sections.indices);
    const bagsFault = bags ? this.#unpackBags(batch, denseEnd, samples, lookups) : undefined;
    if (bagsFault !== undefined) return bagsFault;
    this.#at = 4 * (denseEnd + (bags ? samples * tables : 0));
    for (let i = 0; i < samples; i++) floats[sections.labels + i] = this.bytes[this.#at++];
    words.fill(0, sections.labels + samples, sections.dense);
    const segmentsFault = this.#unpackSegments(batch, lookups, distinct);
    if (segmentsFault !== undefined) return segmentsFault;
    const end = 4 * Math.ceil(this.#at / 4);
    return end === byteLength ? undefined : `a record of ${byteLength} bytes that ends after ${end}`;
  }

  #unpackBags({ words, sections }: Batch, at: number, samples: number, lookups: number): string | undefined {
    const bagOf = this.#bags!;
    const end = samples * this.#shape.tables;
    words[sections.offsets] = 0;
    let total = 0;
    for (let bag = 0; bag < end; bag++) {
      const next = total + this.#words[at + bag];
      if (next > lookups) return `bags of more than ${lookups} lookups`;
      bagOf.fill(bag, total, next);
      words[sections.offsets + bag + 1] = total = next;
    }
    words.fill(0, sections.offsets + end + 1, sections.segmentBags);
    return total === lookups ? undefined : `bags of ${total} lookups instead of ${lookups}`;
  }

  #unpackSegments({ words, sections }: Batch, lookups: number, distinct: number): string | undefined {
    const bagOf = this.#bags;
    words.fill(SEGMENTS_END, sections.indices, sections.indices + lookups);
    words.fill(0, sections.indices + lookups, sections.offsets);
    let k = 0;
    for (let s = 0, nextRow = 0, o = sections.segments; s < distinct; s++) {
      const row = (nextRow + this.#take()) >>> 0;
      const end = k + this.#take() + 1;
      words[o++] = row;
      words[o++] = k;
      nextRow = row + 1;
      if (end > lookups) return `segments of more than ${lookups} lookups`;
      for (let position = this.#take(); k < end; k++) {
        if (position >= lookups) return `lookup ${position} of segment ${s} is not below ${lookups}`;
        words[sections.indices + position] = row;
        words[sections.segmentBags + k] = bagOf === undefined ? position : bagOf[position];
        if (k + 1 < end) position += this.#step * (this.#take() + this.#least);
      }
    }
    if (k !== lookups) return `segments of ${k} lookups instead of ${lookups}`;
    words[sections.segments + 2 * distinct] = SEGMENTS_END;
    words[sections.segments + 2 * distinct + 1] = lookups;
    words.fill(0, sections.segmentBags + lookups, sections.segments);
    return undefined;
  }

  /** The next number. */
  #take(): number {
    let byte = this.bytes[this.#at++];
    let number = byte & 127;
    for (let shift = 7; byte > 127 && shift < 35; shift += 7) {
      byte = this.bytes[this.#at++];
      number |= (byte & 127) << shift;
    }
    return number >>> 0;
  }
}

/** Puts a number of up to 32 bits at a place of a record; returns the place after it. */
function put(bytes: Uint8Array, at: number, number: number): number {
  while (number >>> 0 > 127) {
    bytes[at++] = number & 127 | 128;
    number >>>= 7;
  }
  bytes[at++] = number;
  return at;
}
