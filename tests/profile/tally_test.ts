import assert from "node:assert/strict";
import { RowCounts, Tally } from "../../src/profile/tally.ts";
import { Random } from "../../src/random.ts";

Deno.test("Tally answers as a scan does, on both sides of its histogram's end", () => {
  const random = new Random(1);
  const counts = Uint32Array.from({ length: 5000 }, () => Math.floor(200_000 * random.uniform() ** 6));
  counts.set([65_535, 65_535, 65_536, 65_536, 65_537, 4_294_967_295]);
  const tally = new Tally(counts);
  for (const cutoff of [0, 1, 2, 10, 1000, 65_534, 65_535, 65_536, 65_537, 65_538, 150_000, 4_294_967_295, 2 ** 40]) {
    const reaching = counts.filter((count) => count >= cutoff);
    assert.equal(tally.rowsAtLeast(cutoff), reaching.length, `rows from ${cutoff}`);
    assert.equal(tally.accessesAtLeast(cutoff), reaching.reduce((a, b) => a + b, 0), `accesses from ${cutoff}`);
  }
  assert.equal(tally.accesses, counts.reduce((a, b) => a + b, 0));
});

Deno.test("RowCounts keeps tables apart", async () => {
  const rows = await RowCounts.of(Uint32Array.of(3, 0, 1, 5, 5), Float64Array.of(0, 2, 5));
  assert.deepEqual([...rows.ofTable(1)], [1, 5, 5]);
  assert.deepEqual(rows.tallies.map((tally) => [tally.accesses, tally.rowsAtLeast(1)]), [[3, 1], [11, 3]]);
});
