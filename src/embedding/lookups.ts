/** Lookups in one matrix of rows, in host memory or on a device, where batches have the positions of their rows in it. */
import type { Backend, Buffer, RowUpdateShape } from "../backend/backend.ts";
import {
  type BatchSlot,
  type BoundTables,
  type LookupViews,
  lookupViews,
  type RowMatrix,
  type TableContext,
  type TableLookups,
} from "./tables.ts";

/** Lookups in a matrix. Ranks share one in host memory: each updates its share of a batch's distinct rows. */
export class MatrixLookups implements BoundTables, TableLookups {
  readonly recordable: boolean;
  readonly shared: boolean;
  protected readonly slot: BatchSlot;
  protected readonly matrix: RowMatrix;
  protected readonly views: LookupViews;
  readonly #backend: Backend;
  readonly #bagsOfSample: number;
  readonly #update: RowUpdateShape;
  readonly #gradients: Buffer;

  constructor(context: TableContext, matrix: RowMatrix, slot: BatchSlot) {
    const { host, shape: { dim, optimizer }, batchShape, groups: { node }, pooledGradients } = context;
    const { backend } = matrix;
    this.shared = backend === host;
    this.recordable = !this.shared;
    this.slot = slot;
    this.matrix = matrix;
    this.views = lookupViews(context, backend, this.shared ? slot.hostBlock : slot.deviceBlock);
    this.#backend = backend;
    this.#bagsOfSample = batchShape.tables;
    const { rank, size: ranks } = this.shared ? node : { rank: 0, size: 1 };
    this.#update = { optimizer, dim, rank, ranks };
    this.#gradients = pooledGradients;
  }

  /** On the host, all that layers read. */
  get deviceWords(): number {
    const { batch } = this.slot;
    return this.shared ? batch.sections.indices : batch.usedWords;
  }

  prepare(_training: boolean): TableLookups {
    return this;
  }

  pool(samples: number, pooled: Buffer): void {
    const { indices, offsets, lookupWeights } = this.views;
    const bags = samples * this.#bagsOfSample;
    this.#backend.pool(bags, this.#update.dim, this.matrix.weights, indices, offsets, pooled, lookupWeights);
  }

  update(_samples: number): void {
    const { header, segments, segmentBags, segmentWeights } = this.views;
    const { weights, state } = this.matrix;
    const update = this.#update, gradients = this.#gradients;
    this.#backend.updateRows(update, header, segments, segmentBags, gradients, weights, state, segmentWeights);
  }
}
