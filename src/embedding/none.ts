/** The tables of a model without tables. */
import type { Parts } from "../breaks.ts";
import type { BatchSlot, BoundTables, EmbeddingTables, TableLookups, TableRows } from "./tables.ts";

/** No rows: all operations do nothing. */
export class NoTables implements EmbeddingTables, TableRows {
  readonly rows = this;
  readonly #isShared: boolean;

  /** `isShared` is true if the ranks share the dense parameters, so that they need a barrier after a step. */
  constructor(isShared: boolean) {
    this.#isShared = isShared;
  }

  bind({ batch }: BatchSlot): BoundTables {
    const lookups: TableLookups = {
      deviceWords: batch.sections.indices,
      recordable: true,
      shared: this.#isShared,
      pool: () => {},
      update: () => {},
    };
    return { prepare: () => lookups };
  }

  *initialise(): Parts<void> {}

  holds(): boolean {
    return false;
  }

  read(): void {}

  write(): void {}
}
