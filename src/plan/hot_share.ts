/** Estimates the coverage of a budget of hot rows from popularity curves, without data. */
import { normalCdf } from "../dataset/click_model.ts";
import { RANKS, type TableShape } from "../dataset/table_shape.ts";

/** Pieces per measured section of a curve, with equal ratios of ranks. */
const PIECES = 16;
/** Steps of the integral over the common factor, from -6 to 6 standard deviations. */
const FACTOR_STEPS = 240;
const FACTOR_BOUND = 6;

/** Expected coverage. */
export interface HotShare {
  /** Hot rows of each table, the most popular ones. */
  readonly hotRows: readonly number[];
  /** Share of each table's lookups that are of these rows. */
  readonly shares: readonly number[];
  /** Mean of the shares: every sample looks up one row in each table. */
  readonly lookupShare: number;
}

/**
 * Fills `budgetRows` rows with all rows of the tables that are hot as a whole, then with the most popular rows of
 * others.
 */
export function fillBudget(shapes: readonly TableShape[], whole: readonly boolean[], budgetRows: number): HotShare {
  const hotRows = shapes.map(({ rows }, t) => whole[t] ? rows : 0);
  const shares = whole.map((isWhole) => Number(isWhole));
  const pieces = shapes.flatMap((shape, t) =>
    whole[t] ? [] : curvePieces(shape).map((piece) => ({ ...piece, table: t }))
  );
  pieces.sort((a, b) => b.share / b.rows - a.share / a.rows);
  let left = budgetRows - hotRows.reduce((sum, rows) => sum + rows, 0);
  for (const { table, rows, share } of pieces) {
    const taken = Math.min(rows, left);
    if (taken <= 0) break;
    hotRows[table] += taken;
    shares[table] = Math.min(1, shares[table] + share * taken / rows);
    left -= taken;
  }
  return { hotRows, shares, lookupShare: shares.reduce((sum, share) => sum + share, 0) / shapes.length };
}

/** A table's rows by falling popularity, in pieces of whole rows with the lookups of each. */
export function curvePieces(shape: TableShape): { rows: number; share: number }[] {
  const ends = new Set([shape.rows]);
  for (const [low, high] of stretches(shape)) {
    for (let piece = 1; piece <= PIECES; piece++) {
      ends.add(Math.round(low.rank * (high.rank / low.rank) ** (piece / PIECES)));
    }
  }
  let rank = 0;
  return [1, ...[...ends].sort((a, b) => a - b).filter((end) => end > 1)].map((end) => {
    const piece = { rows: end - rank, share: shareOf(shape, end) - shareOf(shape, rank) };
    rank = end;
    return piece;
  });
}

/** Share of a table's lookups of its first `rank` rows; between measured ranks it grows as a power. */
export function shareOf(shape: TableShape, rank: number): number {
  if (rank <= 0) return 0;
  if (rank <= 1) return rank * points(shape)[0].share;
  for (const [low, high] of stretches(shape)) {
    if (rank > high.rank) continue;
    const power = Math.log(high.share / low.share) / Math.log(high.rank / low.rank);
    return low.share * (rank / low.rank) ** power;
  }
  return 1;
}

function points({ shares, rows }: TableShape): { rank: number; share: number }[] {
  return [...shares.map((share, i) => ({ rank: RANKS[i] as number, share })), { rank: rows, share: 1 }];
}

function stretches(shape: TableShape) {
  const known = points(shape);
  return known.slice(1).map((high, i) => [known[i], high] as const);
}

/**
 * Share of the samples whose lookups are all hot, given that share of each table's lookups: the integral, over the
 * common factor of a sample (the one-factor Gaussian copula of the generator), of the product over tables.
 */
export function allHotShare(shapes: readonly TableShape[], shares: readonly number[]): number {
  const quantiles = shares.map(normalQuantile);
  let integral = 0;
  let weights = 0;
  for (let step = 0; step <= FACTOR_STEPS; step++) {
    const common = FACTOR_BOUND * (2 * step / FACTOR_STEPS - 1);
    const weight = Math.exp(-common * common / 2);
    let allHot = 1;
    for (let t = 0; t < shapes.length; t++) {
      const loading = shapes[t].loading ?? 0;
      if (shares[t] >= 1) continue;
      allHot *= normalCdf((quantiles[t] - loading * common) / Math.sqrt(1 - loading * loading));
    }
    integral += weight * allHot;
    weights += weight;
  }
  return integral / weights;
}

/** The quantile of the standard normal distribution, by bisection. */
function normalQuantile(probability: number): number {
  let low = -8;
  let high = 8;
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2;
    if (normalCdf(middle) < probability) low = middle;
    else high = middle;
  }
  return low;
}
