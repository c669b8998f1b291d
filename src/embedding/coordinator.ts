/**
 * The coordinator's side of embedding tables. Ranks look rows up and update them; the thread that queues their steps
 * also queues what must happen before a step, and reports which rows are about to change.
 */
import type { Parts } from "../breaks.ts";
import type { Batch } from "../layout/batch.ts";

/** Callback before rows of the full tables change: `count` rows, `words[at]`, `words[at + stride]`, ... */
export type WriteListener = (words: Uint32Array, at: number, stride: number, count: number) => void;

/** The coordinator's side of tables with one copy of each row. */
export class TableCoordinator {
  /** Called before a step, or any other change of rows, is queued. */
  onWrite: WriteListener = () => {};

  /** Must be called before a step over the batch is queued. */
  beforeStep({ words, distinct, sections: { segments } }: Batch): void {
    this.onWrite(words, segments, 2, distinct);
  }

  /** Updates the full tables, before they are scored, saved or read. */
  *flush(): Parts<void> {}

  /** Updates all copies of rows, which the next step that needs them would otherwise do. */
  *refresh(): Parts<void> {}

  /** Updates the rows that batches of a kind read, hot or not, which the next step over one would otherwise do at once. */
  *switchTo(_hot: boolean): Parts<void> {}

  /** Invalidates all copies of rows: the full tables have been overwritten. */
  invalidate(): void {}
}
