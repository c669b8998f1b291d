import assert from "node:assert/strict";
import { planModel } from "../../src/model/shape.ts";
import { type Placement, planMemory } from "../../src/plan/memory.ts";

/** Two tables of 100 and 28 rows, dim 4; layers 3-4 and (4 + 3)-2-1: weights 12 + 14 + 2 words, biases 4 + 2 + 1. */
const model = planModel({
  dim: 4,
  tableRows: [100, 28],
  bottom: [3, 4],
  top: [2, 1],
  interaction: "dot",
  optimizer: "adagrad",
});
const batchShape = { batchSize: 10, denseFeatures: 3, tables: 2, bags: false, lookupCapacity: 20 };
const options = { model, batchShape, hotRows: 16, cachedRows: 50, ranks: { cpu: 3, devices: 1 } };
const part = (placement: Placement, ...names: string[]) => {
  const parts = planMemory(options, placement).parts.filter(({ name }) => names.includes(name));
  return [parts.reduce((sum, { host }) => sum + host, 0), parts.reduce((sum, { device }) => sum + device, 0)];
};
const HOT_ROWS = ["hot rows", "optimizer state of hot rows"];
const DENSE = ["dense parameters", "dense optimizer state", "dense gradients"];
const ACTIVATIONS = ["activations", "gradients of activations", "pooled rows"];
const ON_HOST = { mode: "fae", onDevice: false } as const;
const ON_DEVICE = { mode: "fae", onDevice: true } as const;

Deno.test("planMemory() counts every purpose as by hand", () => {
  assert.deepEqual(part(ON_HOST, "embedding tables"), [4 * 128 * 4, 0]);
  assert.deepEqual(part(ON_HOST, "optimizer state of embedding tables"), [4 * 128 * 4, 0]);
  assert.deepEqual(part(ON_HOST, ...HOT_ROWS), [4 * 16 * 8, 0]);
  // Weights and biases begin at multiples of 4 words: 12 + 4 + 16 + 4 + 4 + 4. Parameters, state and 3 gradients.
  assert.equal(model.denseWords, 44);
  assert.deepEqual(part(ON_HOST, ...DENSE), [4 * 44 * 5, 0]);
  // Outputs 4 + 2 + 1 and the interaction's 7, each with a gradient; pooled rows 2 * 4; 10 samples.
  assert.deepEqual(part(ON_HOST, ...ACTIVATIONS), [4 * 10 * (2 * (7 + 7) + 8), 0]);
  // Room for the gradients of as many samples on each of 3 ranks as on the first.
  assert.deepEqual(part(ON_HOST, "gradients of pooled rows"), [4 * 12 * 8, 0]);
  // Header 16, labels 10, dense 30, indices 20, segment bags 20, segments 2 * 21; four of them, with 10 scores each.
  assert.deepEqual(part(ON_HOST, "batches"), [4 * 4 * (16 + 10 + 30 + 20 + 20 + 42), 0]);
  assert.deepEqual(part(ON_HOST, "scores"), [4 * 4 * 10, 0]);
  // Hot rows with their rank, and rows that changed, a bit each; hot rows that changed.
  assert.deepEqual(part(ON_HOST, "changed rows"), [4 * (3 * 4 + 1), 0]);
});

Deno.test("planMemory() puts each part where its mode has it", () => {
  assert.deepEqual(part(ON_DEVICE, "embedding tables"), [2048, 0]);
  assert.deepEqual(part(ON_DEVICE, ...HOT_ROWS), [0, 512]);
  assert.deepEqual(part(ON_DEVICE, ...DENSE), [0, 4 * 44 * 3]); // one rank
  // Pooled rows and their gradients are on the host as well.
  assert.deepEqual(part(ON_DEVICE, ...ACTIVATIONS), [4 * 80, 4 * 360]);
  assert.deepEqual(part(ON_DEVICE, "gradients of pooled rows"), [4 * 80, 4 * 80]);
  const gpu = { mode: "gpu", onDevice: true } as const;
  assert.deepEqual(part(gpu, "embedding tables"), [0, 2048]);
  assert.deepEqual(part(gpu, ...HOT_ROWS), [0, 0]);
  assert.deepEqual(part(gpu, ...ACTIVATIONS), [0, 4 * 360]);
  assert.deepEqual(part({ mode: "hybrid", onDevice: true }, "embedding tables"), [2048, 0]);
  const cached = { mode: "cached", onDevice: true } as const;
  assert.deepEqual(part(cached, "embedding tables"), [2048, 0]);
  // 50 slots, and a row for each of 20 lookups; dim 4 with state.
  assert.deepEqual(part(cached, "cached rows"), [0, 4 * 70 * 4]);
  assert.deepEqual(part(cached, "optimizer state of cached rows"), [0, 4 * 70 * 4]);
});

Deno.test("planMemory() counts the threads of ranks, and that of one rank on the CPU where a step takes long", () => {
  const processOf = (cpu: number, batchSize: number, placement: Placement) => {
    const sizes = { batchShape: { ...batchShape, batchSize, lookupCapacity: 2 * batchSize } };
    const { parts } = planMemory({ ...options, ...sizes, ranks: { cpu, devices: 1 } }, placement);
    return parts.find(({ name }) => name === "the process")!.host;
  };
  const process = processOf(1, 10, ON_HOST);
  const thread = processOf(1, 100_000, ON_HOST) - process;
  assert.ok(thread > 0);
  for (const batchSize of [10, 100_000]) {
    assert.equal(processOf(3, batchSize, ON_HOST), process + 3 * thread);
    assert.equal(processOf(3, batchSize, ON_DEVICE), process);
  }
});

Deno.test("planMemory() adds its parts up", () => {
  for (const placement of [ON_HOST, ON_DEVICE]) {
    const { parts, host, device } = planMemory(options, placement);
    assert.equal(host, parts.reduce((sum, part) => sum + part.host, 0));
    assert.equal(device, parts.reduce((sum, part) => sum + part.device, 0));
    assert.equal(device > 0, placement.onDevice);
  }
});
