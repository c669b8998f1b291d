/** Configurations that depend on the data. */
import { type Preset, resolveConfig, type TrainConfig } from "./config.ts";

/** What a configuration depends on: the features of data and its size, and what a run does with it. */
export interface DataShape {
  /** Number of dense features. */
  readonly denseFeatures: number;
  /** Number of sparse features, each with a table. */
  readonly tables: number;
  /** Number of train samples; undefined if it is not known, or does not matter because nothing is trained. */
  readonly trainSamples?: number | undefined;
  /** Number of validation samples, which decide the best checkpoint; undefined like the number of train samples. */
  readonly validationSamples?: number | undefined;
  /** True if the run trains the model of another run further; default false. */
  readonly further?: boolean | undefined;
  /** True if a function of the program sets the learning rate of each step; default false. */
  readonly scheduled?: boolean | undefined;
}

/** The configuration for data; for undefined that of most data, to check options before the data is known. */
export type ConfigByData = (data?: DataShape) => TrainConfig;

/** Maximum steps of the warm-up of preset `default`, and its maximum share of an epoch. */
const WARMUP = { steps: 100, share: 0.1 };
/** Epochs of preset `default` on logs with fewer train samples, where a second one takes seconds and may gain. */
const SMALL_LOG = { trainSamples: 1_000_000, epochs: 2 };

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
 * Like `resolveConfig`, but preset `default` depends on the data. Two sparse features alone get preset `pairs` instead,
 * unless options of the model are given. For other data, and unless a model is trained further:
 *
 * - Adagrad warms up, unless the steps are given or a function sets the rates: without a warm-up, the first steps may
 *   leave most units of the bottom MLP without effect.
 * - Fewer than 1,000,000 train samples are trained for 2 epochs, unless their number is given. A second epoch costs
 *   accuracy on some logs, so it needs validation samples and checkpoints (`save`), of which the best counts.
 *
 * The commands train and sweep use it; plan, profile and layout choose the same preset. Throws UsageError like
 * `resolveConfig`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { configByData } from "@hotset/hotset/train";
 *
 * const config = configByData("default", { dim: 8 }); // trainOn and startRun take it in place of a configuration
 * const data = { denseFeatures: 13, tables: 26, trainSamples: 64_000, validationSamples: 3_200 };
 * const { model, warmupSteps, epochs } = config(data);
 * assert.deepEqual([model, warmupSteps, epochs], ["dlrm", 50, 2]); // a tenth of 500 batches, at most 100 steps
 * assert.equal(config({ ...data, further: true }).epochs, 1);
 * assert.equal(config({ denseFeatures: 0, tables: 2 }).model, "mf");
 * ```
 */
export function configByData(preset: Preset, given: Partial<TrainConfig> = {}): ConfigByData {
  const usual = resolveConfig(preset, given);
  return (data) => {
    if (preset !== "default" || data === undefined) return usual;
    const chosen = presetFor(preset, given, data);
    if (chosen !== preset) return resolveConfig(chosen, given);
    const { trainSamples, validationSamples = 0, further = false, scheduled = false } = data;
    if (trainSamples === undefined || further) return usual;
    const { optimizer, batchSize, save } = usual;
    const config = { ...usual };
    if (optimizer === "adagrad" && given.warmupSteps === undefined && !scheduled) {
      const batches = Math.ceil(trainSamples / batchSize);
      config.warmupSteps = Math.min(WARMUP.steps, Math.floor(WARMUP.share * batches));
    }
    const selects = save && validationSamples > 0;
    if (trainSamples < SMALL_LOG.trainSamples && given.epochs === undefined && selects) {
      config.epochs = SMALL_LOG.epochs;
    }
    return config;
  };
}
