import assert from "node:assert/strict";
import type { TableShape } from "../../src/dataset/table_shape.ts";
import { allHotShare, fillBudget, shareOf } from "../../src/plan/hot_share.ts";
import { publishedData } from "../../src/plan/published.ts";

const KAGGLE = publishedData("kaggle").tables;

Deno.test("allHotShare() meets the shares measured on Criteo Kaggle at four hot sets", () => {
  // Tables up to 100,000 rows whole, and this part of the rows of the others.
  for (
    const [part, lookups, samples] of [[0.001, 0.897, 0.374], [0.01, 0.935, 0.571], [0.1, 0.964, 0.726], [
      0.3,
      0.976,
      0.792,
    ]]
  ) {
    const shares = KAGGLE.map((shape) => shape.rows <= 1e5 ? 1 : shareOf(shape, shape.rows * part));
    const mean = shares.reduce((sum, share) => sum + share, 0) / shares.length;
    assert(Math.abs(mean - lookups) < 0.005, `top ${part}: ${mean} of the lookups, measured ${lookups}`);
    const all = allHotShare(KAGGLE, shares);
    assert(Math.abs(all - samples) < 0.03, `top ${part}: ${all} of the samples, measured ${samples}`);
  }
});

Deno.test("allHotShare() of independent tables is the product of their shares", () => {
  const shapes: TableShape[] = [{ rows: 9, shares: [0.5] }, { rows: 9, shares: [0.5] }];
  assert(Math.abs(allHotShare(shapes, [0.5, 0.25]) - 0.125) < 1e-6);
  assert.equal(allHotShare(shapes, [1, 1]), 1);
  assert(allHotShare(shapes, [0, 1]) < 1e-6);
});

Deno.test("allHotShare() of tables that depend on each other nears the smaller share", () => {
  const shapes: TableShape[] = [{ rows: 9, shares: [0.5], loading: 0.999 }, { rows: 9, shares: [0.5], loading: 0.999 }];
  assert(Math.abs(allHotShare(shapes, [0.5, 0.25]) - 0.25) < 0.01);
});

Deno.test("shareOf() passes through the measured points and grows as a power between them", () => {
  const shape: TableShape = { rows: 100, shares: [0.1, 0.2] };
  assert.equal(shareOf(shape, 0), 0);
  assert.equal(shareOf(shape, 1), 0.1);
  assert.equal(shareOf(shape, 2), 0.2);
  assert.equal(shareOf(shape, 100), 1);
  // 0.2 * (rank / 2) ** p with p such that it reaches 1 at 100.
  assert(Math.abs(shareOf(shape, 10) - 0.2 * 5 ** (Math.log(5) / Math.log(50))) < 1e-12);
});

Deno.test("fillBudget() takes whole tables, then the rows with the most lookups, and all of the budget", () => {
  const shapes: TableShape[] = [
    { rows: 4, shares: [0.4] },
    { rows: 1000, shares: [0.9, 0.95] },
    { rows: 1000, shares: [0.3, 0.5] },
  ];
  const { hotRows, shares, lookupShare } = fillBudget(shapes, [true, false, false], 7);
  assert.deepEqual(hotRows, [4, 1, 2]); // 0.9, then 0.3 and 0.2, before 0.05
  assert.deepEqual(shares.map((share) => Math.round(1000 * share) / 1000), [1, 0.9, 0.5]);
  assert(Math.abs(lookupShare - 0.8) < 1e-12);
  assert.deepEqual(fillBudget(shapes, [true, true, true], 5000).hotRows, [4, 1000, 1000]);
  assert.deepEqual(fillBudget(shapes, [false, false, false], 0).hotRows, [0, 0, 0]);
});

Deno.test("a larger budget never covers less, on any published data", () => {
  for (const preset of ["kaggle", "terabyte", "mlperf", "avazu"] as const) {
    const { tables } = publishedData(preset);
    const none = tables.map(() => false);
    let before = -1;
    for (let rows = 1; rows < 1e9; rows *= 4) {
      const { hotRows, lookupShare } = fillBudget(tables, none, rows);
      const all = tables.reduce((sum, table) => sum + table.rows, 0);
      assert.equal(hotRows.reduce((sum, count) => sum + count, 0), Math.min(rows, all), `${preset}: ${rows} rows`);
      assert(lookupShare >= before && lookupShare <= 1 + 1e-9, `${preset}: ${rows} rows cover ${lookupShare}`);
      before = lookupShare;
    }
    assert(before > 1 - 1e-9, `${preset}: all rows cover all lookups`);
  }
});
