/**
 * Unpacks records into batches (batch_record.ts has the format), in steps whose memory fits into the second-level cache:
 * rows are written to places in random order, table by table, and only then to the indices, which have them by sample.
 */
import { Header } from "../backend/backend.ts";
import { type Batch, type BatchShape, SEGMENTS_END } from "./batch.ts";
import { hasWidePlaces, maxPackedBytes, RecordParts } from "./batch_record.ts";
import { EXPANDED_SLACK_BYTES, instantiateUnpackKernels } from "./wasm/kernels.ts";

/** Lookups that are unpacked at a time, unless a table has more. */
const LOOKUPS_AT_ONCE = 2 ** 16;
/** Up to this number, copying words one by one takes less time than making a view of them. */
const SHORT_WORDS = 128;
const LINE_BYTES = 64;

/** The numbers of a record's segments and places, of whatever width. */
type Numbers = Uint16Array | Uint32Array;

/** Unpacks records of one shape, in parts of a few milliseconds. Allocates no arrays after construction. */
export class BatchUnpacker {
  /** Memory for the longest record after its block, which is read into the batch. */
  readonly packed: Uint8Array;
  readonly #shape: BatchShape;
  readonly #parts: RecordParts;
  readonly #kernels: ReturnType<typeof instantiateUnpackKernels>["kernels"];
  readonly #words: Uint32Array;
  readonly #numbers: Numbers;
  /** Addresses: of the row of each lookup, then its bag; pairs of segments; rows by table, and the distance of tables. */
  readonly #expanded: number;
  readonly #bagsAt: number;
  readonly #segments: number;
  readonly #collected: number;
  readonly #stride: number;
  /** Lookups for which these have memory. */
  readonly #atOnce: number;
  /** Bag of each lookup, if it is not the lookup's position. */
  readonly #bagOf: Uint32Array | undefined;
  /** The record at hand: its batch, what is wrong with it, and what is done of it. */
  #batch: Batch | undefined;
  #rowLimit = 0;
  #fault: string | undefined;
  #table = 0;
  #segment = 0;
  #nextRow = 0;
  #sample = 0;

  /** Memory of its own for a record and a part of a batch. */
  constructor(shape: BatchShape) {
    const { bags, batchSize, tables, lookupCapacity } = shape;
    this.#shape = shape;
    this.#parts = new RecordParts(shape);
    const longest = bags ? lookupCapacity : batchSize; // lookups of one table
    this.#atOnce = Math.min(lookupCapacity, Math.max(longest, 4 * tables, LOOKUPS_AT_ONCE));
    // Tables a power of two apart would compete for the same lines of the cache.
    this.#stride = lines(4 * longest) + LINE_BYTES;
    let end = maxPackedBytes(shape);
    const take = (bytes: number) => {
      const at = lines(end);
      end = at + bytes;
      return at;
    };
    this.#expanded = take(4 * this.#atOnce + EXPANDED_SLACK_BYTES);
    this.#bagsAt = take(4 * this.#atOnce);
    this.#segments = take(8 * this.#atOnce);
    this.#collected = take(this.#stride * (bags ? 1 : tables));
    const { kernels, memory } = instantiateUnpackKernels(end);
    this.#kernels = kernels;
    this.packed = new Uint8Array(memory, 0, maxPackedBytes(shape));
    this.#words = new Uint32Array(memory);
    this.#numbers = hasWidePlaces(shape) ? this.#words : new Uint16Array(memory);
    this.#bagOf = bags ? new Uint32Array(lookupCapacity) : undefined;
  }

  /**
   * Unpacks a record whose block is in `batch` and whose other `byteLength` bytes are in `packed`, with rows below
   * `rowLimit`. Returns why it is not a batch of this shape, or undefined. Labels, dense features and weights are not
   * validated. Does not change words after the batch's last.
   */
  unpack(batch: Batch, byteLength: number, rowLimit: number): string | undefined {
    this.begin(batch, byteLength, rowLimit);
    while (this.advance());
    return this.end();
  }

  /** The same in parts: `begin`, `advance` until it returns false, and `end`, which returns the result. */
  begin(batch: Batch, byteLength: number, rowLimit: number): void {
    this.#batch = batch;
    this.#rowLimit = rowLimit;
    this.#table = 0;
    this.#segment = 0;
    this.#nextRow = 0;
    this.#sample = 0;
    this.#fault = this.#unpackBlock(batch, byteLength);
  }

  /** Unpacks the next tables, or samples. Returns false if there is nothing left to do. */
  advance(): boolean {
    const batch = this.#batch!;
    const { lookups, distinct } = batch;
    // With bags every lookup is treated as a sample of a single table.
    const [samples, tables] = this.#shape.bags ? [lookups, 1] : [batch.samples, this.#shape.tables];
    if (this.#fault !== undefined || this.#sample === samples || lookups === 0) return false;
    const valid = this.#table < tables
      ? this.#unpackTables(batch, samples, tables)
      : this.#segment === distinct && this.#writeIndices(batch, samples, tables);
    if (!valid) this.#fault = this.#segmentsFault(batch, this.#rowLimit);
    return valid;
  }

  /** Completes the batch. */
  end(): string | undefined {
    const { sections, words, lookups, distinct } = this.#batch!;
    if (this.#fault !== undefined) return this.#fault;
    words.fill(0, sections.segmentBags + lookups, sections.segmentWeights);
    if (this.#shape.weightedLookups) words.fill(0, sections.segmentWeights + lookups, sections.segments);
    words[sections.segments + 2 * distinct] = SEGMENTS_END;
    words[sections.segments + 2 * distinct + 1] = lookups;
    return undefined;
  }

  /** Completes what is not in the order of the segments. */
  #unpackBlock(batch: Batch, byteLength: number): string | undefined {
    const { sections, words } = batch;
    const { batchSize, tables, denseFeatures, bags, weightedLookups, lookupCapacity } = this.#shape;
    const samples = words[Header.samples], lookups = words[Header.lookups], distinct = words[Header.distinct];
    if (samples === 0 || samples > batchSize) return `${samples} samples in a batch of ${batchSize}`;
    if (lookups > lookupCapacity) return `${lookups} lookups, but at most ${lookupCapacity} fit`;
    if (!bags && lookups !== samples * tables) return `${lookups} lookups for ${samples} samples`;
    if (distinct > lookups) return `${distinct} distinct rows of ${lookups} lookups`;
    this.#parts.set(lookups, distinct);
    if (this.#parts.end !== byteLength) {
      const block = batch.block.length;
      return `a record of ${block + byteLength} bytes that ends after ${block + this.#parts.end}`;
    }
    words.fill(0, sections.labels + samples, sections.dense);
    words.fill(0, sections.dense + samples * denseFeatures, sections.offsets);
    const bagsFault = bags ? this.#unpackBags(batch) : undefined;
    if (bagsFault !== undefined) return bagsFault;
    words.fill(0, sections.indices + lookups, sections.lookupWeights);
    if (weightedLookups) {
      words.set(this.#words.subarray(0, lookups), sections.lookupWeights);
      words.fill(0, sections.lookupWeights + lookups, sections.segmentBags);
    }
    return lookups === 0 && distinct > 0 ? this.#segmentsFault(batch, this.#rowLimit) : undefined;
  }

  #unpackBags({ words, sections, samples, lookups }: Batch): string | undefined {
    const bagOf = this.#bagOf!;
    const end = samples * this.#shape.tables;
    for (let bag = 0, total = 0; bag <= end; bag++) {
      const next = words[sections.offsets + bag];
      if (bag === 0 ? next !== 0 : next < total) return `offset ${next} of bag ${bag} is out of order`;
      if (next > lookups) return `bags of more than ${lookups} lookups`;
      if (bag > 0) bagOf.fill(bag - 1, total, next);
      total = next;
    }
    words.fill(0, sections.offsets + end + 1, sections.indices);
    const total = words[sections.offsets + end];
    return total === lookups ? undefined : `bags of ${total} lookups instead of ${lookups}`;
  }

  /** Writes segments and segment bags of as many tables as there is memory for. Returns false if they have a fault. */
  #unpackTables({ words, sections, distinct }: Batch, samples: number, tables: number): boolean {
    const { rows, places, lengths } = this.#parts;
    const kernels = this.#kernels;
    const numberBytes = this.#numbers.BYTES_PER_ELEMENT, wide = numberBytes === 4 ? 1 : 0;
    const table = this.#table, segment = this.#segment;
    const count = Math.min(Math.max(1, Math.floor(this.#atOnce / samples)), tables - table);
    const first = table * samples;
    const read = kernels.expandSegments(
      distinct - segment,
      rows + 4 * segment,
      lengths + numberBytes * segment,
      wide,
      samples,
      count * samples,
      first,
      this.#nextRow,
      this.#rowLimit,
      this.#segments,
      this.#expanded,
    );
    if (read === 0) return false;
    this.#copy(this.#segments, 2 * read, words, sections.segments + 2 * segment);
    this.#segment += read;
    this.#nextRow = words[sections.segments + 2 * this.#segment - 2] + 1;
    for (let t = 0; t < count; t++) {
      const at = 4 * t * samples;
      const valid = kernels.scatterRows(
        samples,
        tables,
        table + t,
        places + numberBytes * (first + t * samples),
        wide,
        this.#expanded + at,
        this.#collected + this.#stride * (table + t),
        this.#bagsAt + at,
      );
      if (valid === 0) return false;
    }
    if (this.#bagOf === undefined) this.#copy(this.#bagsAt, count * samples, words, sections.segmentBags + first);
    else this.#writeBags(this.#batch!, this.#bagOf);
    this.#table += count;
    return true;
  }

  /** Writes bag and weight of each lookup in the order of the segments, whose positions were unpacked. */
  #writeBags({ words, lookups, sections, shape }: Batch, bagOf: Uint32Array): void {
    const position = this.#words;
    const { segmentBags, segmentWeights, lookupWeights } = sections;
    for (let k = 0, from = this.#bagsAt / 4; k < lookups; k++, from++) {
      words[segmentBags + k] = bagOf[position[from]];
      if (shape.weightedLookups) words[segmentWeights + k] = words[lookupWeights + position[from]];
    }
  }

  /** Writes the rows of the next samples by sample. Returns false if a place has none. */
  #writeIndices({ words, sections }: Batch, samples: number, tables: number): boolean {
    const first = this.#sample;
    const count = Math.min(Math.max(4, 4 * Math.floor(this.#atOnce / tables / 4)), samples - first);
    const rows = this.#expanded; // is no longer in use
    if (this.#kernels.transposeRows(first, count, tables, this.#collected, this.#stride, rows) === 0) return false;
    this.#copy(rows, count * tables, words, sections.indices + first * tables);
    this.#sample += count;
    return true;
  }

  #copy(from: number, count: number, to: Uint32Array, at: number): void {
    const words = this.#words;
    const first = from / 4;
    if (count > SHORT_WORDS) to.set(words.subarray(first, first + count), at);
    else for (let i = 0; i < count; i++) to[at + i] = words[first + i];
  }

  /** Says what is wrong with segments that were not unpacked. */
  #segmentsFault({ lookups, distinct, samples }: Batch, rowLimit: number): string {
    const { rows, places, lengths } = this.#parts;
    const numbers = this.#numbers;
    const [placesAt, lengthsAt] = [places / numbers.BYTES_PER_ELEMENT, lengths / numbers.BYTES_PER_ELEMENT];
    const limit = this.#shape.bags ? lookups : samples;
    const used = new Uint8Array(limit);
    let k = 0;
    for (let s = 0, nextRow = 0; s < distinct; s++) {
      const row = this.#words[rows / 4 + s];
      if (row < nextRow || row >= rowLimit) {
        return `row ${row} of segment ${s} is out of order or not below ${rowLimit}`;
      }
      nextRow = row + 1;
      const end = k + numbers[lengthsAt + s] + 1;
      if (end > lookups) return `segments of more than ${lookups} lookups`;
      if (Math.floor(k / limit) !== Math.floor((end - 1) / limit)) return `segment ${s} has lookups of two tables`;
      for (; k < end; k++) {
        if (k % limit === 0) used.fill(0);
        const place = numbers[placesAt + k];
        if (place >= limit) return `place ${place} of segment ${s} is not below ${limit}`;
        if (used[place] === 1) return `place ${place} of segment ${s} is in another segment too`;
        used[place] = 1;
      }
    }
    return `segments of ${k} lookups instead of ${lookups}`;
  }
}

/** A number of bytes, rounded up to whole lines of the cache. */
function lines(bytes: number): number {
  return LINE_BYTES * Math.ceil(bytes / LINE_BYTES);
}
