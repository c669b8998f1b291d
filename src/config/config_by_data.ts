/** Configurations whose preset depends on the data. */
import { type Preset, resolveConfig, type TrainConfig } from "./config.ts";

/** The features of data, on which its preset depends. */
export interface DataFeatures {
  /** Number of dense features. */
  readonly denseFeatures: number;
  /** Number of sparse features, each with a table. */
  readonly tables: number;
}

/** The configuration for data; for undefined that of most data, to check options before the data is known. */
export type ConfigByData = (data?: DataFeatures) => TrainConfig;

/** Options of the model that data of pairs must not change; dropout needs MLPs. */
const MODEL_KEYS = ["model", "bottom", "top", "interaction", "dropout"] as const;

/**
 * The preset for data: `pairs` in place of `default` if the data is two sparse features alone, such as user and item, and
 * no option of the model is given.
 */
export function presetFor(preset: Preset, given: Partial<TrainConfig>, data: DataFeatures): Preset {
  const arePairs = data.denseFeatures === 0 && data.tables === 2;
  return preset === "default" && arePairs && MODEL_KEYS.every((key) => given[key] === undefined) ? "pairs" : preset;
}

/**
 * Like `resolveConfig`, but if the preset is `default`, data of two sparse features alone gets preset `pairs` instead,
 * unless options of the model are given. The commands train, sweep, plan, profile and layout use it. Throws UsageError
 * like `resolveConfig`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { configByData } from "@hotset/hotset/train";
 *
 * const config = configByData("default", { epochs: 3 }); // trainOn and startRun take it in place of a configuration
 * assert.equal(config({ denseFeatures: 13, tables: 26 }).model, "dlrm");
 * assert.equal(config({ denseFeatures: 0, tables: 2 }).model, "mf");
 * ```
 */
export function configByData(preset: Preset, given: Partial<TrainConfig> = {}): ConfigByData {
  const usual = resolveConfig(preset, given);
  return (data) => {
    const chosen = data === undefined ? preset : presetFor(preset, given, data);
    return chosen === preset ? usual : resolveConfig(chosen, given);
  };
}
