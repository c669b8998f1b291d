import assert from "node:assert/strict";
import { ReferenceBackend } from "../../src/backend/reference/reference.ts";
import { hiddenUnits, type ModelShape, planModel } from "../../src/model/shape.ts";
import { ActiveUnits } from "../../src/ranks/active_units.ts";

const SHAPE: ModelShape = {
  ...{ dim: 4, tableRows: [10, 10], bottom: [3, 2, 4], top: [3, 1], interaction: "dot", optimizer: "sgd" },
};

Deno.test("a hidden layer is counted until each of its units was nonzero, and again when flags are reset", () => {
  using device = new ReferenceBackend();
  const plan = planModel(SHAPE);
  const flags = new Float32Array(hiddenUnits(plan));
  assert.equal(flags.length, 2 + 4 + 3);
  const sums = device.allocate(flags.length, "sums");
  const units = new ActiveUnits(plan, flags);
  const take = (...values: number[]) => {
    device.upload(Float32Array.from(values), sums);
    units.take(device, sums);
  };
  assert.deepEqual(units.look(), [true, true, true]);
  take(1, NaN, 0, 2, 3, 4, 1, 0, 0);
  assert.deepEqual([...flags], [1, 1, 0, 1, 1, 1, 1, 0, 0]);
  assert.deepEqual(units.look(), [false, true, true]);
  take(0, 0, 5, 0, 0, 0, 0, 6, 0);
  assert.deepEqual([...flags], [1, 1, 1, 1, 1, 1, 1, 1, 0]);
  assert.deepEqual(units.look(), [false, false, true]);
  flags.fill(0);
  flags[8] = 1;
  take(7, 7, 7, 7, 7, 7, 0, 0, 0); // sums of layers that were not counted say nothing
  assert.deepEqual([...flags], [0, 0, 0, 0, 0, 0, 0, 0, 1]);
  assert.deepEqual(units.look(), [true, true, true]);
});
