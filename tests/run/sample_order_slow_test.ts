/**
 * On a log of users and items hot batches first lose no accuracy against mode cpu, nor does a log sorted by user
 * against a shuffled one.
 */
import assert from "node:assert/strict";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import { startRun } from "../../src/run/run.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { userItemLog, type UserItemOptions } from "../support/user_item_log.ts";

const SEEDS = [1, 2];
const MODEL: Partial<TrainConfig> = {
  bottom: [16],
  top: [64, 32, 1],
  batchSize: 512,
  epochs: 2,
  ranks: 1,
  device: "cpu",
  blas: "wasm", // whose kernels leave the same bits on every processor
  save: false,
};

function log(directory: TemporaryDirectory, order: UserItemOptions["order"], seed: number): Dataset {
  const options = { users: 3000, items: 4000, positives: 120_000, order, seed };
  return userItemLog(directory.join(`${order}-${seed}`), options);
}

/** Mean test AUC, and the share of hot samples, over the seeds. */
async function mean(directory: TemporaryDirectory, datasets: readonly Dataset[], layer: Partial<TrainConfig>) {
  const out = directory.join("run");
  let auc = 0, hot = 0;
  for (const [i, dataset] of datasets.entries()) {
    const config = resolveConfig("default", MODEL, layer, { seed: SEEDS[i] });
    const result = await startRun(config, dataset, { out, report: () => {} });
    Deno.removeSync(out, { recursive: true });
    auc += result.auc / datasets.length;
    hot += result.hotSampleShare / datasets.length;
  }
  return { auc, hot };
}

Deno.test("users and items, 20 and 60 % hot: fae that begins with hot batches is as good as cpu", async () => {
  using directory = new TemporaryDirectory();
  const datasets = SEEDS.map((seed) => log(directory, "random", seed));
  const cpu = await mean(directory, datasets, { mode: "cpu" });
  for (const [hotMemory, share] of [[150_000, 0.2], [470_000, 0.6]]) {
    const fae = await mean(directory, datasets, { mode: "fae", hotMemory });
    console.log(`${(100 * fae.hot).toFixed(0)} % hot: fae ${fae.auc.toFixed(4)}, cpu ${cpu.auc.toFixed(4)}`);
    assert.ok(Math.abs(fae.hot - share) < 0.1, `${fae.hot} hot where ${share} was meant`);
    assert.ok(fae.auc >= cpu.auc - 0.005);
  }
});

Deno.test("users and items, grouped by user: shuffled samples give back what batches of few users lose", async () => {
  using directory = new TemporaryDirectory();
  const datasets = SEEDS.map((seed) => log(directory, "users", seed));
  const batches = await mean(directory, datasets, { mode: "cpu", shuffle: "batches" });
  const samples = await mean(directory, datasets, { mode: "cpu", shuffle: "samples" });
  console.log(`batches shuffled ${batches.auc.toFixed(4)}, samples ${samples.auc.toFixed(4)}`);
  assert.ok(samples.auc > batches.auc + 0.02);
});
