/** Popularity curves: accesses of a table's rows by rank. */

/** A point: the row of this rank (from 1) and its number of accesses. */
export interface RankPoint {
  readonly rank: number;
  readonly accesses: number;
}

/** Minimum ratio of the ranks of neighbouring points: about 100 points for a million rows. */
const RANK_STEP = 1.12;

/**
 * The curve of one table, thinned: all of the first ranks, then fewer, then the last row with any access. Rows without
 * accesses have no point, because the scale is logarithmic. `marked` is a rank that is always included; 0 for none.
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
