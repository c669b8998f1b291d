/** Gradient clipping beyond the golden losses: over several ranks, below the limit, and with non-finite gradients. */
import assert from "node:assert/strict";
import type { Buffer } from "../../src/backend/backend.ts";
import { cpuOptions, openHost } from "../../src/backend/open.ts";
import { ReferenceBackend } from "../../src/backend/reference/reference.ts";
import { GradientClip } from "../../src/model/gradient_clip.ts";
import { planModel } from "../../src/model/shape.ts";
import { faultMessage, faultOf } from "../../src/model/step_fault.ts";
import { writeStep } from "../../src/optimizer/optimizers.ts";
import { ONE_RANK } from "../../src/parallel/host_group.ts";
import { LocalRank, type RankGroup } from "../../src/ranks/rank_group.ts";
import { allocateTrainState } from "../../src/ranks/train_state.ts";
import { WorkerRanks } from "../../src/ranks/worker_ranks.ts";
import { Batch } from "../../src/layout/batch.ts";
import { largestError } from "../support/close.ts";
import { GoldenBatches, goldenModel, goldenParameters, LARGEST_NORM } from "../golden/golden_model.ts";

const STEPS = 12;

/** The parameters after a few golden steps. */
async function train(ranks: number, clipNorm: number | undefined): Promise<Float32Array> {
  const options = await cpuOptions("wasm");
  const host = await openHost(options);
  const batches = new GoldenBatches();
  const plan = planModel(goldenModel("adagrad"));
  const memory = allocateTrainState({ plan, batchShape: batches.shape, ranks, host, device: host, clipNorm });
  const { dense, rows } = goldenParameters(plan);
  host.upload(dense, memory.parameters);
  host.upload(rows, memory.full.weights);
  await using group: RankGroup = ranks === 1 ? new LocalRank(memory) : await WorkerRanks.start(memory, options);
  for (let step = 0; step < STEPS; step++) {
    const slot = group.acquire();
    const batch = batches.at(step);
    group.batches[slot].bytes.set(batch.bytes.subarray(0, 4 * batch.usedWords));
    writeStep("adagrad", group.batches[slot].floats, 0.05, step + 1);
    group.train(slot);
  }
  group.drain();
  return Float32Array.from([...host.floats(memory.parameters), ...host.floats(memory.full.weights)]);
}

Deno.test("the norm is that of the whole batch, whoever computes its samples", async () => {
  const [alone, shared, free] = [await train(1, LARGEST_NORM), await train(3, LARGEST_NORM), await train(1, undefined)];
  const moved = largestError(free, alone);
  assert.ok(largestError(shared, alone) < 1e-3 * moved, `${largestError(shared, alone)} beside ${moved}`);
});

Deno.test("gradients below the largest norm keep their bits", async () => {
  for (const ranks of [1, 2]) assert.deepEqual(await train(ranks, 1e6), await train(ranks, undefined));
});

Deno.test("a norm that is not finite ends the step before it updates anything", () => {
  const host = new ReferenceBackend();
  const batchShape = { batchSize: 1, denseFeatures: 1, tables: 1, bags: false, lookupCapacity: 1 };
  const batch = new Batch(batchShape);
  batch.step = 7;
  const hostBlock = host.wrap(batch.words);
  const pooledGradients = host.allocate(4, "gradients");
  const dense = host.allocate(2, "gradients");
  const squares = host.allocate(2, "squares");
  const shape = { dim: 4, tableRows: [3], optimizer: "sgd" } as const;
  const context = { shape, batchShape, host, device: host, groups: ONE_RANK, pooledGradients };
  const own = { dense, pooled: pooledGradients, firstSample: 0, sampleWords: 4 };
  const clip = new GradientClip(context, own, { maxNorm: 1, squares }, undefined).bind({
    batch,
    hostBlock,
    deviceBlock: hostBlock,
  });
  const gradientsOf = (buffer: Buffer) => [...host.floats(buffer)];
  host.floats(dense).set([3e30, 4e30]);
  clip(1);
  assert.ok(largestError(gradientsOf(dense), [0.6, 0.8]) < 1e-6, "squares beyond single precision are no fault");
  for (const bad of [Infinity, NaN]) {
    host.floats(dense).set([1, bad]);
    assert.throws(() => clip(1), /the gradient norm of step 7 is not a finite number/);
    assert.deepEqual(gradientsOf(dense), [1, bad]);
  }
});

Deno.test("what is not finite of a step is known again by the message of its rank", () => {
  for (const what of ["loss", "gradient norm"]) {
    assert.deepEqual(faultOf(`rank 2: ${faultMessage({ what, step: 31 })}; and so on`), { what, step: 31 });
  }
  assert.equal(faultOf("the loss of step 3 is 0.5"), undefined);
});
