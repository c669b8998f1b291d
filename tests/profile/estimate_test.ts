import assert from "node:assert/strict";
import { addIntervals, estimatingCounter, exactCounter } from "../../src/profile/estimate.ts";
import { Tally } from "../../src/profile/tally.ts";
import { Random } from "../../src/random.ts";
import { seriesLength } from "../support/series.ts";
import { criteoRows, criteoRowsAbsent } from "../support/criteo_rows.ts";

const SEEDS = 100;

/** Counts that fall with a power of the rank, in the order of rank. */
function powerLaw(rows: number, most: number, exponent: number): Uint32Array {
  return Uint32Array.from({ length: rows }, (_, rank) => Math.floor(most / (rank + 1) ** exponent));
}

/** Estimates by many seeds: how many intervals hold the exact number, and the errors, relative and ascending. */
function tryingSeeds(counts: Uint32Array, cutoff: number) {
  const tally = new Tally(counts);
  const exact = tally.rowsAtLeast(cutoff);
  const estimates = Array.from(
    { length: SEEDS },
    (_, seed) => estimatingCounter(counts, tally.accesses, new Random(seed)).rowsAtLeast(cutoff),
  );
  const holding = estimates.filter(({ low, high }) => low <= exact && exact <= high).length;
  const errors = estimates.map(({ value }) => Math.abs(value - exact) / exact).sort((a, b) => a - b);
  return { exact, holding, errors, estimates };
}

Deno.test("the estimate of 10 M rows is within 10 % and its interval holds the exact number, in any order of ids", () => {
  const byFrequency = powerLaw(10_000_000, 2e6, 0.9);
  const shuffled = new Random(7).shuffle(byFrequency.slice());
  const orders = Object.entries({ shuffled, byFrequency }).slice(0, seriesLength({ test: 1, all: 2, evidence: 2 }));
  for (const [order, counts] of orders) {
    for (const cutoff of [2, 5, 15]) {
      const { holding, errors, exact } = tryingSeeds(counts, cutoff);
      assert.ok(exact > 300_000 && exact < 5_000_000, `${exact} rows are hot`);
      assert.ok(holding >= 95, `${order}, cut-off ${cutoff}: ${holding} of ${SEEDS} intervals hold ${exact}`);
      assert.ok(errors[94] <= 0.1, `${order}, cut-off ${cutoff}: error ${errors[94]}`);
    }
  }
});

Deno.test("the interval holds the exact number where hot rows are few", () => {
  const byFrequency = powerLaw(2_000_000, 1e5, 1);
  const shuffled = new Random(7).shuffle(byFrequency.slice());
  for (const counts of [byFrequency, shuffled]) {
    for (const cutoff of [20, 100, 1000, 50_000]) {
      const { holding, exact } = tryingSeeds(counts, cutoff);
      assert.ok(holding >= 95, `cut-off ${cutoff}: ${holding} of ${SEEDS} intervals hold ${exact}`);
    }
  }
});

Deno.test("the interval is as wide as the errors ask for, not merely wide", () => {
  const counts = new Random(3).shuffle(powerLaw(4_000_000, 2e6, 0.9));
  const { errors, exact, estimates } = tryingSeeds(counts, 5);
  const halfWidth = estimates.reduce((sum, { low, high }) => sum + (high - low) / 2, 0) / SEEDS / exact;
  // The quantile 3.6 is 5.3 median errors of a normal distribution.
  assert.ok(halfWidth < 9 * errors[50] && halfWidth > 3 * errors[50], `${halfWidth} against ${errors[50]}`);
});

Deno.test("estimates fall as the cut-off rises, and stay between what was seen and what is possible", () => {
  const counts = new Random(5).shuffle(powerLaw(500_123, 3e5, 1.1));
  const { accesses } = new Tally(counts);
  const counter = estimatingCounter(counts, accesses, new Random(1));
  let previous = Infinity;
  for (let cutoff = 1; cutoff < 1e6; cutoff = Math.ceil(cutoff * 1.5)) {
    const { low, value, high } = counter.rowsAtLeast(cutoff);
    assert.ok(value <= previous && low <= value && value <= high && low >= 0);
    assert.ok(high <= accesses / cutoff && high <= counts.length);
    previous = value;
  }
  assert.equal(counter.rowsAtLeast(2 * accesses).high, 0);
});

Deno.test("small tables are counted exactly", () => {
  const counts = new Random(5).shuffle(powerLaw(35 * 1024, 3e4, 1));
  const tally = new Tally(counts);
  const counter = estimatingCounter(counts, tally.accesses, new Random(1));
  for (const cutoff of [1, 2, 7, 1000]) {
    assert.deepEqual(counter.rowsAtLeast(cutoff), exactCounter(tally).rowsAtLeast(cutoff));
  }
  assert.equal(counter.rowsAtLeast(2).high, counts.filter((count) => count >= 2).length);
});

Deno.test("the same seed draws the same chunks, another seed others", () => {
  const counts = new Random(5).shuffle(powerLaw(300_000, 3e5, 1));
  const estimate = (seed: number) => estimatingCounter(counts, 1e9, new Random(seed)).rowsAtLeast(3);
  assert.deepEqual(estimate(1), estimate(1));
  assert.notDeepEqual(estimate(1), estimate(2));
});

Deno.test("intervals add by the squares of their arms", () => {
  const sum = addIntervals([{ low: 7, value: 10, high: 14 }, { low: 16, value: 20, high: 23 }]);
  assert.deepEqual(sum, { low: 25, value: 30, high: 35 });
  assert.deepEqual(addIntervals([]), { low: 0, value: 0, high: 0 });
});

for (const order of ["frequency", "shuffled"] as const) {
  Deno.test({
    name: `real rows, ids by ${order}: estimates within 10 %, intervals hold${
      criteoRowsAbsent ? `: ${criteoRowsAbsent}` : ""
    }`,
    ignore: criteoRowsAbsent !== undefined,
    fn() {
      const { tableRows, splits } = criteoRows([0, 1, 2], order);
      const large = tableRows.flatMap((rows, t) => rows > 35 * 1024 ? [t] : []);
      assert.ok(large.length >= 3, "some tables are estimated");
      for (const cutoff of [2, 3, 6]) {
        const tables = large.map((t) => {
          const counts = new Uint32Array(tableRows[t]);
          const { ids } = splits.train!;
          for (let k = t; k < ids.length; k += tableRows.length) counts[ids[k]]++;
          return { counts, tally: new Tally(counts) };
        });
        const exact = tables.reduce((sum, { tally }) => sum + tally.rowsAtLeast(cutoff), 0);
        let holding = 0, close = 0;
        for (let seed = 0; seed < SEEDS; seed++) {
          const { low, value, high } = addIntervals(
            tables.map(({ counts, tally }, t) =>
              estimatingCounter(counts, tally.accesses, new Random(seed, t)).rowsAtLeast(cutoff)
            ),
          );
          if (low <= exact && exact <= high) holding++;
          if (Math.abs(value - exact) <= 0.1 * exact) close++;
        }
        assert.ok(holding >= 95, `cut-off ${cutoff}: ${holding} of ${SEEDS} intervals hold ${exact}`);
        assert.ok(close === SEEDS, `cut-off ${cutoff}: ${close} of ${SEEDS} estimates are within 10 % of ${exact}`);
      }
    },
  });
}
