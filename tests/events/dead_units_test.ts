/** Hidden units that are 0 on a whole split are counted on every backend, and dead layers are reported. */
import assert from "node:assert/strict";
import type { Backend } from "../../src/backend/backend.ts";
import { openCuda } from "../../src/backend/cuda/open.ts";
import { cpuOptions, type HostOptions, openHost } from "../../src/backend/open.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { planModel } from "../../src/model/shape.ts";
import { resolveConfig } from "../../src/config/config.ts";
import { scoreSplit } from "../../src/loop/evaluate.ts";
import type { EvaluationEvent } from "../../src/events/events.ts";
import { LocalRank, type RankGroup } from "../../src/ranks/rank_group.ts";
import { allocateTrainState } from "../../src/ranks/train_state.ts";
import { WorkerRanks } from "../../src/ranks/worker_ranks.ts";
import { planFor } from "../../src/run/run.ts";
import { ensureLayout } from "../../src/run/stages.ts";
import { Trainer } from "../../src/loop/trainer.ts";
import { firstWordOf } from "../support/local_model.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { writeDataset } from "../support/tiny_dataset.ts";

const BATCH = 8;
const SAMPLES = 3 * BATCH - 1;
const PLAN = planModel({
  dim: 4,
  tableRows: [10],
  bottom: [1, 5, 4],
  top: [3, 2, 1],
  interaction: "dot",
  optimizer: "sgd",
});
const WASM = await cpuOptions("wasm");

/** A split whose dense feature is 1 in one sample alone, of the second half of the second batch. */
function dataOf(directory: TemporaryDirectory): Dataset {
  const split = {
    labels: Uint8Array.from({ length: SAMPLES }, (_, i) => i % 2),
    dense: Float32Array.from({ length: SAMPLES }, (_, i) => i === 2 * BATCH - 2 ? 1 : 0),
    ids: Uint32Array.from({ length: SAMPLES }, (_, i) => i % 10),
  };
  return writeDataset(directory.join("data"), {
    tableRows: [10],
    denseFeatures: 1,
    splits: { train: split, validation: split },
  });
}

/** Layer 1 of the bottom MLP has 2 dead units and one that a single sample wakes, layer 2 of the top MLP is dead. */
function parametersOf(): Float32Array {
  const parameters = new Float32Array(PLAN.denseWords);
  const set = (tensor: string, values: number[]) => parameters.set(values, firstWordOf(PLAN, tensor));
  set("bot_l.0.weight", [1, 1, 1, 1, 1]);
  set("bot_l.0.bias", [1, -2, 1, -0.5, -3]);
  set("bot_l.2.bias", [1, 1, 1, 1]);
  set("top_l.0.bias", [1, -1, 1]);
  return parameters;
}

async function local(host: HostOptions, device?: Backend): Promise<RankGroup> {
  return new LocalRank(await memoryOf(host, 1, device));
}

async function memoryOf(options: HostOptions, ranks: number, device?: Backend) {
  const host = await openHost(options);
  const batchShape = { batchSize: BATCH, denseFeatures: 1, tables: 1, bags: false, lookupCapacity: BATCH };
  return allocateTrainState({ plan: PLAN, batchShape, ranks, host, device: device ?? host });
}

const WAYS: Record<string, () => Promise<RankGroup>> = {
  "the reference": () => local({ kind: "reference" }),
  "the CPU": () => local(WASM),
  "two ranks": async () => WorkerRanks.start(await memoryOf(WASM, 2), WASM),
  "a device": () => local(WASM, openCuda({ device: "emulated" })),
  "a device with cuDNN": () => local(WASM, openCuda({ device: "emulated", activations: "cudnn" })),
  "a device with cuBLASLt": () => local(WASM, openCuda({ device: "emulated", activations: "cublaslt" })),
};

for (const [name, open] of Object.entries(WAYS)) {
  Deno.test(`dead units are counted on ${name}`, async () => {
    using directory = new TemporaryDirectory();
    const dataset = dataOf(directory);
    await using group = await open();
    const { memory } = group;
    memory.device.upload(parametersOf(), memory.parameters);
    const count = async (limit?: number) => (await scoreSplit(group, dataset, "validation", limit)).deadUnits;
    assert.deepEqual(await count(), { bottom: [2, 0], top: [1, 2] });
    assert.deepEqual(await count(BATCH), { bottom: [3, 0], top: [1, 2] }, "without the sample that wakes the third");
    assert.deepEqual(await count(), { bottom: [2, 0], top: [1, 2] }, "every count begins anew");
  });
}

Deno.test("a run tells of dead layers at each evaluation, with what to do", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  const config = resolveConfig("kaggle", {
    ...{ mode: "cpu", dim: 4, bottom: [5, 4], top: [3, 2, 1], batchSize: BATCH, ranks: 1, save: false, epochs: 2 },
  });
  using layout = await ensureLayout(dataset, undefined, { batchSize: BATCH, shuffle: "batches", seed: 1 }, {
    cache: directory.path,
  }, () => {});
  assert.deepEqual(planFor(config, dataset).shape, PLAN.shape);
  await using group = await local(WASM);
  const initialise = group.initialise.bind(group);
  group.initialise = (_, seed) => {
    const parameters = parametersOf();
    parameters.set([-1, -1, -1, -1], firstWordOf(PLAN, "bot_l.2.bias"));
    return initialise(parameters, seed);
  };
  const notes: string[] = [];
  const evaluations: EvaluationEvent[] = [];
  const trainer = new Trainer({
    ...{ config, dataset, layout, group, runId: "test", checkpoint: undefined, signal: new AbortController().signal },
    out: directory.join("run"),
    report: (event) => {
      if (event.event === "note") notes.push(event.text);
      if (event.event === "evaluation") evaluations.push(event);
    },
  });
  await trainer.run();
  assert.deepEqual(evaluations.map(({ deadUnits }) => deadUnits.bottom[1]), [4, 4, 4]);
  assert.equal(notes.length, 6);
  assert.match(
    notes[0],
    /^All 4 units of layer 2 of the bottom MLP are 0 for every sample of the validation split: dense features no longer .*--learning-rate .*--lr-num-warmup-steps/,
  );
  assert.match(notes[1], /^All 2 units of layer 2 of the top MLP are 0 .*: all predictions are the same/);
});
