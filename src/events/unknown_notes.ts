/** What is told of values that a dictionary does not know: a note from half of a table on, an error above a limit. */
import type { Dataset } from "../dataset/dataset.ts";
import { rareShare, type UnknownShare } from "../dataset/unknown_values.ts";
import { HotsetError } from "../errors.ts";
import { percent } from "../format.ts";
import type { Report } from "./events.ts";

/** Shares from which on something is likely to be wrong with the data. */
const NOTED_SHARE = 0.5;

/** What a user accepts. */
export interface UnknownLimit {
  /** Largest share of unknown values in any one table, 0 to 1; default any. */
  readonly maxUnknown?: number | undefined;
}

/**
 * Tells of tables of which half or more of the lookups met unknown values. `what` names the rows, and `trained` has the
 * dictionary. Throws HotsetError where a table has more than the limit.
 */
export function noteUnknown(
  what: string,
  share: UnknownShare,
  trained: Dataset,
  { maxUnknown = 1 }: UnknownLimit,
  report: Report,
): void {
  for (const [table, found] of Object.entries(share)) {
    if (found < NOTED_SHARE) continue;
    const rare = rareShare(trained, table);
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
