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
