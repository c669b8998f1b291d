/** One rank on the calling thread, whose device computes beside it. */
import assert from "node:assert/strict";
import { cpuOptions, openHost } from "../../src/backend/open.ts";
import { openCuda } from "../../src/backend/cuda/open.ts";
import { initialiseDense } from "../../src/model/initialise.ts";
import { planModel } from "../../src/model/shape.ts";
import { LocalRank } from "../../src/ranks/rank_group.ts";
import { allocateTrainState } from "../../src/ranks/train_state.ts";
import { breaksOf } from "../support/breaks.ts";
import { testDevice } from "../support/cuda_device.ts";

Deno.test("the event loop turns while a device does its operations, and the host does not wait after that", async () => {
  const plan = planModel({
    ...{ dim: 4, tableRows: [70], bottom: [2, 4], top: [1], interaction: "dot", optimizer: "sgd" },
  });
  const batchShape = { batchSize: 2, denseFeatures: 2, tables: 1, bags: false, lookupCapacity: 2 };
  const host = await openHost(await cpuOptions("wasm"));
  const device = openCuda({ device: testDevice });
  const tablesOnDevice = true;
  await using group = new LocalRank(allocateTrainState({ plan, batchShape, ranks: 1, device, host, tablesOnDevice }));
  const parameters = new Float32Array(plan.denseWords);
  initialiseDense(plan, 1, parameters);
  await group.initialise(parameters, 1);
  const sum = device.allocate(plan.denseWords, "sum");
  for (let i = 0; i < 20; i++) device.add(plan.denseWords, group.memory.parameters, sum);
  const turns = await breaksOf(() => group.drained());
  if (testDevice === "emulated") assert.ok(turns >= 19, `${turns} turns`);
  assert.equal(await breaksOf(() => group.drained()), 0);
  const found = new Float32Array(plan.denseWords);
  device.download(sum, found);
  const expected = new Float32Array(plan.denseWords);
  for (let i = 0; i < 20; i++) expected.forEach((value, k) => expected[k] = value + parameters[k]);
  assert.deepEqual(found, expected);
});
