import assert from "node:assert/strict";
import { KeysDoNotFit, KeyTable } from "../../src/dataset/key_table.ts";
import { Random } from "../../src/random.ts";

const MEGA = 1e6;

Deno.test("ids follow falling counts, ties the key; rare and unknown keys have id 0", () => {
  using table = new KeyTable(MEGA);
  table.count(Uint32Array.of(7, 2 ** 32 - 1, 0, 7, 3));
  table.count(Uint32Array.of(0, 9, 7, 3));
  const { keys, counts } = table.number(2);
  assert.deepEqual([...keys], [7, 0, 3]);
  assert.deepEqual([...counts], [3, 2, 2]);
  const encoded = Uint32Array.of(3, 9, 7, 5, 0, 2 ** 32 - 1);
  table.encode(encoded);
  assert.deepEqual([...encoded], [3, 0, 1, 0, 2, 0]);
  using learnt = new KeyTable(MEGA);
  learnt.learn(keys);
  const again = Uint32Array.of(3, 9, 7, 5, 0, 2 ** 32 - 1);
  learnt.encode(again);
  assert.deepEqual(again, encoded);
});

Deno.test("a table that grows many times counts what a map counts", () => {
  const random = new Random(1);
  const keys = Uint32Array.from({ length: 100_000 }, () => Math.floor(random.uniform() ** 4 * 2 ** 32));
  const expected = new Map<number, number>();
  for (const key of keys) expected.set(key, (expected.get(key) ?? 0) + 1);
  using table = new KeyTable(100 * MEGA);
  table.count(keys);
  assert.equal(table.keys, expected.size);
  const { keys: found, counts } = table.number(1);
  assert.deepEqual(
    new Map([...found].map((key, i) => [key, counts[i]])),
    new Map([...found].map((k) => [k, expected.get(k)])),
  );
  assert.equal(new Set(found).size, expected.size);
});

Deno.test("keys beyond the memory are refused", () => {
  using table = new KeyTable(MEGA);
  assert.throws(() => table.count(Uint32Array.from({ length: 100_000 }, (_, i) => i)), KeysDoNotFit);
});
