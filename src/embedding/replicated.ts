/**
 * The scheme of FAE: hot rows have a replica where the dense part of the model is computed. Hot batches are trained on the
 * replica, cold ones on the full tables, and rows that changed in one are copied to the other where the kind of batch
 * changes.
 */
import { nodeBarrier } from "../parallel/node_barrier.ts";
import {
  allocateRowBlock,
  type BatchPlace,
  type BoundTables,
  type EmbeddingTables,
  type RowBlock,
  ROWS_AT_ONCE,
  type TableContext,
  type TableLookups,
} from "./tables.ts";

/** Full tables and the replica of their hot rows. */
export class ReplicatedTables implements EmbeddingTables {
  readonly #context: TableContext;
  readonly #full: EmbeddingTables;
  readonly #replica: EmbeddingTables;
  readonly #block: RowBlock;

  constructor(context: TableContext, full: EmbeddingTables, replica: EmbeddingTables) {
    this.#context = context;
    this.#full = full;
    this.#replica = replica;
    this.#block = allocateRowBlock(context.shape, context.host);
  }

  bind(place: BatchPlace): BoundTables {
    return new ReplicatedPlace(place, this.#full.bind(place), this.#replica.bind(place));
  }

  /** Fills the full tables; the replica is not up to date afterwards. */
  initialise(seed: number): void {
    this.#full.initialise(seed);
  }

  holds(row: number): boolean {
    return this.#full.holds(row);
  }

  /** Reads from the full tables, which must be up to date. */
  read(rows: Uint32Array, block: RowBlock): void {
    this.#full.read(rows, block);
  }

  /** Writes to the full tables. */
  write(rows: Uint32Array, block: RowBlock): void {
    this.#full.write(rows, block);
  }

  /** Copies rows of the full tables to the replica; all ranks give the same lists. */
  pull(rows: Uint32Array, hotIds: Uint32Array): void {
    const { device, host, groups: { devices, node } } = this.#context;
    // A replica on a device has this rank alone to write it.
    const own = devices !== undefined && device !== host ? whole(rows) : partOf(rows, node.rank, node.size);
    this.#move(own, this.#full, rows, this.#replica, hotIds);
  }

  /** Copies rows of the replica to the full tables. */
  push(rows: Uint32Array, hotIds: Uint32Array): void {
    const { node } = this.#context.groups;
    const { first, end } = partOf(rows, node.rank, node.size);
    const held = rows.subarray(first, end).filter((row) => this.#full.holds(row));
    const ids = hotIds.subarray(first, end).filter((_, i) => this.#full.holds(rows[first + i]));
    this.#move(whole(held), this.#replica, ids, this.#full, held);
  }

  #move(
    { first, end }: Part,
    source: EmbeddingTables,
    sourceRows: Uint32Array,
    target: EmbeddingTables,
    targetRows: Uint32Array,
  ): void {
    for (let from = first; from < end; from += ROWS_AT_ONCE) {
      const to = Math.min(end, from + ROWS_AT_ONCE);
      source.read(sourceRows.subarray(from, to), this.#block);
      target.write(targetRows.subarray(from, to), this.#block);
    }
    nodeBarrier(this.#context.groups, this.#context.device); // the next step of any rank may read any of these rows
  }
}

/** A part of a list. */
interface Part {
  readonly first: number;
  readonly end: number;
}

function partOf({ length }: Uint32Array, writer: number, writers: number): Part {
  return { first: Math.floor(length * writer / writers), end: Math.floor(length * (writer + 1) / writers) };
}

function whole({ length }: Uint32Array): Part {
  return { first: 0, end: length };
}

class ReplicatedPlace implements BoundTables {
  readonly #place: BatchPlace;
  readonly #full: BoundTables;
  readonly #replica: BoundTables;

  constructor(place: BatchPlace, full: BoundTables, replica: BoundTables) {
    this.#place = place;
    this.#full = full;
    this.#replica = replica;
  }

  get #bound(): BoundTables {
    return this.#place.batch.hot ? this.#replica : this.#full;
  }

  prefetch(): void {
    this.#bound.prefetch?.();
  }

  prepare(training: boolean): TableLookups {
    return this.#bound.prepare(training);
  }
}
