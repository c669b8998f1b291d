import assert from "node:assert/strict";
import { HotMap } from "../../src/layout/hot_map.ts";
import { Random } from "../../src/random.ts";

Deno.test("HotMap numbers hot rows by their position in the list", () => {
  const random = new Random(1);
  for (const [rows, share] of [[1, 1], [31, 0.5], [32, 1], [33, 0.5], [1000, 0.02], [1000, 0.98], [4096, 1]]) {
    const hotRows = Uint32Array.from({ length: rows }, (_, row) => row).filter(() => random.uniform() < share);
    const map = new HotMap(rows, hotRows);
    hotRows.forEach((row, id) => assert.equal(map.id(row), id));
    const hot = new Set(hotRows);
    for (let row = 0; row < rows; row++) assert.equal(map.allHot(Uint32Array.of(row), 0, 1), hot.has(row));
  }
});

Deno.test("allHot looks at its range alone, and an empty range is hot", () => {
  const map = new HotMap(100, Uint32Array.of(3, 64, 99));
  const indices = Uint32Array.of(5, 64, 3, 99, 65);
  assert.equal(map.allHot(indices, 1, 4), true);
  assert.equal(map.allHot(indices, 0, 4), false);
  assert.equal(map.allHot(indices, 1, 5), false);
  assert.equal(map.allHot(indices, 0, 0), true);
});
