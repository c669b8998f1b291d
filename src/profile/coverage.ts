/** The coverage curve: what each doubling of the budget buys, in lookups and in all-hot samples. */
import type { Dataset } from "../dataset/dataset.ts";
import { Random } from "../random.ts";
import { exactCounter, type Tally } from "./estimate.ts";
import { cutoffsAt, searchThreshold } from "./threshold.ts";

/** Samples on which the share of all-hot samples is measured: its standard error is below 0.004. */
const MEASURED_SAMPLES = 20_000;
const SMALLEST_BUDGET = 1 << 16;
/** Stream of the seed. */
const COVERAGE_STREAM = 3;

/** One point of the curve. */
export interface CoveragePoint {
  budget: number;
  hotBytes: number;
  /** Shares of the train split, in [0, 1]. */
  lookupShare: number;
  sampleShare: number;
}

/** A table as the curve sees it; `tally` is undefined for tables that are hot at every budget. */
export interface CoveredTable {
  readonly rows: number;
  /** Exact accesses to all its rows. */
  readonly accesses: number;
  readonly tally: Tally | undefined;
}

/**
 * Points for budgets that double from just above the tables that are always hot up to one that holds every row.
 * `counts` are the exact accesses of every global row.
 */
export function coverageCurve(
  dataset: Dataset,
  counts: Uint32Array,
  tables: readonly CoveredTable[],
  bytesPerRow: number,
  seed: number,
): CoveragePoint[] {
  const large = tables.filter((table) => table.tally !== undefined) as (CoveredTable & { tally: Tally })[];
  const always = tables.filter((table) => table.tally === undefined);
  const alwaysRows = sum(always, (table) => table.rows);
  const allRows = sum(tables, (table) => table.rows);
  const accesses = sum(tables, (table) => table.accesses) || 1;
  const searched = large.map(({ accesses, tally }) => ({ accesses, counter: exactCounter(tally) }));
  const leastShares = leastSharesOfSamples(dataset, counts, tables, seed);
  const points: CoveragePoint[] = [];
  let budget = SMALLEST_BUDGET;
  while (budget < alwaysRows * bytesPerRow) budget *= 2;
  for (; budget < allRows * bytesPerRow; budget *= 2) {
    const { threshold } = searchThreshold(searched, Math.floor(budget / bytesPerRow) - alwaysRows);
    const cutoffs = cutoffsAt(threshold, large);
    const hotRows = alwaysRows + sum(large, ({ tally }, t) => tally.rowsAtLeast(cutoffs[t]));
    const hotLookups = sum(always, (table) => table.accesses) +
      sum(large, ({ tally }, t) => tally.accessesAtLeast(cutoffs[t]));
    const hotSamples = leastShares.reduce((hot, share) => hot + (share >= threshold ? 1 : 0), 0);
    points.push({
      budget,
      hotBytes: hotRows * bytesPerRow,
      lookupShare: hotLookups / accesses,
      sampleShare: hotSamples / (leastShares.length || 1),
    });
  }
  points.push({ budget, hotBytes: allRows * bytesPerRow, lookupShare: 1, sampleShare: 1 });
  return points;
}

/**
 * For each of the measured samples the least share of its table's accesses that any of its lookups has: the sample is
 * all-hot at every threshold up to it. One sample is drawn from each of equally long stretches of the train split.
 */
function leastSharesOfSamples(
  dataset: Dataset,
  counts: Uint32Array,
  tables: readonly CoveredTable[],
  seed: number,
): Float64Array {
  const random = new Random(seed, COVERAGE_STREAM);
  const samples = dataset.samples("train");
  const shares = new Float64Array(Math.min(MEASURED_SAMPLES, samples));
  using reader = dataset.reader("train", 1);
  for (let i = 0; i < shares.length; i++) {
    const first = Math.floor(i * samples / shares.length);
    const end = Math.floor((i + 1) * samples / shares.length);
    const { indices, offsets } = reader.readLookups(first + random.below(end - first), 1);
    let least = Infinity;
    for (let t = 0, k = 0; t < tables.length; t++) {
      const { tally, accesses } = tables[t];
      for (const last = offsets === undefined ? t + 1 : offsets[t + 1]; k < last; k++) {
        if (tally !== undefined) least = Math.min(least, counts[indices[k]] / accesses);
      }
    }
    shares[i] = least;
  }
  return shares;
}

function sum<T>(items: readonly T[], term: (item: T, index: number) => number): number {
  return items.reduce((total, item, index) => total + term(item, index), 0);
}
