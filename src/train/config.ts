/** What a training run is told: flags, a configuration file and presets, resolved into one record kept with the run. */
import { z } from "zod";
import { firstIssue } from "../artifact.ts";
import { UsageError } from "../errors.ts";
import { LEAST_RATE, MOST_RATE } from "./scheduler.ts";

/** A resolved configuration. */
export interface TrainConfig {
  /** Where rows and MLPs live: all on the CPU, rows on the host, all on the device, or hot rows replicated (FAE). */
  mode: "cpu" | "hybrid" | "gpu" | "fae";
  /** What computes. */
  device: "auto" | "cpu" | "cuda" | "emulated";
  /** Precision of a device's matrix products; a CPU computes in fp32. */
  precision: "fp32" | "tf32" | "bf16";
  /** What runs the activations on a device: the fused kernels, or cuDNN. */
  activations: "ptx" | "cudnn";
  /** Length of embedding rows. */
  dim: number;
  /** Dense features that the data must have; null to take what it has. */
  denseFeatures: number | null;
  /** Widths of the bottom MLP after its input, the last one `dim`. */
  bottom: number[];
  /** Widths of the top MLP without its input, which the interaction decides. */
  top: number[];
  /** How features interact. */
  interaction: "dot" | "cat";
  /** Samples to a batch. */
  batchSize: number;
  /** Passes over the train split. */
  epochs: number;
  /** How gradients change parameters. */
  optimizer: "sgd" | "adagrad" | "rwsadagrad";
  /** The learning rate, before warm-up and decay. */
  learningRate: number;
  /** Steps over which the learning rate rises; 0 for none. */
  warmupSteps: number;
  /** Step at which the learning rate begins to fall. */
  decayStartStep: number;
  /** Steps that the fall takes; 0 for none. */
  decaySteps: number;
  /** Workers; null for one a core. */
  ranks: number | null;
  /** Budget of the hot rows and their optimizer state, in bytes. */
  hotMemory: number;
  /** Percent of the epoch's batches of each kind in the first turn; the scheduler halves and doubles it from there. */
  schedulerRate: number;
  /** The kind of batches that each turn begins with in mode fae. */
  firstTurn: "hot" | "cold";
  /** Percent of samples that the profile logs; null to use exact counts where they are known. */
  sampleRate: number | null;
  /** Steps between progress events. */
  printFreq: number;
  /** Steps between evaluations with their checkpoints; 0 for the end of epochs only. */
  testFreq: number;
  /** Steps between checkpoints beside those of evaluations; 0 for none by steps. */
  checkpointSteps: number;
  /** Minutes between them; 0 for none by time. */
  checkpointMinutes: number;
  /** How many of those are kept under their steps' names. */
  keep: number;
  /** Stop when the selection split reaches this AUC. */
  targetAuc: number | null;
  /** Stop when the AUC has not improved for so many evaluations. */
  patience: number | null;
  /** False to train without writing checkpoints, for measurements and searches. */
  save: boolean;
  /** Seed of everything random. */
  seed: number;
}

const positive = z.number().int().positive();
const natural = z.number().int().nonnegative();
const widths = z.array(positive).min(1);

/** Validates a resolved configuration. */
export const trainConfig: z.ZodType<TrainConfig> = z.strictObject({
  mode: z.enum(["cpu", "hybrid", "gpu", "fae"]),
  device: z.enum(["auto", "cpu", "cuda", "emulated"]),
  precision: z.enum(["fp32", "tf32", "bf16"]),
  activations: z.enum(["ptx", "cudnn"]),
  dim: positive,
  denseFeatures: positive.nullable(),
  bottom: widths,
  top: widths,
  interaction: z.enum(["dot", "cat"]),
  batchSize: positive,
  epochs: positive,
  optimizer: z.enum(["sgd", "adagrad", "rwsadagrad"]),
  learningRate: z.number().positive(),
  warmupSteps: natural,
  decayStartStep: natural,
  decaySteps: natural,
  ranks: positive.max(256).nullable(),
  hotMemory: natural,
  schedulerRate: z.number().min(LEAST_RATE).max(MOST_RATE),
  firstTurn: z.enum(["hot", "cold"]).default("cold"), // absent from runs of version 0.1
  sampleRate: z.number().positive().max(100).nullable(),
  printFreq: positive,
  testFreq: natural,
  checkpointSteps: natural,
  checkpointMinutes: z.number().nonnegative(),
  keep: natural,
  targetAuc: z.number().min(0).max(1).nullable(),
  patience: positive.nullable(),
  save: z.boolean(),
  seed: natural.max(0xffffffff),
});

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
  precision: "fp32",
  activations: "ptx",
  denseFeatures: null,
  interaction: "dot",
  epochs: 1,
  optimizer: "sgd",
  warmupSteps: 0,
  decayStartStep: 0,
  decaySteps: 0,
  ranks: null,
  hotMemory: 512 * 2 ** 20,
  schedulerRate: 50,
  firstTurn: "hot",
  sampleRate: null,
  printFreq: 100,
  testFreq: 0,
  checkpointSteps: 0,
  checkpointMinutes: 30,
  keep: 2,
  targetAuc: null,
  patience: null,
  save: true,
  seed: 123,
};

/** Options that act in some modes only. */
const MODES_OF: Partial<Record<keyof TrainConfig, { flag: string; modes: TrainConfig["mode"][]; why: string }>> = {
  firstTurn: { flag: "--first-turn", modes: ["fae"], why: "only mode fae has hot and cold batches" },
};

/**
 * The defaults, overridden by the preset, then by each of `layers` in turn (a configuration file, then flags).
 * Throws UsageError that names a value out of range, or one that a layer gives and that has no effect in the mode.
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
  const config = checkConfig(Object.assign({}, DEFAULTS, PRESETS[preset], ...layers));
  for (const key of layers.flatMap((layer) => Object.keys(layer)) as (keyof TrainConfig)[]) {
    const option = MODES_OF[key];
    if (option === undefined || option.modes.includes(config.mode)) continue;
    const { flag, modes, why } = option;
    throw new UsageError(`Cannot use ${flag} with --mode ${config.mode}: ${why}; choose --mode ${modes.join(" or ")}`);
  }
  return config;
}

/** Throws UsageError that names a value out of range. */
export function checkConfig(config: TrainConfig): TrainConfig {
  const parsed = trainConfig.safeParse(config);
  if (!parsed.success) throw new UsageError(`Cannot use the configuration: ${firstIssue(parsed.error)}`);
  return parsed.data;
}
