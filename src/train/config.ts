/** What a training run is told: flags, a configuration file and presets, resolved into one record kept with the run. */
import { z } from "zod";
import { firstIssue } from "../artifact.ts";
import { UsageError } from "../errors.ts";

const positive = z.number().int().positive();
const widths = z.array(positive).min(1);

/** A resolved configuration. */
export const trainConfig = z.object({
  /** Where rows and MLPs live: all on the CPU, rows on the host, all on the device, or hot rows replicated (FAE). */
  mode: z.enum(["cpu", "hybrid", "gpu", "fae"]),
  device: z.enum(["auto", "cpu", "cuda", "emulated"]),
  /** Length of embedding rows. */
  dim: positive,
  /** Dense features that the data must have; null to take what it has. */
  denseFeatures: positive.nullable(),
  /** Widths of the bottom MLP after its input, the last one `dim`. */
  bottom: widths,
  /** Widths of the top MLP without its input, which the interaction decides. */
  top: widths,
  interaction: z.enum(["dot", "cat"]),
  batchSize: positive,
  epochs: positive,
  optimizer: z.enum(["sgd", "adagrad", "rwsadagrad"]),
  learningRate: z.number().positive(),
  warmupSteps: z.number().int().nonnegative(),
  decayStartStep: z.number().int().nonnegative(),
  decaySteps: z.number().int().nonnegative(),
  /** Workers; null for one a core. */
  ranks: positive.max(256).nullable(),
  /** Budget of the hot rows and their optimizer state, in bytes. */
  hotMemory: z.number().int().nonnegative(),
  /** Percent of samples that the profile logs; null to use exact counts where they are known. */
  sampleRate: z.number().positive().max(100).nullable(),
  /** Steps between progress events, evaluations and checkpoints; 0 for evaluations and checkpoints at the end of epochs only. */
  printFreq: positive,
  testFreq: z.number().int().nonnegative(),
  /** Stop when the selection split reaches this AUC, or has not improved for so many evaluations. */
  targetAuc: z.number().min(0).max(1).nullable(),
  patience: positive.nullable(),
  /** False to train without writing checkpoints, for measurements and searches. */
  save: z.boolean(),
  seed: z.number().int().nonnegative().max(0xffffffff),
});
/** A resolved configuration. */
export type TrainConfig = z.infer<typeof trainConfig>;

const KAGGLE = {
  dim: 16,
  bottom: [512, 256, 64, 16],
  top: [512, 256, 1],
  batchSize: 128,
  learningRate: 0.1,
} satisfies Partial<TrainConfig>;

/** Published models, as facebookresearch/dlrm's benchmark scripts run them. */
export const PRESETS = {
  kaggle: KAGGLE,
  avazu: KAGGLE,
  terabyte: { dim: 64, bottom: [512, 256, 64], top: [512, 512, 256, 1], batchSize: 2048, learningRate: 0.1 },
  mlperf: { dim: 128, bottom: [512, 256, 128], top: [1024, 1024, 512, 256, 1], batchSize: 2048, learningRate: 1 },
} satisfies Record<string, Partial<TrainConfig>>;
/** Names of the presets. */
export type Preset = keyof typeof PRESETS;

const DEFAULTS: TrainConfig = {
  ...KAGGLE,
  mode: "fae",
  device: "auto",
  denseFeatures: null,
  interaction: "dot",
  epochs: 1,
  optimizer: "sgd",
  warmupSteps: 0,
  decayStartStep: 0,
  decaySteps: 0,
  ranks: null,
  hotMemory: 512 * 2 ** 20,
  sampleRate: null,
  printFreq: 100,
  testFreq: 0,
  targetAuc: null,
  patience: null,
  save: true,
  seed: 123,
};

/**
 * The defaults, overridden by the preset, then by each of `layers` in turn (a configuration file, then flags).
 * Throws UsageError that names a value out of range.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { resolveConfig } from "@hotset/hotset";
 *
 * const config = resolveConfig("terabyte", { epochs: 2 });
 * assert.equal(config.dim, 64);
 * assert.equal(config.epochs, 2);
 * ```
 */
export function resolveConfig(preset: Preset, ...layers: Partial<TrainConfig>[]): TrainConfig {
  const merged = Object.assign({}, DEFAULTS, PRESETS[preset], ...layers);
  const parsed = trainConfig.strict().safeParse(merged);
  if (!parsed.success) throw new UsageError(`Cannot use the configuration: ${firstIssue(parsed.error)}`);
  return parsed.data;
}
