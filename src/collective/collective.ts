/** How the ranks of a training run meet. The training step knows this interface only. */
import type { Buffer, Communicator } from "../backend/backend.ts";

const LINE_WORDS = 16;

/** A consecutive part of a vector. */
export interface Share {
  readonly first: number;
  readonly words: number;
}

/** The samples of a batch that a rank computes: the same number for all but the last ones, which may have fewer. */
export function samplesOfRank(batchSize: number, rank: number, ranks: number): { first: number; count: number } {
  const most = Math.ceil(batchSize / ranks);
  const first = Math.min(batchSize, rank * most);
  return { first, count: Math.min(batchSize, first + most) - first };
}

/** One rank's end of the connection between all ranks. Every rank makes the same calls in the same order. */
export interface Collective {
  readonly rank: number;
  readonly ranks: number;
  /** This rank among those it shares memory with, who split what is written there; all ranks, or those of one host. */
  readonly writer: number;
  readonly writers: number;
  /** What connects the devices of ranks that have one each, with replicas of all that lies there; else undefined. */
  readonly devices: Communicator | undefined;
  /** The dense parameters this rank updates: ranks with one copy of them split them, ranks with replicas take all. */
  share(words: number): Share;
  /**
   * Adds the gradients of all ranks in a fixed order. On return this rank's share of its own `gradients` holds the sum,
   * and everything that a rank it shares memory with wrote before its call is visible here.
   */
  sum(gradients: Buffer): void;
  /** Returns once every rank that shares memory with this one has called it; what they wrote before is then visible. */
  barrier(): void;
}

/** The consecutive part of `words` that one of several writers takes; parts begin at whole cache lines. */
export function shareOf(words: number, writer: number, writers: number): Share {
  const begin = (w: number) => Math.floor(words * w / writers / LINE_WORDS) * LINE_WORDS;
  const end = writer === writers - 1 ? words : begin(writer + 1);
  return { first: begin(writer), words: end - begin(writer) };
}

/** A run with one rank: nothing to add, nobody to wait for. */
export class Solo implements Collective {
  readonly rank = 0;
  readonly ranks = 1;
  readonly writer = 0;
  readonly writers = 1;
  readonly devices = undefined;

  share(words: number): Share {
    return { first: 0, words };
  }
  sum(_gradients: Buffer): void {}
  barrier(): void {}
}
