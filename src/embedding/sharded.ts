/**
 * Tables sharded over hosts. A shard has the rows with `row % hosts === host`, row r as row floor(r / hosts);
 * `RowExchange` fetches the rows of other hosts before a step. Rows that every host has in memory are replicas, which
 * apply the same update from gradients that the hosts exchange.
 */
import type { Parts } from "../breaks.ts";
import type { Buffer, HostBackend } from "../backend/backend.ts";
import { consecutive } from "../parallel/process_group.ts";
import type { Batch } from "../layout/batch.ts";
import { HostTables } from "./host.ts";
import { InitialRows } from "./initialise.ts";
import { MatrixLookups } from "./lookups.ts";
import type { RowExchange } from "./row_exchange.ts";
import {
  type BatchSlot,
  type BoundTables,
  lookupViews,
  matricesOf,
  ownIndices,
  type RowBlock,
  type RowMatrix,
  ROWS_AT_ONCE,
  type TableContext,
  type TableLookups,
} from "./tables.ts";

/** The slot whose rows are in flight for a later step. */
interface Ahead {
  bound: BoundShardedTables | undefined;
}

/** Tables over several hosts: one exchange of rows for each batch in flight, which slots for batches use in turn. */
abstract class ExchangedTables extends HostTables {
  protected readonly exchanges: readonly RowExchange[];
  #slots = 0;

  constructor(context: TableContext, matrix: RowMatrix, exchanges: readonly RowExchange[]) {
    super(context, matrix);
    this.exchanges = exchanges;
  }

  protected nextExchange(): RowExchange {
    return this.exchanges[this.#slots++ % this.exchanges.length];
  }
}

/** The shard of this host, and the connection to the others. */
export class ShardedTables extends ExchangedTables {
  readonly #ahead: Ahead = { bound: undefined };

  override bind(slot: BatchSlot): BoundTables {
    return new BoundShardedTables(this.context, this.matrix, slot, this.nextExchange(), this.#ahead);
  }

  /** Initialises this rank's part of the shard, with the same values as tables on one host. */
  override *initialise(seed: number): Parts<void> {
    const { shape, groups } = this.context;
    const { node: { rank: local, size: locals }, peers: { rank: host, size: hosts } } = groups;
    const { dim } = shape;
    const shard = this.context.host.floats(this.matrix.weights);
    const initial = new InitialRows(shape, seed);
    const rows = Math.ceil((shape.tableRows.reduce((sum, count) => sum + count, 0) - host) / hosts);
    const end = Math.floor(rows * (local + 1) / locals);
    for (let i = Math.floor(rows * local / locals); i < end; i++) {
      initial.write(i * hosts + host, 1, shard, i * dim);
      if (i % ROWS_AT_ONCE === 0) yield;
    }
  }

  override holds(row: number): boolean {
    const { size: hosts, rank: host } = this.context.groups.peers;
    return row % hosts === host;
  }

  /**
   * Reads rows of all shards. Collective over the ranks with the same number on each host, which pass the same list.
   */
  override read(rows: Uint32Array, block: RowBlock): void {
    const { shape, host: memory, groups: { peers } } = this.context;
    const { size: hosts, rank: host } = peers;
    const [{ outgoing, incoming, capacity }] = this.exchanges;
    const floats = (buffer: Buffer) => memory.floats(buffer);
    for (const { name, buffer, width } of matricesOf(shape, this.matrix)) {
      // Staging memory has space for `capacity` rows of weights, and for fewer rows of wider state.
      const most = Math.min(ROWS_AT_ONCE, Math.max(1, Math.floor(capacity * shape.dim / Math.max(shape.dim, width))));
      const target = floats(block[name]!);
      for (let first = 0; first < rows.length; first += most) {
        const part = rows.subarray(first, first + most);
        const byOwner = Array.from({ length: hosts }, (_, h) => indicesWhere(part, (row) => row % hosts === h));
        const own = byOwner[host].map((i) => Math.floor(part[i] / hosts));
        memory.packRows(own.length, width, buffer, this.list.set(own), outgoing);
        const received = floats(incoming);
        const parts = consecutive(byOwner.map((list) => list.length * width));
        peers.allGather(floats(outgoing).subarray(0, own.length * width), received, parts);
        let from = 0;
        for (const i of byOwner.flatMap((list) => [...list])) {
          target.set(received.subarray(from, from + width), (first + i) * width);
          from += width;
        }
      }
    }
  }

  /** Overwrites the rows that are in this host's shard. */
  override write(rows: Uint32Array, block: RowBlock): void {
    const { size: hosts } = this.context.groups.peers;
    super.write(rows.map((row) => Math.floor(row / hosts)), block);
  }
}

function indicesWhere(list: Uint32Array, chosen: (value: number) => boolean): Uint32Array {
  return Uint32Array.from(list.keys()).filter((i) => chosen(list[i]));
}

/** Lookups among the fetched rows. */
class BoundShardedTables implements BoundTables, TableLookups {
  readonly recordable = false;
  readonly shared = true;
  readonly #host: HostBackend;
  readonly batch: Batch;
  readonly #shard: RowMatrix;
  readonly #exchange: RowExchange;
  readonly #ahead: Ahead;
  readonly #dim: number;
  readonly #indices: Buffer;
  readonly #offsets: Buffer | undefined;

  constructor(context: TableContext, shard: RowMatrix, slot: BatchSlot, exchange: RowExchange, ahead: Ahead) {
    const { host, shape } = context;
    this.#host = host;
    this.batch = slot.batch;
    this.#shard = shard;
    this.#exchange = exchange;
    this.#ahead = ahead;
    this.#dim = shape.dim;
    this.#indices = ownIndices(context, host, exchange.indices.buffer);
    this.#offsets = lookupViews(context, host, slot.hostBlock).offsets;
  }

  get deviceWords(): number {
    return this.batch.sections.indices;
  }

  /** Waits first for the rows of the previous batch, which would otherwise arrive after these. */
  prefetch(): void {
    const before = this.#ahead.bound;
    before?.complete();
    this.#exchange.begin(this.batch, this.#shard, before?.batch);
    this.#ahead.bound = this;
  }

  /** Fetches all rows of the batch, which no earlier step will change. */
  complete(): void {
    this.#exchange.complete(this.batch, this.#shard);
  }

  prepare(_training: boolean): TableLookups {
    this.#exchange.fetch(this.batch, this.#shard);
    return this;
  }

  pool(samples: number, pooled: Buffer): void {
    const { tables } = this.batch.shape;
    const { fetched, lookupWeights } = this.#exchange;
    this.#host.pool(samples * tables, this.#dim, fetched, this.#indices, this.#offsets, pooled, lookupWeights?.buffer);
  }

  update(_samples: number): void {
    if (this.#ahead.bound === this) this.#ahead.bound = undefined;
    this.#exchange.updateShard(this.batch, this.#shard);
  }
}

/** Rows of which every host has a replica in memory. */
export class HostReplicaTables extends ExchangedTables {
  override bind(slot: BatchSlot): BoundTables {
    return new HostReplicaLookups(this.context, this.matrix, slot, this.nextExchange());
  }
}

class HostReplicaLookups extends MatrixLookups {
  readonly #exchange: RowExchange;
  readonly #update: () => void;

  constructor(context: TableContext, replica: RowMatrix, slot: BatchSlot, exchange: RowExchange) {
    super(context, replica, slot);
    this.#exchange = exchange;
    this.#update = () => super.update(0);
  }

  override update(_samples: number): void {
    this.#exchange.updateReplica(this.slot.batch, this.matrix, this.#update);
  }
}
