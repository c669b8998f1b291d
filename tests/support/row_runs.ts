/** Short runs with rows on disk. */
import assert from "node:assert/strict";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { Interrupted } from "../../src/errors.ts";
import type { RunEvent } from "../../src/events/events.ts";
import { resumeRun, startRun } from "../../src/run/run.ts";
import type { RunOptions } from "../../src/run/run_options.ts";
import { evaluateRun } from "../../src/run/score_run.ts";
import { checkpointsOf } from "./checkpoint_words.ts";
import { TemporaryDirectory } from "./temporary.ts";
import { tinyDataset } from "./tiny_dataset.ts";

/** One rank; 25 steps per epoch on the data below. */
export const CONFIG: TrainConfig = resolveConfig("kaggle", {
  ...{ mode: "cpu", blas: "wasm", ranks: 1, dim: 8, bottom: [12, 8], top: [12, 1], batchSize: 40 },
  ...{ optimizer: "adagrad", learningRate: 0.05, epochs: 2, printFreq: 1 },
});

/** Samples of four tables, the first with this number of rows. */
export function dataOf(directory: TemporaryDirectory, { rows = 6000, bags = false } = {}): Dataset {
  return tinyDataset(directory.join("data"), {
    samples: { train: 990, validation: 110, test: 130 },
    tableRows: [rows, 50, 4000, 3],
    ...{ denseFeatures: 3, bags, seed: 1, skew: 4 },
  });
}

/** Ignores all events. */
export function quiet(): void {}

/** Runs until a step is reported, then interrupts the run. */
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

/**
 * Trains in memory, and with a budget that changes at every interrupt. The checkpoints must be equal, and the
 * interrupted run can be evaluated.
 */
export async function interruptAgainAndAgain(config: TrainConfig): Promise<void> {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  const [plain, out] = ["plain", "run"].map((name) => directory.join(name));
  await startRun(config, dataset, { out: plain, report: quiet });
  await stopAt(3, (stop) => startRun({ ...config, memory: { share: 0.1 } }, dataset, { out, ...stop }));
  await stopAt(17, (stop) => resumeRun({ out, ...stop }, { memory: null }));
  await stopAt(30, (stop) => resumeRun({ out, ...stop }, { memory: { share: 0.02 } }));
  await resumeRun({ out, report: quiet }, { memory: { share: 0.3 } });
  assert.deepEqual(checkpointsOf(out), checkpointsOf(plain));
  assert.equal((await evaluateRun(out, [], quiet)).length, 2);
}
