/** How many rows of a table reach a cut-off: counted exactly, or estimated from chunks of its rows. */
import type { Random } from "../random.ts";
import { lowerBound, Tally } from "./tally.ts";

/** An estimate and its confidence interval. All three are equal for exact numbers. */
export interface Interval {
  /** Lower bound. */
  readonly low: number;
  /** The estimate. */
  readonly value: number;
  /** Upper bound. */
  readonly high: number;
}

/** Rows per chunk, chunks per estimate: constants of the published method. */
const CHUNK_ROWS = 1024;
const CHUNKS = 35;
/** Student's quantile for CHUNKS - 1 degrees of freedom at 99.9 % confidence, two-sided. */
const STUDENT_QUANTILE = 3.6007;
/** The share of chunks that can differ from all CHUNKS equal ones and remain undetected, at the same confidence. */
const UNSEEN_SHARE = 1 - 0.0005 ** (1 / CHUNKS);

/** Estimates how many rows of one table reach a cut-off. */
export interface HotRowCounter {
  rowsAtLeast(cutoff: number): Interval;
}

export function exactCounter(tally: Tally): HotRowCounter {
  return {
    rowsAtLeast(cutoff) {
      const value = tally.rowsAtLeast(cutoff);
      return { low: value, value, high: value };
    },
  };
}

/**
 * Estimates from 35 of the N chunks of a table, drawn without replacement and reused for every cut-off, so that the
 * estimate falls as the cut-off rises: `N * mean +- 3.6007 * N * sqrt((N - n) / N * variance / n)`, which is the 99.9 %
 * confidence interval by Student. Tables of at most 35 chunks are counted exactly.
 *
 * A chunk is every N-th row instead of consecutive rows. Ids usually descend by frequency, so all hot rows are in a few
 * ranges of consecutive rows, which a draw of 35 ranges would miss; every N-th row contains hot and cold rows in
 * proportion. Chunks are one row shorter if N does not divide the number of rows; their counts are scaled to the mean
 * length.
 */
export function estimatingCounter(counts: Uint32Array, accesses: number, random: Random): HotRowCounter {
  const rows = counts.length;
  const chunks = Math.ceil(rows / CHUNK_ROWS);
  if (rows <= CHUNKS * CHUNK_ROWS) return exactCounter(new Tally(counts));
  const drawn = drawDistinct(CHUNKS, chunks, random).map((chunk) => {
    const values = new Uint32Array(Math.ceil((rows - chunk) / chunks));
    for (let i = 0; i < values.length; i++) values[i] = counts[chunk + i * chunks];
    return { tally: values.sort(), scale: rows / chunks / values.length };
  });
  const correction = (chunks - CHUNKS) / chunks;
  return {
    rowsAtLeast(cutoff) {
      let found = 0, sum = 0, squares = 0;
      for (const { tally, scale } of drawn) {
        const hot = tally.length - lowerBound(tally, cutoff);
        found += hot;
        sum += hot * scale;
        squares += (hot * scale) ** 2;
      }
      const mean = sum / CHUNKS;
      const variance = Math.max(0, (squares - CHUNKS * mean * mean) / (CHUNKS - 1));
      const halfWidth = Math.max(UNSEEN_SHARE, STUDENT_QUANTILE * Math.sqrt(variance / CHUNKS)) * Math.sqrt(correction);
      // For any draw: the rows found exist, and `accesses` limits how many rows can be above the cut-off.
      const most = Math.min(rows, Math.floor(accesses / cutoff));
      const bounded = (value: number) => Math.min(most, Math.max(found, value));
      return {
        low: bounded(chunks * (mean - halfWidth)),
        value: bounded(chunks * mean),
        high: bounded(chunks * (mean + halfWidth)),
      };
    },
  };
}

/** Adds independent estimates: values add, and so do the squares of the distances to each bound. */
export function addIntervals(intervals: readonly Interval[]): Interval {
  let value = 0, below = 0, above = 0;
  for (const interval of intervals) {
    value += interval.value;
    below += (interval.value - interval.low) ** 2;
    above += (interval.high - interval.value) ** 2;
  }
  return { low: value - Math.sqrt(below), value, high: value + Math.sqrt(above) };
}

/** `count` distinct integers below `bound` (Floyd's method), ascending. */
function drawDistinct(count: number, bound: number, random: Random): number[] {
  const drawn = new Set<number>();
  for (let last = bound - count; last < bound; last++) {
    const candidate = random.below(last + 1);
    drawn.add(drawn.has(candidate) ? last : candidate);
  }
  return [...drawn].sort((a, b) => a - b);
}
