/**
 * The common part of groups in host memory, built on the barrier and the exchange of vectors that subclasses implement.
 */
import {
  consecutive,
  type HostVector,
  PeerFailed,
  type ProcessGroup,
  type ProcessGroups,
  type RankParts,
  type Work,
} from "./process_group.ts";

/** Elements of a vector that are added at a time. */
const PIECE = 1 << 20;
/** A rank's answer when ranks agree: it failed, or it knows that another rank failed. */
const FAILED = 1;
const PEER_FAILED = 2;

/** An operation that is complete when it is returned. */
export const DONE: Work = { wait() {} };

export type GroupPlace = Pick<ProcessGroup, "rank" | "size" | "localRank" | "localSize" | "sharesMemory">;

/** A group over host memory. */
export abstract class HostGroup implements ProcessGroup {
  readonly rank: number;
  readonly size: number;
  readonly localRank: number;
  readonly localSize: number;
  readonly sharesMemory: boolean;
  failure: unknown;

  constructor({ rank, size, localRank, localSize, sharesMemory }: GroupPlace) {
    this.rank = rank;
    this.size = size;
    this.localRank = localRank;
    this.localSize = localSize;
    this.sharesMemory = sharesMemory;
  }

  abstract barrier(): void;
  abstract allGather<W extends HostVector>(own: W, all: W, parts: RankParts): void;
  abstract allToAll<W extends HostVector>(source: W, sent: RankParts, target: W, received: RankParts): Work;
  abstract abort(error: unknown): void;

  allReduce(vector: Float32Array | Uint32Array): void {
    for (let first = 0; first < vector.length; first += PIECE) {
      const sum = vector.subarray(first, first + PIECE);
      const all = this.#gatherElements(sum, new Array<number>(this.size).fill(sum.length));
      sum.set(all.subarray(0, sum.length));
      for (let r = 1, at = sum.length; r < this.size; r++) {
        for (let i = 0; i < sum.length; i++, at++) sum[i] += all[at];
      }
    }
  }

  broadcast<T>(value: T): T {
    return this.gather(this.rank === 0 ? value : null)[0] as T;
  }

  gather<T>(value: T): T[] {
    const text = new TextEncoder().encode(JSON.stringify(value));
    const lengths = this.#gatherElements(Uint32Array.of(text.length), new Array<number>(this.size).fill(1));
    const all = this.#gatherElements(text, lengths);
    const decoder = new TextDecoder();
    let end = 0;
    return Array.from(lengths, (length) => JSON.parse(decoder.decode(all.subarray(end, end += length))));
  }

  agree(error?: unknown): void {
    const own = error === undefined ? 0 : error instanceof PeerFailed ? PEER_FAILED : FAILED;
    const all = this.#gatherElements(Uint8Array.of(own), new Array<number>(this.size).fill(1));
    const failed = all.includes(FAILED) ? all.indexOf(FAILED) : all.indexOf(PEER_FAILED);
    if (failed < 0) return;
    this.failure = failed === this.rank ? error : new PeerFailed("Cannot continue: another rank failed");
    throw this.failure;
  }

  /** The elements of all ranks, concatenated; `counts[r]` come from rank r. */
  #gatherElements<W extends HostVector>(own: W, counts: ArrayLike<number>): W {
    let length = 0;
    for (let r = 0; r < this.size; r++) length += counts[r];
    const all = new (own.constructor as new (length: number) => W)(length);
    this.allGather(own, all, consecutive(counts));
    return all;
  }
}

class Alone extends HostGroup {
  barrier(): void {}

  allGather<W extends HostVector>(own: W, all: W, { firsts }: RankParts): void {
    all.set(own, firsts[0]);
  }

  allToAll<W extends HostVector>(source: W, sent: RankParts, target: W, received: RankParts): Work {
    target.set(source.subarray(sent.firsts[0], sent.firsts[0] + sent.counts[0]), received.firsts[0]);
    return DONE;
  }

  abort(): void {}
}

/** A group of size one, so that code for groups also works alone. */
export const ALONE: ProcessGroup = new Alone({ rank: 0, size: 1, localRank: 0, localSize: 1, sharesMemory: true });

/** The process groups of a run with one rank. */
export const ONE_RANK: ProcessGroups = { world: ALONE, node: ALONE, peers: ALONE, devices: undefined };
