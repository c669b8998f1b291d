/**
 * The record of a batch on disk. It omits everything that can be derived from the rest, so that a layout takes less than
 * half of the space of its batches and the disk does not limit packing. Unpacking a record takes less time than a step
 * over the batch on a GPU.
 *
 * ```
 * header     HEADER_WORDS        see src/batch_header.ts
 * dense      samples * dense     f32
 * bagLengths samples * tables    u32      only with bags: lookups of each bag
 * places     lookups             u16/u32  of each lookup, in the order of the segments: its sample (its table follows, as
 *                                         rows ascend from table to table); with bags its position in `indices`
 * labels     samples             u8       of weighted samples their label words, f32 at any byte
 * weights    lookups             f32      only with weights of lookups: in the order of `indices`, at any byte
 * segments   distinct            numbers  row minus the row after the last segment's, and lookups minus 1
 * ```
 * followed by zeros to a whole word. Places have 16 bits if that suffices for every batch of the shape. A number has 7
 * bits per byte, lowest first; the high bit of a byte is set if more bytes follow.
 */
import { Header, HEADER_WORDS } from "../backend/backend.ts";
import { type Batch, type BatchShape, SEGMENTS_END } from "./batch.ts";

/** Tables whose rows are collected at a time: as many as the second-level cache holds of a large batch. */
const COLLECTED_TABLES = 4;
/** Maximum bytes of a number. */
const MAX_NUMBER_BYTES = 5;

/** Bytes of a place in the records of a shape. */
function placeBytes({ batchSize, bags, lookupCapacity }: BatchShape): 2 | 4 {
  return (bags ? lookupCapacity : batchSize) <= 2 ** 16 ? 2 : 4;
}

/** Maximum bytes of a record of a shape. */
export function maxRecordBytes(shape: BatchShape): number {
  const { batchSize, denseFeatures, tables, bags, weightedLookups, lookupCapacity } = shape;
  const words = HEADER_WORDS + batchSize * (denseFeatures + (bags ? tables : 0) + 1) +
    (weightedLookups ? lookupCapacity : 0);
  return 4 * words + 4 * Math.ceil((placeBytes(shape) + 2 * MAX_NUMBER_BYTES) * lookupCapacity / 4);
}

/** Packs batches of one shape into records and back. Allocates no arrays after construction. */
export class BatchRecord {
  /** The record: memory for the longest. */
  readonly bytes: Uint8Array;
  readonly #shape: BatchShape;
  readonly #words: Uint32Array;
  readonly #floats: Float32Array;
  /** The same memory as places. */
  readonly #places: Uint16Array | Uint32Array;
  /** Bag of each lookup, if it is not the lookup's position. */
  readonly #bags: Uint32Array | undefined;
  /** Row of each sample in a few tables, table by table. */
  readonly #collected: Uint32Array;
  /** Position after the last number that was read. */
  #at = 0;

  /** A record in `memory` from `byteOffset` on, a multiple of 4, or in new memory. */
  constructor(shape: BatchShape, memory?: ArrayBufferLike, byteOffset = 0) {
    const length = maxRecordBytes(shape);
    const block = memory ?? new ArrayBuffer(length);
    this.#shape = shape;
    this.bytes = new Uint8Array(block, byteOffset, length);
    this.#words = new Uint32Array(block, byteOffset, length / 4);
    this.#floats = new Float32Array(block, byteOffset, length / 4);
    this.#places = placeBytes(shape) === 2
      ? new Uint16Array(block, byteOffset, length / 2)
      : new Uint32Array(block, byteOffset, length / 4);
    this.#collected = new Uint32Array(shape.bags ? 0 : COLLECTED_TABLES * shape.batchSize);
    this.#bags = shape.bags ? new Uint32Array(shape.lookupCapacity) : undefined;
  }

  /**
   * Packs a complete batch; `positions` are those of its lookups in the order of its segments. Returns the bytes of the
   * record.
   */
  pack(batch: Batch, positions: Uint32Array): number {
    const { shape, sections, words, floats, samples, lookups, distinct } = batch;
    const { bytes } = this;
    const record = this.#words;
    for (let w = 0; w < HEADER_WORDS; w++) record[w] = words[w];
    let at = HEADER_WORDS;
    for (let d = 0; d < samples * shape.denseFeatures; d++) this.#floats[at++] = floats[sections.dense + d];
    for (let b = 0; shape.bags && b < samples * shape.tables; b++) {
      record[at++] = words[sections.offsets + b + 1] - words[sections.offsets + b];
    }
    at = this.#packPlaces(batch, positions, 4 * at);
    if (shape.weighted) {
      const labels = 4 * sections.labels;
      bytes.set(batch.bytes.subarray(labels, labels + 4 * samples), at);
      at += 4 * samples;
    } else for (let i = 0; i < samples; i++) bytes[at++] = floats[sections.labels + i];
    if (shape.weightedLookups) {
      const weights = 4 * sections.lookupWeights;
      bytes.set(batch.bytes.subarray(weights, weights + 4 * lookups), at);
      at += 4 * lookups;
    }
    for (let s = 0, nextRow = 0, o = sections.segments; s < distinct; s++, o += 2) {
      at = put(bytes, at, words[o] - nextRow);
      at = put(bytes, at, words[o + 3] - words[o + 1] - 1);
      nextRow = words[o] + 1;
    }
    while (at % 4 !== 0) bytes[at++] = 0;
    return at;
  }

  /** Packs the places of the lookups from byte `at` on; returns the position after them. */
  #packPlaces({ shape: { tables, bags }, samples, lookups }: Batch, positions: Uint32Array, at: number): number {
    const places = this.#places;
    const first = at / places.BYTES_PER_ELEMENT;
    for (let k = 0; k < lookups; k++) {
      const table = bags ? 0 : Math.floor(k / samples);
      const place = bags ? positions[k] : (positions[k] - table) / tables;
      if (!Number.isInteger(place)) {
        throw new RangeError(`Cannot pack lookup ${positions[k]}: its row is no row of its table`);
      }
      places[first + k] = place;
    }
    return at + lookups * places.BYTES_PER_ELEMENT;
  }

  /**
   * Unpacks a record of `byteLength` bytes. Returns why it is not a batch of this shape, or undefined. Values are not
   * validated.
   */
  unpack(batch: Batch, byteLength: number): string | undefined {
    const { sections, words, floats } = batch;
    const { batchSize, tables, denseFeatures, bags, weighted, weightedLookups, lookupCapacity } = this.#shape;
    const record = this.#words;
    for (let w = 0; w < HEADER_WORDS; w++) words[w] = record[w];
    const samples = words[Header.samples], lookups = words[Header.lookups], distinct = words[Header.distinct];
    if (samples === 0 || samples > batchSize) return `${samples} samples in a batch of ${batchSize}`;
    if (lookups > lookupCapacity) return `${lookups} lookups, but at most ${lookupCapacity} fit`;
    if (!bags && lookups !== samples * tables) return `${lookups} lookups for ${samples} samples`;
    if (distinct > lookups) return `${distinct} distinct rows of ${lookups} lookups`;
    const denseEnd = HEADER_WORDS + samples * denseFeatures;
    floats.set(this.#floats.subarray(HEADER_WORDS, denseEnd), sections.dense);
    words.fill(0, sections.dense + samples * denseFeatures, sections.offsets);
    const bagsFault = bags ? this.#unpackBags(batch, denseEnd, samples, lookups) : undefined;
    if (bagsFault !== undefined) return bagsFault;
    const places = 4 * (denseEnd + (bags ? samples * tables : 0));
    const labels = places + lookups * this.#places.BYTES_PER_ELEMENT;
    const labelsEnd = labels + (weighted ? 4 : 1) * samples;
    if (weighted) batch.bytes.set(this.bytes.subarray(labels, labelsEnd), 4 * sections.labels);
    else for (let i = 0; i < samples; i++) floats[sections.labels + i] = this.bytes[labels + i];
    words.fill(0, sections.labels + samples, sections.dense);
    const weightsEnd = labelsEnd + (weightedLookups ? 4 * lookups : 0);
    if (weightedLookups) {
      batch.bytes.set(this.bytes.subarray(labelsEnd, weightsEnd), 4 * sections.lookupWeights);
      words.fill(0, sections.lookupWeights + lookups, sections.segmentBags);
    }
    const segmentsFault = this.#unpackSegments(batch, places, weightsEnd);
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
    words.fill(0, sections.offsets + end + 1, sections.indices);
    return total === lookups ? undefined : `bags of ${total} lookups instead of ${lookups}`;
  }

  /**
   * Unpacks the lookups of the segments, whose places begin at byte `placesAt`; `numbersAt` is the position of the
   * first number.
   * Segments are grouped by table and indices by sample: a row written straight to its index would touch another cache
   * line each time. So the rows of a few tables are collected by sample before they are written to the indices.
   */
  #unpackSegments(batch: Batch, placesAt: number, numbersAt: number): string | undefined {
    const { words, sections, shape, samples, lookups, distinct } = batch;
    const { indices, lookupWeights, segmentBags, segmentWeights, segments } = sections;
    const { bytes } = this;
    const bagOf = this.#bags;
    const places = this.#places;
    const firstPlace = placesAt / places.BYTES_PER_ELEMENT;
    // With bags every lookup is treated as a sample of a single table.
    const [placeLimit, step] = shape.bags ? [lookups, 1] : [samples, shape.tables];
    const collected = step > 1 ? this.#collected : undefined;
    const rows = collected ?? words;
    let first = collected === undefined ? indices : 0;
    rows.fill(SEGMENTS_END, first, first + Math.min(placeLimit, lookups)); // without tables there are none
    words.fill(0, indices + lookups, lookupWeights);
    let at = numbersAt, k = 0, table = 0, tableEnd = placeLimit;
    for (let s = 0, nextRow = 0, o = segments; s < distinct; s++) {
      let distance = bytes[at++];
      if (distance > 127) distance = this.#rest(distance, at), at = this.#at;
      let more = bytes[at++];
      if (more > 127) more = this.#rest(more, at), at = this.#at;
      const row = (nextRow + distance) >>> 0;
      const end = k + more + 1;
      words[o++] = row;
      words[o++] = k;
      nextRow = row + 1;
      if (end > lookups) return `segments of more than ${lookups} lookups`;
      if (k === tableEnd) {
        table++;
        tableEnd += placeLimit;
        if (table % COLLECTED_TABLES === 0) this.#writeIndices(batch, table - COLLECTED_TABLES, COLLECTED_TABLES);
        first = table % COLLECTED_TABLES * placeLimit;
        rows.fill(SEGMENTS_END, first, first + placeLimit);
      }
      if (end > tableEnd) return `segment ${s} has lookups of two tables`;
      for (; k < end; k++) {
        const place = places[firstPlace + k];
        if (place >= placeLimit) return `place ${place} of segment ${s} is not below ${placeLimit}`;
        // All lookups are in segments if none is in two.
        if (rows[first + place] !== SEGMENTS_END) return `place ${place} of segment ${s} is in another segment too`;
        rows[first + place] = row;
        const position = place * step + table;
        words[segmentBags + k] = bagOf === undefined ? position : bagOf[position];
      }
    }
    this.#at = at;
    if (k !== lookups) return `segments of ${k} lookups instead of ${lookups}`;
    if (collected !== undefined) {
      const count = table % COLLECTED_TABLES + 1;
      this.#writeIndices(batch, table + 1 - count, count);
    }
    words[segments + 2 * distinct] = SEGMENTS_END;
    words[segments + 2 * distinct + 1] = lookups;
    words.fill(0, segmentBags + lookups, segmentWeights);
    if (shape.weightedLookups) {
      for (let i = 0; i < lookups; i++) words[segmentWeights + i] = words[lookupWeights + places[firstPlace + i]];
      words.fill(0, segmentWeights + lookups, segments);
    }
    return undefined;
  }

  /** Writes the indices of `count` tables, from `table` on, whose rows were collected. */
  #writeIndices({ words, sections, shape: { tables }, samples }: Batch, table: number, count: number): void {
    const rows = this.#collected;
    for (let sample = 0, o = sections.indices + table; sample < samples; sample++, o += tables) {
      for (let t = 0, from = sample; t < count; t++, from += samples) words[o + t] = rows[from];
    }
  }

  /** The number whose first byte, before byte `at`, says that more follow; sets `#at` to the position after it. */
  #rest(first: number, at: number): number {
    let byte = first;
    let number = byte & 127;
    for (let shift = 7; byte > 127 && shift < 35; shift += 7) {
      byte = this.bytes[at++];
      number |= (byte & 127) << shift;
    }
    this.#at = at;
    return number >>> 0;
  }
}

/** Writes a number of up to 32 bits to a record; returns the position after it. */
function put(bytes: Uint8Array, at: number, number: number): number {
  while (number >>> 0 > 127) {
    bytes[at++] = number & 127 | 128;
    number >>>= 7;
  }
  bytes[at++] = number;
  return at;
}
