/** A raw log that has been read and checked. */
import type { FileAccount } from "./read_account.ts";
import type { StagedChunk } from "./staged_chunk.ts";
import type { ValueRule } from "./value_rules.ts";

/** What to do with malformed rows: stop, or skip and count them. */
export type BadRowPolicy = "fail" | "skip";

/** Rows in order. */
export interface StagedLog {
  /** Name of the log among those of a dataset. */
  readonly name: string;
  readonly rows: number;
  /** Accounts of its files, in order. */
  readonly files: readonly FileAccount[];
  /** False if the files have no label, or it was not read; all labels are then 0. */
  readonly labelled: boolean;
  readonly chunks: readonly StagedChunk[];
  /** File with the group of each row, u64 (rows); undefined where the schema names none, or rows are to be predicted. */
  readonly groups?: string | undefined;
  /** File with the weight of each row, f32 (rows); undefined where the schema has none, or rows are to be predicted. */
  readonly weights?: string | undefined;
  /** Rules by which values are compared, by table; undefined for formats whose values are numbers. */
  readonly rules: readonly ValueRule[];
  /** By dense feature; undefined for formats without that information. */
  readonly missing: readonly Missing[];
}

/** The missing values of a dense feature. */
export interface Missing {
  readonly rows: number;
  /** Their replacement, transformed. */
  readonly value: number;
}

/**
 * Purpose of reading rows. To train, rows need labels and are sorted by time. To evaluate or predict, they remain in
 * the order of the files; to evaluate, the label column may be missing, and to predict, its content is ignored.
 */
export type Purpose = "train" | "evaluate" | "predict";

export interface StageOptions {
  readonly name: string;
  readonly onBadRow: BadRowPolicy;
  /** Categorical values are taken modulo this number, which bounds the rows of a table. */
  readonly maxIndRange: number | undefined;
  readonly purpose: Purpose;
  /** The column that identifies the item of negatives: every row needs a value of it. */
  readonly item?: string | undefined;
  /** Rules by which values are compared, by table, if an earlier log determined them. */
  readonly rules?: readonly ValueRule[] | undefined;
  /** Replacement of missing values, by dense feature, if an earlier log determined it. */
  readonly fills?: readonly (number | undefined)[] | undefined;
  /** Number of rows in the train split, of all rows; default all. */
  readonly trainRows?: ((rows: number) => number) | undefined;
  readonly onProgress?: ((fraction: number) => void) | undefined;
}
