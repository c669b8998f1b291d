/**
 * The contract of embedding tables: the training step looks rows up and updates them without knowing where they are.
 *
 * Every rank has an `EmbeddingTables` of its own, and all ranks call the same methods in the same order. Batches are read
 * into a few slots in memory, which are reused in turn, so that a device can record its operations: `bind` prepares a
 * slot once, and nothing is allocated in a step. A step is then
 *
 * ```
 * const lookups = bound.prepare(true);   rows of the batch are present; not recorded
 * lookups.pool(samples, pooled);         the same operations for every batch if lookups.recordable
 * lookups.update(samples);
 * ```
 *
 * Kernels see one matrix and positions in it. Who moves rows (from another host, from a disk into a cache) does so in
 * `prefetch` and `prepare`, and may rewrite the indices and segments of the batch to the positions of its rows.
 */
import type { Parts } from "../breaks.ts";
import type { Backend, Buffer, HostBackend, Upload } from "../backend/backend.ts";
import type { ProcessGroups } from "../parallel/process_group.ts";
import { samplesOfRank } from "../parallel/shares.ts";
import { type Batch, batchSections, type BatchShape } from "../layout/batch.ts";
import { type OptimizerName, rowStateWords } from "../optimizer/optimizers.ts";

/** The part of a model's shape that tables depend on. */
export interface EmbeddingShape {
  /** Dimension of a row. */
  readonly dim: number;
  /** Rows of each table; global rows are numbered over all tables. */
  readonly tableRows: readonly number[];
  /** Determines the optimizer state of a row. */
  readonly optimizer: OptimizerName;
  /** Largest initial value of a row, if that of its table is larger; undefined for none. */
  readonly rowInit?: number | undefined;
}

/** Rows with their optimizer state, each as a `B`. */
export interface RowBuffers<B> {
  /** (rows, dim) */
  readonly weights: B;
  /** (rows, rowStateWords); undefined if the optimizer has no state. */
  readonly state: B | undefined;
}

/** Rows in the memory of one backend. */
export interface RowMatrix extends RowBuffers<Buffer> {
  readonly backend: Backend;
  readonly rows: number;
}

/** Staging memory on the host for rows that are copied between placements. */
export type RowBlock = RowBuffers<Buffer>;

/** Memory for one batch. Batches are read into slots ahead of their step, and slots are reused in turn. */
export interface BatchSlot {
  /** The batch in host memory. */
  readonly batch: Batch;
  /** Its block in host memory, and on the device: the same buffer if the host computes. */
  readonly hostBlock: Buffer;
  readonly deviceBlock: Buffer;
  /** Copies the first to the second; undefined if `Backend.upload` does. */
  readonly upload?: Upload | undefined;
}

/** The embedding tables of one rank, wherever the rows are. */
export interface EmbeddingTables {
  /** Their rows. */
  readonly rows: TableRows;
  /** Binds a slot for batches. */
  bind(slot: BatchSlot): BoundTables;
}

/** Rows of tables, outside of steps. */
export interface TableRows {
  /** Fills the rows with their initial values, a function of the seed and the row, in parts; ranks share the work. */
  initialise(seed: number): Parts<void>;
  /** True if `write` of this row changes anything here: the row is not on another host. */
  holds(row: number): boolean;
  /** Copies at most `ROWS_AT_ONCE` rows, as of the last step, to a block, in the order of the list. */
  read(rows: Uint32Array, block: RowBlock): void;
  /** Overwrites the listed rows, which are distinct. */
  write(rows: Uint32Array, block: RowBlock): void;
}

/** Maximum number of rows of a `RowBlock`, which bounds the staging memory. */
export const ROWS_AT_ONCE = 16_384;

/** Tables bound to a slot for batches. */
export interface BoundTables {
  /**
   * Begins to fetch the rows of the batch in the slot, which is trained after those announced before. The previous step
   * may not have run yet. Never changes results.
   */
  prefetch?(): void;
  /**
   * Makes every row of the batch in the slot available, waiting for what a prefetch has begun. Returns the lookups: the
   * same object for every batch of a kind. `training` is false if the batch is only scored.
   */
  prepare(training: boolean): TableLookups;
}

/** The lookups of the batch in a slot. */
export interface TableLookups {
  /** Words from the beginning of the batch that a step needs on the device. */
  readonly deviceWords: number;
  /** True if `pool` and `update` of full batches are the same operations on the same buffers: a device may record them. */
  readonly recordable: boolean;
  /** True if ranks update rows in shared memory, so that they need a barrier after a step. */
  readonly shared: boolean;
  /** Sums the rows of each bag of this rank's first `samples` samples into `pooled` (samples, tables, dim) on the device. */
  pool(samples: number, pooled: Buffer): void;
  /**
   * Updates the rows of the batch from the gradients of the pooled rows of all ranks. Each rank has written those of
   * its samples, `samples` here, to the context's `pooledGradients`, and its writes to shared memory are visible to others.
   */
  update(samples: number): void;
}

/** The environment of a rank's tables. */
export interface TableContext {
  readonly shape: EmbeddingShape;
  readonly batchShape: BatchShape;
  readonly host: HostBackend;
  /** The device of the dense part of the model; the same object as `host` on a CPU. */
  readonly device: Backend;
  readonly groups: ProcessGroups<Buffer>;
  /** Gradients of the pooled rows of a whole batch, on the device; pooledGradientWords. */
  readonly pooledGradients: Buffer;
}

/** A rank's views of the part of a batch block that lookups and updates read. */
export interface LookupViews {
  readonly header: Buffer;
  /** Those of this rank's samples; with bags, all, because offsets count from the first lookup of the batch. */
  readonly indices: Buffer;
  readonly offsets: Buffer | undefined;
  /** Weights of the indices; undefined if all are 1. */
  readonly lookupWeights: Buffer | undefined;
  readonly segmentBags: Buffer;
  /** The weights in the order of segmentBags. */
  readonly segmentWeights: Buffer | undefined;
  readonly segments: Buffer;
}

/** Views of a batch block on a backend. */
export function lookupViews(context: TableContext, backend: Backend, block: Buffer): LookupViews {
  const { batchShape } = context;
  const { tables, bags, weightedLookups, lookupCapacity } = batchShape;
  const sections = batchSections(batchShape);
  const { labels, indices, offsets, segmentBags, segments } = sections;
  const weights = (first: number) => weightedLookups ? backend.view(block, first, lookupCapacity) : undefined;
  const { first, count } = ownSamples(context);
  return {
    header: backend.view(block, 0, labels),
    indices: ownIndices(context, backend, backend.view(block, indices, lookupCapacity)),
    offsets: bags ? backend.view(block, offsets + first * tables, count * tables + 1) : undefined,
    lookupWeights: weights(sections.lookupWeights),
    segmentBags: backend.view(block, segmentBags, lookupCapacity),
    segmentWeights: weights(sections.segmentWeights),
    segments: backend.view(block, segments, 2 * (lookupCapacity + 1)),
  };
}

/** A rank's part of indices in the order of a batch's. */
export function ownIndices(context: TableContext, backend: Backend, indices: Buffer): Buffer {
  const { tables, bags, lookupCapacity } = context.batchShape;
  const { first, count } = ownSamples(context);
  return bags ? backend.view(indices, 0, lookupCapacity) : backend.view(indices, first * tables, count * tables);
}

/** The samples of every batch that the rank computes. */
export function ownSamples({ batchShape, groups: { world } }: TableContext): { first: number; count: number } {
  return samplesOfRank(batchShape.batchSize, world.rank, world.size);
}

/** Allocates staging memory for rows. */
export function allocateRowBlock({ dim, optimizer }: EmbeddingShape, host: HostBackend): RowBlock {
  const stateWords = rowStateWords(optimizer, dim);
  const allocate = (words: number) => host.allocate(ROWS_AT_ONCE * words, "rows to move");
  return { weights: allocate(dim), state: stateWords === 0 ? undefined : allocate(stateWords) };
}

/** The matrices of weights and of state, each with its words per row. */
export function* matricesOf(
  { dim, optimizer }: EmbeddingShape,
  rows: RowBuffers<Buffer>,
): Generator<{ readonly name: "weights" | "state"; readonly buffer: Buffer; readonly width: number }> {
  yield { name: "weights", buffer: rows.weights, width: dim };
  if (rows.state !== undefined) yield { name: "state", buffer: rows.state, width: rowStateWords(optimizer, dim) };
}

/** The rows in host memory, which devices copy in groups. */
export interface HostRows {
  /** Announces a group that will be copied after those before; its first rows will be overwritten. */
  announceGroup(rows: Uint32Array, count: number, overwritten: number): void;
  /** Replaces the rows of the group that is copied next by their positions in host memory, once they are there. */
  locateGroup(rows: Uint32Array, count: number): void;
  /** Ends the copies of the oldest located group. */
  finishGroup(): void;
}
