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
const options = { model, batchShape, hotRows: 16, ranks: 3 };
const part = (placement: Placement, name: string) => {
  const found = planMemory(options, placement).parts.find((part) => part.name === name);
  return found === undefined ? undefined : [found.host, found.device];
};
const ON_HOST = { mode: "fae", onDevice: false } as const;
const ON_DEVICE = { mode: "fae", onDevice: true } as const;

Deno.test("planMemory() counts every purpose as by hand", () => {
  assert.deepEqual(part(ON_HOST, "embedding tables"), [4 * 128 * 4, 0]);
  assert.deepEqual(part(ON_HOST, "their optimizer state"), [4 * 128 * 4, 0]);
  assert.deepEqual(part(ON_HOST, "hot rows with their state"), [4 * 16 * 8, 0]);
  // Weights and biases begin at multiples of 4 words: 12 + 4 + 16 + 4 + 4 + 4. Parameters, state and 3 gradients.
  assert.equal(model.denseWords, 44);
  assert.deepEqual(part(ON_HOST, "MLPs: parameters, state, gradients"), [4 * 44 * 5, 0]);
  // Outputs 4 + 2 + 1 and the interaction's 7, each with a gradient; pooled rows 2 * 4 with theirs; 10 samples.
  assert.deepEqual(part(ON_HOST, "activations and gradients"), [4 * 10 * 2 * (7 + 7 + 8), 0]);
  // Header 16, labels 10, dense 30, indices 20, segment bags 20, segments 2 * 21; four of them, with 10 scores each.
  assert.deepEqual(part(ON_HOST, "batches in flight"), [4 * 4 * (16 + 10 + 30 + 20 + 20 + 42 + 10), 0]);
});

Deno.test("planMemory() puts each part where its mode has it", () => {
  assert.deepEqual(part(ON_DEVICE, "embedding tables"), [2048, 0]);
  assert.deepEqual(part(ON_DEVICE, "hot rows with their state"), [0, 512]);
  assert.deepEqual(part(ON_DEVICE, "MLPs: parameters, state, gradients"), [0, 4 * 44 * 3]); // one rank
  assert.deepEqual(part(ON_DEVICE, "activations and gradients"), [4 * 160, 4 * 440]);
  const gpu = { mode: "gpu", onDevice: true } as const;
  assert.deepEqual(part(gpu, "embedding tables"), [0, 2048]);
  assert.deepEqual(part(gpu, "hot rows with their state"), [0, 0]);
  assert.deepEqual(part(gpu, "activations and gradients"), [0, 4 * 440]);
  assert.deepEqual(part({ mode: "hybrid", onDevice: true }, "embedding tables"), [2048, 0]);
});

Deno.test("planMemory() adds its parts up", () => {
  for (const placement of [ON_HOST, ON_DEVICE]) {
    const { parts, host, device } = planMemory(options, placement);
    assert.equal(host, parts.reduce((sum, part) => sum + part.host, 0));
    assert.equal(device, parts.reduce((sum, part) => sum + part.device, 0));
    assert.equal(device > 0, placement.onDevice);
  }
});
