/** Sizes of splits, by the order of the rows. */
import { UsageError } from "../errors.ts";
import type { Split } from "./dataset.ts";

/** A range of a log's rows that belongs to one split. */
export interface SplitPart {
  readonly split: Split;
  readonly samples: number;
}

/** Shares of the rows, by order: train, then validation, then test at the end. */
export interface Fractions {
  /** Share of the validation split. */
  readonly validation: number;
  /** Share of the test split. */
  readonly test: number;
}

/** Throws UsageError if no share is left for training. */
export function expectShares({ validation, test }: Fractions): void {
  if (validation >= 0 && test >= 0 && validation + test < 1) return;
  throw new UsageError(`Cannot split: validation ${validation} and test ${test} must leave a share for training`);
}

/** Sizes of the splits for this number of rows, in order. Throws UsageError if no share is left for training. */
export function splitSizes(rows: number, fractions: Fractions): SplitPart[] {
  expectShares(fractions);
  const validation = Math.floor(rows * fractions.validation);
  const test = Math.floor(rows * fractions.test);
  return [
    { split: "train", samples: rows - validation - test },
    { split: "validation", samples: validation },
    { split: "test", samples: test },
  ];
}
