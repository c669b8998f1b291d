/**
 * Tables on the device that computes: of one device, or a replica on the device of every rank. Replicas apply the same
 * update from gradients that the devices exchange.
 */
import type { Parts } from "../breaks.ts";
import type { Buffer } from "../backend/backend.ts";
import { rowStateWords } from "../optimizer/optimizers.ts";
import { InitialRows, rowChunks } from "./initialise.ts";
import { MatrixLookups } from "./lookups.ts";
import { ReplicaExchange, type ReplicaLists } from "./replica_exchange.ts";
import {
  type BatchSlot,
  type BoundTables,
  type EmbeddingTables,
  matricesOf,
  type RowBlock,
  type RowMatrix,
  ROWS_AT_ONCE,
  type TableContext,
  type TableLookups,
  type TableRows,
} from "./tables.ts";

/** Lists of rows to read and write, and packed rows, on the device. */
interface Staging {
  readonly rows: Buffer;
  readonly packed: Buffer;
}

/** Rows on this rank's device. */
export class DeviceTables implements EmbeddingTables, TableRows {
  readonly rows = this;
  readonly #context: TableContext;
  readonly #matrix: RowMatrix;
  readonly #exchange: ReplicaExchange | undefined;
  readonly #staging: Staging;

  /** No batch in training has more than `mostDistinct` distinct rows. */
  constructor(context: TableContext, matrix: RowMatrix, mostDistinct: number) {
    const { device, shape, groups: { devices } } = context;
    this.#context = context;
    this.#matrix = matrix;
    this.#exchange = devices && new ReplicaExchange(context, devices, mostDistinct);
    const width = Math.max(shape.dim, rowStateWords(shape.optimizer, shape.dim));
    this.#staging = {
      rows: device.allocate(ROWS_AT_ONCE, "rows to move"),
      packed: device.allocate(ROWS_AT_ONCE * width, "rows to move"),
    };
  }

  bind(slot: BatchSlot): BoundTables {
    return this.#exchange === undefined
      ? new MatrixLookups(this.#context, this.#matrix, slot)
      : new ReplicaLookups(this.#context, this.#matrix, slot, this.#exchange);
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
    const { rows: list, packed } = this.#staging;
    device.upload(rows, list);
    for (const { name, buffer, width } of matricesOf(shape, this.#matrix)) {
      device.packRows(rows.length, width, buffer, list, packed);
      device.download(packed, host.floats(block[name]!).subarray(0, rows.length * width));
    }
  }

  write(rows: Uint32Array, block: RowBlock): void {
    const { device, host, shape } = this.#context;
    const { rows: list, packed } = this.#staging;
    device.upload(rows, list);
    for (const { name, buffer, width } of matricesOf(shape, this.#matrix)) {
      device.upload(host.floats(block[name]!).subarray(0, rows.length * width), packed);
      device.unpackRows(rows.length, width, packed, list, buffer);
    }
  }
}

/** Lookups in one of several replicas. */
class ReplicaLookups extends MatrixLookups {
  readonly #exchange: ReplicaExchange;
  readonly #lists: ReplicaLists | undefined;

  constructor(context: TableContext, matrix: RowMatrix, slot: BatchSlot, exchange: ReplicaExchange) {
    super(context, matrix, slot);
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
    this.#exchange.update(this.views, this.#lists, this.matrix);
  }
}
