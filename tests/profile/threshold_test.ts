import assert from "node:assert/strict";
import { exactCounter } from "../../src/profile/estimate.ts";
import { Tally } from "../../src/profile/tally.ts";
import { cutoffsAt, rowsAt, searchThreshold } from "../../src/profile/threshold.ts";
import { Random } from "../../src/random.ts";

function skewedTable(rows: number, lookups: number, random: Random) {
  const counts = new Uint32Array(rows);
  for (let k = 0; k < lookups; k++) counts[Math.floor(rows * random.uniform() ** 5)]++;
  const tally = new Tally(counts);
  return { accesses: tally.accesses, counter: exactCounter(tally) };
}

Deno.test("the search finds the lowest cut-offs that fit", () => {
  const random = new Random(2);
  for (const lookups of [[20_000, 20_000], [50_000, 3000, 400]]) {
    const tables = lookups.map((count, t) => skewedTable(5000 * (t + 1), count, random));
    const hotRows = (cutoffs: number[]) => rowsAt(cutoffs, tables).reduce((sum, { value }) => sum + value, 0);
    for (const limit of [0, 1, 5, 40, 300, 1500, 4000]) {
      const { threshold, cutoffs, nextCutoffs, floorReached } = searchThreshold(tables, limit);
      assert.deepEqual(cutoffs, cutoffsAt(threshold, tables));
      assert.ok(hotRows(cutoffs) <= limit);
      assert.ok(hotRows(nextCutoffs) > limit);
      cutoffs.forEach((cutoff, t) => assert.ok(cutoff - nextCutoffs[t] <= 1 && cutoff >= nextCutoffs[t]));
      assert.equal(floorReached, cutoffs.includes(1));
    }
  }
});

Deno.test("the floor is one access: no row that was never seen is hot", () => {
  const table = skewedTable(10_000, 2000, new Random(3));
  const seen = table.counter.rowsAtLeast(1).value;
  const found = searchThreshold([table], seen);
  assert.deepEqual([found.cutoffs, found.nextCutoffs, found.floorReached], [[1], [1], true]);
  assert.deepEqual(searchThreshold([table], seen - 1).cutoffs, [2]);
});

Deno.test("the upper bound of the sum must fit, not its value", () => {
  const uncertain = (value: number) => ({ low: 0, value, high: value + 30 });
  const tables = [1, 2].map(() => (
    { accesses: 1000, counter: { rowsAtLeast: (cutoff: number) => uncertain(Math.floor(1000 / cutoff)) } }
  ));
  const { cutoffs } = searchThreshold(tables, 100);
  // Both tables at cut-off c: 2 * floor(1000 / c) + sqrt(2) * 30 <= 100, so floor(1000 / c) <= 28.
  assert.deepEqual(cutoffs, [35, 35]);
});

Deno.test("tables that nobody accesses do not disturb the search", () => {
  const { cutoffs } = searchThreshold([skewedTable(100, 0, new Random(1)), skewedTable(100, 50, new Random(1))], 3);
  assert.equal(cutoffs[0], 1);
  assert.ok(cutoffs[1] > 1);
});
