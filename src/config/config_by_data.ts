/** Configurations that depend on the data. */
import { type Preset, resolveConfig, type TrainConfig } from "./config.ts";

/** What a configuration depends on: the features of data, and its size. */
export interface DataShape {
  /** Number of dense features. */
  readonly denseFeatures: number;
  /** Number of sparse features, each with a table. */
  readonly tables: number;
  /** Number of train samples; undefined if it is not known, or does not matter because nothing is trained. */
  readonly trainSamples?: number | undefined;
}

/** The configuration for data; for undefined that of most data, to check options before the data is known. */
export type ConfigByData = (data?: DataShape) => TrainConfig;

/** Maximum steps of the warm-up of preset `default`, and its maximum share of an epoch. */
const WARMUP = { steps: 100, share: 0.1 };

/** Options of the model that data of pairs must not change; dropout needs MLPs. */
const MODEL_KEYS = ["model", "bottom", "top", "interaction", "dropout"] as const;

/**
 * The preset for data: `pairs` in place of `default` if the data is two sparse features alone, such as user and item, and
 * no option of the model is given.
 */
export function presetFor(preset: Preset, given: Partial<TrainConfig>, data: DataShape): Preset {
  const arePairs = data.denseFeatures === 0 && data.tables === 2;
  return preset === "default" && arePairs && MODEL_KEYS.every((key) => given[key] === undefined) ? "pairs" : preset;
}

/**
 * Like `resolveConfig`, but preset `default` depends on the data: two sparse features alone get preset `pairs` instead,
 * unless options of the model are given, and other data a warm-up for Adagrad, unless its steps are given: without one,
 * the first steps may leave most units of the bottom MLP without effect. The commands train and sweep use it; plan,
 * profile and layout choose the same preset. Throws UsageError like `resolveConfig`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { configByData } from "@hotset/hotset/train";
 *
 * const config = configByData("default", { epochs: 3 }); // trainOn and startRun take it in place of a configuration
 * const { model, warmupSteps } = config({ denseFeatures: 13, tables: 26, trainSamples: 64_000 });
 * assert.deepEqual([model, warmupSteps], ["dlrm", 50]); // a tenth of 500 batches, at most 100
 * assert.equal(config({ denseFeatures: 0, tables: 2 }).model, "mf");
 * ```
 */
export function configByData(preset: Preset, given: Partial<TrainConfig> = {}): ConfigByData {
  const usual = resolveConfig(preset, given);
  return (data) => {
    if (preset !== "default" || data === undefined) return usual;
    const chosen = presetFor(preset, given, data);
    if (chosen !== preset) return resolveConfig(chosen, given);
    const { optimizer, batchSize } = usual;
    const { trainSamples } = data;
    if (trainSamples === undefined || optimizer !== "adagrad" || given.warmupSteps !== undefined) return usual;
    const batches = Math.ceil(trainSamples / batchSize);
    return { ...usual, warmupSteps: Math.min(WARMUP.steps, Math.floor(WARMUP.share * batches)) };
  };
}
