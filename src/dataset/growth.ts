/** How the popularity of rows moved since the model that a dataset grew from: known and new rows in its train split. */
import type { Dataset } from "./dataset.ts";
import { rowsBefore } from "./encoding.ts";

/** What a train split looks up in a table that has grown; row 0, which rare values share, is left out of rows. */
export interface TableGrowth {
  /** Name of the table. */
  readonly table: string;
  /** Rows that the model had. */
  readonly knownRows: number;
  /** Those of them that the train split does not look up. */
  readonly unseenRows: number;
  /** Rows of new values. */
  readonly newRows: number;
  /** Share of the train split's lookups that are in new rows, 0 to 1. */
  readonly newShare: number;
}

/** The growth of each table; undefined for a dataset with a dictionary of its own. */
export function growthOf(dataset: Dataset): TableGrowth[] | undefined {
  const before = rowsBefore(dataset);
  if (before === undefined) return undefined;
  return dataset.body.tables.map(({ name, rows }, t) => {
    let [lookups, newLookups, unseenRows, id] = [0, 0, 0, 0];
    for (const part of dataset.countsOf(t)) {
      for (const count of part) {
        lookups += count;
        if (id >= before[t]) newLookups += count;
        else if (count === 0 && id > 0) unseenRows++;
        id++;
      }
    }
    const newShare = lookups === 0 ? 0 : newLookups / lookups;
    return { table: name, knownRows: before[t] - 1, unseenRows, newRows: rows - before[t], newShare };
  });
}
