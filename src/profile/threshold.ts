/** The search for the threshold: the share of its table's accesses from which on a row is hot. */
import { addIntervals, type HotRowCounter, type Interval } from "./estimate.ts";

/** A table that takes part in the search. */
export interface SearchedTable {
  /** Logged accesses to all its rows. */
  readonly accesses: number;
  readonly counter: HotRowCounter;
}

/** What the search found. */
export interface Threshold {
  readonly threshold: number;
  /** Logged accesses from which on a row of each table is hot; at least 1, for an unseen row is never hot. */
  readonly cutoffs: number[];
  /** The next lower cut-offs, whose rows would have exceeded the limit; equal to `cutoffs` at the floor. */
  readonly nextCutoffs: number[];
  /** True if some cut-off is 1: the log cannot tell apart the rows that were seen once from those seen less. */
  readonly floorReached: boolean;
}

/** Cut-off of each table at a threshold: a share of its accesses, in whole accesses, clamped at 1. */
export function cutoffsAt(threshold: number, tables: readonly Pick<SearchedTable, "accesses">[]): number[] {
  return tables.map(({ accesses }) => Math.max(1, Math.ceil(threshold * accesses)));
}

/** Rows of each table that reach its cut-off. */
export function rowsAt(cutoffs: readonly number[], tables: readonly SearchedTable[]): Interval[] {
  return tables.map(({ counter }, t) => counter.rowsAtLeast(cutoffs[t]));
}

/**
 * The smallest threshold at which the upper bound of all tables' hot rows is within `limit` rows. Bisects the logarithm
 * of the threshold until the whole-numbered cut-offs of its two ends are neighbours.
 */
export function searchThreshold(tables: readonly SearchedTable[], limit: number): Threshold {
  const fits = (cutoffs: readonly number[]) => addIntervals(rowsAt(cutoffs, tables)).high <= limit;
  const found = (threshold: number, cutoffs: number[], nextCutoffs: number[]): Threshold => ({
    threshold,
    cutoffs,
    nextCutoffs,
    floorReached: cutoffs.includes(1),
  });
  let tooLow = 1 / tables.reduce((most, { accesses }) => Math.max(most, accesses), 1);
  let fitting = 2; // twice all accesses: no row reaches that
  let tooLowCutoffs = cutoffsAt(tooLow, tables);
  let fittingCutoffs = cutoffsAt(fitting, tables);
  if (fits(tooLowCutoffs)) return found(tooLow, tooLowCutoffs, tooLowCutoffs);
  while (fittingCutoffs.some((cutoff, t) => cutoff > tooLowCutoffs[t] + 1)) {
    const middle = Math.sqrt(tooLow * fitting);
    const cutoffs = cutoffsAt(middle, tables);
    if (fits(cutoffs)) {
      fitting = middle;
      fittingCutoffs = cutoffs;
    } else {
      tooLow = middle;
      tooLowCutoffs = cutoffs;
    }
  }
  return found(fitting, fittingCutoffs, tooLowCutoffs);
}
