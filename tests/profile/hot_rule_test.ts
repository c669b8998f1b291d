import assert from "node:assert/strict";
import { HotRule, type TableCutoff } from "../../src/profile/hot_rule.ts";
import { RowCounts } from "../../src/profile/tally.ts";
import { Random } from "../../src/random.ts";

const FIRST_ROWS = Float64Array.of(0, 5, 305, 805);

async function someCounts(seed: number): Promise<RowCounts> {
  const random = new Random(seed);
  return await RowCounts.of(Uint32Array.from({ length: 805 }, () => Math.floor(9 * random.uniform() ** 3)), FIRST_ROWS);
}

/** The rule by sorting: rows that are hot, and the candidates that are as popular as the last one that fits, by table. */
function bySorting({ counts }: RowCounts, cutoffs: TableCutoff[], limit: number) {
  const hot: number[] = [], candidates: number[] = [];
  for (let t = 0; t < cutoffs.length; t++) {
    for (let row = FIRST_ROWS[t]; row < FIRST_ROWS[t + 1]; row++) {
      const cutoff = cutoffs[t];
      if (cutoff === "whole") hot.push(row);
      else if (counts[row] >= cutoff) candidates.push(row);
    }
  }
  const last = candidates.map((row) => counts[row]).sort((a, b) => b - a)[limit] ?? 0;
  hot.push(...candidates.filter((row) => counts[row] > last));
  const tied = candidates.filter((row) => counts[row] === last);
  const left = Math.min(tied.length, limit - candidates.filter((row) => counts[row] > last).length);
  const byTable = cutoffs.map((_, t) => tied.filter((row) => row >= FIRST_ROWS[t] && row < FIRST_ROWS[t + 1]));
  return { hot, byTable, share: tied.length === 0 ? 0 : left / tied.length, rows: hot.length + left };
}

Deno.test("the most used candidates are hot, and the same share of each table's rows where accesses are equal", async () => {
  for (let seed = 0; seed < 5; seed++) {
    const rows = await someCounts(seed);
    const cases: TableCutoff[][] = [["whole", 1, 1], ["whole", 3, 2], [1, 1, 1], [2, Infinity, 4], [
      "whole",
      1,
      "whole",
    ]];
    for (const cutoffs of cases) {
      for (const limit of [0, 1, 17, 100, 250, 600, 805]) {
        const rule = new HotRule(rows, cutoffs, limit);
        const selected = await rule.select();
        const hot = new Set(selected);
        const expected = bySorting(rows, cutoffs, limit);
        assert.equal(selected.length, expected.rows);
        assert.ok(expected.hot.every((row) => hot.has(row)));
        for (const tied of expected.byTable) {
          const chosen = tied.filter((row) => hot.has(row));
          assert.deepEqual(chosen, tied.slice(0, chosen.length), "the first ones of a table");
          assert.ok(Math.abs(chosen.length - expected.share * tied.length) <= 1);
        }
        assert.deepEqual([...selected], [...hot].sort((a, b) => a - b));
        assert.deepEqual(rule.measure(), {
          rows: selected.length,
          lookups: selected.reduce((sum, row) => sum + rows.counts[row], 0),
        });
        for (let t = 0; t < 3; t++) {
          for (let row = FIRST_ROWS[t]; row < FIRST_ROWS[t + 1]; row++) assert.equal(rule.isHot(t, row), hot.has(row));
        }
      }
    }
  }
});

Deno.test("a row that was never accessed is hot only in a whole table", async () => {
  const rows = await RowCounts.of(new Uint32Array(805), FIRST_ROWS);
  assert.deepEqual([...await new HotRule(rows, ["whole", 1, 1], 100).select()], [0, 1, 2, 3, 4]);
});
