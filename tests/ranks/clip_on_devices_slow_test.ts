/** Gradients on devices are clipped as on the CPU, in every mode, with one device and with two. */
import assert from "node:assert/strict";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { startRun } from "../../src/run/run.ts";
import { largestError } from "../support/close.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

const MODES = ["fae", "hybrid", "gpu"] as const;
/** Smaller than the norm of every step. */
const LARGEST_NORM = 0.05;

function dataOf(directory: TemporaryDirectory): Dataset {
  return tinyDataset(directory.join("data"), {
    samples: { train: 330, validation: 30, test: 30 },
    tableRows: [3, 40, 900, 4000],
    denseFeatures: 5,
    bags: true,
    seed: 3,
    skew: 6,
  });
}

async function lossesOf(directory: TemporaryDirectory, dataset: Dataset, layer: Partial<TrainConfig>) {
  const config = resolveConfig("kaggle", {
    ...{ dim: 8, bottom: [24, 8], top: [20, 1], batchSize: 25, optimizer: "adagrad", learningRate: 0.05, blas: "auto" },
    ...{ printFreq: 1, save: false, hotMemory: 20_000, clipNorm: LARGEST_NORM, schedulerRate: 20 },
  }, layer);
  const losses: number[] = [];
  const { hotSampleShare } = await startRun(config, dataset, {
    out: directory.join(`run-${crypto.randomUUID()}`),
    report: (event) => void (event.event === "progress" && losses.push(event.loss)),
  });
  assert.ok(config.mode !== "fae" || (hotSampleShare > 0.2 && hotSampleShare < 0.8), "batches of both kinds");
  return losses;
}

for (const mode of MODES) {
  for (const ranks of [1, 2]) {
    Deno.test(`mode ${mode} with ${ranks} device${ranks === 1 ? "" : "s"} clips as the CPU does`, async () => {
      using directory = new TemporaryDirectory();
      const dataset = dataOf(directory);
      const onCpu = mode === "fae" ? { mode, device: "cpu", ranks: 1 } as const : { mode: "cpu", ranks: 1 } as const;
      const expected = await lossesOf(directory, dataset, onCpu);
      const free = await lossesOf(directory, dataset, { ...onCpu, clipNorm: null });
      const found = await lossesOf(directory, dataset, { mode, device: "emulated", ranks });
      assert.ok(expected.length > 10);
      const [error, difference] = [largestError(found, expected), largestError(free, expected)];
      assert.ok(error < 1e-4 && difference > 0.01, `${error} between places, ${difference} by clipping`);
    });
  }
}
