/**
 * The configuration of a run: options, a configuration file and presets, resolved into one record that the run stores.
 */
import { z } from "zod";
import { HotsetError, UsageError } from "../errors.ts";
import { OPTIMIZERS } from "../optimizer/optimizers.ts";
import { didYouMean } from "../similar.ts";
import { longName, TRAIN_OPTION_LIST, TRAIN_OPTIONS, type TrainOption } from "./options.ts";
import type { ConfigKey, TrainConfig } from "./train_config.ts";

export type { TrainConfig } from "./train_config.ts";

/**
 * Validates a resolved configuration. A key that a record of an older version lacks gets the value which that version
 * used.
 */
export const trainConfig = z.strictObject(Object.fromEntries(
  TRAIN_OPTION_LIST.map(([key, { type, before }]) => [key, before === undefined ? type : type.default(before)]),
)) as unknown as z.ZodType<TrainConfig>;

/** A preset: the shape of a model and its training options. */
type PresetConfig =
  & Pick<TrainConfig, "dim" | "bottom" | "top" | "batchSize" | "optimizer" | "learningRate" | "firstTurn" | "turns">
  & Partial<Pick<TrainConfig, "model" | "epochs" | "weightDecay" | "crossLayers" | "crossRank" | "rowInit">>;

const KAGGLE: PresetConfig = {
  dim: 16,
  bottom: [512, 256, 64, 16],
  top: [512, 256, 1],
  batchSize: 128,
  optimizer: "sgd",
  learningRate: 0.1,
  firstTurn: "cold",
  turns: "equal",
};

/**
 * `default` is what Hotset recommends, and `pairs` for data of two sparse features alone, such as user and item. The
 * others are published models with their published options: those on Criteo and Avazu follow facebookresearch/dlrm's
 * benchmark scripts, mlperf-dcnv2 follows mlcommons/training, taobao follows FAE, with TBSM if `model` is tbsm.
 */
export const PRESETS = {
  default: {
    ...{ ...KAGGLE, optimizer: "adagrad", learningRate: OPTIMIZERS.adagrad.learningRate },
    ...{ firstTurn: "hot", turns: "shrinking", rowInit: 0.001 },
  },
  pairs: {
    ...{ ...KAGGLE, dim: 32, model: "mf", batchSize: 1024, epochs: 2 },
    ...{ optimizer: "adam", learningRate: 0.01, weightDecay: 1e-5, firstTurn: "hot", turns: "shrinking" },
  },
  kaggle: KAGGLE,
  avazu: KAGGLE,
  terabyte: { ...KAGGLE, dim: 64, bottom: [512, 256, 64], top: [512, 512, 256, 1], batchSize: 2048 },
  mlperf: {
    ...{ ...KAGGLE, dim: 128, bottom: [512, 256, 128], top: [1024, 1024, 512, 256, 1] },
    ...{ batchSize: 2048, learningRate: 1 },
  },
  "mlperf-dcnv2": {
    ...{ ...KAGGLE, model: "dcnv2", crossLayers: 3, crossRank: 512, dim: 128, bottom: [512, 256, 128] },
    ...{ top: [1024, 1024, 512, 256, 1], batchSize: 2048, optimizer: "adagrad", learningRate: 0.005 },
  },
  taobao: { ...KAGGLE, bottom: [16], top: [60, 1], batchSize: 256, optimizer: "adagrad", learningRate: 0.05 },
} satisfies Record<string, PresetConfig>;
/** Names of the presets. */
export type Preset = keyof typeof PRESETS;

/** Defaults of options that a preset does not set. */
const DEFAULTS = Object.fromEntries(
  TRAIN_OPTION_LIST.flatMap(([key, option]) => option.default === undefined ? [] : [[key, option.default]]),
);

/** The mode that the last option with an implied mode has, as a layer; nothing without such an option. */
export function impliedMode(layers: readonly Partial<TrainConfig>[]): Pick<Partial<TrainConfig>, "mode"> {
  const chosen = layers.flatMap((layer) => Object.entries(layer) as [ConfigKey, unknown][]);
  const about = chosen.findLast(([key, value]) => (value ?? null) !== null && TRAIN_OPTIONS[key]?.impliedMode);
  const mode = about && TRAIN_OPTIONS[about[0]].impliedMode;
  return mode === undefined ? {} : { mode };
}

/**
 * Resolves a configuration: the defaults, overridden by the preset, then by each of `layers` in turn. Options of the
 * last layer must have an effect: `firstTurn: "cold"` outside mode fae is refused.
 *
 * A learning rate, a weight decay and the initial value of rows belong to the optimizer of their layer. If a later layer
 * chooses another optimizer without them, the defaults of that optimizer are used. A rate without an optimizer applies to
 * any optimizer.
 *
 * If a layer sets `dim` and none sets `bottom`, the preset's bottom MLP ends in that width. If none sets `mode`, options
 * that are about one mode imply it: `memory` mode cpu, `hotMemory`, `firstTurn` and `turns` mode fae.
 *
 * Throws UsageError for an unknown preset or key, a value out of range, or an option that has no effect.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { resolveConfig } from "@hotset/hotset/train";
 *
 * const config = resolveConfig("terabyte", { epochs: 2 });
 * assert.equal(config.dim, 64);
 * assert.equal(config.epochs, 2);
 * assert.equal(resolveConfig("terabyte", { optimizer: "adagrad" }).learningRate, 0.01);
 * ```
 */
export function resolveConfig(preset: Preset, ...layers: Partial<TrainConfig>[]): TrainConfig {
  if (!Object.hasOwn(PRESETS, preset)) {
    const names = Object.keys(PRESETS);
    const known = didYouMean(`${preset}`, names) || `; there are ${names.join(", ")}`;
    throw new UsageError(`Cannot use the configuration: unknown preset "${preset}"${known}`);
  }
  const all: Partial<TrainConfig>[] = [PRESETS[preset], ...layers];
  const config = checkConfig(Object.assign({}, DEFAULTS, impliedMode(layers), ...all));
  /** True if the value was given for the configured optimizer, not for another. */
  const applies = (key: "learningRate" | "weightDecay" | "rowInit") => {
    const layer = all.findLast((layer) => layer[key] !== undefined);
    return layer !== undefined && (layer.optimizer ?? config.optimizer) === config.optimizer;
  };
  const { learningRate, weightDecay } = OPTIMIZERS[config.optimizer];
  // The last width of a preset's bottom MLP is the dimension of its rows.
  const bottom = layers.some((layer) => layer.bottom !== undefined)
    ? config.bottom
    : [...config.bottom.slice(0, -1), config.dim];
  const resolved = {
    ...config,
    bottom,
    learningRate: applies("learningRate") ? config.learningRate : learningRate,
    weightDecay: applies("weightDecay") ? config.weightDecay : weightDecay ?? 0,
    rowInit: applies("rowInit") ? config.rowInit : TRAIN_OPTIONS.rowInit.default!,
  };
  expectActing(resolved, layers.at(-1) ?? {}, preset);
  return resolved;
}

/**
 * Throws UsageError if an option was set that has no effect. Defaults are ignored: they may come from a complete
 * configuration.
 */
function expectActing(config: TrainConfig, given: Partial<TrainConfig>, preset: Preset): void {
  const defaults = [PRESETS.default, PRESETS[preset]].map((shape) => ({ ...DEFAULTS, ...shape }) as TrainConfig);
  for (const key of Object.keys(given) as ConfigKey[]) {
    if (defaults.some((config) => config[key] === given[key])) continue;
    const { flag, rules = [] }: TrainOption = TRAIN_OPTIONS[key];
    for (const rule of rules) {
      const reason = rule(config, undefined);
      if (reason !== undefined) throw new UsageError(`Cannot use ${longName(flag!)} ${reason}`);
    }
  }
}

/**
 * Resolves a preset and overrides into a complete configuration. Throws UsageError that names an unknown key or a value
 * out of range.
 */
export function checkConfig(config: TrainConfig): TrainConfig {
  const parsed = trainConfig.safeParse(config);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  if (issue.code === "unrecognized_keys") {
    const [key] = issue.keys;
    throw new UsageError(
      `Cannot use the configuration: unknown key "${key}"${didYouMean(key, Object.keys(TRAIN_OPTIONS))}`,
    );
  }
  throw new UsageError(`Cannot use the configuration: ${String(issue.path[0])} ${issue.message}`);
}

/** False for a mode that concerns the placement of embedding rows, if there are none. */
export function canTrain(mode: TrainConfig["mode"], tables: number): boolean {
  return tables > 0 || mode === "cpu" || mode === "gpu";
}

/** Throws HotsetError if the configuration and the data have different numbers of dense features. */
export function expectDenseFeatures(
  { denseFeatures }: Pick<TrainConfig, "denseFeatures">,
  found: number,
  doing: string,
): void {
  if (denseFeatures === null || denseFeatures === found) return;
  const remedy = found === 0
    ? "leave out --arch-mlp-bot: without dense features there is no bottom MLP"
    : `begin --arch-mlp-bot with ${found}`;
  throw new HotsetError(
    `Cannot ${doing}: the bottom MLP has ${denseFeatures} inputs, but the data has ${found} dense features; ${remedy}`,
  );
}

/**
 * Throws HotsetError if the configuration combines the rows of bags by their mean, and the data have no bags, or weights
 * of their values.
 */
export function expectBags(
  { pooling }: Pick<TrainConfig, "pooling">,
  bags: boolean,
  weightedLookups: boolean,
  doing: string,
): void {
  if (pooling === "sum") return;
  if (weightedLookups) {
    throw new HotsetError(
      `Cannot ${doing} with --pooling ${pooling}: the values of a bag have weights, which are for sums, as in ` +
        `nn.EmbeddingBag; leave it out, and for means let the weights of each bag add up to 1`,
    );
  }
  if (bags) return;
  throw new HotsetError(
    `Cannot ${doing} with --pooling ${pooling}: every sample has one value in each sparse feature, so there is nothing to ` +
      `combine; leave it out, or declare a column with lists of values as a bag`,
  );
}

/** Throws HotsetError if the configuration has dropout, and the model has no hidden layer for want of dense features. */
export function expectHiddenLayer(
  { dropout, model, top }: Pick<TrainConfig, "dropout" | "model" | "top">,
  denseFeatures: number,
  doing: string,
): void {
  if (dropout === 0 || denseFeatures > 0 || model === "tbsm" || top.length > 1) return;
  throw new HotsetError(
    `Cannot ${doing} with --dropout: without dense features there is no bottom MLP, and the top MLP has no hidden layer; ` +
      `add a width to --arch-mlp-top`,
  );
}
