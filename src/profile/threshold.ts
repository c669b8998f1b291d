/** Searches the threshold: the share of its table's accesses that makes a row hot. */
import { addIntervals, type HotRowCounter, type Interval } from "./estimate.ts";

export interface SearchedTable {
  /** Logged accesses to all its rows. */
  readonly accesses: number;
  readonly counter: HotRowCounter;
}

export interface Threshold {
  readonly threshold: number;
  /** Logged accesses that make a row of each table hot; at least 1, because an unseen row is never hot. */
  readonly cutoffs: number[];
  /** The next lower cut-offs, whose rows would exceed the limit; equal to `cutoffs` at the minimum. */
  readonly nextCutoffs: number[];
  /** True if some cut-off is 1: the log cannot distinguish rows seen once from rows seen less often. */
  readonly floorReached: boolean;
}

/** Cut-off of each table at a threshold: a share of its accesses, in whole accesses, at least 1. */
export function cutoffsAt(threshold: number, tables: readonly Pick<SearchedTable, "accesses">[]): number[] {
  return tables.map(({ accesses }) => Math.max(1, Math.ceil(threshold * accesses)));
}

/** Number of rows of each table that reach its cut-off. */
export function rowsAt(cutoffs: readonly number[], tables: readonly SearchedTable[]): Interval[] {
  return tables.map(({ counter }, t) => counter.rowsAtLeast(cutoffs[t]));
}

/**
 * The smallest threshold at which the upper bound of all tables' hot rows is at most `limit` rows. Bisects the
 * logarithm of the threshold until the whole-numbered cut-offs of its two ends are neighbours.
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
  let fitting = 2; // twice all accesses, which no row reaches
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
