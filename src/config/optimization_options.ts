/** Options of training: batches, optimizer, learning rate and loss. */
import { OPTIMIZER_NAMES, type OptimizerName, OPTIMIZERS } from "../optimizer/optimizers.ts";
import { DECAY_NAMES } from "../schedule/learning_rate.ts";
import { type ModelConfig, withModel } from "./model_options.ts";
import type { HotRowsConfig } from "./hot_rows_options.ts";
import {
  natural,
  number,
  oneOf,
  optionsIn,
  type OptionsOf,
  PLANNED,
  positive,
  PROFILED,
  type RuleOn,
  whole,
} from "./option_types.ts";
import type { PlacementConfig } from "./placement_options.ts";

/** The part of a configuration with the batches, optimizer, learning rate and loss; see `TrainConfig`. */
export interface OptimizationConfig {
  /** Samples per batch. */
  batchSize: number;
  /**
   * What is shuffled: the samples once, by the layout, and then the batches of each epoch; only the batches; or
   * nothing.
   */
  shuffle: "samples" | "batches" | "none";
  /** Passes over the train split. */
  epochs: number;
  /** Optimizer of rows and dense parameters. */
  optimizer: OptimizerName;
  /** The learning rate, before warm-up and decay. */
  learningRate: number;
  /** Weight decay of optimizers that have one; 0 for none. */
  weightDecay: number;
  /** L2 factor of embedding rows; 0 for none. */
  rowL2: number;
  /** Probability with which the output of a unit in a hidden layer of an MLP becomes 0 in training. */
  dropout: number;
  /** Maximum norm of a step's gradients; larger ones are scaled down. Null for no limit. */
  clipNorm: number | null;
  /** Weight of positives in the loss; negatives have weight 1. */
  positiveWeight: number;
  /** Share of each label that the loss replaces by one half (label smoothing). */
  labelSmoothing: number;
  /** Steps of linear warm-up of the learning rate; 0 for none. */
  warmupSteps: number;
  /** Step at which the decay of the learning rate begins. */
  decayStartStep: number;
  /** Steps of the decay; 0 for none. */
  decaySteps: number;
  /** Shape of the decay: a polynomial of degree 2, or half a cosine. */
  decay: "polynomial" | "cosine";
  /** Seed of everything random. */
  seed: number;
}

/** The part of a configuration that rules of these options depend on. */
type Context =
  & OptimizationConfig
  & Pick<PlacementConfig, "mode">
  & Pick<HotRowsConfig, "hotMemory">
  & Pick<ModelConfig, "model" | "bottom" | "top">;
/** Returns why an option has no effect; undefined if it has one. */
type Rule = RuleOn<Context>;

/** With hot and cold batches, the scheduler decides the order. */
const shuffleRule: Rule = ({ shuffle, mode, hotMemory }, line) => {
  if (shuffle !== "none") return undefined;
  if (line?.command === "layout") {
    return hotMemory === 0 ? undefined : "none with hot batches: leave it out, or choose --hot-memory 0";
  }
  return mode !== "fae" && mode !== "hybrid"
    ? undefined
    : `none with --mode ${mode}: only modes cpu, gpu and cached keep the order of the log; choose one of them, or --shuffle ` +
      `batches`;
};

/** The largest random seed. */
export const MAX_SEED = 0xffffffff;

/** Some optimizers have no weight decay. */
const weightDecayRule: Rule = ({ weightDecay, optimizer }) =>
  weightDecay > 0 && OPTIMIZERS[optimizer].weightDecay === undefined
    ? `with --optimizer ${optimizer}: it has no weight decay; choose --optimizer adam or adamw`
    : undefined;

/** Dropout follows hidden layers; TBSM always has some. */
const dropoutRule: Rule = ({ dropout, model, bottom, top }, line) => {
  if (dropout === 0 || model === "tbsm") return undefined;
  if (model === "mf") return `${withModel(model, line)}: matrix factorisation has no MLP`;
  return bottom.length > 1 || top.length > 1
    ? undefined
    : "without a hidden layer: the MLPs have one layer each; add a width to --arch-mlp-top";
};

/** For options about the decay of the learning rate. */
const decayingRule: Rule = ({ decaySteps }) =>
  decaySteps === 0 ? "without a decay: set --lr-num-decay-steps" : undefined;

/** Published data sets are not sampled. */
const seedRule: Rule = (_, line) =>
  line?.command === "plan" && line.inputs.length === 0
    ? "without a dataset: published figures are not sampled; name a dataset or leave it out"
    : undefined;

const option = optionsIn<Context>("Training:");

/** The options, by their keys in a configuration. */
export const OPTIMIZATION_OPTIONS: OptionsOf<OptimizationConfig, Context> = {
  batchSize: option("--batch-size <n>", "samples per batch", {
    type: positive,
    commands: [...PLANNED, "layout"],
    aliases: [{ flag: "--mini-batch-size" }],
  }),
  shuffle: option(
    "--shuffle <what>",
    "what is shuffled: samples (by layout; then batches in every epoch), only batches, or none",
    {
      type: oneOf(["samples", "batches", "none"]),
      default: "samples",
      before: "batches",
      commands: ["train", "import", "layout"],
      rules: [shuffleRule],
      aliases: [{ flag: "--data-randomize", values: { total: "samples", none: "none" } }],
    },
  ),
  epochs: option("--epochs <n>", "passes over the train split", {
    type: positive,
    default: 1,
    shown: "1; preset default with fewer than 1,000,000 train samples: 2",
    free: true,
    aliases: [{ flag: "--nepochs" }],
  }),
  optimizer: option("--optimizer <name>", "optimizer", {
    type: oneOf(OPTIMIZER_NAMES),
    commands: PROFILED,
  }),
  learningRate: option("--learning-rate <rate>", "learning rate", {
    type: number("above 0", 0, Infinity, false),
    shown: `the preset's with its optimizer; else ${
      OPTIMIZER_NAMES.map((name) => `${name} ${OPTIMIZERS[name].learningRate}`).join(", ")
    }`,
  }),
  weightDecay: option(
    "--weight-decay <share>",
    "weight decay: added to gradients (L2) with adam, decoupled with adamw",
    {
      shown: "adam 0, adamw 0.01",
      type: number("from 0", 0),
      default: 0,
      before: 0,
      rules: [weightDecayRule],
    },
  ),
  rowL2: option(
    "--l2 <factor>",
    "L2 of embedding rows, with any optimizer: a row that a step looks up, times this, is added to its gradient",
    { type: number("from 0", 0), default: 0, before: 0 },
  ),
  dropout: option(
    "--dropout <rate>",
    "share of the outputs of hidden layers of the MLPs that become 0 in training, the others multiplied by 1 / (1 - rate)",
    {
      type: number("from 0 and below 1", 0).lt(1, "must be a number from 0 and below 1"),
      default: 0,
      before: 0,
      commands: PLANNED,
      rules: [dropoutRule],
    },
  ),
  clipNorm: option(
    "--clip-norm <norm>",
    "maximum L2 norm of all gradients of a step, rows included; larger ones are scaled down",
    {
      type: number("above 0", 0, Infinity, false).nullable(),
      default: null,
      before: null,
      shown: "none",
    },
  ),
  positiveWeight: option("--pos-weight <weight>", "weight of positives in the loss; negatives have weight 1", {
    type: number("above 0", 0, Infinity, false),
    default: 1,
    before: 1,
  }),
  labelSmoothing: option("--label-smoothing <share>", "share of each label that the loss replaces by one half", {
    type: number("from 0 to 1", 0, 1),
    default: 0,
    before: 0,
  }),
  warmupSteps: option("--lr-num-warmup-steps <n>", "steps of linear warm-up", {
    type: natural,
    default: 0,
    shown: "0; preset default with adagrad: a tenth of an epoch, at most 100",
  }),
  decayStartStep: option("--lr-decay-start-step <n>", "first step of the decay", {
    type: natural,
    default: 0,
    rules: [decayingRule],
  }),
  decaySteps: option("--lr-num-decay-steps <n>", "length of the decay in steps", {
    type: natural,
    default: 0,
  }),
  decay: option("--lr-decay <name>", "shape of the decay: polynomial of degree 2, or half a cosine", {
    type: oneOf(DECAY_NAMES),
    default: "polynomial",
    before: "polynomial",
    rules: [decayingRule],
  }),
  seed: option("--seed <n>", "random seed", {
    type: whole(0, MAX_SEED),
    default: 123,
    commands: [...PROFILED, "generate"],
    rules: [seedRule],
    aliases: [{ flag: "--numpy-rand-seed" }],
  }),
};
