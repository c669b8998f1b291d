/** Decides from a dataset and a budget from how many accesses on the rows of each table are hot. */
import type { Dataset } from "../dataset/dataset.ts";
import { HotsetError } from "../errors.ts";
import { Random } from "../random.ts";
import { AccessLog } from "./access_log.ts";
import { addIntervals, estimatingCounter, exactCounter, type Interval, Tally } from "./estimate.ts";
import type { TableCutoff } from "./select_rows.ts";
import { cutoffsAt, rowsAt, type SearchedTable, searchThreshold, type Threshold } from "./threshold.ts";

/** Tables below this many bytes of weights are wholly hot. */
const SMALL_TABLE_BYTES = 1 << 20;
/** The sample has settled when its second half moves the estimate by no more than this share. */
const SETTLED = 0.1;
/** Streams of the seed. */
const LOG_STREAM = 1, CHUNK_STREAM = 2;

/** What a plan is made for. */
export interface PlanOptions {
  readonly dim: number;
  readonly bytesPerRow: number;
  readonly hotMemory: number;
  readonly sampleRate: number | undefined;
  readonly seed: number;
  readonly onProgress: (done: number, total: number) => void;
}

/** What becomes of one table. */
export interface TablePlan {
  /** Small tables are hot at every budget but 0. */
  readonly small: boolean;
  /** The rows to choose hot rows from: those at the next lower threshold, so that the budget can be filled. */
  readonly candidates: TableCutoff;
  /** Logged accesses from which on rows are hot, and the rows estimated to have them; undefined if not searched. */
  readonly cutoff: number | undefined;
  readonly estimate: Interval | undefined;
}

/** Which rows are to be hot, and the log that says so. */
export interface Plan {
  readonly threshold: number | undefined;
  readonly floorReached: boolean;
  readonly tables: TablePlan[];
  /** Hot rows that the tables which are not whole may have together. */
  readonly limit: number;
  /** Logged accesses of every global row. */
  readonly counts: Uint32Array;
  /** Percent of the samples in the log. */
  readonly sampleRate: number;
}

/** What a search needs to know of the tables that are not small. */
interface Search {
  readonly found: Threshold;
  readonly estimates: Interval[];
  readonly counts: Uint32Array;
  readonly sampleRate: number;
}

/**
 * Makes nothing hot for a budget of 0, everything for one that holds every row, and searches the threshold for all
 * between. Throws HotsetError if the budget does not hold the small tables.
 */
export function planHotRows(dataset: Dataset, options: PlanOptions): Plan {
  const { dim, bytesPerRow, hotMemory, sampleRate } = options;
  const budgetRows = Math.floor(hotMemory / bytesPerRow);
  const small = dataset.body.tables.map(({ rows }) => rows * dim * 4 < SMALL_TABLE_BYTES);
  const smallRows = dataset.body.tables.reduce((sum, { rows }, t) => sum + (small[t] ? rows : 0), 0);
  if (hotMemory === 0 || dataset.rows <= budgetRows) {
    const candidates = hotMemory === 0 ? Infinity : "whole";
    const tables = small.map((small) => ({ small, candidates, cutoff: undefined, estimate: undefined } as const));
    const counts = dataset.readCounts();
    return { threshold: undefined, floorReached: false, tables, limit: 0, counts, sampleRate: 100 };
  }
  if (smallRows > budgetRows) {
    const least = smallRows * bytesPerRow;
    throw new HotsetError(
      `Cannot profile ${dataset.directory}: the tables that are always hot need ${least} bytes of hot memory and the ` +
        `budget is ${hotMemory}; give at least ${least}, or 0 to keep nothing hot`,
    );
  }
  const limit = budgetRows - smallRows;
  const large = small.flatMap((isSmall, t) => isSmall ? [] : [t]);
  const { found, estimates, counts, sampleRate: rate } = sampleRate === undefined
    ? searchExact(dataset, large, limit, options)
    : searchSampled(dataset, large, limit, sampleRate, options);
  const tables = small.map((isSmall, t): TablePlan => {
    if (isSmall) return { small: true, candidates: "whole", cutoff: undefined, estimate: undefined };
    const i = large.indexOf(t);
    return { small: false, candidates: found.nextCutoffs[i], cutoff: found.cutoffs[i], estimate: estimates[i] };
  });
  return { threshold: found.threshold, floorReached: found.floorReached, tables, limit, counts, sampleRate: rate };
}

/** Searches by exact sizes; the estimates are made for comparison. */
function searchExact(dataset: Dataset, large: readonly number[], limit: number, { seed }: PlanOptions): Search {
  const counts = dataset.readCounts();
  const exact = large.map((t): SearchedTable => {
    const tally = new Tally().add(rowsOf(dataset, counts, t));
    return { accesses: tally.accessesAtLeast(1), counter: exactCounter(tally) };
  });
  const found = searchThreshold(exact, limit);
  const estimates = rowsAt(found.cutoffs, estimatedTables(dataset, counts, large, seed));
  return { found, estimates, counts, sampleRate: 100 };
}

/**
 * Searches by estimates over a sample. Logs half of it first: where the other half moves the estimated size at the
 * threshold that the first half suggests, rows cannot be told apart yet, and the sample is doubled.
 */
function searchSampled(
  dataset: Dataset,
  large: readonly number[],
  limit: number,
  sampleRate: number,
  { seed, onProgress }: PlanOptions,
): Search {
  const log = new AccessLog(dataset, new Random(seed, LOG_STREAM).next());
  const estimatedRows = (threshold: number, tables: SearchedTable[]) =>
    addIntervals(rowsAt(cutoffsAt(threshold, tables), tables)).value;
  log.growTo(sampleRate / 2, onProgress);
  let tables = estimatedTables(dataset, log.counts, large, seed);
  let found = searchThreshold(tables, limit);
  for (let rate = sampleRate;; rate = Math.min(100, 2 * rate)) {
    const { threshold } = found;
    const before = estimatedRows(threshold, tables);
    log.growTo(rate, onProgress);
    tables = estimatedTables(dataset, log.counts, large, seed);
    found = searchThreshold(tables, limit);
    const after = estimatedRows(threshold, tables);
    if (rate === 100 || Math.abs(after - before) <= SETTLED * Math.max(before, after)) break;
  }
  return { found, estimates: rowsAt(found.cutoffs, tables), counts: log.counts, sampleRate: log.rate };
}

function estimatedTables(dataset: Dataset, counts: Uint32Array, large: readonly number[], seed: number) {
  return large.map((t): SearchedTable => {
    const rows = rowsOf(dataset, counts, t);
    const accesses = rows.reduce((sum, count) => sum + count, 0);
    return { accesses, counter: estimatingCounter(rows, accesses, new Random(seed, CHUNK_STREAM, t)) };
  });
}

function rowsOf(dataset: Dataset, counts: Uint32Array, table: number): Uint32Array {
  return counts.subarray(dataset.firstRows[table], dataset.firstRows[table + 1]);
}
