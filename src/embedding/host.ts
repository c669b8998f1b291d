/** Tables in host memory, which the ranks of a host share: each rank updates its share of a batch's distinct rows. */
import type { Parts } from "../breaks.ts";
import type { Buffer, HostBackend } from "../backend/backend.ts";
import { initialiseMatrix } from "./initialise.ts";
import { MatrixLookups } from "./lookups.ts";
import {
  type BatchSlot,
  type BoundTables,
  type EmbeddingTables,
  matricesOf,
  type RowBlock,
  type RowMatrix,
  ROWS_AT_ONCE,
  type TableContext,
  type TableRows,
} from "./tables.ts";

/** Rows in host memory, for a rank whose pooled rows are also there. */
export class HostTables implements EmbeddingTables, TableRows {
  readonly rows = this;
  protected readonly context: TableContext;
  protected readonly matrix: RowMatrix;
  protected readonly list: RowList;

  constructor(context: TableContext, matrix: RowMatrix) {
    this.context = context;
    this.matrix = matrix;
    this.list = new RowList(context.host);
  }

  bind(slot: BatchSlot): BoundTables {
    return new MatrixLookups(this.context, this.matrix, slot);
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
    const list = this.list.set(rows);
    for (const { name, buffer, width } of matricesOf(shape, this.matrix)) {
      host.packRows(rows.length, width, buffer, list, block[name]!);
    }
  }

  write(rows: Uint32Array, block: RowBlock): void {
    const { host, shape } = this.context;
    const list = this.list.set(rows);
    for (const { name, buffer, width } of matricesOf(shape, this.matrix)) {
      host.unpackRows(rows.length, width, block[name]!, list, buffer);
    }
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
