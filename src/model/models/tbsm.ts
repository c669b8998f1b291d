/**
 * TBSM (Ishkhanov et al. 2020): a sample is a history of steps with a candidate at its end, and each step has the features
 * of a DLRM.
 *
 * ```
 * features of each step -> DLRM without its last layer -> z, normalised, of 20 steps and the candidate
 * z of all steps -> product A -> products with the candidate -> MLP with a sigmoid -> weights of the steps
 * z of all steps, weights -> weighted sum of the steps, z of the candidate -> top MLP -> logit
 * ```
 * All steps have the same parameters. The products are those of z with AᵀA z of the candidate.
 */
import { HotsetError } from "../../errors.ts";
import { Composition, type Value } from "../composition.ts";
import { interaction } from "../layers/interaction.ts";
import type { Part } from "../layers/layer.ts";
import { product } from "../layers/linear.ts";
import { atEachStep, normaliseSteps, scoreSteps, weighSteps } from "../layers/steps.ts";
import { BOTTOM, type DlrmShape, expectTables, expectWidths, INTERACTION, TOP } from "./dlrm.ts";

/** Widths of the MLP that ends the tower, as published; the last one is the length of z. */
const TOWER_WIDTHS = [15, 15];
const TOWER: Part = { name: "tower", title: "tower of each step", ifDead: "all predictions are the same" };
const ATTENTION: Part = {
  name: "attention",
  title: "attention",
  ifDead: "the history no longer changes any prediction",
};

/** Builds the layers and returns them with the logit. Throws HotsetError if the data has no steps. */
export function composeTbsm(shape: DlrmShape, steps: number): { model: Composition; logit: Value } {
  if (steps === 1) {
    throw new HotsetError(
      "Cannot build the model: the samples are no sequences of steps; choose --model dlrm, or make sessions: --format " +
        "taobao-sessions reads them from a log, generate --preset taobao generates them",
    );
  }
  expectTables(shape.tableRows);
  expectWidths(shape);
  const { dim, tableRows: { length: tables }, bottom: [denseFeatures = 0, ...bottom], top, pooling, dropout } = shape;
  const model = new Composition({ denseFeatures: steps * denseFeatures, bags: steps * tables, dim, pooling, dropout });
  const { inputs: { dense }, pooled } = model;
  const x = dense && model.mlp({ input: dense, widths: bottom, last: "relu", part: BOTTOM, tensors: "bot_l", steps });
  const vectors = x === undefined ? [pooled!] : [x, pooled!];
  const products = interaction({ kind: "dot", bottom: x !== undefined, tables, dim }, INTERACTION);
  const features = model.add(atEachStep(products, steps), ...vectors);
  const tower = {
    input: features,
    widths: TOWER_WIDTHS,
    last: "relu",
    part: TOWER,
    tensors: "tower_l",
    steps,
  } as const;
  const width = TOWER_WIDTHS.at(-1)!;
  const z = model.add(normaliseSteps({ steps, width }, TOWER), model.mlp(tower));
  const place = { part: ATTENTION, title: `product A of the ${ATTENTION.title}`, tensors: "attention.A" };
  const projected = model.add(atEachStep(product({ inputs: width, outputs: width }, place), steps), z);
  const weights = model.mlp({
    input: model.add(scoreSteps({ steps, width }, ATTENTION), projected),
    widths: [width, width, steps - 1],
    last: "sigmoid",
    part: ATTENTION,
    tensors: "attention.mlp",
  });
  const context = model.add(weighSteps({ steps, width }, ATTENTION), z, weights);
  return { model, logit: model.mlp({ input: context, widths: top, last: "identity", part: TOP, tensors: "top_l" }) };
}
