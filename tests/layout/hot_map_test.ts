import assert from "node:assert/strict";
import { HotMap } from "../../src/layout/hot_map.ts";
import { Random } from "../../src/random.ts";

Deno.test("HotMap numbers hot rows by their position in the list", () => {
  const random = new Random(1);
  for (const [rows, share] of [[1, 1], [31, 0.5], [32, 1], [33, 0.5], [1000, 0.02], [1000, 0.98], [4096, 1]]) {
    const hotRows = Uint32Array.from({ length: rows }, (_, row) => row).filter(() => random.uniform() < share);
    const map = new HotMap(Float64Array.of(0, rows), hotRows);
    hotRows.forEach((row, id) => assert.equal(map.id(row), id));
    const hot = new Set(hotRows);
    for (let row = 0; row < rows; row++) {
      assert.equal(map.allHot({ count: 1, indices: Uint32Array.of(row), offsets: undefined }, 0), hot.has(row));
    }
  }
});

/** Three tables of 10, 90 and 5 rows: none, some and all of them hot. */
const FIRST_ROWS = Float64Array.of(0, 10, 100, 105);

Deno.test("allHot looks at the lookups of one sample", () => {
  const map = new HotMap(FIRST_ROWS, Uint32Array.of(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 64, 99, 101));
  const indices = Uint32Array.of(5, 64, 101, 5, 63, 101, 5, 99, 102);
  const hot = [0, 1, 2].map((i) => map.allHot({ count: 3, indices, offsets: undefined }, i));
  assert.deepEqual(hot, [true, false, false]);
});

Deno.test("allHot looks at every lookup of a bag, and empty bags are hot", () => {
  const map = new HotMap(FIRST_ROWS, Uint32Array.of(64, 99, 100, 101, 102, 103, 104));
  const indices = Uint32Array.of(64, 99, 104, 64, 63, 3);
  const offsets = Uint32Array.of(0, 0, 2, 3, 3, 5, 5, 5, 5, 5, 6, 6, 6);
  const hot = [0, 1, 2, 3].map((i) => map.allHot({ count: 4, indices, offsets }, i));
  assert.deepEqual(hot, [true, false, true, false]);
});

Deno.test("tables without rows that are cold, and without any rows that are hot", () => {
  const lookups = { count: 1, indices: Uint32Array.of(3, 10, 100), offsets: undefined };
  assert.equal(new HotMap(FIRST_ROWS, Uint32Array.from({ length: 105 }, (_, row) => row)).allHot(lookups, 0), true);
  assert.equal(new HotMap(FIRST_ROWS, Uint32Array.of(3, 10)).allHot(lookups, 0), false);
});
