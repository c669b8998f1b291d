import assert from "node:assert/strict";
import { batchSections } from "../../src/layout/batch.ts";
import { flopsOf, planModel } from "../../src/model/shape.ts";
import { type CountedStep, countStep } from "../../src/ranks/count_memory.ts";

const plan = planModel({
  dim: 4,
  tableRows: [100, 28],
  bottom: [3, 8, 4],
  top: [5, 1],
  interaction: "dot",
  optimizer: "adagrad",
});
const SAMPLES = 10;
const batchShape = { batchSize: SAMPLES, denseFeatures: 3, tables: 2, bags: false, lookupCapacity: 2 * SAMPLES };
const DISTINCT = 9;
const POOLED_BYTES = 4 * SAMPLES * 2 * 4;
const options = { plan, batchShape, ranks: 1, onDevice: true, hotRows: new Uint32Array(16) };
const cold = { distinct: DISTINCT, hot: false };
const flops = ({ device }: CountedStep) => device.kernels.reduce((sum, { flops }) => sum + flops, 0);

Deno.test("countStep(): a batch of rows on the device is one recorded sequence and one copy", () => {
  const { host, device, bytesFromRanks } = countStep(options, { ...cold, hot: true });
  assert.deepEqual(host.kernels, []);
  assert.equal(device.recorded, true);
  assert.deepEqual(device.copies, [4 * (batchSections(batchShape).segments + 2 * (DISTINCT + 1))]);
  assert.equal(bytesFromRanks, 0);
  const inGpuMode = countStep({ ...options, hotRows: undefined, tablesOnDevice: true }, cold);
  assert.deepEqual(inGpuMode.device, device);
});

Deno.test("countStep(): the host pools and updates the rows of a cold batch, which move once in each direction", () => {
  const { host, device } = countStep(options, cold);
  // A lookup reads a row and its index and writes a pooled row; the update reads gradients and reads and writes rows.
  const pool = { bytes: 4 * (20 * 5 + 20 * 4), flops: 0, rows: 20 };
  const update = { bytes: 4 * (20 * 5 + 2 * DISTINCT * (1 + 4 + 4)), flops: 0, rows: 20 + DISTINCT };
  assert.deepEqual(host.kernels, [pool, update]);
  assert.equal(device.recorded, false);
  assert.deepEqual(device.copies, [4 * batchSections(batchShape).indices, POOLED_BYTES, POOLED_BYTES]);
});

Deno.test("countStep(): missing rows move to a cache on the device and as many back, beside a recorded step", () => {
  const cached = { ...options, hotRows: undefined, cache: { slots: 50, batchRows: 20 } };
  const { host, device } = countStep(cached, { ...cold, fetched: 5 });
  // Two lists of 5 positions, each rounded up to 4 words; rows of 4 words and their state.
  const batchBytes = 4 * (batchSections(batchShape).segments + 2 * (DISTINCT + 1));
  assert.deepEqual(device.copies, [4 * (8 + 8 + 5 * 8), 4 * 5 * 8, batchBytes]);
  assert.equal(device.recorded, true);
  // Weights and state of the rows that arrive on the host, and of those that leave it.
  assert.deepEqual(host.kernels.map(({ rows }) => rows), [5, 5, 5, 5]);
  // Both devices fetch all missing rows; each writes its part of the evicted ones.
  const onTwo = countStep({ ...cached, ranks: 2 }, { ...cold, fetched: 6 });
  assert.deepEqual(onTwo.device.copies.slice(0, 2), [4 * (4 + 8 + 6 * 8), 4 * 3 * 8]);
  assert.deepEqual(onTwo.host.kernels.map(({ rows }) => rows), [3, 3, 6, 6, 3, 3, 6, 6]);
  const { device: inGpuMode } = countStep({ ...options, hotRows: undefined, tablesOnDevice: true }, cold);
  const { device: nothingMoves } = countStep(cached, cold);
  assert.deepEqual(nothingMoves, inGpuMode);
});

Deno.test("countStep(): a step has the layers' floating-point operations, wherever it is computed", () => {
  const onHost = countStep({ ...options, onDevice: false, hotRows: undefined }, cold);
  const onDevice = countStep(options, cold);
  assert.equal(flops(onDevice), SAMPLES * flopsOf(plan));
  assert.equal(flops({ ...onHost, device: onHost.host }), SAMPLES * flopsOf(plan));
  assert.deepEqual(onHost.device.kernels, []);
});

Deno.test("countStep(): devices exchange dense gradients, and those of the rows that they have replicas of", () => {
  const two = { ...options, ranks: 2, tablesOnDevice: true, hotRows: undefined };
  const dense = 8 * plan.denseWords / 2;
  // 20 lookups of at most 9 distinct rows: sums of rows are fewer than pooled rows.
  assert.equal(countStep(two, cold).bytesFromRanks, dense + 8 * DISTINCT * 4 / 2);
  assert.equal(countStep(two, { ...cold, distinct: 20 }).bytesFromRanks, dense + POOLED_BYTES / 2);
  assert.equal(countStep({ ...options, ranks: 2, hotRows: undefined }, cold).bytesFromRanks, dense);
});

Deno.test("countStep(): with cuBLASLt a layer's forward pass is one kernel instead of two", () => {
  const [fused, apart] = [true, false].map((fusedBias) => countStep({ ...options, fusedBias }, cold).device.kernels);
  assert.equal(apart.length - fused.length, 4); // two layers in each MLP
});
