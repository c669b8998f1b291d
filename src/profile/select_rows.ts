/** The exact tagging pass: which rows are hot. */
import { Tally } from "./estimate.ts";

/** How the rows of a table become hot: all of them, none (Infinity), or those with this many logged accesses. */
export type TableCutoff = "whole" | number;

/**
 * Global rows of whole tables, and of the other tables at most `limit` rows among those that reach their table's
 * cut-off: the most used ones, earlier rows first where accesses are equal. Ascending.
 */
export function selectRows(
  counts: Uint32Array,
  firstRows: Float64Array,
  cutoffs: readonly TableCutoff[],
  limit: number,
): Uint32Array {
  const candidates = new Tally();
  let wholeRows = 0;
  cutoffs.forEach((cutoff, t) => {
    if (cutoff === "whole") wholeRows += firstRows[t + 1] - firstRows[t];
    else candidates.add(counts.subarray(firstRows[t], firstRows[t + 1]), cutoff);
  });
  const keptFrom = smallestCutoff(candidates, limit);
  let ties = limit - candidates.rowsAtLeast(keptFrom);
  const tied = candidates.rowsAtLeast(keptFrom - 1) - candidates.rowsAtLeast(keptFrom);
  const selected = new Uint32Array(wholeRows + candidates.rowsAtLeast(keptFrom) + Math.min(ties, tied));
  let at = 0;
  cutoffs.forEach((cutoff, t) => {
    for (let row = firstRows[t]; row < firstRows[t + 1]; row++) {
      const count = counts[row];
      const hot = cutoff === "whole" || count >= cutoff && (count >= keptFrom || count === keptFrom - 1 && ties-- > 0);
      if (hot) selected[at++] = row;
    }
  });
  return selected;
}

/** The smallest cut-off, from 1 on, that at most `limit` rows reach. */
function smallestCutoff(tally: Tally, limit: number): number {
  let low = 1;
  for (let high = 2 ** 32; low < high;) {
    const middle = Math.floor((low + high) / 2);
    if (tally.rowsAtLeast(middle) > limit) low = middle + 1;
    else high = middle;
  }
  return low;
}
