/** A model worked out from its sizes: its layers, and where each lies in the vector of dense parameters. */
import type { OptimizerName } from "../optimizer/optimizers.ts";
import type { ModelInputs, PlacedLayer, Value } from "./composition.ts";
import { composeDlrm, type DlrmShape } from "./models/dlrm.ts";

/** Everything that decides the sizes of a model's parameters. */
export interface ModelShape extends DlrmShape {
  /** Decides the optimizer state. */
  readonly optimizer: OptimizerName;
}

/** A shape worked out: layers whose parameters lie in one vector. Everything that depends on the model iterates over them. */
export interface ModelPlan {
  /** What it was worked out from. */
  readonly shape: ModelShape;
  /** The layers in the order of the forward pass. */
  readonly layers: readonly PlacedLayer[];
  /** What they read from outside. */
  readonly inputs: ModelInputs;
  /** The one value that the loss takes. */
  readonly logit: Value;
  /** Words of the vector of dense parameters. Every parameter begins at a multiple of 4 words. */
  readonly denseWords: number;
  /** Rows of all tables. */
  readonly rows: number;
}

/** Works out a model's layers. Throws HotsetError if the widths do not fit together. */
export function planModel(shape: ModelShape): ModelPlan {
  const { model: { layers, inputs, denseWords }, logit } = composeDlrm(shape);
  const rows = shape.tableRows.reduce((sum, rows) => sum + rows, 0);
  return { shape, layers, inputs, logit, denseWords, rows };
}

/** The layers whose units ReLU can leave at 0. */
export function hiddenLayers({ layers }: ModelPlan): PlacedLayer[] {
  return layers.filter(({ layer }) => layer.canDie);
}

/** Units of all hidden layers. */
export function hiddenUnits(plan: ModelPlan): number {
  return hiddenLayers(plan).reduce((sum, { output }) => sum + output.width, 0);
}

/** Floating-point operations of a training step for one sample, forward and backward, without rows and updates. */
export function flopsOf({ layers }: ModelPlan): number {
  return layers.reduce((sum, { layer: { flops }, inputs }) => {
    const backward = flops.parameterGradients +
      (inputs.some(({ hasGradient }) => hasGradient) ? flops.inputGradients : 0);
    return sum + flops.forward + backward;
  }, 0);
}
