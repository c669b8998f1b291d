import assert from "node:assert/strict";
import { resolveConfig } from "../../src/config/config.ts";
import type { MemoryBudget } from "../../src/config/memory_budget.ts";
import { UsageError } from "../../src/errors.ts";
import type { BatchShape } from "../../src/layout/batch.ts";
import { planModel } from "../../src/model/shape.ts";
import { CachedRanks } from "../../src/ranks/cached_ranks.ts";
import { openRanks } from "../../src/ranks/placement.ts";
import { sizeCache, tableBytes, tierOf } from "../../src/ranks/tier.ts";
import { WorkerRanks } from "../../src/ranks/worker_ranks.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const PLAN = planModel({
  dim: 64,
  tableRows: [9_000_000, 1_000_000],
  bottom: [13, 64],
  top: [64, 1],
  interaction: "dot",
  optimizer: "adagrad",
});
const SHAPE: BatchShape = { batchSize: 2048, denseFeatures: 13, tables: 2, bags: false, lookupCapacity: 4096 };
const SIZES = { batchShape: SHAPE, mostDistinct: { cold: 3000 }, ranks: 1 };
const RESIDENT = 200 << 20;
const GIB = 2 ** 30;

function slots(memory: MemoryBudget | null, available?: number, numberBytes?: number): number | undefined {
  return sizeCache(PLAN, SIZES, { memory, numberBytes }, RESIDENT, available)?.slots;
}

Deno.test("a budget in bytes holds rows, what is known of them, and all else; one that holds everything needs no disk", () => {
  assert.equal(tableBytes(PLAN), 512 * 10_000_000);
  const [one, two] = [slots({ bytes: GIB })!, slots({ bytes: 2 * GIB })!];
  assert.ok(one * 512 < GIB - RESIDENT && one * 512 > 0.5 * GIB, `${one}`);
  assert.ok(Math.abs((two - one) * 562 - GIB) < 1000, `${two - one}`);
  const numbered = slots({ bytes: GIB }, undefined, 100 << 20)!;
  assert.ok(Math.abs((one - numbered) * 562 - (100 << 20)) < 1000, "the store has a copy of the numbers of rows");
  assert.equal(slots({ bytes: 6 * GIB }), undefined);
  assert.throws(() => slots({ bytes: 300 << 20 }), (error) => {
    const least = /of which two batches of rows take .*; choose --memory (\d+)MiB or/.exec((error as Error).message);
    assert.ok(error instanceof UsageError && least !== null);
    const advised = Number(least[1]) * 2 ** 20;
    assert.throws(() => slots({ bytes: advised - 2 ** 20 }), UsageError);
    return slots({ bytes: advised })! >= 6000;
  });
});

Deno.test("a share is one of the bytes of rows with their state, what is known of rows included; two batches always fit", () => {
  const quarter = slots({ share: 0.25 })!;
  assert.ok(Math.abs(quarter * 562 + 4 * 10_000_000 - 0.25 * tableBytes(PLAN)) < 1000, `${quarter}`);
  assert.equal(slots({ share: 0 }), 6000);
  assert.equal(slots({ share: 1 }), undefined);
});

Deno.test("without a budget rows go to the disk only if they do not fit in what is available", () => {
  assert.equal(slots(null, 8 * GIB), undefined);
  const some = slots(null, 2 * GIB)!;
  assert.ok(some > 0.6 * 2 * GIB / 562 && some < 2 * GIB / 562, `${some}`);
  assert.throws(() => slots(null, 10 << 20), /even with its tables on a disk; to train, choose a smaller --batch-size/);
});

Deno.test("rows without their optimizer state are enough to score", () => {
  const memory = { bytes: 3.2 * GIB }; // 2.4 GiB of weights, and as many of state
  assert.ok(sizeCache(PLAN, SIZES, { memory }, RESIDENT)!.slots > 0);
  assert.equal(sizeCache(PLAN, { ...SIZES, scoring: true }, { memory }, RESIDENT), undefined);
  const smaller = { memory: { bytes: 2 * GIB } };
  const scoring = sizeCache(PLAN, { ...SIZES, scoring: true }, smaller, RESIDENT);
  assert.deepEqual(scoring, sizeCache(PLAN, SIZES, smaller, RESIDENT), "rows move with their state");
});

Deno.test("a budget that holds everything holds the thread of one rank whose steps take long", async () => {
  using directory = new TemporaryDirectory();
  const plan = planModel({ ...PLAN.shape, tableRows: [150_000, 50_000], bottom: [13, 512, 64] });
  const batches = { batchShape: SHAPE };
  const { memoryUsage } = Deno;
  Deno.memoryUsage = () => ({ ...memoryUsage(), rss: 0 });
  using _ = { [Symbol.dispose]: () => void (Deno.memoryUsage = memoryUsage) };
  let [small, large] = [0, GIB];
  while (large - small > 1) {
    const bytes = Math.floor((small + large) / 2);
    try {
      if (sizeCache(plan, { ...batches, ranks: 1 }, { memory: { bytes } }, 0) === undefined) large = bytes;
      else small = bytes;
    } catch {
      small = bytes;
    }
  }
  const config = resolveConfig("kaggle", { mode: "cpu", device: "cpu", ranks: 1, blas: "wasm" });
  for (const [threads, kind] of [[0, CachedRanks], [1, WorkerRanks]] as const) {
    const tier = tierOf(directory.join("run"), { bytes: large + threads * (48 << 20) });
    await using group = await openRanks(config, plan, batches, { tier });
    assert.ok(group instanceof kind, `with room for ${threads} threads it is ${group.constructor.name}`);
  }
});
