/** Popularity curves: accesses of a table's rows against their rank by accesses. */

/** One point: the row of this rank (from 1) has so many accesses. */
export interface RankPoint {
  readonly rank: number;
  readonly accesses: number;
}

/** Points of a curve lie at least this factor apart: about 100 for a million rows. */
const RANK_STEP = 1.12;

/**
 * The curve of one table, thinned: the first ranks one by one, then ever fewer, and the last row that is accessed at
 * all. Ends there, for a logarithm has no place for zero. `marked` is a rank (0 for none) that keeps its point.
 */
export function popularityCurve(counts: Uint32Array, marked: number): RankPoint[] {
  const sorted = counts.slice().sort();
  const accessesAt = (rank: number) => sorted[sorted.length - rank];
  let last = sorted.length;
  for (let low = 1; low <= last;) {
    const middle = Math.floor((low + last) / 2);
    if (accessesAt(middle) > 0) low = middle + 1;
    else last = middle - 1;
  }
  const ranks = new Set<number>();
  for (let rank = 1; rank < last; rank = Math.max(rank + 1, Math.floor(rank * RANK_STEP))) ranks.add(rank);
  if (last > 0) ranks.add(last);
  if (marked > 0 && marked <= last) ranks.add(marked);
  return [...ranks].sort((a, b) => a - b).map((rank) => ({ rank, accesses: accessesAt(rank) }));
}
