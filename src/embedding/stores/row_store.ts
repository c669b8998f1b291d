/** The store of rows that do not fit in the fast memory. */
import { HotsetError } from "../../errors.ts";
import type { LogSegmentEntry, SavedRows } from "./log_segments.ts";

/** Counters since the store was opened. */
export interface StoreCounts {
  /** Rows read from disk; rows that were never written, whose initial value was computed; rows written. */
  rowsRead: number;
  rowsComputed: number;
  rowsWritten: number;
  bytesRead: number;
  bytesWritten: number;
  /** System calls that read and write. */
  reads: number;
  writes: number;
}

/**
 * Stores rows as records: the weights of a row, then its optimizer state. Calls take effect in order: a read returns
 * the last record written. A row that was never written has its initial value.
 */
export interface RowStore extends Disposable {
  /** How it reads and writes, for messages. */
  readonly name: string;
  /** Size of its files. */
  readonly diskBytes: number;
  readonly counts: Readonly<StoreCounts>;
  /** Fills records (count, recordWords) with rows `rows[0]` to `rows[count - 1]`. Throws HotsetError. */
  read(rows: Uint32Array, count: number, records: Float32Array): void;
  /** Stores records (count, recordWords); the rows are distinct. Throws NotFiniteRow and HotsetError. */
  write(rows: Uint32Array, count: number, records: Float32Array): void;
  /** Forgets all written rows: every row has its initial value again. */
  clear(): void;
  /** Loads the rows of a checkpoint. */
  adopt(saved: SavedRows): void;
  /** Writes all changes to segments that never change again. */
  seal(): LogSegmentEntry[];
}

/** A row to be written contains a non-finite number. */
export class NotFiniteRow extends HotsetError {
  /** Name of the class. */
  override name = "NotFiniteRow";
  readonly row: number;

  /** Thrown where the row is written. */
  constructor(row: number, message: string) {
    super(message, { code: "diverged" });
    this.row = row;
  }
}
