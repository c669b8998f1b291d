/**
 * Estimates what a run takes within several memory budgets, with all other rows on disk, and its speed, from the
 * popularity of rows. Batches are assumed to be independent draws, and memory to contain the most recently used rows,
 * which the look-ahead plan approximates (Che's approximation).
 */
import { breaks, type Parts } from "../breaks.ts";
import type { BatchShape } from "../layout/batch.ts";
import type { ModelPlan } from "../model/shape.ts";
import type { TableShape } from "../dataset/table_shape.ts";
import { curvePieces } from "./hot_share.ts";
import { sizeCache, tableBytes } from "../ranks/tier.ts";

/** Rows with the same frequency of lookups. */
export interface PopularityClass {
  readonly rows: number;
  /** Mean number of lookups of each row in a sample. */
  readonly rate: number;
}

/** The estimate for a budget; part of the event of a plan. */
export interface PlannedBudget {
  /** As in `--memory 25%`: share of the bytes of rows with their optimizer state; 1 keeps all rows in memory. */
  readonly share: number;
  /** Bytes of the whole process. */
  readonly host: number;
  /** Maximum bytes on disk, in addition to datasets and checkpoints. */
  readonly disk: number;
  /** Share of a batch's distinct rows that is fetched, some of them for the first time. */
  readonly fetchShare: number;
  /**
   * Share of a batch's distinct rows that is read from disk; the initial value of a row is computed. Null if the number
   * of samples is unknown.
   */
  readonly readShare: number | null;
  /** Expected samples per second on this machine; null if its speed is unknown. */
  readonly samplesPerSecond: number | null;
}

/** Inputs of the estimate. */
export interface BudgetOptions {
  readonly model: ModelPlan;
  readonly batchShape: BatchShape;
  readonly popularity: readonly PopularityClass[];
  /** Number of samples of the train split; undefined if there is no data yet. */
  readonly samples: number | undefined;
  /** Bytes of host memory of the run with all rows in memory. */
  readonly host: number;
  /** Samples per second of the model on this machine with all rows in memory; undefined if it was not measured. */
  readonly speed: number | undefined;
}

/** The rows of a dataset, from the number of lookups of each in the train split. */
export async function countedPopularity(counts: Uint32Array, samples: number): Promise<PopularityClass[]> {
  const rows = new Map<number, number>();
  for (let first = 0; first < counts.length; first += ROWS_AT_ONCE) {
    for (const count of counts.subarray(first, first + ROWS_AT_ONCE)) rows.set(count, (rows.get(count) ?? 0) + 1);
    if (breaks.due) await breaks.take();
  }
  return [...rows].map(([count, rows]) => ({ rows, rate: samples === 0 ? 0 : count / samples }));
}

/** The rows of tables with known popularity, with one lookup per table and sample. */
export function publishedPopularity(tables: readonly TableShape[]): PopularityClass[] {
  return tables.flatMap((table) => curvePieces(table).map(({ rows, share }) => ({ rows, rate: share / rows })));
}

/** Rows that are counted at a time, which takes a few milliseconds. */
const ROWS_AT_ONCE = 1 << 16;
/** The budgets. */
const SHARES = [1, 0.5, 0.25, 0.1, 0.05] as const;
/** Maximum size of the store's files, as a multiple of the rows that were written. */
const DISK_SPACE = 1.5;
/**
 * Nanoseconds on one core (AMD EPYC): per distinct row of a batch, and in addition per fetched row that evicts another
 * one.
 */
const ROW_SECONDS = 0.15e-6;
const MOVE_SECONDS = 0.5e-6;

/** Estimates for all budgets, the largest first, in parts. */
export function* planBudgets(options: BudgetOptions): Parts<PlannedBudget[]> {
  const { model, batchShape, popularity, samples, host, speed } = options;
  const { batchSize } = batchShape;
  const distinct = distinctRows(popularity, batchSize);
  const touched = samples === undefined ? model.rows : rowsLookedUp(popularity);
  const tables = tableBytes(model);
  const budgets: PlannedBudget[] = [];
  for (const share of SHARES) {
    yield;
    const budget = { share, host: Math.round(host - (1 - share) * tables) };
    const sizes = { batchShape, mostDistinct: { cold: Math.ceil(distinct) }, ranks: 1 };
    const cache = sizeCache(model, sizes, { memory: { share } }, 0);
    if (cache === undefined) {
      const samplesPerSecond = speed ?? null;
      budgets.push({ ...budget, disk: 0, fetchShare: 0, readShare: 0, samplesPerSecond });
      continue;
    }
    const fetched = yield* fetchedRows({ popularity, batchSize, samples }, cache.slots);
    const again = fetched.again / distinct;
    const fetchShare = Math.min(1, fetched.first / distinct + again);
    const moved = distinct * (ROW_SECONDS + fetchShare * MOVE_SECONDS) / batchSize;
    budgets.push({
      ...budget,
      disk: cache.slots >= touched ? 0 : Math.round(DISK_SPACE * touched * tables / model.rows),
      fetchShare,
      readShare: samples === undefined ? null : again,
      samplesPerSecond: speed === undefined ? null : 1 / (1 / speed + moved),
    });
  }
  return budgets;
}

/**
 * Expected distinct rows of a batch that a cache of `slots` rows does not have: those of which it is the first batch, in
 * the first epoch, and those that were evicted since their last one. Without a number of samples, only the latter. In
 * parts.
 */
export function* fetchedRows(
  { popularity, batchSize, samples }: Pick<BudgetOptions, "popularity" | "samples"> & { readonly batchSize: number },
  slots: number,
): Parts<{ readonly first: number; readonly again: number }> {
  const classes = popularity.filter(({ rate }) => rate > 0)
    .map(({ rows, rate }) => ({ rows, inBatch: -Math.expm1(-rate * batchSize) }));
  const steps = yield* stepsInMemory(classes, slots);
  const batches = samples === undefined ? Infinity : Math.max(1, samples / batchSize);
  const again = sum(classes, ({ rows, inBatch }) => rows * Math.max(0, inBatch - 1 / batches) * (1 - inBatch) ** steps);
  return { first: rowsLookedUp(popularity) / batches, again };
}

function rowsLookedUp(popularity: readonly PopularityClass[]): number {
  return sum(popularity, ({ rows, rate }) => rate > 0 ? rows : 0);
}

/** Expected distinct rows of a batch. */
export function distinctRows(popularity: readonly PopularityClass[], batchSize: number): number {
  return sum(popularity, ({ rows, rate }) => rows * -Math.expm1(-rate * batchSize));
}

/** Number of steps for which a row stays in memory after its last use, if this number of rows fits. */
function* stepsInMemory(
  classes: readonly { readonly rows: number; readonly inBatch: number }[],
  slots: number,
): Parts<number> {
  const used = (steps: number) => sum(classes, ({ rows, inBatch }) => rows * (1 - (1 - inBatch) ** steps));
  let [low, high] = [0, 1];
  for (; used(high) < slots; high *= 2) {
    if (high > 1e12) return Infinity;
    yield;
  }
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (used(middle) < slots) low = middle;
    else high = middle;
    yield;
  }
  return low;
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
