/**
 * What a run takes within a few budgets of memory, with all other rows on a disk, and how fast it is expected to be, worked
 * out from how popular rows are. Batches are taken as independent draws, and the rows in memory as those used last, which
 * is what the look-ahead plan keeps (Che's approximation).
 */
import type { BatchShape } from "../layout/batch.ts";
import type { ModelPlan } from "../model/shape.ts";
import type { TableShape } from "../dataset/table_shape.ts";
import { curvePieces } from "./hot_share.ts";
import { sizeCache, tableBytes } from "../ranks/tier.ts";

/** Rows that are looked up equally often. */
export interface PopularityClass {
  readonly rows: number;
  /** Mean lookups of each in a sample. */
  readonly rate: number;
}

/** A budget, as a part of the event of a plan. */
export interface PlannedBudget {
  /** As in `--memory 25%`: share of the bytes of the rows with their optimizer state; 1 keeps all in memory. */
  readonly share: number;
  /** Bytes of the whole process. */
  readonly host: number;
  /** Bytes on the disk, at most, beside datasets and checkpoints. */
  readonly disk: number;
  /** Of the distinct rows of a batch, the share that is brought into memory; some of them for the first time. */
  readonly fetchShare: number;
  /** The share that is read from the disk: a row that is used for the first time is computed. Null where samples are not known. */
  readonly readShare: number | null;
  /** Expected samples a second on this machine; null where its speed is not known. */
  readonly samplesPerSecond: number | null;
}

/** What budgets are planned for. */
export interface BudgetOptions {
  readonly model: ModelPlan;
  readonly batchShape: BatchShape;
  readonly popularity: readonly PopularityClass[];
  /** Samples of the train split; undefined where there is no data yet. */
  readonly samples: number | undefined;
  /** Bytes of host memory that the run takes with all rows in memory. */
  readonly host: number;
  /** Undefined where it was not measured. */
  readonly speed: Speed | undefined;
}

/** Samples a second of a model on this machine. */
export interface Speed {
  /** With all rows in memory, by all ranks. */
  readonly inMemory: number;
  /** By one rank, as many as keep rows on a disk. */
  readonly oneRank: number;
}

/** The rows of a dataset, by the accesses of each in so many samples. */
export function countedPopularity(counts: Uint32Array, samples: number): PopularityClass[] {
  const rows = new Map<number, number>();
  for (const count of counts) rows.set(count, (rows.get(count) ?? 0) + 1);
  return [...rows].map(([count, rows]) => ({ rows, rate: samples === 0 ? 0 : count / samples }));
}

/** The rows of tables of which the popularity is known, with one lookup of a sample in each. */
export function publishedPopularity(tables: readonly TableShape[]): PopularityClass[] {
  return tables.flatMap((table) => curvePieces(table).map(({ rows, share }) => ({ rows, rate: share / rows })));
}

/** The budgets. */
const SHARES = [1, 0.5, 0.25, 0.1, 0.05] as const;
/** The store's files hold at most this many times the rows that were written. */
const DISK_SPACE = 1.5;
/** Of one core (AMD EPYC): for each distinct row of a batch, and more for one that comes while another one leaves. */
const ROW_SECONDS = 0.15e-6;
const MOVE_SECONDS = 0.5e-6;

/** Plans all budgets, the largest first. */
export function planBudgets(options: BudgetOptions): PlannedBudget[] {
  const { model, batchShape, popularity, samples, host, speed } = options;
  const { batchSize } = batchShape;
  const classes = popularity.map(({ rows, rate }) => ({ rows, inBatch: -Math.expm1(-rate * batchSize) }));
  const distinct = sum(classes, ({ rows, inBatch }) => rows * inBatch);
  const touched = samples === undefined ? model.rows : sum(popularity, ({ rows, rate }) => rate > 0 ? rows : 0);
  const tables = tableBytes(model);
  // In the first epoch a row's first batch always brings it.
  const batches = samples === undefined ? Infinity : Math.max(1, samples / batchSize);
  return SHARES.map((share): PlannedBudget => {
    const budget = { share, host: Math.round(host - (1 - share) * tables) };
    const sizes = { batchShape, mostDistinct: { cold: Math.ceil(distinct) } };
    const cache = sizeCache(model, sizes, { share }, 0);
    if (cache === undefined) {
      const samplesPerSecond = speed?.inMemory ?? null;
      return { ...budget, disk: 0, fetchShare: 0, readShare: 0, samplesPerSecond };
    }
    const steps = stepsInMemory(classes, cache.slots);
    const first = Number.isFinite(batches) ? touched / batches / distinct : 0;
    const again = sum(classes, ({ rows, inBatch }) => {
      const later = Math.max(0, inBatch - (inBatch > 0 ? 1 / batches : 0)); // uses a batch that are not the row's first
      return rows * later * (1 - inBatch) ** steps;
    }) / distinct;
    const fetchShare = Math.min(1, first + again);
    const moved = distinct * (ROW_SECONDS + fetchShare * MOVE_SECONDS) / batchSize;
    return {
      ...budget,
      disk: cache.slots >= touched ? 0 : Math.round(DISK_SPACE * touched * tables / model.rows),
      fetchShare,
      readShare: samples === undefined ? null : again,
      samplesPerSecond: speed === undefined ? null : 1 / (1 / speed.oneRank + moved),
    };
  });
}

/** For how many steps a row stays in memory after its last use, if so many rows have room. */
function stepsInMemory(classes: readonly { readonly rows: number; readonly inBatch: number }[], slots: number): number {
  const used = (steps: number) => sum(classes, ({ rows, inBatch }) => rows * (1 - (1 - inBatch) ** steps));
  let [low, high] = [0, 1];
  for (; used(high) < slots; high *= 2) if (high > 1e12) return Infinity;
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (used(middle) < slots) low = middle;
    else high = middle;
  }
  return low;
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
