/**
 * Reports values that are not in a dictionary: a note if they are half of a table's lookups or more, an error above a
 * limit.
 */
import type { DatasetEncoding } from "../dataset/dataset_encoding.ts";
import type { UnknownShare } from "../dataset/unknown_values.ts";
import { HotsetError } from "../errors.ts";
import { percent } from "../format.ts";
import type { Report } from "./events.ts";

/** From these shares on, something is probably wrong with the data. */
const NOTED_SHARE = 0.5;

/** The user's limit. */
export interface UnknownLimit {
  /** Maximum share of unknown values in any one table, from 0 to 1; default 1. */
  readonly maxUnknown?: number | undefined;
}

/**
 * Notes about tables of which half or more of the lookups had unknown values. `what` names the rows, and `trained` has
 * the dictionary. Throws HotsetError if a table exceeds the limit.
 */
export async function noteUnknown(
  what: string,
  share: UnknownShare,
  trained: DatasetEncoding,
  { maxUnknown = 1 }: UnknownLimit,
  report: Report,
): Promise<void> {
  let rareShares: readonly number[] | undefined;
  for (const [table, found] of Object.entries(share)) {
    if (found < NOTED_SHARE) continue;
    rareShares ??= await trained.rareShares();
    const rare = rareShares[trained.body.tables.findIndex(({ name }) => name === table)];
    const among = rare === 0
      ? ""
      : ` (including values too rare for their own row: ${percent(rare)} of the train split's lookups)`;
    const text = `${percent(found)} of the lookups of ${table} in ${what} have values outside the dictionary, ` +
      `and share one row${among}: is it the right file, column and --format?`;
    report({ event: "note", text });
  }
  const [worst] = Object.entries(share).sort(([, a], [, b]) => b - a);
  if (worst === undefined || worst[1] <= maxUnknown) return;
  throw new HotsetError(
    `Cannot use ${what}: ${percent(worst[1])} of the lookups of ${worst[0]} have values outside the dictionary, ` +
      `more than --max-unknown ${maxUnknown} allows`,
  );
}
