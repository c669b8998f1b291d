import assert from "node:assert/strict";
import { HotRule, type TableCutoff } from "../../src/profile/hot_rule.ts";
import { RowCounts } from "../../src/profile/tally.ts";
import { Random } from "../../src/random.ts";

const FIRST_ROWS = Float64Array.of(0, 5, 305, 805);

function someCounts(seed: number): RowCounts {
  const random = new Random(seed);
  return new RowCounts(Uint32Array.from({ length: 805 }, () => Math.floor(9 * random.uniform() ** 3)), FIRST_ROWS);
}

/** The rule by sorting: candidates by falling accesses, then by row. */
function bySorting({ counts }: RowCounts, cutoffs: TableCutoff[], limit: number): number[] {
  const whole: number[] = [], candidates: number[] = [];
  for (let t = 0; t < cutoffs.length; t++) {
    for (let row = FIRST_ROWS[t]; row < FIRST_ROWS[t + 1]; row++) {
      const cutoff = cutoffs[t];
      if (cutoff === "whole") whole.push(row);
      else if (counts[row] >= cutoff) candidates.push(row);
    }
  }
  candidates.sort((a, b) => counts[b] - counts[a] || a - b);
  return [...whole, ...candidates.slice(0, limit)].sort((a, b) => a - b);
}

Deno.test("the most used candidates are hot, the first ones where accesses are equal", () => {
  for (let seed = 0; seed < 5; seed++) {
    const rows = someCounts(seed);
    const cases: TableCutoff[][] = [["whole", 1, 1], ["whole", 3, 2], [1, 1, 1], [2, Infinity, 4], [
      "whole",
      1,
      "whole",
    ]];
    for (const cutoffs of cases) {
      for (const limit of [0, 1, 17, 100, 250, 600, 805]) {
        const rule = new HotRule(rows, cutoffs, limit);
        const selected = [...rule.select()];
        assert.deepEqual(selected, bySorting(rows, cutoffs, limit));
        assert.deepEqual(rule.measure(), {
          rows: selected.length,
          lookups: selected.reduce((sum, row) => sum + rows.counts[row], 0),
        });
        const hot = new Set(selected);
        for (let t = 0; t < 3; t++) {
          for (let row = FIRST_ROWS[t]; row < FIRST_ROWS[t + 1]; row++) assert.equal(rule.isHot(t, row), hot.has(row));
        }
      }
    }
  }
});

Deno.test("a row that was never accessed is hot only in a whole table", () => {
  const rows = new RowCounts(new Uint32Array(805), FIRST_ROWS);
  assert.deepEqual([...new HotRule(rows, ["whole", 1, 1], 100).select()], [0, 1, 2, 3, 4]);
});
