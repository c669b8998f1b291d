/**
 * Compares training with rows on disk with training in memory, in one run: samples/s by the share of rows that memory
 * holds, and the speed of the disk (bench/row_store.ts measures that alone).
 *
 *     deno run -A bench/tiers.ts [--samples 200000] [--dim 16] [--epochs 2] [--shares .02,.1,.25,1] [--folder DIR]
 *
 * Generated clicks of the shape of kaggle (33.8 million rows; --scale N divides them by N), Adagrad, batches of 2,048,
 * one rank. Prints a line of JSON for each; `share` null is training in memory, whose checkpoint must equal the others.
 */
import { parseArgs } from "node:util";
import { join } from "node:path";
import { resolveConfig } from "../src/config/config.ts";
import { generateDataset } from "../src/dataset/generate.ts";
import type { RunEvent } from "../src/events/events.ts";
import { startRun } from "../src/run/run.ts";

const { values } = parseArgs({
  options: {
    samples: { type: "string", default: "200000" },
    scale: { type: "string", default: "1" },
    dim: { type: "string", default: "16" },
    epochs: { type: "string", default: "2" },
    shares: { type: "string", default: ".02,.1,.25,1" },
    folder: { type: "string" },
  },
});

const folder = values.folder ?? Deno.makeTempDirSync({ dir: "." });
const dim = Number(values.dim);
const dataset = await generateDataset(join(folder, "data"), {
  samples: Number(values.samples),
  seed: 1,
  scale: Number(values.scale),
  fractions: { validation: 0, test: 0.02 },
});
const config = resolveConfig("kaggle", {
  mode: "cpu",
  ranks: 1,
  dim,
  bottom: [512, 256, dim],
  batchSize: 2048,
  optimizer: "adagrad",
  learningRate: 0.01,
  epochs: Number(values.epochs),
  printFreq: 10,
  save: false,
});

let inMemory: number | undefined;
for (const share of [null, ...values.shares.split(",").map(Number)]) {
  const out = join(folder, `run-${share}`);
  const notes: string[] = [];
  const epochs: number[][] = [];
  const report = (event: RunEvent) => {
    if (event.event === "note" && event.text.startsWith("Rows of batches")) notes.push(event.text);
    if (event.event === "progress") (epochs[event.epoch] ??= []).push(event.samplesPerSecond);
  };
  const memory = share === null ? null : { share };
  const { samplesPerSecond, auc } = await startRun({ ...config, memory }, dataset, { out, report });
  inMemory ??= samplesPerSecond;
  const byEpoch = epochs.filter(Boolean).map((rates) =>
    Math.round(rates.length / rates.reduce((sum, r) => sum + 1 / r, 0))
  );
  console.log(JSON.stringify({
    share,
    samplesPerSecond: Math.round(samplesPerSecond),
    ofInMemory: +(samplesPerSecond / inMemory).toFixed(3),
    byEpoch,
    auc,
    moved: notes[0],
  }));
  Deno.removeSync(out, { recursive: true });
}
if (values.folder === undefined) Deno.removeSync(folder, { recursive: true });
