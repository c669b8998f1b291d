/** Distributions of the rows of tables and of dense features. */

/** The popularity of one table's rows. */
export interface TableShape {
  /** Rows of the table. */
  readonly rows: number;
  /** Share of the lookups of the RANKS[i] most popular rows; all lookups are of the first `rows`. */
  readonly shares: readonly number[];
  /**
   * Correlation of the row's popularity with that of all tables in a sample, 0 to 1: the loading of a one-factor
   * Gaussian copula, fitted to the share of samples whose rows are all popular.
   */
  readonly loading?: number;
}

/** A table with its name. */
export interface NamedShape extends TableShape {
  /** Name of the feature. */
  readonly name: string;
}

/** Distribution of a dense feature. */
export interface DenseShape {
  /** Share of the samples with a missing value. */
  readonly missing: number;
  /** Mean of log(x + 1). */
  readonly mean: number;
  /** Standard deviation of log(x + 1). */
  readonly deviation: number;
}

/** The numbers of rows for which shares are given. */
export const RANKS = [1, 2, 3, 6, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6] as const;
