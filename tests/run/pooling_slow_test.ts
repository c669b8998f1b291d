/** Runs that read the means of bags: the same in every mode and on every device, and after an interruption. */
import assert from "node:assert/strict";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { HotsetError, Interrupted } from "../../src/errors.ts";
import type { RunEvent } from "../../src/events/events.ts";
import { resumeRun, startRun } from "../../src/run/run.ts";
import { largestError } from "../support/close.ts";
import { testDevice } from "../support/cuda_device.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

function dataOf(directory: TemporaryDirectory, bags = true): Dataset {
  const samples = { train: 700, validation: 64, test: 64 };
  return tinyDataset(directory.join("data"), {
    samples,
    tableRows: [3, 40, 900],
    denseFeatures: 3,
    bags,
    seed: 2,
    skew: 6,
  });
}

function configOf(layer: Partial<TrainConfig>): TrainConfig {
  return resolveConfig("kaggle", {
    ...{ dim: 8, bottom: [12, 8], top: [12, 1], batchSize: 33, optimizer: "adagrad", learningRate: 0.05, ranks: 1 },
    ...{ printFreq: 1, pooling: "mean", mode: "cpu" },
    ...layer,
  });
}

async function lossesOf(directory: TemporaryDirectory, dataset: Dataset, config: TrainConfig): Promise<number[]> {
  const losses: number[] = [];
  const report = (event: RunEvent) => void (event.event === "progress" && losses.push(event.loss));
  await startRun(config, dataset, { out: directory.join(`run-${crypto.randomUUID()}`), report });
  return losses;
}

const HOT = { hotMemory: 4 * 2 * 8 * 300 };
const PLACEMENTS: Record<string, Partial<TrainConfig>> = {
  "cpu, 2 ranks": { ranks: 2 },
  "cpu, fae": { mode: "fae", ...HOT, shuffle: "batches" },
  "gpu on a device": { mode: "gpu", device: testDevice },
  "hybrid on a device": { mode: "hybrid", device: testDevice },
  "cached on a device": { mode: "cached", device: testDevice, ...HOT },
  "gpu, 2 ranks on devices": { mode: "gpu", device: testDevice, ranks: 2 },
};

Deno.test("means of bags give the same losses wherever rows are, and others than sums", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  const inOrder = await lossesOf(directory, dataset, configOf({}));
  assert.ok(inOrder.length >= 20);
  assert.ok(largestError(await lossesOf(directory, dataset, configOf({ pooling: "sum" })), inOrder) > 1e-3);
  for (const [name, layer] of Object.entries(PLACEMENTS)) {
    const found = await lossesOf(directory, dataset, configOf(layer));
    if (layer.mode === "fae") {
      const host = await lossesOf(directory, dataset, configOf({ ...layer, device: testDevice }));
      assert.ok(largestError(host, found) <= 1e-5, `${name}, and on a device`);
    } else assert.ok(largestError(found, inOrder) <= 1e-5, name);
  }
});

Deno.test("an interrupted run with means of bags goes on with the same bits", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  const config = configOf({ mode: "fae", ...HOT, ranks: 2 });
  const [whole, out] = [directory.join("whole"), directory.join("stopped")];
  await startRun(config, dataset, { out: whole, report: () => {} });
  const controller = new AbortController();
  const report = (event: RunEvent) => {
    if (event.event === "progress" && event.step === 7) controller.abort();
  };
  await assert.rejects(startRun(config, dataset, { out, report, signal: controller.signal }), Interrupted);
  await resumeRun({ out, report: () => {} });
  for (const file of ["dense.f32", "rows.f32"]) {
    assert.deepEqual(Deno.readFileSync(`${out}/last/${file}`), Deno.readFileSync(`${whole}/last/${file}`), file);
  }
});

Deno.test("means are refused where every bag has one value", async () => {
  using directory = new TemporaryDirectory();
  const start = startRun(configOf({}), dataOf(directory, false), { out: directory.join("run"), report: () => {} });
  await assert.rejects(
    start,
    (error) => error instanceof HotsetError && /with --pooling mean: every/.test(error.message),
  );
});
