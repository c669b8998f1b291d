/**
 * Tables on the device that computes: of one device, or a replica on the device of every rank. Replicas apply the same
 * update from gradients that the devices exchange.
 */
import type { Parts } from "../breaks.ts";
import type { Backend, Buffer, RowUpdateShape } from "../backend/backend.ts";
import { rowStateWords } from "../optimizer/optimizers.ts";
import { InitialRows, rowChunks } from "./initialise.ts";
import { ReplicaExchange, type ReplicaLists } from "./replica_exchange.ts";
import {
  type BatchSlot,
  type BoundTables,
  type EmbeddingTables,
  type LookupViews,
  lookupViews,
  matricesOf,
  type RowBlock,
  type RowMatrix,
  ROWS_AT_ONCE,
  type TableContext,
  type TableLookups,
} from "./tables.ts";

/** Lists of rows to read and write, and packed rows, on the device. */
interface Staging {
  readonly rows: Buffer;
  readonly packed: Buffer;
}

/** Rows on this rank's device. */
export class DeviceTables implements EmbeddingTables {
  readonly #context: TableContext;
  readonly #matrix: RowMatrix;
  readonly #exchange: ReplicaExchange | undefined;
  readonly #staging: Staging;

  /** No batch in training has more than `mostDistinct` distinct rows. */
  constructor(context: TableContext, matrix: RowMatrix, mostDistinct: number) {
    const { device, batchShape, shape, pooledGradients, groups: { devices } } = context;
    this.#context = context;
    this.#matrix = matrix;
    this.#exchange = devices &&
      new ReplicaExchange(device, devices, batchShape, shape, mostDistinct, pooledGradients);
    const width = Math.max(shape.dim, rowStateWords(shape.optimizer, shape.dim));
    this.#staging = {
      rows: device.allocate(ROWS_AT_ONCE, "rows to move"),
      packed: device.allocate(ROWS_AT_ONCE * width, "rows to move"),
    };
  }

  bind(slot: BatchSlot): BoundTables {
    const { device } = this.#context;
    const views = lookupViews(this.#context, device, slot.deviceBlock);
    return this.#exchange === undefined
      ? new DeviceLookups(this.#context, this.#matrix, slot, views)
      : new ReplicaLookups(this.#context, this.#matrix, slot, views, this.#exchange);
  }

  *initialise(seed: number): Parts<void> {
    const { device, shape } = this.#context;
    const { dim } = shape;
    const initial = new InitialRows(shape, seed);
    for (const chunk of rowChunks(shape)) {
      const weights = new Float32Array(chunk.rows * dim);
      initial.write(chunk.row, chunk.rows, weights, 0);
      device.upload(weights, device.view(this.#matrix.weights, chunk.row * dim, weights.length));
      yield;
    }
  }

  holds(_row: number): boolean {
    return true;
  }

  read(rows: Uint32Array, block: RowBlock): void {
    const { device, host, shape } = this.#context;
    const { rows: list, packed } = this.#stage(rows);
    for (const { name, buffer, width } of matricesOf(shape, this.#matrix)) {
      device.packRows(rows.length, width, buffer, list, packed);
      device.download(packed, host.floats(block[name]!).subarray(0, rows.length * width));
    }
  }

  write(rows: Uint32Array, block: RowBlock): void {
    const { device, host, shape } = this.#context;
    const { rows: list, packed } = this.#stage(rows);
    for (const { name, buffer, width } of matricesOf(shape, this.#matrix)) {
      device.upload(host.floats(block[name]!).subarray(0, rows.length * width), packed);
      device.unpackRows(rows.length, width, packed, list, buffer);
    }
  }

  /** Uploads the list and returns it with the buffer of its packed rows. */
  #stage(rows: Uint32Array): Staging {
    const { device } = this.#context;
    device.upload(rows, this.#staging.rows);
    return this.#staging;
  }
}

/** Lookups in the matrix of a single device. */
class DeviceLookups implements BoundTables, TableLookups {
  readonly recordable = true;
  readonly shared = false;
  readonly #device: Backend;
  readonly #bagsOfSample: number;
  readonly #update: RowUpdateShape;
  readonly #gradients: Buffer;
  protected readonly slot: BatchSlot;
  protected readonly views: LookupViews;
  protected readonly matrix: RowMatrix;

  constructor(context: TableContext, matrix: RowMatrix, slot: BatchSlot, views: LookupViews) {
    const { device, shape: { dim, optimizer }, batchShape, pooledGradients } = context;
    this.#device = device;
    this.#bagsOfSample = batchShape.tables;
    this.#update = { optimizer, dim, rank: 0, ranks: 1 };
    this.#gradients = pooledGradients;
    this.slot = slot;
    this.views = views;
    this.matrix = matrix;
  }

  get deviceWords(): number {
    return this.slot.batch.usedWords;
  }

  prepare(_training: boolean): TableLookups {
    return this;
  }

  pool(samples: number, pooled: Buffer): void {
    const { indices, offsets, lookupWeights } = this.views;
    const bags = samples * this.#bagsOfSample;
    this.#device.pool(bags, this.#update.dim, this.matrix.weights, indices, offsets, pooled, lookupWeights);
  }

  update(_samples: number): void {
    const { header, segments, segmentBags, segmentWeights } = this.views;
    const { weights, state } = this.matrix;
    this.#device.updateRows(
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

/** Lookups in one of several replicas. */
class ReplicaLookups extends DeviceLookups {
  readonly #exchange: ReplicaExchange;
  readonly #lists: ReplicaLists | undefined;

  constructor(
    context: TableContext,
    matrix: RowMatrix,
    slot: BatchSlot,
    views: LookupViews,
    exchange: ReplicaExchange,
  ) {
    super(context, matrix, slot, views);
    this.#exchange = exchange;
    this.#lists = exchange.newLists();
  }

  /** Without the segments, if the exchange has its own lists */
  override get deviceWords(): number {
    return this.#lists === undefined ? super.deviceWords : this.slot.batch.sections.segments;
  }

  override prepare(training: boolean): TableLookups {
    if (training && this.#lists !== undefined) this.#exchange.load(this.slot.batch, this.#lists);
    return this;
  }

  override update(_samples: number): void {
    this.#exchange.update(this.views, this.#lists, this.matrix.weights, this.matrix.state);
  }
}
