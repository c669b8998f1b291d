/** What a training run is told: flags, a configuration file and presets, resolved into one record kept with the run. */
import { OPTIMIZER_NAMES, type OptimizerName, OPTIMIZERS } from "../optimizer/optimizers.ts";
import { z } from "zod";
import { HotsetError, UsageError } from "../errors.ts";
import { didYouMean } from "../similar.ts";
import { LEAST_RATE, MOST_RATE } from "../schedule/scheduler.ts";

/** A resolved configuration. */
export interface TrainConfig {
  /** Where rows and MLPs live: all on the CPU, rows on the host, all on the device, or hot rows replicated (FAE). */
  mode: "cpu" | "hybrid" | "gpu" | "fae";
  /** What computes. */
  device: "auto" | "cpu" | "cuda" | "emulated";
  /**
   * What multiplies matrices on a CPU; auto takes onednn for precision bf16 and where it finds AVX-512, else the first of
   * openblas, ort (ONNX Runtime) and wasm that is there.
   */
  blas: "auto" | "openblas" | "onednn" | "ort" | "wasm";
  /** Precision of what matrix products multiply; a CPU has no tf32. */
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
  /**
   * What is in random order: the samples once, when they are laid out, and then the batches of each epoch; the batches
   * alone; or nothing.
   */
  shuffle: "samples" | "batches" | "none";
  /** Passes over the train split. */
  epochs: number;
  /** How gradients change parameters. */
  optimizer: OptimizerName;
  /** The learning rate, before warm-up and decay. */
  learningRate: number;
  /** Weight decay of optimizers that have one; 0 for none. */
  weightDecay: number;
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

/** A whole number whose error says all of what it must be, whichever bound it breaks. */
function whole(from: number, to = Infinity): z.ZodNumber {
  const expected = `must be a whole number from ${from}${to === Infinity ? "" : ` to ${to}`}`;
  const lower = z.number(expected).int(expected).min(from, expected);
  return to === Infinity ? lower : lower.max(to, expected);
}

/** What `blas` may name, `auto` apart. */
export const LIBRARIES = ["openblas", "onednn", "ort", "wasm"] as const;

function oneOf<const T extends readonly string[]>(names: T): z.ZodEnum<{ [K in T[number]]: K }> {
  return z.enum(names, `must be ${names.slice(0, -1).join(", ")} or ${names.at(-1)}`);
}

const WIDTHS = "must be a list of whole numbers from 1";
const positive = whole(1);
const natural = whole(0);
const widths = z.array(z.number(WIDTHS).int(WIDTHS).min(1, WIDTHS), WIDTHS).min(1, WIDTHS);
const ABOVE_0 = "must be a number above 0";
const FROM_0 = "must be a number from 0";
const RATE = `must be a number from ${LEAST_RATE} to ${MOST_RATE}`;
const PERCENT = "must be a number above 0, at most 100";
const SHARE = "must be a number from 0 to 1";

/** Validates a resolved configuration. */
export const trainConfig: z.ZodType<TrainConfig> = z.strictObject({
  mode: oneOf(["cpu", "hybrid", "gpu", "fae"]),
  device: oneOf(["auto", "cpu", "cuda", "emulated"]),
  blas: oneOf(["auto", ...LIBRARIES]).default("auto"), // absent from runs of version 0.1
  precision: oneOf(["fp32", "tf32", "bf16"]),
  activations: oneOf(["ptx", "cudnn"]),
  dim: positive,
  denseFeatures: positive.nullable(),
  bottom: widths,
  top: widths,
  interaction: oneOf(["dot", "cat"]),
  batchSize: positive,
  shuffle: oneOf(["samples", "batches", "none"]).default("batches"), // absent from runs of version 0.1
  epochs: positive,
  optimizer: oneOf(OPTIMIZER_NAMES),
  learningRate: z.number(ABOVE_0).positive(ABOVE_0),
  weightDecay: z.number(FROM_0).nonnegative(FROM_0).default(0), // absent from runs of version 0.1
  warmupSteps: natural,
  decayStartStep: natural,
  decaySteps: natural,
  ranks: whole(1, 256).nullable(),
  hotMemory: natural,
  schedulerRate: z.number(RATE).min(LEAST_RATE, RATE).max(MOST_RATE, RATE),
  firstTurn: oneOf(["hot", "cold"]).default("cold"), // absent from runs of version 0.1
  sampleRate: z.number(PERCENT).positive(PERCENT).max(100, PERCENT).nullable(),
  printFreq: positive,
  testFreq: natural,
  checkpointSteps: natural,
  checkpointMinutes: z.number(FROM_0).nonnegative(FROM_0),
  keep: natural,
  targetAuc: z.number(SHARE).min(0, SHARE).max(1, SHARE).nullable(),
  patience: positive.nullable(),
  save: z.boolean("must be true or false"),
  seed: whole(0, 0xffffffff),
});

/** What a preset says: the shape of a model, and how it is trained. */
type PresetConfig = Pick<
  TrainConfig,
  "dim" | "bottom" | "top" | "batchSize" | "optimizer" | "learningRate" | "firstTurn"
>;

const KAGGLE: PresetConfig = {
  dim: 16,
  bottom: [512, 256, 64, 16],
  top: [512, 256, 1],
  batchSize: 128,
  optimizer: "sgd",
  learningRate: 0.1,
  firstTurn: "cold",
};

/**
 * `default` is what Hotset recommends. The others are published models, trained as they were published: those on Criteo
 * and Avazu as by facebookresearch/dlrm's benchmark scripts, taobao as by FAE but without TBSM's attention.
 */
export const PRESETS = {
  default: { ...KAGGLE, optimizer: "adagrad", learningRate: OPTIMIZERS.adagrad.learningRate, firstTurn: "hot" },
  kaggle: KAGGLE,
  avazu: KAGGLE,
  terabyte: { ...KAGGLE, dim: 64, bottom: [512, 256, 64], top: [512, 512, 256, 1], batchSize: 2048 },
  mlperf: {
    ...{ ...KAGGLE, dim: 128, bottom: [512, 256, 128], top: [1024, 1024, 512, 256, 1] },
    ...{ batchSize: 2048, learningRate: 1 },
  },
  taobao: { ...KAGGLE, bottom: [16], top: [60, 1], batchSize: 256, optimizer: "adagrad", learningRate: 0.05 },
} satisfies Record<string, PresetConfig>;
/** Names of the presets. */
export type Preset = keyof typeof PRESETS;

/** Defaults of what presets do not say. */
const DEFAULTS: Omit<TrainConfig, keyof PresetConfig | "weightDecay"> = {
  mode: "fae",
  device: "auto",
  blas: "auto",
  precision: "fp32",
  activations: "ptx",
  denseFeatures: null,
  interaction: "dot",
  shuffle: "samples",
  epochs: 1,
  warmupSteps: 0,
  decayStartStep: 0,
  decaySteps: 0,
  ranks: null,
  hotMemory: 512 * 2 ** 20,
  schedulerRate: 50,
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

/**
 * The defaults, overridden by the preset, then by each of `layers` in turn (what a demonstration prefers, then flags).
 *
 * A learning rate belongs to the optimizer that it was given with: where another layer chooses another optimizer and says
 * no rate, that optimizer's own default holds. A rate that a layer gives alone holds for whichever optimizer is chosen.
 *
 * Where a layer gives the length of rows and none the bottom MLP, the preset's ends in that length.
 *
 * Throws UsageError for an unknown preset or key, and for a value out of range.
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
  const config = checkConfig(Object.assign({}, DEFAULTS, ...all));
  const { optimizer: ratedFor = config.optimizer } = all.findLast((layer) => layer.learningRate !== undefined)!;
  const { learningRate, weightDecay } = OPTIMIZERS[config.optimizer];
  if (config.weightDecay > 0 && weightDecay === undefined) {
    throw new UsageError(
      `Cannot use the configuration: ${config.optimizer} has no weight decay; choose --optimizer adam or adamw`,
    );
  }
  // A preset's bottom MLP gives vectors as long as the rows.
  const bottom = layers.some((layer) => layer.bottom !== undefined)
    ? config.bottom
    : [...config.bottom.slice(0, -1), config.dim];
  return {
    ...config,
    bottom,
    learningRate: ratedFor === config.optimizer ? config.learningRate : learningRate,
    weightDecay: all.some((layer) => layer.weightDecay !== undefined) ? config.weightDecay : weightDecay ?? 0,
  };
}

/** Throws UsageError that names an unknown key, a value out of range, or one that does not go with the mode. */
export function checkConfig(config: TrainConfig): TrainConfig {
  const parsed = trainConfig.safeParse(config);
  if (parsed.success) {
    expectOrder(parsed.data);
    return parsed.data;
  }
  const [issue] = parsed.error.issues;
  if (issue.code === "unrecognized_keys") {
    const [key] = issue.keys;
    const known = Object.keys({ ...DEFAULTS, ...KAGGLE });
    throw new UsageError(`Cannot use the configuration: unknown key "${key}"${didYouMean(key, known)}`);
  }
  throw new UsageError(`Cannot use the configuration: ${String(issue.path[0])} ${issue.message}`);
}

/** Throws HotsetError where a model was told another number of dense features than the data have. */
export function expectDenseFeatures(
  { denseFeatures }: Pick<TrainConfig, "denseFeatures">,
  found: number,
  doing: string,
): void {
  if (denseFeatures === null || denseFeatures === found) return;
  const wayOut = found === 0
    ? "leave out --arch-mlp-bot: without dense features there is no bottom MLP"
    : `begin --arch-mlp-bot with ${found}`;
  throw new HotsetError(
    `Cannot ${doing}: the bottom MLP takes ${denseFeatures} values and the data has ${found} dense features; ${wayOut}`,
  );
}

/** Throws UsageError if the order of the log is to be kept in a mode that does not keep it. */
function expectOrder({ shuffle, mode }: TrainConfig): void {
  if (shuffle !== "none" || mode === "cpu" || mode === "gpu") return;
  throw new UsageError(
    `Cannot use --shuffle none with --mode ${mode}: only modes cpu and gpu keep the order of the log; choose one of ` +
      `them, or --shuffle batches`,
  );
}
