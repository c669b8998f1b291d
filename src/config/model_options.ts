/** Options of training: shape of the model. */
import {
  type CommandLine,
  number,
  oneOf,
  optionsIn,
  type OptionsOf,
  positive,
  readWidths,
  type RuleOn,
  widths,
} from "./option_types.ts";

/** The part of a configuration with the shape of the model; see `TrainConfig`. */
export interface ModelConfig {
  /** Dimension of embedding rows. */
  dim: number;
  /** The model: DLRM, DCNv2, matrix factorisation with biases (`mf`), DeepFM, Wide & Deep, or TBSM (on sessions). */
  model: "dlrm" | "dcnv2" | "mf" | "deepfm" | "wide-deep" | "tbsm";
  /** Required number of dense features of the data; null for any. */
  denseFeatures: number | null;
  /** Widths of the bottom MLP without its input; the last one is `dim`. */
  bottom: number[];
  /** Widths of the top MLP without its input, which the interaction determines. */
  top: number[];
  /** Interaction of the features: products of all pairs, or concatenation. */
  interaction: "dot" | "cat";
  /** Largest initial value of rows; that of a table is smaller if 1 / sqrt(rows of the table), as published, is. */
  rowInit: number;
  /** How the rows of a bag, the values of a sample in one sparse feature, are combined. */
  pooling: "sum" | "mean";
  /** Layers of the cross network of DCNv2. */
  crossLayers: number;
  /** Rank of the weights of these layers. */
  crossRank: number;
}

/** Returns why an option has no effect; undefined if it has one. */
type Rule = RuleOn<ModelConfig>;

/** The model in a refusal; if the preset chose it, how to choose another one. */
export function withModel(model: ModelConfig["model"], line: CommandLine | undefined): string {
  const chosen = line?.given.has("--preset") && !line.given.has("--model")
    ? `, which --preset ${line.values.preset} chooses unless there is a --model`
    : "";
  return `with --model ${model}${chosen}`;
}

const MACHINE = "its factorisation machine is the interaction";
/** Why the interaction of other models is fixed. */
const INTERACTIONS = {
  dcnv2: "its cross network is the interaction",
  mf: MACHINE,
  deepfm: MACHINE,
  "wide-deep": MACHINE,
  tbsm: "each step has the products of all pairs",
};
/** Other models have something else instead. */
const interactionRule: Rule = ({ model }, line) =>
  model === "dlrm" ? undefined : `${withModel(model, line)}: ${INTERACTIONS[model]}`;

/** For options of the MLPs. */
const mlpRule: Rule = ({ model }, line) =>
  model === "mf" ? `${withModel(model, line)}: matrix factorisation has no MLP` : undefined;

/** Rows of a model that is trained further are there already. */
const rowInitRule: Rule = (_, line) =>
  line?.given.has("--from")
    ? "with --from: its rows are there, and new ones begin as they did; leave it out"
    : undefined;

/** For options of the cross network. */
const crossRule: Rule = ({ model }, line) =>
  model === "dcnv2" ? undefined : `${withModel(model, line)}: it has no cross network; choose --model dcnv2`;

/** For `import`, the model's file determines the shape. */
const SHAPE = ["train", "plan"];

/** The bottom MLP in dlrm's notation: from the number of dense features to the dimension of rows. */
const bottomSets = ([denseFeatures, ...bottom]: number[]): Partial<ModelConfig> => ({
  denseFeatures,
  bottom,
  ...(bottom.length > 0 && { dim: bottom.at(-1)! }),
});

const option = optionsIn<ModelConfig>("Model:");

/** The options, by their keys in a configuration. */
export const MODEL_OPTIONS: OptionsOf<ModelConfig> = {
  dim: option("--arch-sparse-feature-size <dim>", "length of an embedding row", {
    type: positive,
    commands: [...SHAPE, "profile", "layout"],
  }),
  denseFeatures: { type: positive.nullable(), default: null },
  bottom: option("--arch-mlp-bot <widths>", "widths of the bottom MLP, from the dense features to dim", {
    type: widths,
    read: readWidths,
    sets: bottomSets,
    shown: "512-256-64-16 after them",
    commands: SHAPE,
    rules: [mlpRule],
  }),
  top: option("--arch-mlp-top <widths>", "widths of the top MLP, without its input", {
    type: widths,
    read: readWidths,
    shown: "512-256-1",
    commands: SHAPE,
    rules: [mlpRule],
  }),
  model: option(
    "--model <name>",
    "the model: dlrm, dcnv2 (low-rank cross network), mf (matrix factorisation), deepfm, wide-deep, or tbsm (sessions)",
    {
      type: oneOf(["dlrm", "dcnv2", "mf", "deepfm", "wide-deep", "tbsm"]),
      default: "dlrm",
      before: "dlrm",
      commands: SHAPE,
    },
  ),
  interaction: option("--arch-interaction-op <op>", "interaction of the features", {
    type: oneOf(["dot", "cat"]),
    default: "dot",
    commands: SHAPE,
    rules: [interactionRule],
  }),
  rowInit: option(
    "--row-init <bound>",
    "largest initial value of embedding rows, which are uniform up to it, or up to 1 / sqrt(rows of the table) if that is " +
      "smaller; 1 for the latter alone, as published",
    {
      type: number("above 0 and at most 1", 0, 1, false),
      default: 1,
      before: 1,
      shown: "preset default with its optimizer 0.001, else 1",
      commands: ["train"],
      rules: [rowInitRule],
    },
  ),
  pooling: option("--pooling <how>", "how the rows of a bag (a list of values) are combined: sum or mean", {
    type: oneOf(["sum", "mean"]),
    default: "sum",
    before: "sum",
    commands: [...SHAPE, "import"],
  }),
  crossLayers: option("--dcn-num-layers <n>", "cross layers of dcnv2", {
    type: positive,
    default: 3,
    before: 3,
    commands: SHAPE,
    rules: [crossRule],
  }),
  crossRank: option("--dcn-low-rank-dim <n>", "rank of the weights of these layers", {
    type: positive,
    default: 64,
    before: 64,
    commands: SHAPE,
    rules: [crossRule],
  }),
};
