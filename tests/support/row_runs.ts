/** Short runs whose rows may lie on a disk. */
import assert from "node:assert/strict";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { Interrupted } from "../../src/errors.ts";
import type { RunEvent } from "../../src/events/events.ts";
import type { RunOptions } from "../../src/run/run.ts";
import type { TemporaryDirectory } from "./temporary.ts";
import { tinyDataset } from "./tiny_dataset.ts";

/** One rank; 25 steps an epoch on the data below. */
export const CONFIG: TrainConfig = resolveConfig("kaggle", {
  ...{ mode: "cpu", blas: "wasm", ranks: 1, dim: 8, bottom: [12, 8], top: [12, 1], batchSize: 40 },
  ...{ optimizer: "adagrad", learningRate: 0.05, epochs: 2, printFreq: 1 },
});

/** Samples of four tables, the first of so many rows. */
export function dataOf(directory: TemporaryDirectory, { rows = 6000, bags = false } = {}): Dataset {
  return tinyDataset(directory.join("data"), {
    samples: { train: 990, validation: 110, test: 130 },
    tableRows: [rows, 50, 4000, 3],
    ...{ denseFeatures: 3, bags, seed: 1, skew: 4 },
  });
}

/** Tells nobody. */
export function quiet(): void {}

/** Runs until a step has been reported, where the run is interrupted. */
export async function stopAt(
  step: number,
  run: (options: Pick<RunOptions, "report" | "signal">) => Promise<unknown>,
): Promise<void> {
  const controller = new AbortController();
  const report = (event: RunEvent) => {
    if (event.event === "progress" && event.step === step) controller.abort();
  };
  await assert.rejects(run({ report, signal: () => controller.signal }), Interrupted);
}
