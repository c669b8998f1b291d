/** Tries options: each must change the output of a run where it is permitted, and only there. */
import assert from "node:assert/strict";
import { UsageError } from "../../src/errors.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import type { RunEvent } from "../../src/events/events.ts";
import { startRun } from "../../src/run/run.ts";
import { TemporaryDirectory } from "./temporary.ts";
import { tinyDataset } from "./tiny_dataset.ts";

/** An option with its value, and the other options that it needs. */
export interface Given {
  readonly option: string;
  readonly layer: Partial<TrainConfig>;
  readonly beside?: Partial<TrainConfig>;
}

const BASE: Partial<TrainConfig> = {
  dim: 4,
  bottom: [4],
  top: [6, 1],
  batchSize: 50,
  epochs: 2,
  ranks: 1,
  printFreq: 5,
  hotMemory: 2000,
  save: false,
};

/** Options that have an effect on any device. */
export const GIVEN: readonly Given[] = [
  { option: "--arch-sparse-feature-size", layer: { dim: 8 }, beside: { bottom: [8] } },
  { option: "--arch-mlp-bot", layer: { bottom: [6, 4] } },
  { option: "--arch-mlp-top", layer: { top: [5, 1] } },
  { option: "--model", layer: { model: "dcnv2" } },
  { option: "--arch-interaction-op", layer: { interaction: "cat" } },
  { option: "--row-init", layer: { rowInit: 0.5 } },
  { option: "--pooling", layer: { pooling: "mean" } },
  { option: "--dcn-num-layers", layer: { crossLayers: 2 }, beside: { model: "dcnv2" } },
  { option: "--dcn-low-rank-dim", layer: { crossRank: 5 }, beside: { model: "dcnv2" } },
  { option: "--optimizer", layer: { optimizer: "rwsadagrad" } },
  { option: "--batch-size", layer: { batchSize: 25 } },
  { option: "--epochs", layer: { epochs: 1 } },
  { option: "--learning-rate", layer: { learningRate: 0.02 } },
  { option: "--weight-decay", layer: { weightDecay: 0.5 }, beside: { optimizer: "adamw" } },
  { option: "--l2", layer: { rowL2: 0.01 } },
  { option: "--pos-weight", layer: { positiveWeight: 3 } },
  { option: "--label-smoothing", layer: { labelSmoothing: 0.1 } },
  { option: "--dropout", layer: { dropout: 0.25 } },
  { option: "--clip-norm", layer: { clipNorm: 0.01 } },
  { option: "--lr-num-warmup-steps", layer: { warmupSteps: 4 } },
  { option: "--lr-num-decay-steps", layer: { decaySteps: 4 } },
  { option: "--lr-decay-start-step", layer: { decayStartStep: 4 }, beside: { decaySteps: 9 } },
  { option: "--lr-decay", layer: { decay: "cosine" }, beside: { decaySteps: 9 } },
  { option: "--ranks", layer: { ranks: 2 } },
  { option: "--hot-memory", layer: { hotMemory: 3000 } },
  { option: "--sample-rate", layer: { sampleRate: 20 } },
  { option: "--scheduler-rate", layer: { schedulerRate: 20 } },
  { option: "--first-turn", layer: { firstTurn: "cold" } },
  { option: "--turns", layer: { turns: "equal" } },
  { option: "--shuffle", layer: { shuffle: "batches" } },
  { option: "--print-freq", layer: { printFreq: 4 } },
  { option: "--test-freq", layer: { testFreq: 4 } },
  { option: "--checkpoint-steps", layer: { checkpointSteps: 4 }, beside: { save: true } },
  { option: "--checkpoint-minutes", layer: { checkpointMinutes: 1e-9 }, beside: { save: true } },
  { option: "--keep", layer: { keep: 1 }, beside: { save: true, checkpointSteps: 4 } },
  { option: "--target-auc", layer: { targetAuc: 0.01 } },
  { option: "--patience", layer: { patience: 1 }, beside: { testFreq: 1, learningRate: 1e-9 } },
  { option: "--monitor", layer: { monitor: "logloss" }, beside: { save: true, testFreq: 2, learningRate: 0.3 } },
  { option: "--no-save", layer: { save: false }, beside: { save: true } },
  { option: "--seed", layer: { seed: 7 } },
];

function dataOf(directory: TemporaryDirectory): Dataset {
  return tinyDataset(directory.join("data"), {
    samples: { train: 800, validation: 100, test: 100 },
    tableRows: [40, 300],
    denseFeatures: 2,
    bags: true,
    seed: 1,
    skew: 4,
  });
}

/** Output of a run: its events, without times, sizes and copies of the configuration, and its checkpoints. */
async function shown(dataset: Dataset, out: string, config: TrainConfig): Promise<string> {
  const events: RunEvent[] = [];
  await startRun(config, dataset, { out, report: (event) => events.push(event) });
  const told = events.filter(({ event }) => event !== "stage" && event !== "spent" && event !== "checkpoint");
  const kept = [...Deno.readDirSync(out)].map(({ name }) => name).sort();
  Deno.removeSync(out, { recursive: true });
  const measured = /seconds|samplesPerSecond|peakRssBytes|^run$|^rate$|directory/i;
  return JSON.stringify([told, kept], (key, value) => measured.test(key) ? undefined : value);
}

/** Why an option is refused; undefined if it is not. */
function refusal(mode: TrainConfig["mode"], device: TrainConfig["device"], ...layers: Partial<TrainConfig>[]) {
  try {
    resolveConfig("default", { mode, device }, ...layers);
    return undefined;
  } catch (error) {
    assert(error instanceof UsageError);
    return error.message;
  }
}

/** Trains with and without each option on a device. */
export async function tryOptions(
  mode: TrainConfig["mode"],
  device: TrainConfig["device"],
  options: readonly Given[],
): Promise<void> {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  const train = (...layers: Partial<TrainConfig>[]) =>
    shown(dataset, directory.join("run"), resolveConfig("default", BASE, { mode, device }, ...layers));
  const bases = new Map<string, string>();
  for (const { option, layer, beside = {} } of options) {
    const key = JSON.stringify(option === "--arch-sparse-feature-size" ? {} : beside);
    const base = bases.get(key) ?? await train(JSON.parse(key));
    bases.set(key, base);
    const reason = refusal(mode, device, beside, layer);
    // An option that is refused has no effect as a preference.
    const acts = base !== await train(beside, layer, {});
    assert.equal(acts, reason === undefined, `${option}: ${reason ?? "it is not refused"}`);
  }
}
