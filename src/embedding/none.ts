/** The tables of a model that has none: its dense features alone make a prediction. */
import type { BatchPlace, BoundTables, EmbeddingTables, TableLookups } from "./tables.ts";

/** No rows: every operation on them does nothing. */
export class NoTables implements EmbeddingTables {
  readonly #isShared: boolean;

  /** `isShared` is true if the ranks share the dense parameters, so that they must meet after a step. */
  constructor(isShared: boolean) {
    this.#isShared = isShared;
  }

  bind({ batch }: BatchPlace): BoundTables {
    const lookups: TableLookups = {
      deviceWords: batch.sections.indices,
      recordable: true,
      shared: this.#isShared,
      pool: () => {},
      update: () => {},
    };
    return { prepare: () => lookups };
  }

  initialise(): void {}

  holds(): boolean {
    return false;
  }

  read(): void {}

  write(): void {}
}
