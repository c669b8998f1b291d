/** Tables in host memory, which the ranks of a host share: each rank updates its share of a batch's distinct rows. */
import type { Parts } from "../breaks.ts";
import type { Buffer, HostBackend, RowUpdateShape } from "../backend/backend.ts";
import { initialiseMatrix } from "./initialise.ts";
import {
  type BatchSlot,
  type BoundTables,
  type EmbeddingTables,
  lookupViews,
  matricesOf,
  type RowBlock,
  type RowMatrix,
  ROWS_AT_ONCE,
  type TableContext,
  type TableLookups,
} from "./tables.ts";

/** Rows in host memory, for a rank whose pooled rows are also there. */
export class HostTables implements EmbeddingTables {
  protected readonly context: TableContext;
  protected readonly matrix: RowMatrix;
  readonly #list: RowList;

  constructor(context: TableContext, matrix: RowMatrix) {
    this.context = context;
    this.matrix = matrix;
    this.#list = new RowList(context.host);
  }

  bind(slot: BatchSlot): BoundTables {
    return new HostLookups(this.context, this.matrix, slot);
  }

  initialise(seed: number): Parts<void> {
    const { shape, host, groups: { node } } = this.context;
    return initialiseMatrix(host, shape, this.matrix, seed, node);
  }

  holds(_row: number): boolean {
    return true;
  }

  read(rows: Uint32Array, block: RowBlock): void {
    const { host, shape } = this.context;
    const list = this.#list.set(rows);
    for (const { name, buffer, width } of matricesOf(shape, this.matrix)) {
      host.packRows(rows.length, width, buffer, list, block[name]!);
    }
  }

  write(rows: Uint32Array, block: RowBlock): void {
    const { host, shape } = this.context;
    const list = this.#list.set(rows);
    for (const { name, buffer, width } of matricesOf(shape, this.matrix)) {
      host.unpackRows(rows.length, width, block[name]!, list, buffer);
    }
  }
}

/** Lookups in a matrix in host memory. */
export class HostLookups implements BoundTables, TableLookups {
  readonly recordable = false;
  readonly shared = true;
  readonly #host: HostBackend;
  readonly #bagsOfSample: number;
  readonly #matrix: RowMatrix;
  readonly #views: ReturnType<typeof lookupViews>;
  readonly #update: RowUpdateShape;
  readonly #gradients: Buffer;
  protected readonly slot: BatchSlot;

  constructor(context: TableContext, matrix: RowMatrix, slot: BatchSlot) {
    const { host, shape, batchShape, groups: { node }, pooledGradients } = context;
    const { dim, optimizer } = shape;
    this.slot = slot;
    this.#host = host;
    this.#bagsOfSample = batchShape.tables;
    this.#matrix = matrix;
    this.#views = lookupViews(context, host, slot.hostBlock);
    this.#update = { optimizer, dim, rank: node.rank, ranks: node.size };
    this.#gradients = pooledGradients;
  }

  /** All that layers read. */
  get deviceWords(): number {
    return this.slot.batch.sections.indices;
  }

  prepare(_training: boolean): TableLookups {
    return this;
  }

  pool(samples: number, pooled: Buffer): void {
    const { indices, offsets, lookupWeights } = this.#views;
    const bags = samples * this.#bagsOfSample;
    this.#host.pool(bags, this.#update.dim, this.#matrix.weights, indices, offsets, pooled, lookupWeights);
  }

  update(_samples: number): void {
    const { header, segments, segmentBags, segmentWeights } = this.#views;
    const { weights, state } = this.#matrix;
    this.#host.updateRows(
      this.#update,
      header,
      segments,
      segmentBags,
      this.#gradients,
      weights,
      state,
      segmentWeights,
    );
  }
}

/** A list of rows in a buffer of the host. */
export class RowList {
  readonly buffer: Buffer;
  readonly words: Uint32Array;

  constructor(host: HostBackend, capacity = ROWS_AT_ONCE) {
    this.buffer = host.allocate(capacity, "rows to move");
    this.words = host.integers(this.buffer);
  }

  /** Writes the list to the buffer. */
  set(rows: Uint32Array): Buffer {
    this.words.set(rows);
    return this.buffer;
  }
}
