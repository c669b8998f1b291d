/**
 * DLRM (Naumov et al. 2019):
 *
 * ```
 * dense features -> bottom MLP --.
 * pooled rows --------------------+-> interaction -> top MLP -> logit
 * ```
 * Data without dense features has no bottom MLP: the pooled rows interact among themselves. With `cat` the top MLP reads
 * them as they are; with `dot` it reads them and the products of all pairs, of which two tables have but one. Data without
 * tables has no interaction: the top MLP follows the bottom one, and the model is a plain MLP.
 */
import type { InteractionKind } from "../../backend/backend.ts";
import { HotsetError } from "../../errors.ts";
import { Composition, type Value } from "../composition.ts";
import type { Dropout } from "../layers/dropout.ts";
import { interaction } from "../layers/interaction.ts";
import type { Part } from "../layers/layer.ts";

/** The settings that determine the layers of a DLRM. */
export interface DlrmShape {
  /** Length of an embedding row and of the bottom MLP's output. */
  readonly dim: number;
  /** Rows of each embedding table. */
  readonly tableRows: readonly number[];
  /** Layer widths of the bottom MLP, from the number of dense features to `dim`; empty without dense features. */
  readonly bottom: readonly number[];
  /** Layer widths of the top MLP after its input (which the interaction decides), the last one 1. */
  readonly top: readonly number[];
  /** Kind of the interaction. */
  readonly interaction: InteractionKind;
  /** Present if the means of bags are used instead of the sums. */
  readonly pooling?: "mean" | undefined;
  /** In training; not part of a saved model. */
  readonly dropout?: Dropout | undefined;
}

/** The MLP of the dense features. */
export const BOTTOM: Part = {
  name: "bottom",
  title: "bottom MLP",
  ifDead: "dense features no longer change any prediction",
};
/** Combines the features. */
export const INTERACTION: Part = { name: "interaction", title: "interaction", ifDead: "all predictions are the same" };
/** The MLP that computes the logit. */
export const TOP: Part = { name: "top", title: "top MLP", ifDead: "all predictions are the same" };

/** Builds the layers and returns them with the logit. Tensor names follow facebookresearch/dlrm. Throws HotsetError. */
export function composeDlrm(shape: DlrmShape): { model: Composition; logit: Value } {
  expectWidths(shape);
  const { dim, tableRows: { length: tables }, pooling, dropout, top, interaction: kind } = shape;
  const [denseFeatures = 0, ...bottom] = shape.bottom;
  const model = new Composition({ denseFeatures, bags: tables, dim, pooling, dropout });
  const { inputs: { dense }, pooled } = model;
  const x = dense && model.mlp({ input: dense, widths: bottom, last: "relu", part: BOTTOM, tensors: "bot_l" });
  const vectors = [x, pooled].filter((value) => value !== undefined);
  const isPassedOn = vectors.length === 1 && (kind === "cat" || pooled === undefined);
  const features = isPassedOn
    ? vectors[0]
    : model.add(interaction({ kind, bottom: x !== undefined, tables, dim }, INTERACTION), ...vectors);
  // The loss is computed from logits, so the last layer has no sigmoid.
  const logit = model.mlp({ input: features, widths: top, last: "identity", part: TOP, tensors: "top_l" });
  return { model, logit };
}

/** Throws HotsetError if there are no tables, in models that need them. */
export function expectTables(tableRows: readonly number[]): void {
  if (tableRows.length > 0) return;
  throw new HotsetError(
    "Cannot build the model: the data has no sparse features; choose --model dlrm, an MLP without them",
  );
}

/** Throws HotsetError if the widths of the MLPs do not match. */
export function expectWidths({ dim, bottom, top }: DlrmShape): void {
  if (bottom.length === 1) throw new HotsetError("Cannot build the model: the bottom MLP needs at least two widths");
  if (bottom.length > 0 && bottom.at(-1) !== dim) {
    throw new HotsetError(
      `Cannot build the model: the bottom MLP ends in ${bottom.at(-1)} but embedding rows have ` +
        `${dim} values; make --arch-mlp-bot end in ${dim} or set --arch-sparse-feature-size ${bottom.at(-1)}`,
    );
  }
  if (top.at(-1) !== 1) throw new HotsetError(`Cannot build the model: the top MLP ${top.join("-")} must end in 1`);
}
