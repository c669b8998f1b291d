/**
 * One mini-batch: a single block of 4-byte words, the same in host memory and on a device (on disk: batch_record.ts).
 *
 * ```
 * header         HEADER_WORDS                     see src/batch_header.ts
 * labels         batchSize               f32      0 or 1; of weighted samples the weight, negative if the label is 0
 * dense          batchSize * dense       f32      (sample, feature)
 * offsets        batchSize * tables + 1  u32      only with bags: first lookup of each bag, then the end
 * indices        lookupCapacity          u32      row of each lookup, by (sample, table)
 * lookupWeights  lookupCapacity          f32      only with weights of lookups: of each lookup, parallel to indices
 * segmentBags    lookupCapacity          u32      bag (sample * tables + table) of each lookup, grouped by row
 * segmentWeights lookupCapacity          f32      only with weights of lookups: the same weights, parallel to segmentBags
 * segments       2 * (distinct + 1)      u32      (row, first position in segmentBags), rows ascending; the last pair
 *                                                 is (0xffffffff, lookups)
 * ```
 * Every section but the last begins at a fixed word, so a device can record its operations once. The layers read no
 * section from the indices on. Unused words of a section are zero. Bags of a segment ascend. In a hot batch rows are
 * hot-row ids, else global rows of the full tables.
 */
import { Header, HEADER_WORDS } from "../backend/backend.ts";

/** The sizes that determine the sections of a batch. */
export interface BatchShape {
  /** Samples of a full batch. */
  readonly batchSize: number;
  /** Number of dense values of a sample: of each step, its dense features. */
  readonly denseFeatures: number;
  /** Number of bags of a sample: of each step, the embedding tables. */
  readonly tables: number;
  /** True if a sample can have any number of lookups in a table, not just one. */
  readonly bags: boolean;
  /** True if samples have weights. */
  readonly weighted?: boolean | undefined;
  /** True if lookups have weights; only with bags. */
  readonly weightedLookups?: boolean | undefined;
  /** Maximum number of lookups of a batch; `batchSize * tables` without bags. */
  readonly lookupCapacity: number;
}

/** The shape of batches whose samples have `lookups` lookups on average, before a layout knows the largest batch. */
export function averageBatch(
  { lookups, ...shape }: Omit<BatchShape, "lookupCapacity"> & { readonly lookups: number },
): BatchShape {
  return { ...shape, lookupCapacity: Math.ceil(shape.batchSize * lookups) };
}

/** Positions of the sections of a batch, in words. */
export interface BatchSections {
  /** Labels, f32 (batchSize): 0 or 1; of weighted samples the weight, negative if the label is 0. */
  readonly labels: number;
  /** Dense features, f32 (batchSize, dense features). */
  readonly dense: number;
  /** First lookup of each bag, then their number, u32 (batchSize * tables + 1); empty without bags. */
  readonly offsets: number;
  /** Row of each lookup, by sample and table, u32 (lookupCapacity): a hot-row id in a hot batch, else a global row. */
  readonly indices: number;
  /** Weight of each lookup, parallel to the indices, f32 (lookupCapacity); empty without weights of lookups. */
  readonly lookupWeights: number;
  /** Bag (sample * tables + table) of each lookup, grouped by row, u32 (lookupCapacity). */
  readonly segmentBags: number;
  /** The weights, parallel to `segmentBags`, f32 (lookupCapacity); empty without weights of lookups. */
  readonly segmentWeights: number;
  /** Distinct rows, ascending: pairs of row and first position in `segmentBags`, u32 (distinct + 1, 2). */
  readonly segments: number;
  /** Words of a batch in which every lookup is a distinct row: the maximum. */
  readonly capacity: number;
}

/** The row of the pair that ends the list of segments. */
export const SEGMENTS_END = 0xffffffff;

/** Computes the positions of the sections of a batch of this shape. */
export function batchSections(shape: BatchShape): BatchSections {
  const labels = HEADER_WORDS;
  const dense = labels + shape.batchSize;
  const offsets = dense + shape.batchSize * shape.denseFeatures;
  const indices = offsets + (shape.bags ? shape.batchSize * shape.tables + 1 : 0);
  const weightWords = shape.weightedLookups ? shape.lookupCapacity : 0;
  const lookupWeights = indices + shape.lookupCapacity;
  const segmentBags = lookupWeights + weightWords;
  const segmentWeights = segmentBags + shape.lookupCapacity;
  const segments = segmentWeights + weightWords;
  return {
    labels,
    dense,
    offsets,
    indices,
    lookupWeights,
    segmentBags,
    segmentWeights,
    segments,
    capacity: segments + 2 * (shape.lookupCapacity + 1),
  };
}

/** Maximum bytes of a batch; a larger shape is a mistake. */
const MAX_BATCH_BYTES = 2 ** 30;

/** What is wrong with a shape, which may come from a file; undefined if it is valid. */
export function findShapeFault(shape: BatchShape): string | undefined {
  const { batchSize, tables, bags, weightedLookups, lookupCapacity } = shape;
  if (!bags && lookupCapacity !== batchSize * tables) {
    return `room for ${lookupCapacity} lookups, but ${batchSize} samples have ${batchSize * tables}`;
  }
  if (!bags && weightedLookups) return "weights of lookups without bags";
  const bytes = 4 * batchSections(shape).capacity;
  return bytes > MAX_BATCH_BYTES
    ? `batches of ${bytes} bytes, more than the maximum of ${MAX_BATCH_BYTES}; choose a smaller --batch-size`
    : undefined;
}

/** A batch in host memory: typed views over one block. */
export class Batch {
  /** Its sizes. */
  readonly shape: BatchShape;
  /** Positions of its sections. */
  readonly sections: BatchSections;
  /** The whole block as bytes; all views share memory. */
  readonly bytes: Uint8Array<ArrayBufferLike>;
  /** The bytes before its indices. */
  readonly block: Uint8Array<ArrayBufferLike>;
  /** The block as words. */
  readonly words: Uint32Array;
  /** The block as floats. */
  readonly floats: Float32Array;

  /** Views `sections.capacity` words of `memory` from `byteOffset`, or new memory. */
  constructor(shape: BatchShape, memory?: ArrayBufferLike, byteOffset = 0) {
    this.shape = shape;
    this.sections = batchSections(shape);
    const block = memory ?? new ArrayBuffer(4 * this.sections.capacity);
    this.bytes = new Uint8Array(block, byteOffset, 4 * this.sections.capacity);
    this.block = new Uint8Array(block, byteOffset, 4 * this.sections.indices);
    this.words = new Uint32Array(block, byteOffset, this.sections.capacity);
    this.floats = new Float32Array(block, byteOffset, this.sections.capacity);
  }

  /** Number of its samples. */
  get samples(): number {
    return this.words[Header.samples];
  }
  /** Number of its lookups. */
  get lookups(): number {
    return this.words[Header.lookups];
  }
  /** Number of its distinct rows. */
  get distinct(): number {
    return this.words[Header.distinct];
  }
  /** True if its rows are hot-row ids. */
  get hot(): boolean {
    return this.words[Header.hot] === 1;
  }
  /** Labels of its samples, (samples): 0 or 1; of weighted samples the weight, negative if the label is 0. */
  get labels(): Float32Array {
    return this.floats.subarray(this.sections.labels, this.sections.labels + this.samples);
  }
  /** Dense features of its samples, (samples, dense features). */
  get dense(): Float32Array {
    const { sections: { dense }, shape: { denseFeatures } } = this;
    return this.floats.subarray(dense, dense + this.samples * denseFeatures);
  }
  /** Row of each lookup, by sample and table, (lookups): a hot-row id in a hot batch, else a global row. */
  get indices(): Uint32Array {
    return this.words.subarray(this.sections.indices, this.sections.indices + this.lookups);
  }
  /** Weight of each lookup, parallel to the indices, (lookups); undefined if all are 1. */
  get lookupWeights(): Float32Array | undefined {
    const { sections: { lookupWeights }, shape: { weightedLookups } } = this;
    return weightedLookups ? this.floats.subarray(lookupWeights, lookupWeights + this.lookups) : undefined;
  }
  /** First lookup of each bag, then their number, (samples * tables + 1); undefined if each bag has one lookup. */
  get offsets(): Uint32Array | undefined {
    const { sections: { offsets }, shape: { bags, tables } } = this;
    return bags ? this.words.subarray(offsets, offsets + this.samples * tables + 1) : undefined;
  }
  /** Words in use, up to the end of the list of segments. */
  get usedWords(): number {
    return this.sections.segments + 2 * (this.distinct + 1);
  }
  /** Distinct row s of the batch. */
  row(s: number): number {
    return this.words[this.sections.segments + 2 * s];
  }
  /** The number of the step over this batch. */
  set step(step: number) {
    this.words[Header.step] = step;
  }
}
