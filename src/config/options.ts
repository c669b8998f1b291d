/**
 * The options that say how to train: one entry each, from which everything that knows them derives. `config.ts` takes the
 * type, defaults and validation of a configuration from here, `run.ts` what identifies a run, the command line its options
 * (`cli/train_options.ts`), their help and other tools' names for them (`cli/arguments.ts`).
 */
import { z } from "zod";
import { OPTIMIZER_NAMES, type OptimizerName, OPTIMIZERS } from "../optimizer/optimizers.ts";
import { bytes } from "../format.ts";
import { type MemoryBudget, memoryBudget, readBudget } from "./memory_budget.ts";
import {
  type CommandLine,
  number,
  oneOf,
  type OptionOf,
  readBytes,
  readWidths,
  type RuleOn,
  whole,
  widths,
} from "./option_types.ts";
import { DECAY_NAMES } from "../schedule/learning_rate.ts";
import { LEAST_RATE, MOST_RATE } from "../schedule/scheduler.ts";

/** What `blas` may name, `auto` apart. */
export const LIBRARIES = ["openblas", "onednn", "ort", "wasm"] as const;

/** A resolved configuration; null is "not said". Each key has its option in the table below. */
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
  /** The largest norm of a step's gradients, to which larger ones are scaled down; null for any. */
  clipNorm: number | null;
  /** Steps over which the learning rate rises; 0 for none. */
  warmupSteps: number;
  /** Step at which the learning rate begins to fall. */
  decayStartStep: number;
  /** Steps that the fall takes; 0 for none. */
  decaySteps: number;
  /** How it falls: by a polynomial of degree 2, or by half a cosine. */
  decay: "polynomial" | "cosine";
  /** Workers; null for one a core. */
  ranks: number | null;
  /**
   * Memory of the run: rows beyond it are kept on a disk, with the same results. Null to keep all rows in memory where they
   * fit. Mode cpu with one rank.
   */
  memory: MemoryBudget | null;
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
/** A key of a configuration. */
export type ConfigKey = keyof TrainConfig;

/** When an option of training does nothing. */
export type Rule = RuleOn<TrainConfig>;
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

/** The bottom MLP as dlrm writes it: from the dense features to the rows' length. */
const bottomSets = ([denseFeatures, ...bottom]: number[]): Partial<TrainConfig> => ({
  denseFeatures,
  bottom,
  ...(bottom.length > 0 && { dim: bottom.at(-1)! }),
});

/** Who bounds memory lets rows go to a disk, which mode cpu does. */
const memorySets = (memory: MemoryBudget | null): Partial<TrainConfig> => ({ memory, mode: "cpu" });

const collectiveOf = (line: CommandLine | undefined) => line?.values.collective;

/** It says which rows are hot, or in what order hot and cold batches come. */
const hot: Rule = ({ mode }) =>
  mode === "fae" ? undefined : `with --mode ${mode}: only mode fae has hot rows and batches; choose --mode fae`;

/** Hot and cold batches are an order of their own. */
const shuffle: Rule = ({ shuffle, mode, hotMemory }, line) => {
  if (shuffle !== "none") return undefined;
  if (line?.command === "layout") {
    return hotMemory === 0 ? undefined : "none with hot batches: leave it out, or choose --hot-memory 0";
  }
  return mode === "cpu" || mode === "gpu"
    ? undefined
    : `none with --mode ${mode}: only modes cpu and gpu keep the order of the log; choose one of them, or --shuffle batches`;
};

/** It says how a device computes. */
const onDevice: Rule = ({ mode, device }, line) => {
  const why = "it says how a GPU computes";
  if (mode === "cpu") return `with --mode cpu: ${why}; choose --mode fae, hybrid or gpu on --device cuda`;
  if (device === "cpu") return `with --device cpu: ${why}; choose --device cuda`;
  return collectiveOf(line) === "mpi" ? `with --collective mpi: ${why}; choose --collective nccl` : undefined;
};

/** It says how a CPU computes. */
const onCpu: Rule = ({ blas, mode, device }, line) => {
  if (line?.given.has("--resume")) return undefined; // where the run computes decides
  if (blas === "auto" || mode === "cpu" || device === "cpu") return undefined; // auto is as without the option
  if (device === "auto" && collectiveOf(line) === "mpi") return undefined;
  const why = "it says how a CPU computes";
  if (mode === "gpu" || mode === "hybrid") return `with --mode ${mode}: ${why}; leave it out`;
  return device === "auto"
    ? "with --device auto: that may be a GPU, where it says nothing; choose --device cpu"
    : `with --device ${device}: ${why}; choose --device cpu`;
};

/** Gradients are clipped where all of them lie in host memory. */
const clipping: Rule = ({ mode, device, clipNorm }, line) => {
  if (clipNorm === null || mode === "cpu" || device === "cpu") return undefined;
  if (mode === "gpu" || mode === "hybrid") return `with --mode ${mode}: a GPU does not clip; choose --mode cpu or fae`;
  if (device !== "auto") return `with --device ${device}: a GPU does not clip; choose --device cpu`;
  return collectiveOf(line) === "mpi"
    ? undefined
    : "with --device auto: that may be a GPU, which does not clip; choose --device cpu";
};

/** A CPU has no tf32. */
const precision: Rule = (config, line) => config.precision === "tf32" ? onDevice(config, line) : undefined;

const activations: Rule = (config, line) =>
  onDevice(config, line) ??
    (config.device === "auto" && line !== undefined && collectiveOf(line) !== "nccl"
      ? "with --device auto: that may be the CPU, where it says nothing; choose --device cuda"
      : undefined);

const memory: Rule = ({ mode, ranks }, line) => {
  if (line?.given.has("--resume")) return undefined; // how the run began decides
  const way = "one rank in mode cpu keeps rows on a disk; choose --mode cpu --ranks 1, or leave out --memory";
  if (mode !== "cpu") return `with --mode ${mode}: ${way}`;
  if (ranks !== null && ranks > 1) return `with --ranks ${ranks}: ${way}`;
  const collective = collectiveOf(line);
  return collective === "mpi" || collective === "nccl" ? `with --collective ${collective}: ${way}` : undefined;
};

const ranks: Rule = (_, line) => {
  const collective = collectiveOf(line);
  return collective === "mpi" || collective === "nccl"
    ? `with --collective ${collective}: mpirun says how many there are`
    : undefined;
};

const saving: Rule = ({ save }) => save ? undefined : "with --no-save: no checkpoint is written; leave out one of them";

const keep: Rule = ({ checkpointSteps, checkpointMinutes }) =>
  checkpointSteps === 0 && checkpointMinutes === 0
    ? "without checkpoints by steps or minutes: give --checkpoint-steps or --checkpoint-minutes"
    : undefined;

const weightDecay: Rule = ({ weightDecay, optimizer }) =>
  weightDecay > 0 && OPTIMIZERS[optimizer].weightDecay === undefined
    ? `with --optimizer ${optimizer}: it has no weight decay; choose --optimizer adam or adamw`
    : undefined;

const decaying: Rule = ({ decaySteps }) => decaySteps === 0 ? "without a decay: give --lr-num-decay-steps" : undefined;

const patience: Rule = ({ patience, epochs, testFreq }) =>
  testFreq === 0 && patience !== null && patience >= epochs
    ? `with ${epochs} evaluation${epochs === 1 ? "" : "s"}, one an epoch: give --test-freq or more --epochs`
    : undefined;

/** Published figures are not sampled. */
const seed: Rule = (_, line) =>
  line?.command === "plan" && line.inputs.length === 0
    ? "without a dataset: published figures are not sampled; name a dataset or leave it out"
    : undefined;

const PLACE = "Where to compute:";
const MODEL = "Model:";
const TRAINING = "Training:";
const HOT = "Hot rows and batches (mode fae):";
const PROGRESS = "Progress, checkpoints and the end:";

const PLANNED = ["train", "import", "plan"];
const PROFILED = ["train", "import", "plan", "profile", "layout"];
/** What an imported model's file says. */
const SHAPE = ["train", "plan"];

/** The options, by their keys in a configuration. */
export const TRAIN_OPTIONS: { readonly [K in ConfigKey]: TrainOption<TrainConfig[K]> } = {
  mode: option("--mode <name>", PLACE, "where rows and MLPs live", {
    type: oneOf(["cpu", "hybrid", "gpu", "fae"]),
    default: "fae",
  }),
  device: option("--device <name>", PLACE, "what computes", {
    type: oneOf(["auto", "cpu", "cuda", "emulated"]),
    default: "auto",
    free: true,
  }),
  blas: option("--blas <name>", PLACE, "what multiplies matrices on a CPU; ort is ONNX Runtime", {
    type: oneOf(["auto", ...LIBRARIES]),
    default: "auto",
    before: "auto",
    rules: [onCpu],
    resumes: true,
    free: true,
  }),
  precision: option("--precision <name>", PLACE, "precision of matrix products; tf32 on devices only", {
    type: oneOf(["fp32", "tf32", "bf16"]),
    default: "fp32",
    rules: [precision],
  }),
  activations: option("--activations <name>", PLACE, "what runs a device's activations", {
    type: oneOf(["ptx", "cudnn"]),
    default: "ptx",
    rules: [activations],
  }),
  dim: option("--arch-sparse-feature-size <dim>", MODEL, "length of an embedding row", {
    type: positive,
    commands: [...SHAPE, "profile", "layout"],
  }),
  denseFeatures: { type: positive.nullable(), default: null },
  bottom: option("--arch-mlp-bot <widths>", MODEL, "bottom MLP from the dense features to dim", {
    type: widths,
    read: readWidths,
    sets: bottomSets,
    shown: "512-256-64-16 after them",
    commands: SHAPE,
  }),
  top: option("--arch-mlp-top <widths>", MODEL, "top MLP without its input", {
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
  batchSize: option("--batch-size <n>", TRAINING, "samples to a batch", {
    type: positive,
    commands: [...PLANNED, "layout"],
    aliases: [{ flag: "--mini-batch-size" }],
  }),
  shuffle: option(
    "--shuffle <what>",
    TRAINING,
    "what is put in random order: samples when laid out and batches in epochs; batches; none",
    {
      type: oneOf(["samples", "batches", "none"]),
      default: "samples",
      before: "batches",
      commands: ["train", "import", "layout"],
      rules: [shuffle],
      aliases: [{ flag: "--data-randomize", values: { total: "samples", none: "none" } }],
    },
  ),
  epochs: option("--epochs <n>", TRAINING, "passes over the train split", {
    type: positive,
    default: 1,
    free: true,
    aliases: [{ flag: "--nepochs" }],
  }),
  optimizer: option("--optimizer <name>", TRAINING, "how gradients change parameters", {
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
    "adam adds this share of weights to gradients, adamw takes it off weights",
    {
      shown: "adam 0, adamw 0.01",
      type: number("from 0", 0),
      default: 0,
      before: 0,
      rules: [weightDecay],
    },
  ),
  clipNorm: option(
    "--clip-norm <norm>",
    TRAINING,
    "largest L2 norm of all gradients of a step, rows included; on a CPU",
    {
      type: number("above 0", 0, Infinity, false).nullable(),
      default: null,
      before: null,
      shown: "none",
      rules: [clipping],
    },
  ),
  warmupSteps: option("--lr-num-warmup-steps <n>", TRAINING, "steps over which the rate rises", {
    type: natural,
    default: 0,
  }),
  decayStartStep: option("--lr-decay-start-step <n>", TRAINING, "step at which decay begins", {
    type: natural,
    default: 0,
    rules: [decaying],
  }),
  decaySteps: option("--lr-num-decay-steps <n>", TRAINING, "steps that the decay takes", {
    type: natural,
    default: 0,
  }),
  decay: option("--lr-decay <name>", TRAINING, "how the rate decays, by a polynomial of degree 2 or half a cosine", {
    type: oneOf(DECAY_NAMES),
    default: "polynomial",
    before: "polynomial",
    rules: [decaying],
  }),
  ranks: option("--ranks <n>", PLACE, "ranks: workers on the CPU or GPUs", {
    type: whole(1, 256).nullable(),
    default: null,
    shown: "one a core, or one GPU",
    commands: PLANNED,
    rules: [ranks],
    resumes: true,
    free: true,
  }),
  memory: option(
    "--memory <size>",
    PLACE,
    "memory of the process (6GiB), or of its tables (25%); other rows lie on a disk",
    {
      type: memoryBudget.nullable(),
      read: readBudget,
      sets: memorySets,
      default: null,
      before: null,
      shown: "all in memory if it fits, else what is available",
      commands: ["train", "evaluate", "predict"],
      rules: [memory],
      resumes: true,
      free: true,
    },
  ),
  hotMemory: option("--hot-memory <bytes>", HOT, "budget of the hot rows with their optimizer state", {
    type: natural,
    read: readBytes,
    default: HOT_MEMORY,
    shown: bytes(HOT_MEMORY).replace(" ", ""),
    commands: PROFILED,
    rules: [hot],
    aliases: [{ flag: "--hot-emb-gpu-mem" }],
  }),
  schedulerRate: option(
    "--scheduler-rate <percent>",
    HOT,
    "percent of each kind of batch to run before switching (hot/cold); adapts during training",
    {
      type: number(`from ${LEAST_RATE} to ${MOST_RATE}`, LEAST_RATE, MOST_RATE),
      default: 50,
      rules: [hot],
    },
  ),
  firstTurn: option("--first-turn <kind>", HOT, "batches that each turn begins with", {
    type: oneOf(["hot", "cold"]),
    before: "cold",
    rules: [hot],
  }),
  sampleRate: option("--sample-rate <percent>", HOT, "percent of the samples to profile", {
    type: number("above 0, at most 100", 0, 100, false).nullable(),
    default: null,
    shown: "none, exact counts are used",
    commands: ["train", "import", "profile", "layout"],
    rules: [hot],
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
    "steps between checkpoints, beside those of evaluations; 0 for none by steps",
    {
      type: natural,
      default: 0,
      rules: [saving],
      free: true,
    },
  ),
  checkpointMinutes: option("--checkpoint-minutes <n>", PROGRESS, "minutes between them; 0 for none by time", {
    type: number("from 0", 0),
    default: 30,
    rules: [saving],
    free: true,
  }),
  keep: option("--keep <n>", PROGRESS, "how many of those are kept under their steps' names", {
    type: natural,
    default: 2,
    rules: [saving, keep],
    free: true,
  }),
  targetAuc: option("--target-auc <auc>", PROGRESS, "stop at this AUC of the validation split", {
    type: number("from 0 to 1", 0, 1).nullable(),
    default: null,
    shown: "none",
    aliases: [{ flag: "--mlperf-auc-threshold" }],
  }),
  patience: option("--patience <n>", PROGRESS, "stop after so many evaluations without a better AUC", {
    type: positive.nullable(),
    default: null,
    shown: "never",
    rules: [patience],
  }),
  save: option("--no-save", PROGRESS, "write no checkpoints", {
    type: z.boolean("must be true or false"),
    default: true,
    commands: ["train"],
  }),
  seed: option("--seed <n>", TRAINING, "seed of everything random", {
    type: whole(0, 0xffffffff),
    default: 123,
    commands: [...PROFILED, "generate"],
    rules: [seed],
    aliases: [{ flag: "--numpy-rand-seed" }],
  }),
};

/** The options as a list. */
export const TRAIN_OPTION_LIST = Object.entries(TRAIN_OPTIONS) as [ConfigKey, TrainOption][];

/** The name of an option on the command line: `--ranks` of `--ranks <n>`. */
export function longName(flag: string): string {
  return flag.split(" ", 1)[0];
}
