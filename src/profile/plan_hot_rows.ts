/** Decides for a dataset and a budget how many accesses make the rows of each table hot. */
import type { Dataset } from "../dataset/dataset.ts";
import { Random } from "../random.ts";
import type { ProcessGroup } from "../parallel/process_group.ts";
import { AccessLog } from "./access_log.ts";
import { addIntervals, estimatingCounter, exactCounter, type Interval } from "./estimate.ts";
import { HotRule, type TableCutoff } from "./hot_rule.ts";
import { RowCounts } from "./tally.ts";
import { cutoffsAt, rowsAt, type SearchedTable, searchThreshold, type Threshold } from "./threshold.ts";

/** Tables below this many bytes of weights are small. */
const SMALL_TABLE_BYTES = 1 << 20;
/** Maximum share of the budget for small tables. */
const MAX_SMALL_SHARE = 0.5;
/** The sample is large enough if its second half changes the estimate by no more than this share. */
const SETTLED = 0.1;
/** Maximum size of a sample as a multiple of the requested one. */
const MAX_GROWTH = 4;
/** Streams of the seed. */
const LOG_STREAM = 1, CHUNK_STREAM = 2;

/** What a plan is computed from. */
export interface PlanOptions {
  readonly dim: number;
  readonly bytesPerRow: number;
  readonly hotMemory: number;
  readonly sampleRate: number | undefined;
  readonly seed: number;
  readonly group?: ProcessGroup;
  readonly onProgress: (done: number, total: number) => void;
}

/** Decision about one table. */
export interface TablePlan {
  readonly whole: boolean;
  /** Logged accesses from which on rows are hot, and the estimated number of such rows; undefined if not searched. */
  readonly cutoff: number | undefined;
  readonly estimate: Interval | undefined;
}

/** The log of accesses that decisions are based on. */
interface UsedLog {
  readonly log: RowCounts;
  /** Percent of the samples in the log. */
  readonly sampleRate: number;
  /** False if the sample is too small to determine how many rows reach the threshold. */
  readonly settled: boolean;
}

export interface Plan extends UsedLog {
  readonly threshold: number | undefined;
  readonly floorReached: boolean;
  readonly tables: TablePlan[];
  readonly rule: HotRule;
}

/** Result of a search for the tables that are not hot as a whole. */
interface Search extends UsedLog {
  readonly found: Threshold;
  readonly estimates: Interval[];
}

/**
 * Tables that are hot as a whole within a budget of `budgetRows` rows: all if every row fits; else the small ones, if
 * together they take no more than half of it. In a smaller budget their rows compete with all others by popularity, so
 * that it is never spent on unused rows while popular ones remain cold.
 */
export function wholeTables(tables: readonly { readonly rows: number }[], dim: number, budgetRows: number): boolean[] {
  const small = tables.map(({ rows }) => rows * dim * 4 < SMALL_TABLE_BYTES);
  if (sumRows(tables) <= budgetRows) return small.map(() => true);
  const fits = sumRows(tables.filter((_, t) => small[t])) <= MAX_SMALL_SHARE * budgetRows;
  return small.map((isSmall) => isSmall && fits);
}

function sumRows(tables: readonly { readonly rows: number }[]): number {
  return tables.reduce((sum, { rows }) => sum + rows, 0);
}

/** No row is hot if the budget holds none, and every row if it holds all; otherwise the threshold is searched. */
export async function planHotRows(dataset: Dataset, options: PlanOptions): Promise<Plan> {
  const { dim, bytesPerRow, hotMemory, sampleRate } = options;
  const budgetRows = Math.floor(hotMemory / bytesPerRow);
  const whole = wholeTables(dataset.body.tables, dim, budgetRows);
  if (budgetRows === 0 || dataset.rows <= budgetRows) {
    const tables = whole.map((whole) => ({ whole, cutoff: undefined, estimate: undefined }));
    const log = await RowCounts.ofTrainSplit(dataset);
    const rule = new HotRule(log, whole.map((whole) => whole ? "whole" : Infinity), 0);
    return { threshold: undefined, floorReached: false, tables, rule, log, sampleRate: 100, settled: true };
  }
  const limit = budgetRows - sumRows(dataset.body.tables.filter((_, t) => whole[t]));
  const searched = whole.flatMap((isWhole, t) => isWhole ? [] : [t]);
  const search = sampleRate === undefined
    ? await searchExact(dataset, searched, limit, options)
    : await searchSampled(dataset, searched, limit, sampleRate, options);
  const { found: { threshold, floorReached, cutoffs, nextCutoffs }, estimates, ...log } = search;
  const tables = whole.map((isWhole, t): TablePlan => {
    if (isWhole) return { whole: true, cutoff: undefined, estimate: undefined };
    const i = searched.indexOf(t);
    return { whole: false, cutoff: cutoffs[i], estimate: estimates[i] };
  });
  // Rows at the next lower threshold are candidates too, so that the budget is filled.
  const candidates = whole.map((isWhole, t): TableCutoff => isWhole ? "whole" : nextCutoffs[searched.indexOf(t)]);
  return { threshold, floorReached, tables, rule: new HotRule(log.log, candidates, limit), ...log };
}

/** Searches by exact sizes; estimates are computed for comparison. */
async function searchExact(
  dataset: Dataset,
  searched: readonly number[],
  limit: number,
  { seed }: PlanOptions,
): Promise<Search> {
  const log = await RowCounts.ofTrainSplit(dataset);
  const exact = searched.map((t): SearchedTable => (
    { accesses: log.tallies[t].accesses, counter: exactCounter(log.tallies[t]) }
  ));
  const found = searchThreshold(exact, limit);
  const estimates = rowsAt(found.cutoffs, estimatedTables(log, searched, seed));
  return { found, estimates, log, sampleRate: 100, settled: true };
}

/**
 * Searches by estimates from a sample. Logs half of it first: if the other half changes the estimated size at the
 * threshold of the first half, rows cannot be distinguished yet, and the sample is doubled, up to four times the
 * requested size.
 */
async function searchSampled(
  dataset: Dataset,
  searched: readonly number[],
  limit: number,
  sampleRate: number,
  { seed, group, onProgress }: PlanOptions,
): Promise<Search> {
  const accesses = new AccessLog(dataset, new Random(seed, LOG_STREAM).next(), group);
  const search = async (rate: number) => {
    await accesses.growTo(rate, onProgress);
    const log = await RowCounts.of(accesses.counts, dataset.firstRows);
    const tables = estimatedTables(log, searched, seed);
    return { log, tables, found: searchThreshold(tables, limit) };
  };
  const rowsAbove = (threshold: number, tables: SearchedTable[]) =>
    addIntervals(rowsAt(cutoffsAt(threshold, tables), tables)).value;
  const most = Math.min(100, MAX_GROWTH * sampleRate);
  let half = await search(sampleRate / 2);
  for (let rate = sampleRate;; rate = Math.min(most, 2 * rate)) {
    const whole = await search(rate);
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

function estimatedTables(log: RowCounts, searched: readonly number[], seed: number): SearchedTable[] {
  return searched.map((t) => {
    const { accesses } = log.tallies[t];
    return { accesses, counter: estimatingCounter(log.ofTable(t), accesses, new Random(seed, CHUNK_STREAM, t)) };
  });
}
