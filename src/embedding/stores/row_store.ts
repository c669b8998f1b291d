/** Where the rows of tables lie that exceed the fast memory. */

/** What a store did since it was opened. */
export interface StoreCounts {
  /** Rows read from the store; rows that were never written, whose initial value was computed; rows written. */
  rowsRead: number;
  rowsComputed: number;
  rowsWritten: number;
  bytesRead: number;
  bytesWritten: number;
  /** Reads and writes of the system. */
  reads: number;
  writes: number;
}

/**
 * Rows as records: the weights of a row, then its optimizer state. Calls take effect in their order: what was written last
 * is what is read. A row that was never written has its initial value.
 */
export interface RowStore extends Disposable {
  readonly rows: number;
  readonly recordWords: number;
  readonly counts: Readonly<StoreCounts>;
  /** Fills records (count, recordWords) with rows `rows[0]` to `rows[count - 1]`. Throws HotsetError. */
  read(rows: Uint32Array, count: number, records: Float32Array): void;
  /** Stores records (count, recordWords); the rows are distinct. Throws HotsetError, also if a word is not finite. */
  write(rows: Uint32Array, count: number, records: Float32Array): void;
  /** Forgets all that was written: every row has its initial value again. */
  clear(): void;
}
