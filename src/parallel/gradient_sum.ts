/**
 * Sums a step's dense gradients over all ranks in a fixed order, so that all ranks of all runs get the same bits. Ranks
 * of a node add in shared memory, each a part of the vector; nodes exchange those parts. Devices have replicas of all
 * parameters and use their own all-reduce.
 */
import type { Buffer, HostBackend } from "../backend/backend.ts";
import { consecutive, type ProcessGroup, type ProcessGroups, type RankParts } from "./process_group.ts";
import { type Share, shareOf } from "./shares.ts";

/** One rank's side of the sum. */
export class GradientSum {
  /** This rank's own gradients. */
  readonly gradients: Buffer;
  /** The part that contains the sum after `sum`: what this rank updates parameters with. */
  readonly share: Share;
  readonly #groups: ProcessGroups<Buffer>;
  readonly #host: HostBackend;
  readonly #own: Buffer;
  readonly #others: readonly Buffer[];
  readonly #nodes: NodeSum | undefined;

  /** `gradients` are those of the node's ranks, in shared memory; on a device, only this rank's. */
  constructor(groups: ProcessGroups<Buffer>, host: HostBackend, gradients: readonly Buffer[]) {
    const { node, peers, devices } = groups;
    this.#groups = groups;
    this.#host = host;
    this.gradients = gradients[devices === undefined ? node.rank : 0];
    const { words } = this.gradients;
    if (devices !== undefined || gradients.length === 1) {
      this.share = { first: 0, words };
      this.#own = this.gradients;
      this.#others = [];
    } else {
      const share = this.share = shareOf(words, node.rank, node.size);
      const shares = gradients.map((vector) => host.view(vector, share.first, share.words));
      this.#own = shares[node.rank];
      this.#others = shares.filter((_, rank) => rank !== node.rank);
    }
    if (devices === undefined && peers.size > 1) this.#nodes = new NodeSum(host, peers, this.#own);
  }

  /** Also makes visible what other ranks of the node wrote before their call. */
  sum(): void {
    const { node, devices } = this.#groups;
    if (devices !== undefined) return devices.allReduce(this.gradients);
    node.barrier();
    // Other ranks read other parts of this rank's gradients, so the sum can be in place.
    for (const other of this.#others) this.#host.add(this.#own.words, other, this.#own);
    this.#nodes?.sum();
  }
}

/**
 * All-reduce over nodes: each receives its part from all, adds the parts in the order of nodes and sends the sum to
 * all. A node sends and receives 2 (nodes - 1) / nodes of the vector.
 */
class NodeSum {
  readonly #host: HostBackend;
  readonly #peers: ProcessGroup;
  readonly #vector: Float32Array;
  readonly #pieces: RankParts;
  readonly #received: Float32Array;
  readonly #receivedParts: RankParts;
  readonly #sum: Buffer;
  readonly #terms: readonly Buffer[];

  constructor(host: HostBackend, peers: ProcessGroup, vector: Buffer) {
    const { rank, size } = peers;
    this.#host = host;
    this.#peers = peers;
    this.#vector = host.floats(vector);
    this.#pieces = consecutive(Array.from({ length: size }, (_, r) => shareOf(vector.words, r, size).words));
    const words = this.#pieces.counts[rank];
    const received = host.allocate(size * words, "dense gradients of other hosts");
    this.#received = host.floats(received);
    this.#receivedParts = consecutive(new Array(size).fill(words));
    [this.#sum, ...this.#terms] = Array.from({ length: size }, (_, r) => host.view(received, r * words, words));
  }

  sum(): void {
    this.#peers.allToAll(this.#vector, this.#pieces, this.#received, this.#receivedParts).wait();
    for (const term of this.#terms) this.#host.add(term.words, term, this.#sum);
    this.#peers.allGather(this.#host.floats(this.#sum), this.#vector, this.#pieces);
  }
}
