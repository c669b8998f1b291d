/** A raw log that has been read and checked. */
import type { StagedChunk } from "./staged_chunk.ts";

/** What to do with a row that cannot be read: stop, or leave it out and count it. */
export type BadRowPolicy = "fail" | "skip";

/** Rows in order. */
export interface StagedLog {
  /** Names the log among those of a dataset. */
  readonly name: string;
  readonly rows: number;
  readonly skippedRows: number;
  /** False if the files have no label; then all labels are 0. */
  readonly labelled: boolean;
  readonly chunks: readonly StagedChunk[];
}

/** How a log is read. */
export interface StageOptions {
  readonly name: string;
  readonly onBadRow: BadRowPolicy;
  /** Categorical values are taken modulo this number, which bounds the rows of a table. */
  readonly maxIndRange: number | undefined;
  /** The label column may be missing, and rows stay in the order of the files: no column of kind `time` sorts them. */
  readonly toScore: boolean;
  readonly onProgress?: ((fraction: number) => void) | undefined;
}
