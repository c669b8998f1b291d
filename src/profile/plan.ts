/** Decides from a dataset and a budget from how many accesses on the rows of each table are hot. */
import type { Dataset } from "../dataset/dataset.ts";
import { HotsetError } from "../errors.ts";
import { bytes } from "../report/format.ts";
import { Random } from "../random.ts";
import { ALONE, type Team } from "../team.ts";
import { AccessLog } from "./access_log.ts";
import { addIntervals, estimatingCounter, exactCounter, type Interval } from "./estimate.ts";
import { HotRule, type TableCutoff } from "./hot_rule.ts";
import { RowCounts } from "./tally.ts";
import { cutoffsAt, rowsAt, type SearchedTable, searchThreshold, type Threshold } from "./threshold.ts";

/** Tables below this many bytes of weights are wholly hot. */
export const SMALL_TABLE_BYTES = 1 << 20;
/** The sample has settled when its second half moves the estimate by no more than this share. */
const SETTLED = 0.1;
/** How many times the share that was asked for a sample grows to at most. */
const MOST_GROWTH = 4;
/** Streams of the seed. */
const LOG_STREAM = 1, CHUNK_STREAM = 2;

/** What a plan is made for. */
export interface PlanOptions {
  readonly dim: number;
  readonly bytesPerRow: number;
  readonly hotMemory: number;
  readonly sampleRate: number | undefined;
  readonly seed: number;
  readonly team?: Team;
  readonly onProgress: (done: number, total: number) => void;
}

/** What becomes of one table. */
export interface TablePlan {
  /** Small tables are hot at every budget but 0. */
  readonly small: boolean;
  readonly whole: boolean;
  /** Logged accesses from which on rows are hot, and the rows estimated to have them; undefined if not searched. */
  readonly cutoff: number | undefined;
  readonly estimate: Interval | undefined;
}

/** Which rows are to be hot, and the log that says so. */
export interface Plan {
  readonly threshold: number | undefined;
  readonly floorReached: boolean;
  readonly tables: TablePlan[];
  readonly rule: HotRule;
  /** Logged accesses. */
  readonly log: RowCounts;
  /** Percent of the samples in the log. */
  readonly sampleRate: number;
  /** False if the sample is too small to tell how many rows reach the threshold. */
  readonly settled: boolean;
}

/** What a search finds for the tables that are not small. */
interface Search {
  readonly found: Threshold;
  readonly estimates: Interval[];
  readonly log: RowCounts;
  readonly sampleRate: number;
  readonly settled: boolean;
}

/**
 * Makes nothing hot for a budget of 0, everything for one that holds every row, and searches the threshold for all
 * between. Throws HotsetError if the budget does not hold the small tables.
 */
export function planHotRows(dataset: Dataset, options: PlanOptions): Plan {
  const { dim, bytesPerRow, hotMemory, sampleRate, team = ALONE } = options;
  const budgetRows = Math.floor(hotMemory / bytesPerRow);
  const small = dataset.body.tables.map(({ rows }) => rows * dim * 4 < SMALL_TABLE_BYTES);
  const smallRows = dataset.body.tables.reduce((sum, { rows }, t) => sum + (small[t] ? rows : 0), 0);
  if (hotMemory === 0 || dataset.rows <= budgetRows) {
    const whole = hotMemory > 0;
    const tables = small.map((small) => ({ small, whole, cutoff: undefined, estimate: undefined }));
    const log = new RowCounts(dataset.readCounts(), dataset.firstRows);
    const rule = new HotRule(log, small.map(() => whole ? "whole" : Infinity), 0);
    return { threshold: undefined, floorReached: false, tables, rule, log, sampleRate: 100, settled: true };
  }
  if (smallRows > budgetRows) {
    const least = smallRows * bytesPerRow;
    team.agree(
      new HotsetError(
        `Cannot profile ${dataset.directory}: ${tooSmall(least, hotMemory)}`,
      ),
    );
  }
  const limit = budgetRows - smallRows;
  const large = small.flatMap((isSmall, t) => isSmall ? [] : [t]);
  const search = sampleRate === undefined
    ? searchExact(dataset, large, limit, options)
    : searchSampled(dataset, large, limit, sampleRate, options);
  const { threshold, floorReached, cutoffs, nextCutoffs } = search.found;
  const tables = small.map((isSmall, t): TablePlan => {
    if (isSmall) return { small: true, whole: true, cutoff: undefined, estimate: undefined };
    const i = large.indexOf(t);
    return { small: false, whole: false, cutoff: cutoffs[i], estimate: search.estimates[i] };
  });
  // Rows at the next lower threshold are candidates too, so that the budget is filled.
  const candidates = small.map((isSmall, t): TableCutoff => isSmall ? "whole" : nextCutoffs[large.indexOf(t)]);
  const rule = new HotRule(search.log, candidates, limit);
  const { log, sampleRate: logged, settled } = search;
  return { threshold, floorReached, tables, rule, log, sampleRate: logged, settled };
}

/** Says why a budget does not do, and which would. */
export function tooSmall(least: number, hotMemory: number): string {
  return `tables below ${bytes(SMALL_TABLE_BYTES)} are always hot and need ${least} bytes here, and the budget is ` +
    `${hotMemory}; give --hot-memory ${Math.ceil(least / 2 ** 20)}MiB or more, or 0 to keep nothing hot`;
}

/** Searches by exact sizes; the estimates are made for comparison. */
function searchExact(dataset: Dataset, large: readonly number[], limit: number, { seed }: PlanOptions): Search {
  const log = new RowCounts(dataset.readCounts(), dataset.firstRows);
  const exact = large.map((t): SearchedTable => (
    { accesses: log.tallies[t].accesses, counter: exactCounter(log.tallies[t]) }
  ));
  const found = searchThreshold(exact, limit);
  const estimates = rowsAt(found.cutoffs, estimatedTables(log, large, seed));
  return { found, estimates, log, sampleRate: 100, settled: true };
}

/**
 * Searches by estimates over a sample. Logs half of it first: where the other half moves the estimated size at the
 * threshold that the first half suggests, rows cannot be told apart yet, and the sample is doubled, up to four times
 * what was asked for.
 */
function searchSampled(
  dataset: Dataset,
  large: readonly number[],
  limit: number,
  sampleRate: number,
  { seed, team = ALONE, onProgress }: PlanOptions,
): Search {
  const accesses = new AccessLog(dataset, new Random(seed, LOG_STREAM).next(), team);
  const search = (rate: number) => {
    accesses.growTo(rate, onProgress);
    const log = new RowCounts(accesses.counts, dataset.firstRows);
    const tables = estimatedTables(log, large, seed);
    return { log, tables, found: searchThreshold(tables, limit) };
  };
  const rowsAbove = (threshold: number, tables: SearchedTable[]) =>
    addIntervals(rowsAt(cutoffsAt(threshold, tables), tables)).value;
  const most = Math.min(100, MOST_GROWTH * sampleRate);
  let half = search(sampleRate / 2);
  for (let rate = sampleRate;; rate = Math.min(most, 2 * rate)) {
    const whole = search(rate);
    const { threshold } = half.found;
    const before = rowsAbove(threshold, half.tables);
    const after = rowsAbove(threshold, whole.tables);
    const settled = rate === 100 || Math.abs(after - before) <= SETTLED * Math.max(before, after);
    if (!settled && rate < most) {
      half = whole;
      continue;
    }
    const { found, tables, log } = whole;
    return { found, estimates: rowsAt(found.cutoffs, tables), log, sampleRate: rate, settled };
  }
}

function estimatedTables(log: RowCounts, large: readonly number[], seed: number): SearchedTable[] {
  return large.map((t) => {
    const { accesses } = log.tallies[t];
    return { accesses, counter: estimatingCounter(log.ofTable(t), accesses, new Random(seed, CHUNK_STREAM, t)) };
  });
}
