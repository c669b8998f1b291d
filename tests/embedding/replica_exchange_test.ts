import assert from "node:assert/strict";
import type { BatchShape } from "../../src/layout/batch.ts";
import { exchangeKind, pooledGradientWords } from "../../src/embedding/replica_exchange.ts";

const SHAPE: BatchShape = { batchSize: 100, denseFeatures: 1, tables: 3, bags: false, lookupCapacity: 300 };

Deno.test("gradients of pooled rows have room for as many samples on every rank as on the first", () => {
  assert.equal(pooledGradientWords(SHAPE, 8, 1), 100 * 3 * 8);
  assert.equal(pooledGradientWords(SHAPE, 8, 4), 100 * 3 * 8);
  assert.equal(pooledGradientWords(SHAPE, 8, 3), 3 * 34 * 3 * 8);
});

Deno.test("the exchange that moves fewer bytes is taken", () => {
  for (const ranks of [2, 3, 4, 7]) {
    const pooled = 4 * (ranks - 1) * pooledGradientWords(SHAPE, 16, ranks);
    for (const mostDistinct of [0, 1, 100, 149, 150, 151, 300]) {
      const rows = 8 * (ranks - 1) * mostDistinct * 16;
      if (pooled !== rows) assert.equal(exchangeKind(SHAPE, mostDistinct, ranks), rows < pooled ? "rows" : "pooled");
    }
  }
});
