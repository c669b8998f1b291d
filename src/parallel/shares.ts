/** How ranks divide vectors and batches. */

/** Words of a cache line, which two ranks should not both write to. */
const LINE_WORDS = 16;

/** A consecutive part of a vector. */
export interface Share {
  readonly first: number;
  readonly words: number;
}

/** The consecutive part of `words` for one rank; parts begin at whole cache lines. */
export function shareOf(words: number, rank: number, ranks: number): Share {
  const begin = (r: number) => Math.floor(words * r / ranks / LINE_WORDS) * LINE_WORDS;
  const end = rank === ranks - 1 ? words : begin(rank + 1);
  return { first: begin(rank), words: end - begin(rank) };
}

/**
 * The samples of a batch that a rank computes: the same number on all ranks, except that the last ones may have fewer.
 */
export function samplesOfRank(batchSize: number, rank: number, ranks: number): { first: number; count: number } {
  const most = Math.ceil(batchSize / ranks);
  const first = Math.min(batchSize, rank * most);
  return { first, count: Math.min(batchSize, first + most) - first };
}
