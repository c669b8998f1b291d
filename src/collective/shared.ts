/** Ranks that are threads of one process and meet in shared memory. */
import type { Buffer, HostBackend } from "../backend/backend.ts";
import { type Collective, type Share, shareOf } from "./collective.ts";

/** Words of shared memory a barrier needs, apart from each other so that they do not share a cache line. */
export const BARRIER_WORDS = 64;
const ARRIVED = 0;
const ABORTED = 16;
const GENERATION = 32;
/** Looks at the barrier this often before sleeping; about 20 us, longer than ranks with equal work drift apart. */
const SPINS = 10_000;

/** Makes all calls of `barrier` that wait, or ever will, throw: for a group that cannot go on. */
export function abortBarrier(barrier: Int32Array): void {
  Atomics.store(barrier, ABORTED, 1);
  Atomics.add(barrier, GENERATION, 1);
  Atomics.notify(barrier, GENERATION);
}

/** Where the threads of a group wait for each other. */
export class SharedBarrier {
  readonly #words: Int32Array;
  readonly #ranks: number;

  /** `words` is shared memory of BARRIER_WORDS zeros. */
  constructor(words: Int32Array, ranks: number) {
    this.#words = words;
    this.#ranks = ranks;
  }

  /** Returns once all have called it; what they wrote before is then visible. Throws once the group is aborted. */
  wait(): void {
    const words = this.#words;
    const generation = Atomics.load(words, GENERATION);
    // An abort after this changes the generation, so that nobody waits for ranks that will not come.
    if (Atomics.load(words, ABORTED) === 0) this.#wait(generation);
    if (Atomics.load(words, ABORTED) === 1) throw new Error("Cannot go on: the ranks were stopped");
  }

  #wait(generation: number): void {
    const words = this.#words;
    if (Atomics.add(words, ARRIVED, 1) === this.#ranks - 1) {
      Atomics.store(words, ARRIVED, 0);
      Atomics.add(words, GENERATION, 1);
      Atomics.notify(words, GENERATION);
      return;
    }
    for (let spin = 0; spin < SPINS; spin++) {
      if (Atomics.load(words, GENERATION) !== generation) return;
    }
    while (Atomics.load(words, GENERATION) === generation) Atomics.wait(words, GENERATION, generation);
  }
}

/** One rank of a group over shared memory; dense parameters exist once and ranks split their update. */
export class SharedCollective implements Collective {
  readonly rank: number;
  readonly ranks: number;
  readonly writer: number;
  readonly writers: number;
  readonly devices = undefined;
  readonly #host: HostBackend;
  readonly #barrier: SharedBarrier;
  readonly #own: Buffer;
  readonly #others: Buffer[];

  /** `gradients` are the dense gradients of all ranks, by rank. */
  constructor(host: HostBackend, rank: number, barrier: SharedBarrier, gradients: readonly Buffer[]) {
    this.rank = this.writer = rank;
    this.ranks = this.writers = gradients.length;
    this.#host = host;
    this.#barrier = barrier;
    const { first, words } = this.share(gradients[rank].words);
    const shares = gradients.map((vector) => host.view(vector, first, words));
    this.#own = shares[rank];
    this.#others = shares.filter((_, r) => r !== rank);
  }

  share(words: number): Share {
    return shareOf(words, this.rank, this.ranks);
  }

  sum(_gradients: Buffer): void {
    this.barrier();
    // Other ranks read other shares of this rank's gradients, so the sum can be taken in place.
    for (const other of this.#others) this.#host.add(this.#own.words, other, this.#own);
  }

  barrier(): void {
    this.#barrier.wait();
  }
}
