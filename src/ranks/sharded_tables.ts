/** What is done to the sharded tables besides training steps: their first values, and their sync with the hot replicas. */
import type { Buffer, HostBackend } from "../backend/backend.ts";
import { rowStateWords } from "../optimizer/optimizers.ts";
import type { Cluster } from "../collective/cluster.ts";
import type { EmbeddingStore } from "../model/dlrm.ts";
import { initialiseChunk, rowChunks } from "../model/initialise.ts";
import { RowMover } from "../model/row_mover.ts";
import type { ModelPlan } from "../model/shape.ts";
import type { RowExchange } from "./row_exchange.ts";

/** The shard of the full tables on this host, as its ranks work on it together. */
export class ShardedTables {
  readonly #cluster: Cluster;
  readonly #plan: ModelPlan;
  readonly #host: HostBackend;
  readonly #full: EmbeddingStore;
  readonly #hot: EmbeddingStore | undefined;
  readonly #exchange: RowExchange;
  readonly #mover: RowMover;
  readonly #rows: Buffer;
  readonly #list: Uint32Array;

  constructor(
    cluster: Cluster,
    plan: ModelPlan,
    host: HostBackend,
    full: EmbeddingStore,
    hot: EmbeddingStore | undefined,
    exchange: RowExchange,
  ) {
    this.#cluster = cluster;
    this.#plan = plan;
    this.#host = host;
    this.#full = full;
    this.#hot = hot;
    this.#exchange = exchange;
    this.#mover = new RowMover(plan.shape, host);
    this.#rows = host.allocate(exchange.capacity, "rows to move");
    const { buffer, byteOffset } = host.floats(this.#rows);
    this.#list = new Uint32Array(buffer, byteOffset, exchange.capacity);
  }

  /** Fills this rank's part of the shard: the same values as tables on one host have. */
  initialise(seed: number): void {
    const { hosts, host, locals, local } = this.#cluster;
    const { dim } = this.#plan.shape;
    const shard = this.#host.floats(this.#full.weights);
    let weights = new Float32Array(0);
    let index = 0;
    for (const chunk of rowChunks(this.#plan)) {
      if (index++ % locals !== local) continue;
      if (weights.length < chunk.rows * dim) weights = new Float32Array(chunk.rows * dim);
      initialiseChunk(this.#plan, seed, chunk, weights);
      for (let i = (host + hosts - chunk.row % hosts) % hosts; i < chunk.rows; i += hosts) {
        shard.set(weights.subarray(i * dim, (i + 1) * dim), Math.floor((chunk.row + i) / hosts) * dim);
      }
    }
  }

  /** Copies rows of the hot replica, which all hosts have, to the shards they belong to. */
  push(rows: Uint32Array, hotRows: Uint32Array): void {
    const { hosts, host } = this.#cluster;
    const own = indicesWhere(rows, (row) => row % hosts === host);
    this.#mover.move(this.#hot!, own.map((i) => hotRows[i]), this.#full, own.map((i) => Math.floor(rows[i] / hosts)));
  }

  /** Copies rows from all shards to the hot replica of every host. The list is the same on all hosts. */
  pull(rows: Uint32Array, hotRows: Uint32Array): void {
    const { hosts, host } = this.#cluster;
    const { outgoing, incoming, peers, capacity } = this.#exchange;
    const { dim, optimizer } = this.#plan.shape;
    // Staging memory has room for `capacity` rows of weights, so for fewer where their state is wider.
    const most = Math.max(1, Math.floor(capacity * dim / Math.max(dim, rowStateWords(optimizer, dim))));
    for (let first = 0; first < rows.length; first += most) {
      const part = rows.subarray(first, first + most);
      const byOwner = Array.from({ length: hosts }, (_, h) => indicesWhere(part, (row) => row % hosts === h));
      const counts = Int32Array.from(byOwner, (list) => list.length);
      const own = byOwner[host].map((i) => Math.floor(part[i] / hosts));
      const targets = Uint32Array.from(byOwner.flatMap((list) => [...list].map((i) => hotRows[first + i])));
      for (const [full, hot, width] of this.#matrices()) {
        this.#list.set(own);
        this.#host.packRows(own.length, width, full, this.#rows, outgoing);
        const received = this.#host.floats(incoming);
        peers.allGather(this.#host.floats(outgoing).subarray(0, own.length * width), received, counts, width);
        this.#mover.put(received, width, this.#hot!.backend, hot, targets);
      }
    }
  }

  /** Weights and optimizer state: of the shard, of the replica, and the words of a row. */
  *#matrices(): Generator<[full: Buffer, hot: Buffer, width: number]> {
    const { dim, optimizer } = this.#plan.shape;
    const [full, hot] = [this.#full, this.#hot!];
    yield [full.weights, hot.weights, dim];
    if (full.state !== undefined) yield [full.state, hot.state!, rowStateWords(optimizer, dim)];
  }
}

function indicesWhere(list: Uint32Array, chosen: (value: number) => boolean): Uint32Array {
  return Uint32Array.from(list.keys()).filter((i) => chosen(list[i]));
}
