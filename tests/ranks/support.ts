/** Small runs of tests of ranks that cache rows on devices. */
import assert from "node:assert/strict";
import { CHECKPOINT_FILES } from "../../src/checkpoint/checkpoint.ts";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import type { Layout } from "../../src/layout/layout.ts";
import { Trainer } from "../../src/loop/trainer.ts";
import { OPTIMIZER_NAMES } from "../../src/optimizer/optimizers.ts";
import type { RankGroup } from "../../src/ranks/rank_group.ts";
import type { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

const BATCH = 8;
const TABLE_ROWS = [3, 40, 500];
/** The interaction has 10 outputs, which devices pad except in fp32. */
const PRECISIONS = ["tf32", "fp32", "bf16"] as const;

/** A model and its training, by the seed. */
export function configOf(seed: number): TrainConfig {
  const optimizer = OPTIMIZER_NAMES[seed % OPTIMIZER_NAMES.length];
  return resolveConfig("kaggle", {
    ...{ mode: "gpu", optimizer, dim: 4, bottom: [5, 4], top: [6, 1], batchSize: BATCH, ranks: 1, seed },
    printFreq: [10, 1][seed % 2], // every print waits for the ranks
    precision: PRECISIONS[seed % PRECISIONS.length],
    ...{ epochs: 2, learningRate: optimizer === "sgd" ? 0.1 : 0.02, rowL2: seed % 2 === 0 ? 0.1 : 0 },
  });
}

/** Samples of three tables, with bags for odd seeds. */
export function datasetOf(directory: TemporaryDirectory, seed: number): Dataset {
  return tinyDataset(directory.join("data"), {
    ...{ samples: { train: 20 * BATCH - 3, validation: 20, test: 0 }, tableRows: TABLE_ROWS, denseFeatures: 2 },
    ...{ bags: seed % 2 === 1, seed, skew: 1 + seed % 5 },
  });
}

/** Losses of all steps, and the files of the last checkpoint. */
export async function train(group: RankGroup, config: TrainConfig, dataset: Dataset, layout: Layout, out: string) {
  const events: string[] = [];
  const trainer = new Trainer({
    ...{ config, dataset, layout, group, out, runId: "test", checkpoint: undefined },
    signal: new AbortController().signal,
    report: (event) => {
      if (event.event === "progress") events.push(`${event.loss}`);
      if (event.event === "evaluation") events.push(`${event.logloss} ${event.auc}`);
    },
  });
  await trainer.run();
  const files = Object.values(CHECKPOINT_FILES).map((name) => {
    try {
      return Deno.readFileSync(`${out}/last/${name}`);
    } catch {
      return undefined;
    }
  });
  assert.ok(files.some((file) => file !== undefined && file.length > 0));
  return { events, files };
}
