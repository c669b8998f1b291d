/**
 * Ranks that are processes, on one host or several. Those of a host share memory and add up in it; hosts exchange sums
 * over MPI, always added in the order of hosts, so that all ranks of all runs hold the same bits.
 */
import type { Buffer, HostBackend } from "../backend/backend.ts";
import { consecutive, type Parts, type Request } from "../../ffi/mpi.ts";
import { type Cluster, communicatorsOf } from "./cluster.ts";
import { type Collective, type Share, shareOf } from "./collective.ts";

/** One rank of a cluster; dense parameters exist once on a host, whose ranks split their update. */
export class MpiCollective implements Collective {
  readonly rank: number;
  readonly ranks: number;
  readonly writer: number;
  readonly writers: number;
  readonly devices = undefined;
  readonly #cluster: Cluster;
  readonly #host: HostBackend;
  readonly #own: Buffer;
  readonly #others: Buffer[];
  readonly #hosts: HostSum | undefined;

  /** `gradients` are the dense gradients of this host's ranks, in memory that they share. */
  constructor(host: HostBackend, cluster: Cluster, gradients: readonly Buffer[]) {
    this.rank = cluster.rank;
    this.ranks = cluster.ranks;
    this.writer = cluster.local;
    this.writers = cluster.locals;
    this.#cluster = cluster;
    this.#host = host;
    const { first, words } = this.share(gradients[0].words);
    const shares = gradients.map((vector) => host.view(vector, first, words));
    this.#own = shares[cluster.local];
    this.#others = shares.filter((_, local) => local !== cluster.local);
    this.#hosts = cluster.hosts === 1 ? undefined : new HostSum(host, cluster, this.#own);
  }

  share(words: number): Share {
    return shareOf(words, this.writer, this.writers);
  }

  sum(_gradients: Buffer): void {
    this.barrier();
    // Other ranks read other shares of this rank's gradients, so the sum can be taken in place.
    for (const other of this.#others) this.#host.add(this.#own.words, other, this.#own);
    this.#hosts?.sum();
  }

  barrier(): void {
    this.#cluster.hostBarrier();
  }
}

/**
 * Rows that this rank exchanges with its peers, the ranks with its number on the other hosts. Rows have `dim` words and
 * lie by host, one after the other.
 */
export class PeerExchange {
  readonly #cluster: Cluster;
  readonly #request: Request;
  readonly #sent: Parts;
  readonly #received: Parts;
  readonly #sentToAll: Int32Array;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    this.#request = communicatorsOf(cluster).peers.request();
    this.#sent = consecutive(new Array(cluster.hosts).fill(0));
    this.#received = consecutive(new Array(cluster.hosts).fill(0));
    this.#sentToAll = new Int32Array(cluster.hosts);
  }

  /** Begins to send `sentRows[h]` rows to each host h and to receive `receivedRows[h]`. */
  begin(source: Float32Array, sentRows: Int32Array, target: Float32Array, receivedRows: Int32Array, dim: number): void {
    setParts(this.#sent, sentRows, dim);
    setParts(this.#received, receivedRows, dim);
    communicatorsOf(this.#cluster).peers.allToAll(source, this.#sent, target, this.#received, this.#request);
    this.#cluster.countSent(this.#sent.counts);
  }

  /** Moves on what was begun. */
  poll(): void {
    communicatorsOf(this.#cluster).peers.poll();
  }

  /** Waits until what was begun is complete. */
  wait(): void {
    this.#request.wait();
  }

  /** Sends `sentRows[h]` rows to each host h and receives `receivedRows[h]`. */
  allToAll(
    source: Float32Array,
    sentRows: Int32Array,
    target: Float32Array,
    receivedRows: Int32Array,
    dim: number,
  ): void {
    this.begin(source, sentRows, target, receivedRows, dim);
    this.wait();
  }

  /** Sends all rows to all hosts and receives `rows[h]` from each. */
  allGather(source: Float32Array, target: Float32Array, rows: Int32Array, dim: number): void {
    setParts(this.#received, rows, dim);
    this.#gather(source, target);
  }

  /** Sends all words to all hosts and receives `counts[h]` words from each at `firsts[h]`. */
  allGatherTo(source: Float32Array, target: Float32Array, counts: readonly number[], firsts: readonly number[]): void {
    this.#received.counts.set(counts);
    this.#received.firsts.set(firsts);
    this.#gather(source, target);
  }

  #gather(source: Float32Array, target: Float32Array): void {
    communicatorsOf(this.#cluster).peers.allGather(source, target, this.#received, this.#request).wait();
    this.#cluster.countSent(this.#sentToAll.fill(source.length));
  }
}

function setParts({ counts, firsts }: Parts, rows: Int32Array, dim: number): void {
  for (let h = 0, first = 0; h < rows.length; h++) {
    counts[h] = rows[h] * dim;
    firsts[h] = first;
    first += counts[h];
  }
}

/** Collects one vector of which every rank holds a part, in all ranks. */
export class Gathering {
  readonly #cluster: Cluster;
  readonly #parts: Parts;
  readonly #own: Float32Array;
  readonly #request: Request;

  /** `words` of the part of each rank, by rank. */
  constructor(cluster: Cluster, words: readonly number[]) {
    this.#cluster = cluster;
    this.#parts = consecutive(words);
    this.#own = new Float32Array(words[cluster.rank]);
    this.#request = communicatorsOf(cluster).world.request();
  }

  /** Takes this rank's part from the vector and puts all others into it. */
  gather(vector: Float32Array): void {
    const { world } = communicatorsOf(this.#cluster);
    const first = this.#parts.firsts[world.rank];
    this.#own.set(vector.subarray(first, first + this.#own.length));
    world.allGather(this.#own, vector, this.#parts, this.#request).wait();
  }
}

/**
 * Adds one vector over all hosts: each receives its piece from all, adds the pieces in the order of hosts and sends the
 * sum to all. A host sends and receives 2 (hosts - 1) / hosts of the vector.
 */
class HostSum {
  readonly #host: HostBackend;
  readonly #cluster: Cluster;
  readonly #request: Request;
  readonly #vector: Float32Array;
  readonly #pieces: Parts;
  readonly #received: Float32Array;
  readonly #receivedParts: Parts;
  readonly #sum: Buffer;
  readonly #terms: Buffer[];

  constructor(host: HostBackend, cluster: Cluster, vector: Buffer) {
    const { hosts } = cluster;
    this.#host = host;
    this.#cluster = cluster;
    this.#request = communicatorsOf(cluster).peers.request();
    this.#vector = host.floats(vector);
    this.#pieces = consecutive(Array.from({ length: hosts }, (_, h) => shareOf(vector.words, h, hosts).words));
    const words = this.#pieces.counts[cluster.host];
    const received = host.allocate(hosts * words, "dense gradients of other hosts");
    this.#received = host.floats(received);
    this.#receivedParts = consecutive(new Array(hosts).fill(words));
    [this.#sum, ...this.#terms] = Array.from({ length: hosts }, (_, h) => host.view(received, h * words, words));
  }

  sum(): void {
    const { peers } = communicatorsOf(this.#cluster);
    this.#cluster.countSent(this.#pieces.counts);
    this.#cluster.countSent(this.#receivedParts.counts);
    peers.allToAll(this.#vector, this.#pieces, this.#received, this.#receivedParts, this.#request).wait();
    for (const term of this.#terms) this.#host.add(term.words, term, this.#sum);
    peers.allGather(this.#host.floats(this.#sum), this.#vector, this.#pieces, this.#request).wait();
  }
}
