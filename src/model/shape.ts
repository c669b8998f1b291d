/** The shape of a DLRM: sizes of its layers and where each lies in the vector of dense parameters. */
import { type InteractionKind, type InteractionShape, interactionWidth, type LinearShape } from "../backend/backend.ts";
import type { OptimizerName } from "../optimizer/optimizers.ts";
import { HotsetError } from "../errors.ts";

/** Everything that decides the sizes of a model's parameters. */
export interface ModelShape {
  /** Length of an embedding row and of the bottom MLP's output. */
  readonly dim: number;
  /** Rows of each embedding table. */
  readonly tableRows: readonly number[];
  /** Layer widths of the bottom MLP, from the number of dense features to `dim`. */
  readonly bottom: readonly number[];
  /** Layer widths of the top MLP after its input (which the interaction decides), the last one 1. */
  readonly top: readonly number[];
  /** How features interact. */
  readonly interaction: InteractionKind;
  /** Decides the optimizer state. */
  readonly optimizer: OptimizerName;
}

/** A layer with the place of its parameters, in words. */
export interface Layer {
  /** Its widths and activation. */
  readonly shape: LinearShape;
  /** First word of the weight (outputs, inputs). */
  readonly weight: number;
  /** First word of the bias (outputs). */
  readonly bias: number;
}

/** A shape worked out: the layers of both MLPs in one parameter vector. */
export interface ModelPlan {
  /** What it was worked out from. */
  readonly shape: ModelShape;
  /** The interaction's sizes. */
  readonly interaction: InteractionShape;
  /** Layers of the bottom MLP. */
  readonly bottom: readonly Layer[];
  /** Layers of the top MLP. */
  readonly top: readonly Layer[];
  /** Words of the vector of dense parameters. Every weight and bias begins at a multiple of 4 words. */
  readonly denseWords: number;
  /** Rows of all tables. */
  readonly rows: number;
}

/**
 * Works out a model's layers. Throws HotsetError if the widths do not fit together.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { planModel } from "@hotset/hotset/plan";
 *
 * const plan = planModel({
 *   dim: 16,
 *   tableRows: new Array(26).fill(1000),
 *   bottom: [13, 512, 256, 64, 16],
 *   top: [512, 256, 1],
 *   interaction: "dot",
 *   optimizer: "sgd",
 * });
 * assert.equal(plan.top[0].shape.inputs, 16 + 27 * 26 / 2);
 * ```
 */
export function planModel(shape: ModelShape): ModelPlan {
  const { dim, bottom, top, tableRows } = shape;
  const interaction: InteractionShape = { kind: shape.interaction, tables: tableRows.length, dim };
  if (bottom.length < 2) throw new HotsetError("Cannot build the model: the bottom MLP needs at least two widths");
  if (bottom.at(-1) !== dim) {
    throw new HotsetError(
      `Cannot build the model: the bottom MLP ends in ${bottom.at(-1)} but embedding rows have ` +
        `${dim} values; make --arch-mlp-bot end in ${dim} or set --arch-sparse-feature-size ${bottom.at(-1)}`,
    );
  }
  if (top.at(-1) !== 1) throw new HotsetError(`Cannot build the model: the top MLP ${top.join("-")} must end in 1`);
  let words = 0;
  const place = (count: number) => {
    const first = words;
    words += Math.ceil(count / 4) * 4;
    return first;
  };
  const layers = (widths: readonly number[], last: LinearShape["activation"]): Layer[] =>
    widths.slice(1).map((outputs, i) => {
      const inputs = widths[i];
      const activation = i === widths.length - 2 ? last : "relu";
      return { shape: { inputs, outputs, activation }, weight: place(inputs * outputs), bias: place(outputs) };
    });
  return {
    shape,
    interaction,
    bottom: layers(bottom, "relu"),
    top: layers([interactionWidth(interaction), ...top], "identity"), // the loss takes logits
    rows: tableRows.reduce((sum, rows) => sum + rows, 0),
    denseWords: words,
  };
}

/** The layers before the model's output, whose units ReLU can leave at 0: the bottom MLP's, then the top's. */
export function hiddenLayers({ bottom, top }: ModelPlan): Layer[] {
  return [...bottom, ...top.slice(0, -1)];
}

/** Units of all hidden layers. */
export function hiddenUnits(plan: ModelPlan): number {
  return hiddenLayers(plan).reduce((sum, { shape }) => sum + shape.outputs, 0);
}

/** Reads dash-separated layer widths such as "13-512-256-64-16". Throws HotsetError on anything else. */
export function parseWidths(text: string): number[] {
  const widths = text.split("-").map(Number);
  if (!/^\d+(-\d+)*$/.test(text) || widths.some((width) => width < 1)) {
    throw new HotsetError(
      `Cannot read layer widths ${JSON.stringify(text)}: expected numbers with dashes, as in 512-256-1`,
    );
  }
  return widths;
}
