/**
 * Means of bags, dropout and weights of lookups: runs are the same in every mode and on every device, and after an
 * interruption.
 */
import assert from "node:assert/strict";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { HotsetError, Interrupted } from "../../src/errors.ts";
import type { RunEvent } from "../../src/events/events.ts";
import type { Random } from "../../src/random.ts";
import { resumeRun, startRun } from "../../src/run/run.ts";
import { evaluateRun } from "../../src/run/score_run.ts";
import { largestError } from "../support/close.ts";
import { testDevice } from "../support/cuda_device.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

function dataOf(
  directory: TemporaryDirectory,
  bags = true,
  denseFeatures = 3,
  weight?: (random: Random) => number,
): Dataset {
  const samples = { train: 700, validation: 64, test: 64 };
  return tinyDataset(directory.join(weight === undefined ? "data" : "weighted"), {
    samples,
    tableRows: [3, 40, 900],
    denseFeatures,
    bags,
    seed: 2,
    skew: 6,
    ...(weight && { weight }),
  });
}

function configOf(layer: Partial<TrainConfig>): TrainConfig {
  return resolveConfig("kaggle", {
    ...{ dim: 8, bottom: [12, 8], top: [12, 1], batchSize: 33, optimizer: "adagrad", learningRate: 0.05, ranks: 1 },
    ...{ printFreq: 1, mode: "cpu" },
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
  "cpu, half of the rows on disk": { memory: { share: 0.5 } },
  "cpu, fae": { mode: "fae", ...HOT, shuffle: "batches" },
  "gpu on a device": { mode: "gpu", device: testDevice },
  "hybrid on a device": { mode: "hybrid", device: testDevice },
  "cached on a device": { mode: "cached", device: testDevice, ...HOT },
  "gpu, 2 ranks on devices": { mode: "gpu", device: testDevice, ranks: 2 },
};

const CASES: Record<string, { option: Partial<TrainConfig>; weight?: (random: Random) => number }> = {
  "means of bags": { option: { pooling: "mean" } },
  dropout: { option: { dropout: 0.25, top: [24, 12, 1] } },
  "weights of lookups": { option: {}, weight: (random) => 4 * random.uniform() - 1 },
};

for (const [what, { option, weight }] of Object.entries(CASES)) {
  Deno.test(`${what}: the same losses wherever rows are, and others than without`, async () => {
    using directory = new TemporaryDirectory();
    const dataset = dataOf(directory, true, 3, weight);
    const train = (layer: Partial<TrainConfig>) => lossesOf(directory, dataset, configOf({ ...option, ...layer }));
    const inOrder = await train({});
    assert.ok(inOrder.length >= 20);
    const plain = weight === undefined ? dataset : dataOf(directory);
    const without = await lossesOf(directory, plain, configOf({ ...option, pooling: "sum", dropout: 0 }));
    assert.ok(largestError(without, inOrder) > 1e-3);
    for (const [name, layer] of Object.entries(PLACEMENTS)) {
      const found = await train(layer);
      // Mode fae has an order of its own.
      const expected = layer.mode === "fae" ? await train({ ...layer, device: testDevice }) : inOrder;
      assert.ok(largestError(found, expected) <= 1e-5, name);
    }
  });

  Deno.test(`${what}: an interrupted run goes on with the same bits`, async () => {
    using directory = new TemporaryDirectory();
    const dataset = dataOf(directory, true, 3, weight);
    const config = configOf({ ...option, mode: "fae", ...HOT, ranks: 2 });
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
}

Deno.test("a model that was trained with dropout scores without, and another run may go on from it without", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  const out = directory.join("run");
  const found: string[] = [];
  const report = (event: RunEvent) => {
    if (event.event === "evaluation") found.push(`${event.split} ${event.auc} ${event.logloss}`);
  };
  await startRun(configOf({ dropout: 0.5 }), dataset, { out, report });
  for (const { split, auc, logloss } of await evaluateRun(out, [], () => {})) {
    assert.ok(found.includes(`${split} ${auc} ${logloss}`), `${split}: ${auc} is none of ${found}`);
  }
  const from = { out: directory.join("next"), from: out, report: () => {} };
  await startRun(configOf({ dropout: 0 }), dataset, from);
});

Deno.test("means are refused where every bag has one value", async () => {
  using directory = new TemporaryDirectory();
  const start = startRun(configOf({ pooling: "mean" }), dataOf(directory, false), {
    out: directory.join("run"),
    report: () => {},
  });
  await assert.rejects(
    start,
    (error) => error instanceof HotsetError && /with --pooling mean: every/.test(error.message),
  );
});

Deno.test("weights of 1 leave the bits that lookups without weights leave", async () => {
  using directory = new TemporaryDirectory();
  const [plain, weighted] = [dataOf(directory), dataOf(directory, true, 3, () => 1)];
  for (const layer of [{}, { ranks: 2, clipNorm: 0.01 }]) {
    const config = configOf(layer);
    assert.deepEqual(await lossesOf(directory, weighted, config), await lossesOf(directory, plain, config));
  }
});

Deno.test("means are refused where lookups have weights", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory, true, 3, () => 2);
  const start = startRun(configOf({ pooling: "mean" }), dataset, { out: directory.join("run"), report: () => {} });
  await assert.rejects(
    start,
    (error) =>
      error instanceof HotsetError && /with --pooling mean: the values of a bag have weights/.test(error.message),
  );
});

Deno.test("dropout is refused where the data have no dense features and the top MLP no hidden layer", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory, true, 0);
  const train = (top: number[]) =>
    startRun(configOf({ dropout: 0.5, top }), dataset, { out: directory.join(`run-${top.length}`), report: () => {} });
  await assert.rejects(
    train([1]),
    (error) => error instanceof HotsetError && /with --dropout: without dense features/.test(error.message),
  );
  await train([8, 1]);
});
