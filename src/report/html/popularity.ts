/** Popularity curves: accesses of a table's rows by rank. */
import type { Tally } from "../../profile/tally.ts";

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
export function popularityCurve(tally: Tally, marked: number): RankPoint[] {
  // The largest number of accesses that so many rows reach.
  const accessesAt = (rank: number) => {
    let low = 1;
    for (let high = 2 ** 32; high - low > 1;) {
      const middle = Math.floor((low + high) / 2);
      if (tally.rowsAtLeast(middle) >= rank) low = middle;
      else high = middle;
    }
    return low;
  };
  const last = tally.rowsAtLeast(1);
  const ranks = new Set<number>();
  for (let rank = 1; rank < last; rank = Math.max(rank + 1, Math.floor(rank * RANK_STEP))) ranks.add(rank);
  if (last > 0) ranks.add(last);
  if (marked > 0 && marked <= last) ranks.add(marked);
  return [...ranks].sort((a, b) => a - b).map((rank) => ({ rank, accesses: accessesAt(rank) }));
}
