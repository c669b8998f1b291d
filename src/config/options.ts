/**
 * The training options, one entry each. Derived from them: the type, defaults and validation of configurations
 * (`config.ts`; the type that editors show is written out in `train_config.ts`), the run id (`src/run/run_id.ts`), the options of the command line (`cli/train_options.ts`), and their help and
 * names in other tools (`cli/arguments.ts`).
 */
import { z } from "zod";
import { OPTIMIZER_NAMES, OPTIMIZERS } from "../optimizer/optimizers.ts";
import { bytes } from "../format.ts";
import { type MemoryBudget, memoryBudget, readBudget } from "./memory_budget.ts";
import * as rules from "./option_rules.ts";
import { number, oneOf, type OptionOf, readBytes, readWidths, whole, widths } from "./option_types.ts";
import { type ConfigKey, LIBRARIES, type TrainConfig } from "./train_config.ts";
import { DECAY_NAMES } from "../schedule/learning_rate.ts";
import { MAX_RATE, MIN_RATE } from "../schedule/shuffle_scheduler.ts";

/** An option of training. */
export type TrainOption<T = unknown> = OptionOf<T, TrainConfig>;

function option<T>(
  flag: string,
  group: string,
  help: string,
  rest: Omit<TrainOption<T>, "flag" | "group" | "help">,
): TrainOption<T> {
  return { flag, group, help, ...rest };
}

const positive = whole(1);
const natural = whole(0);

const HOT_MEMORY = 512 * 2 ** 20;

/** The bottom MLP in dlrm's notation: from the number of dense features to the dimension of rows. */
const bottomSets = ([denseFeatures, ...bottom]: number[]): Partial<TrainConfig> => ({
  denseFeatures,
  bottom,
  ...(bottom.length > 0 && { dim: bottom.at(-1)! }),
});

/** Commands that compute with a trained model, always on the CPU. */
const SCORING = ["evaluate", "predict"];
/** A memory budget implies mode cpu, where rows may be on disk. */
const memorySets = (memory: MemoryBudget | null): Partial<TrainConfig> => ({ memory, mode: "cpu" });

const PLACE = "Where to compute:";
const MODEL = "Model:";
const TRAINING = "Training:";
const HOT = "Hot rows and batches (mode fae):";
const PROGRESS = "Progress, checkpoints and the end:";

const PLANNED = ["train", "import", "plan"];
const PROFILED = ["train", "import", "plan", "profile", "layout"];
/** For `import`, the model's file determines these. */
const SHAPE = ["train", "plan"];

/** The options, by their keys in a configuration. */
export const TRAIN_OPTIONS: { readonly [K in ConfigKey]: TrainOption<TrainConfig[K]> } = {
  mode: option("--mode <name>", PLACE, "placement of embedding rows and MLPs", {
    type: oneOf(["cpu", "hybrid", "gpu", "fae"]),
    default: "fae",
  }),
  device: option("--device <name>", PLACE, "device that computes", {
    type: oneOf(["auto", "cpu", "cuda", "emulated"]),
    default: "auto",
    free: true,
  }),
  blas: option("--blas <name>", PLACE, "library for matrix products on a CPU; ort is ONNX Runtime", {
    type: oneOf(["auto", ...LIBRARIES]),
    default: "auto",
    before: "auto",
    commands: ["train", "import", ...SCORING],
    rules: [rules.onCpu],
    resumes: true,
    free: true,
  }),
  precision: option("--precision <name>", PLACE, "precision of matrix products; tf32 on devices only", {
    type: oneOf(["fp32", "tf32", "bf16"]),
    default: "fp32",
    rules: [rules.precision],
  }),
  activations: option("--activations <name>", PLACE, "implementation of activations on a device", {
    type: oneOf(["ptx", "cudnn"]),
    default: "ptx",
    rules: [rules.activations],
  }),
  dim: option("--arch-sparse-feature-size <dim>", MODEL, "length of an embedding row", {
    type: positive,
    commands: [...SHAPE, "profile", "layout"],
  }),
  denseFeatures: { type: positive.nullable(), default: null },
  bottom: option("--arch-mlp-bot <widths>", MODEL, "widths of the bottom MLP, from the dense features to dim", {
    type: widths,
    read: readWidths,
    sets: bottomSets,
    shown: "512-256-64-16 after them",
    commands: SHAPE,
  }),
  top: option("--arch-mlp-top <widths>", MODEL, "widths of the top MLP, without its input", {
    type: widths,
    read: readWidths,
    shown: "512-256-1",
    commands: SHAPE,
  }),
  interaction: option("--arch-interaction-op <op>", MODEL, "interaction of the features", {
    type: oneOf(["dot", "cat"]),
    default: "dot",
    commands: SHAPE,
  }),
  batchSize: option("--batch-size <n>", TRAINING, "samples per batch", {
    type: positive,
    commands: [...PLANNED, "layout"],
    aliases: [{ flag: "--mini-batch-size" }],
  }),
  shuffle: option(
    "--shuffle <what>",
    TRAINING,
    "what is shuffled: samples (by layout; then batches in every epoch), only batches, or none",
    {
      type: oneOf(["samples", "batches", "none"]),
      default: "samples",
      before: "batches",
      commands: ["train", "import", "layout"],
      rules: [rules.shuffle],
      aliases: [{ flag: "--data-randomize", values: { total: "samples", none: "none" } }],
    },
  ),
  epochs: option("--epochs <n>", TRAINING, "passes over the train split", {
    type: positive,
    default: 1,
    free: true,
    aliases: [{ flag: "--nepochs" }],
  }),
  optimizer: option("--optimizer <name>", TRAINING, "optimizer", {
    type: oneOf(OPTIMIZER_NAMES),
    commands: PROFILED,
  }),
  learningRate: option("--learning-rate <rate>", TRAINING, "learning rate", {
    type: number("above 0", 0, Infinity, false),
    shown: `the preset's with its optimizer; else ${
      OPTIMIZER_NAMES.map((name) => `${name} ${OPTIMIZERS[name].learningRate}`).join(", ")
    }`,
  }),
  weightDecay: option(
    "--weight-decay <share>",
    TRAINING,
    "weight decay: added to gradients (L2) with adam, decoupled with adamw",
    {
      shown: "adam 0, adamw 0.01",
      type: number("from 0", 0),
      default: 0,
      before: 0,
      rules: [rules.weightDecay],
    },
  ),
  clipNorm: option(
    "--clip-norm <norm>",
    TRAINING,
    "largest L2 norm of all gradients of a step, rows included",
    {
      type: number("above 0", 0, Infinity, false).nullable(),
      default: null,
      before: null,
      shown: "none",
    },
  ),
  positiveWeight: option("--pos-weight <weight>", TRAINING, "what the loss of a positive counts for, of a negative 1", {
    type: number("above 0", 0, Infinity, false),
    default: 1,
    before: 1,
  }),
  labelSmoothing: option(
    "--label-smoothing <share>",
    TRAINING,
    "share of each label that the loss replaces by one half",
    {
      type: number("from 0 to 1", 0, 1),
      default: 0,
      before: 0,
    },
  ),
  warmupSteps: option("--lr-num-warmup-steps <n>", TRAINING, "steps of linear warm-up", {
    type: natural,
    default: 0,
  }),
  decayStartStep: option("--lr-decay-start-step <n>", TRAINING, "first step of the decay", {
    type: natural,
    default: 0,
    rules: [rules.decaying],
  }),
  decaySteps: option("--lr-num-decay-steps <n>", TRAINING, "length of the decay in steps", {
    type: natural,
    default: 0,
  }),
  decay: option("--lr-decay <name>", TRAINING, "shape of the decay: polynomial of degree 2, or half a cosine", {
    type: oneOf(DECAY_NAMES),
    default: "polynomial",
    before: "polynomial",
    rules: [rules.decaying],
  }),
  ranks: option("--ranks <n>", PLACE, "number of ranks: CPU workers or GPUs", {
    type: whole(1, 256).nullable(),
    default: null,
    shown: "one per core, or one GPU",
    commands: PLANNED,
    rules: [rules.ranks],
    resumes: true,
    free: true,
  }),
  memory: option(
    "--memory <size>",
    PLACE,
    "memory of the process (6GiB), or of its tables (25%); other rows are stored on disk",
    {
      type: memoryBudget.nullable(),
      read: readBudget,
      sets: memorySets,
      default: null,
      before: null,
      shown: "all in memory if they fit, else what is available",
      commands: ["train", ...SCORING],
      rules: [rules.memory],
      resumes: true,
      free: true,
    },
  ),
  hotMemory: option("--hot-memory <bytes>", HOT, "memory budget of hot rows and their optimizer state", {
    type: natural,
    read: readBytes,
    default: HOT_MEMORY,
    shown: bytes(HOT_MEMORY).replace(" ", ""),
    commands: PROFILED,
    rules: [rules.hot],
    aliases: [{ flag: "--hot-emb-gpu-mem" }],
  }),
  schedulerRate: option(
    "--scheduler-rate <percent>",
    HOT,
    "percent of each kind of batch to run before switching (hot/cold); adapts during training",
    {
      type: number(`from ${MIN_RATE} to ${MAX_RATE}`, MIN_RATE, MAX_RATE),
      default: 50,
      rules: [rules.hot],
    },
  ),
  firstTurn: option("--first-turn <kind>", HOT, "kind of batches that each turn begins with", {
    type: oneOf(["hot", "cold"]),
    before: "cold",
    rules: [rules.hot],
  }),
  sampleRate: option("--sample-rate <percent>", HOT, "percent of the samples to profile", {
    type: number("above 0, at most 100", 0, 100, false).nullable(),
    default: null,
    shown: "exact counts of all samples",
    commands: ["train", "import", "profile", "layout"],
    rules: [rules.hot],
    aliases: [{ flag: "--ip-sampling-rate" }],
  }),
  printFreq: option("--print-freq <steps>", PROGRESS, "steps between progress events", {
    type: positive,
    default: 100,
    free: true,
  }),
  testFreq: option("--test-freq <steps>", PROGRESS, "steps between evaluations", {
    type: natural,
    default: 0,
    shown: "at the end of epochs",
  }),
  checkpointSteps: option(
    "--checkpoint-steps <n>",
    PROGRESS,
    "steps between checkpoints, in addition to those at evaluations; 0 for none",
    {
      type: natural,
      default: 0,
      rules: [rules.saving],
      free: true,
    },
  ),
  checkpointMinutes: option("--checkpoint-minutes <n>", PROGRESS, "minutes between checkpoints; 0 for none", {
    type: number("from 0", 0),
    default: 30,
    rules: [rules.saving],
    free: true,
  }),
  keep: option("--keep <n>", PROGRESS, "number of these periodic checkpoints to keep", {
    type: natural,
    default: 2,
    rules: [rules.saving, rules.keep],
    free: true,
  }),
  targetAuc: option("--target-auc <auc>", PROGRESS, "stop at this AUC of the validation split", {
    type: number("from 0 to 1", 0, 1).nullable(),
    default: null,
    shown: "none",
    rules: [rules.targetAuc],
    aliases: [{ flag: "--mlperf-auc-threshold" }],
  }),
  patience: option("--patience <n>", PROGRESS, "stop after so many evaluations without a better one", {
    type: positive.nullable(),
    default: null,
    shown: "never",
    rules: [rules.patience],
  }),
  monitor: option("--monitor <metric>", PROGRESS, "what says which evaluation and checkpoint is the best", {
    type: oneOf(["auc", "logloss", "gauc"]),
    default: "auc",
    before: "auc",
  }),
  save: option("--no-save", PROGRESS, "write no checkpoints", {
    type: z.boolean("must be true or false"),
    default: true,
    commands: ["train"],
  }),
  seed: option("--seed <n>", TRAINING, "random seed", {
    type: whole(0, 0xffffffff),
    default: 123,
    commands: [...PROFILED, "generate"],
    rules: [rules.seed],
    aliases: [{ flag: "--numpy-rand-seed" }],
  }),
};

/** The options as a list. */
export const TRAIN_OPTION_LIST = Object.entries(TRAIN_OPTIONS) as [ConfigKey, TrainOption][];

/** The name of an option on the command line: `--ranks` of `--ranks <n>`. */
export function longName(flag: string): string {
  return flag.split(" ", 1)[0];
}
