/** How the popularity of rows moved since the model that a dataset grew from: rows known, dropped and new. */
import { breaks } from "../breaks.ts";
import type { Dataset } from "./dataset.ts";
import { grownSizes } from "./encoding.ts";

/** What a train split looks up in a table that has grown; row 0, which rare values share, is left out of rows. */
export interface TableGrowth {
  /** Name of the table. */
  readonly table: string;
  /** Rows that the model had. */
  readonly knownRows: number;
  /** Those of them that the train split does not look up. */
  readonly unseenRows: number;
  /** Those of them that were dropped. */
  readonly droppedRows: number;
  /** Rows of new values. */
  readonly newRows: number;
  /** Share of the train split's lookups that are in new rows, 0 to 1. */
  readonly newShare: number;
}

/** The growth of each table; undefined for a dataset with a dictionary of its own. */
export async function growthOf(dataset: Dataset): Promise<TableGrowth[] | undefined> {
  const grown = grownSizes(dataset);
  if (grown === undefined) return undefined;
  const growth: TableGrowth[] = [];
  for (const [t, { before, dropped }] of grown.tables.entries()) {
    const { name, rows } = dataset.body.tables[t];
    const kept = before - dropped;
    let [lookups, newLookups, unseenRows, id] = [0, 0, dropped, 0];
    for (const part of dataset.countsOf(t)) {
      for (const count of part) {
        lookups += count;
        if (id >= kept) newLookups += count;
        else if (count === 0 && id > 0) unseenRows++;
        id++;
      }
      if (breaks.due) await breaks.take();
    }
    const sizes = { knownRows: before - 1, unseenRows, droppedRows: dropped, newRows: rows - kept };
    growth.push({ table: name, ...sizes, newShare: lookups === 0 ? 0 : newLookups / lookups });
  }
  return growth;
}
