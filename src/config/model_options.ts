/** Options of training: shape of the model. */
import { oneOf, optionsIn, type OptionsOf, positive, readWidths, widths } from "./option_types.ts";

/** The part of a configuration with the shape of the model; see `TrainConfig`. */
export interface ModelConfig {
  /** Dimension of embedding rows. */
  dim: number;
  /** Required number of dense features of the data; null for any. */
  denseFeatures: number | null;
  /** Widths of the bottom MLP without its input; the last one is `dim`. */
  bottom: number[];
  /** Widths of the top MLP without its input, which the interaction determines. */
  top: number[];
  /** Interaction of the features: products of all pairs, or concatenation. */
  interaction: "dot" | "cat";
}

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
  }),
  top: option("--arch-mlp-top <widths>", "widths of the top MLP, without its input", {
    type: widths,
    read: readWidths,
    shown: "512-256-1",
    commands: SHAPE,
  }),
  interaction: option("--arch-interaction-op <op>", "interaction of the features", {
    type: oneOf(["dot", "cat"]),
    default: "dot",
    commands: SHAPE,
  }),
};
