/** Ranks that make artifacts together, over MPI. */
import { type Communicator, consecutive, type Request } from "../../ffi/mpi.ts";
import { PeerFailed, type Team } from "../team.ts";

/** Counts that ranks send each other at a time. */
const PIECE_COUNTS = 1 << 20;

/** The ranks of a communicator. */
export class ClusterTeam implements Team {
  readonly rank: number;
  readonly ranks: number;
  readonly locals: number;
  readonly local: number;
  /** What made work fail; all ranks have thrown then. */
  failure: unknown;
  readonly #communicator: Communicator;
  readonly #request: Request;

  /** Their place on this rank's machine. */
  constructor(communicator: Communicator, { local, locals }: { readonly local: number; readonly locals: number }) {
    this.rank = communicator.rank;
    this.ranks = communicator.ranks;
    this.locals = locals;
    this.local = local;
    this.#communicator = communicator;
    this.#request = communicator.request();
  }

  gather<T>(value: T): T[] {
    const text = new TextEncoder().encode(JSON.stringify(value));
    const lengths = this.#gatherWords(Uint32Array.of(text.length), new Array<number>(this.ranks).fill(1));
    const all = this.#gatherWords(text, lengths);
    const { counts, firsts } = consecutive(lengths);
    const decoder = new TextDecoder();
    return Array.from(counts, (count, r) => JSON.parse(decoder.decode(all.subarray(firsts[r], firsts[r] + count))));
  }

  sum(counts: Uint32Array): void {
    for (let first = 0; first < counts.length; first += PIECE_COUNTS) {
      const piece = counts.subarray(first, first + PIECE_COUNTS);
      const all = this.#gatherWords(piece, new Array<number>(this.ranks).fill(piece.length));
      piece.fill(0);
      for (let k = 0; k < all.length; k++) piece[k % piece.length] += all[k];
    }
  }

  agree(error?: unknown): void {
    const failed = this.gather(error !== undefined).indexOf(true);
    if (failed < 0) return;
    this.failure = failed === this.rank ? error : new PeerFailed("Cannot go on: another rank failed");
    throw this.failure;
  }

  /** The words of all ranks, so many of each. */
  #gatherWords<W extends Uint8Array | Uint32Array>(words: W, counts: ArrayLike<number>): W {
    let length = 0;
    for (let r = 0; r < this.ranks; r++) length += counts[r];
    const all = new (words.constructor as new (length: number) => W)(length);
    this.#communicator.allGather(words, all, consecutive(counts), this.#request).wait();
    return all;
  }
}
