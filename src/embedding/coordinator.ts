/**
 * The coordinator's side of embedding tables. Ranks look rows up and update them; the thread that queues their steps
 * orders what must come before a step, and tells who listens which rows are about to change.
 */
import type { Batch } from "../layout/batch.ts";

/** Hears of rows of the full tables before they change: `count` of them, `words[at]`, `words[at + stride]`, ... */
export type WriteListener = (words: Uint32Array, at: number, stride: number, count: number) => void;

/** The coordinator's side of tables that have one copy of each row. */
export class TableCoordinator {
  /** Called before a step, or whatever else changes rows, is queued. */
  onWrite: WriteListener = () => {};

  /** To be called before a step over the batch is queued. */
  beforeStep({ words, distinct, sections: { segments } }: Batch): void {
    this.onWrite(words, segments, 2, distinct);
  }

  /** Brings the full tables up to date: before they are scored, saved or read. */
  flush(): void {}

  /** Brings all other copies of rows up to date, which the next step that needs them would do. */
  refresh(): void {}

  /** Forgets what other copies hold: the full tables have been overwritten. */
  invalidate(): void {}
}
