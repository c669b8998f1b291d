/** The coverage curve: hot lookups and all-hot samples for each doubling of the budget. */
import { breaks } from "../breaks.ts";
import type { Dataset } from "../dataset/dataset.ts";
import { Random } from "../random.ts";
import { exactCounter } from "./estimate.ts";
import { HotRule, type TableCutoff } from "./hot_rule.ts";
import type { RowCounts } from "./tally.ts";
import { wholeTables } from "./plan_hot_rows.ts";
import { searchThreshold } from "./threshold.ts";

/** Samples for measuring both shares: the standard error of a share is below 0.004. */
const MEASURED_SAMPLES = 20_000;
const SMALLEST_BUDGET = 1 << 16;
/** Stream of the seed. */
const COVERAGE_STREAM = 3;

export interface CoveragePoint {
  budget: number;
  hotBytes: number;
  /** Shares of the train split, in [0, 1]; of lookups by exact counts, of samples by a random sample. */
  lookupShare: number;
  sampleShare: number;
}

/**
 * Points for budgets that double up to one that holds every row, and for the chosen budget and its double. Hot rows are
 * chosen by exact counts, like in a profile without a sample rate. Shares of samples are measured on `samples`.
 */
export async function coverageCurve(
  dataset: Dataset,
  rows: RowCounts,
  dim: number,
  bytesPerRow: number,
  chosen: number,
  samples: readonly DrawnSample[],
): Promise<CoveragePoint[]> {
  const { tables } = dataset.body;
  const counted = rows.tallies.map((tally) => ({ accesses: tally.accesses, counter: exactCounter(tally) }));
  const lookups = rows.tallies.reduce((sum, { accesses }) => sum + accesses, 0);
  const points: CoveragePoint[] = [];
  const most = dataset.rows * bytesPerRow;
  let last = SMALLEST_BUDGET;
  const budgets = [chosen, 2 * chosen].filter((budget) => budget > 0 && budget < most);
  for (; last < most; last *= 2) if (!budgets.includes(last)) budgets.push(last);
  for (const budget of budgets.sort((a, b) => a - b)) {
    if (breaks.due) await breaks.take();
    const budgetRows = Math.floor(budget / bytesPerRow);
    const whole = wholeTables(tables, dim, budgetRows);
    const limit = tables.reduce((left, { rows }, t) => left - (whole[t] ? rows : 0), budgetRows);
    const { nextCutoffs } = searchThreshold(counted.filter((_, t) => !whole[t]), limit);
    let next = 0;
    const rule = new HotRule(rows, whole.map((isWhole): TableCutoff => isWhole ? "whole" : nextCutoffs[next++]), limit);
    const hot = rule.measure();
    points.push({
      budget,
      hotBytes: hot.rows * bytesPerRow,
      lookupShare: lookups === 0 ? 0 : hot.lookups / lookups,
      sampleShare: allHotSampleShare(samples, rule),
    });
  }
  points.push({ budget: last, hotBytes: most, lookupShare: 1, sampleShare: 1 });
  return points;
}

/** Lookups of one sample: global rows and the table of each. */
export interface DrawnSample {
  readonly rows: Uint32Array;
  readonly tables: Uint16Array;
}

/** Share of the samples whose lookups are all hot by this rule. */
export function allHotSampleShare(samples: readonly DrawnSample[], rule: HotRule): number {
  const hot = samples.filter(({ rows, tables }) => rows.every((row, k) => rule.isHot(tables[k], row))).length;
  return samples.length === 0 ? 0 : hot / samples.length;
}

/** Samples for measuring shares: one of the train split from each of equally long sections of the log. */
export async function drawSamples(dataset: Dataset, seed: number): Promise<DrawnSample[]> {
  const random = new Random(seed, COVERAGE_STREAM);
  const samples = dataset.samples("train");
  const count = Math.min(MEASURED_SAMPLES, samples);
  using reader = dataset.reader("train", 1);
  const drawn: DrawnSample[] = [];
  for (let i = 0; i < count; i++) {
    if (breaks.due) await breaks.take();
    const first = Math.floor(i * samples / count);
    const end = Math.floor((i + 1) * samples / count);
    const { indices, offsets } = reader.readLookups(first + random.below(end - first), 1);
    const tables = new Uint16Array(indices.length);
    for (let bag = 0; bag < dataset.bagsOfSample; bag++) {
      tables.fill(bag % dataset.tables, offsets?.[bag] ?? bag, offsets?.[bag + 1] ?? bag + 1);
    }
    drawn.push({ rows: indices.slice(), tables });
  }
  return drawn;
}
