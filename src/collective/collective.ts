/** How the ranks of a training run meet. The training step knows this interface only. */
import type { Buffer } from "../backend/backend.ts";

/** A consecutive part of a vector. */
export interface Share {
  readonly first: number;
  readonly words: number;
}

/** One rank's end of the connection between all ranks. Every rank makes the same calls in the same order. */
export interface Collective {
  readonly rank: number;
  readonly ranks: number;
  /** The dense parameters this rank updates: ranks with one copy of them split them, ranks with replicas take all. */
  share(words: number): Share;
  /**
   * Adds the gradients of all ranks in a fixed order. On return this rank's share of its own `gradients` holds the sum,
   * and everything that any rank wrote before its call is visible here.
   */
  sum(gradients: Buffer): void;
  /** Returns once every rank has called it; everything written before is then visible to all. */
  barrier(): void;
}

/** A run with one rank: nothing to add, nobody to wait for. */
export class Solo implements Collective {
  readonly rank = 0;
  readonly ranks = 1;

  share(words: number): Share {
    return { first: 0, words };
  }
  sum(_gradients: Buffer): void {}
  barrier(): void {}
}
