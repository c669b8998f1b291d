/** A raw log that has been read and checked. */
import type { FileAccount } from "./read_account.ts";
import type { StagedChunk } from "./staged_chunk.ts";
import type { ValueRule } from "./value_rules.ts";

/** What to do with a row that cannot be read: stop, or leave it out and count it. */
export type BadRowPolicy = "fail" | "skip";

/** Rows in order. */
export interface StagedLog {
  /** Names the log among those of a dataset. */
  readonly name: string;
  readonly rows: number;
  /** What became of its files, in order. */
  readonly files: readonly FileAccount[];
  /** False if the files have no label, or none that is read; then all labels are 0. */
  readonly labelled: boolean;
  readonly chunks: readonly StagedChunk[];
  /** How values are compared, by table; none for the formats whose values are numbers. */
  readonly rules: readonly ValueRule[];
  /** By dense feature; none for the formats that do not say. */
  readonly missing: readonly Missing[];
}

/** The missing values of a dense feature. */
export interface Missing {
  readonly rows: number;
  /** What they count as, transformed. */
  readonly value: number;
}

/**
 * What rows are read for. To train on them they need labels, and are sorted by time. To evaluate or to predict they stay in
 * the order of the files; to evaluate the label column may be missing, and to predict whatever is in it is passed over.
 */
export type Purpose = "train" | "evaluate" | "predict";

/** How a log is read. */
export interface StageOptions {
  readonly name: string;
  readonly onBadRow: BadRowPolicy;
  /** Categorical values are taken modulo this number, which bounds the rows of a table. */
  readonly maxIndRange: number | undefined;
  readonly purpose: Purpose;
  /** How values are compared, by table, if that was found before. */
  readonly rules?: readonly ValueRule[] | undefined;
  /** What missing values count as, by dense feature, if that was found before. */
  readonly fills?: readonly (number | undefined)[] | undefined;
  /** How many of so many rows are the train split; default all. */
  readonly trainRows?: ((rows: number) => number) | undefined;
  readonly onProgress?: ((fraction: number) => void) | undefined;
}
