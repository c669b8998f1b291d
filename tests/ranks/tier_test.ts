import assert from "node:assert/strict";
import type { MemoryBudget } from "../../src/config/memory_budget.ts";
import { UsageError } from "../../src/errors.ts";
import type { BatchShape } from "../../src/layout/batch.ts";
import { planModel } from "../../src/model/shape.ts";
import { cgroupRoom, sizeCache, tableBytes } from "../../src/ranks/tier.ts";

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

function slots(memory: MemoryBudget | null, available?: number): number | undefined {
  return sizeCache(PLAN, SIZES, memory, RESIDENT, available)?.slots;
}

Deno.test("a budget in bytes holds rows, what is known of them, and all else; one that holds everything needs no disk", () => {
  assert.equal(tableBytes(PLAN), 512 * 10_000_000);
  const [one, two] = [slots({ bytes: GIB })!, slots({ bytes: 2 * GIB })!];
  assert.ok(one * 512 < GIB - RESIDENT && one * 512 > 0.5 * GIB, `${one}`);
  assert.ok(Math.abs((two - one) * 564 - GIB) < 1000, `${two - one}`);
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
  assert.ok(Math.abs(quarter * 564 + 4 * 10_000_000 - 0.25 * tableBytes(PLAN)) < 1000, `${quarter}`);
  assert.equal(slots({ share: 0 }), 6000);
  assert.equal(slots({ share: 1 }), undefined);
});

Deno.test("without a budget rows go to the disk only if they do not fit in what is available", () => {
  assert.equal(slots(null, 8 * GIB), undefined);
  const some = slots(null, 2 * GIB)!;
  assert.ok(some > 0.6 * 2 * GIB / 564 && some < 2 * GIB / 564, `${some}`);
  assert.throws(() => slots(null, 10 << 20), /even with its tables on a disk; to train, choose a smaller --batch-size/);
});

Deno.test("the room of a control group is its limit less what it uses, page cache apart", () => {
  const room = (files: Record<string, string>) => cgroupRoom((path) => files[path.replace("/sys/fs/cgroup/", "")]);
  assert.equal(room({}), Infinity);
  const two = { "memory.current": "900\n", "memory.stat": "anon 200\ninactive_file 600\nactive_file 100\n" };
  assert.equal(room({ ...two, "memory.max": "1000\n" }), 700);
  assert.equal(room({ ...two, "memory.max": "max\n" }), Infinity);
  assert.equal(room({ "memory.max": "1000\n", "memory.current": "1200\n" }), 0);
  const one = {
    "memory/memory.limit_in_bytes": "500\n",
    "memory/memory.usage_in_bytes": "450\n",
    "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 50\n",
  };
  assert.equal(room(one), 100);
  assert.equal(room({ ...one, ...two, "memory.max": "1000\n" }), 100);
  // The process's own group, and those that it is in, each with a limit.
  const own = { "/proc/self/cgroup": "4:memory:/a/b\n0::/c/d\n" };
  assert.equal(room({ ...own, "c/memory.max": "90\n", "c/memory.current": "30\n" }), 60);
  const inner = { "memory/a/b/memory.limit_in_bytes": "45\n", "memory/a/b/memory.usage_in_bytes": "5\n" };
  assert.equal(room({ ...own, ...one, ...inner }), 40);
  assert.equal(room({ ...own, ...inner, "c/d/memory.max": "9\n", "c/d/memory.current": "2\n" }), 7);
});
