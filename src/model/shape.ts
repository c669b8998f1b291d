/** Derives the layers of a model, and the position of each in the vector of dense parameters, from its sizes. */
import type { OptimizerName } from "../optimizer/optimizers.ts";
import type { Composition, ModelInputs, PlacedLayer, Pooling, Value } from "./composition.ts";
import type { Dropout } from "./layers/dropout.ts";
import { composeDcnv2, type CrossShape } from "./models/dcnv2.ts";
import { composeDeepFm } from "./models/deepfm.ts";
import { composeDlrm, type DlrmShape } from "./models/dlrm.ts";
import { composeMatrixFactorisation } from "./models/matrix_factorisation.ts";
import { composeTbsm } from "./models/tbsm.ts";
import { HotsetError } from "../errors.ts";

/** All settings that determine the sizes of a model's parameters. */
export interface ModelShape extends DlrmShape {
  /** The cross network of a DCNv2, which replaces the interaction; absent from a DLRM. */
  readonly cross?: CrossShape | undefined;
  /** Absent from a DLRM and a DCNv2. */
  readonly model?: OtherModel | undefined;
  /** Steps of a sample of a TBSM, the last one the candidate; absent from other models. */
  readonly steps?: number | undefined;
  /** Determines the optimizer state. */
  readonly optimizer: OptimizerName;
  /** Largest initial value of rows; absent if that of their table is the published one, 1 / sqrt(rows). */
  readonly rowInit?: number | undefined;
}

/** The models other than DLRM and DCNv2, which `ModelShape.cross` tells apart. */
type OtherModel = "mf" | "deepfm" | "wide-deep" | "tbsm";
/** The name of a model. */
export type ModelName = "dlrm" | "dcnv2" | OtherModel;

/** The model that a shape is of. */
export function modelOf({ model, cross }: ModelShape): ModelName {
  return model ?? (cross === undefined ? "dlrm" : "dcnv2");
}

/** The part of a configuration with the sizes of a model. */
export interface ModelSizes extends Pick<ModelShape, "dim" | "top" | "interaction" | "optimizer"> {
  readonly model: ModelName;
  /** Widths of the bottom MLP without its input. */
  readonly bottom: readonly number[];
  readonly crossLayers: number;
  readonly crossRank: number;
  /** How the rows of a bag are combined. */
  readonly pooling: Pooling;
  /** Rate of dropout in training, and the seed that it follows from. */
  readonly dropout: number;
  readonly seed: number;
  /** Largest initial value of rows; default 1. */
  readonly rowInit?: number | undefined;
}

/** The part of a dataset that a model depends on. */
export interface DataSizes {
  /** Of a step. */
  readonly denseFeatures: number;
  readonly tableRows: readonly number[];
  /** Steps of a sample; default 1. */
  readonly steps?: number | undefined;
  /** True if a sample can have any number of lookups in a table, not just one; default false. */
  readonly bags?: boolean | undefined;
}

/**
 * The shape of the configured model on this data: without dense features it has no bottom MLP, and where each bag has one
 * lookup, its mean is the row. Throws HotsetError if the model cannot read samples of several steps.
 */
export function shapeOf(sizes: ModelSizes, { denseFeatures, tableRows, steps = 1, bags }: DataSizes): ModelShape {
  const { dim, bottom, top, interaction, optimizer, model, crossLayers: layers, crossRank: rank } = sizes;
  if (steps > 1 && model !== "tbsm") {
    throw new HotsetError(
      `Cannot build the model: the samples are sequences of ${steps} steps, which ${model} cannot read; choose --model tbsm`,
    );
  }
  const input = denseFeatures === 0 ? [] : [denseFeatures];
  const { pooling, dropout: rate, seed, rowInit = 1 } = sizes;
  const common = {
    ...{ dim, tableRows, optimizer },
    ...(rowInit < 1 && { rowInit }),
    ...(bags && pooling === "mean" && { pooling }),
  };
  if (model === "mf") return { ...common, bottom: input, top: [], interaction: "cat", model };
  const mlps = {
    ...common,
    bottom: denseFeatures === 0 ? [] : [denseFeatures, ...bottom],
    top,
    ...(rate > 0 && { dropout: { rate, seed } }),
  };
  if (model === "dlrm") return { ...mlps, interaction };
  if (model === "tbsm") return { ...mlps, interaction: "dot", model, steps };
  return { ...mlps, interaction: "cat", ...(model === "dcnv2" ? { cross: { layers, rank } } : { model }) };
}

/**
 * The layers of a model with positions of their parameters in one vector. All code that depends on the model uses them.
 */
export interface ModelPlan {
  /** The shape that the plan was derived from, without its dropout: what is saved. */
  readonly shape: ModelShape;
  /** Dropout in training; undefined for none. */
  readonly dropout: Dropout | undefined;
  /** The layers in the order of the forward pass. */
  readonly layers: readonly PlacedLayer[];
  /** The inputs of the model. */
  readonly inputs: ModelInputs;
  /** The output of the model: one logit per sample. */
  readonly logit: Value;
  /** Words of the vector of dense parameters. Every parameter begins at a multiple of 4 words. */
  readonly denseWords: number;
  /** Total rows of all tables. */
  readonly rows: number;
}

const COMPOSE: Record<ModelName, (shape: ModelShape) => { model: Composition; logit: Value }> = {
  dlrm: composeDlrm,
  dcnv2: (shape) => composeDcnv2(shape, shape.cross!),
  mf: composeMatrixFactorisation,
  deepfm: (shape) => composeDeepFm(shape, 2),
  "wide-deep": (shape) => composeDeepFm(shape, 1),
  tbsm: (shape) => composeTbsm(shape, shape.steps!),
};

/** Derives the layers of a model. Throws HotsetError if the widths do not match. */
export function planModel({ dropout, ...shape }: ModelShape): ModelPlan {
  const { model: { layers, inputs, denseWords }, logit } = COMPOSE[modelOf(shape)]({ ...shape, dropout });
  const rows = shape.tableRows.reduce((sum, rows) => sum + rows, 0);
  return { shape, dropout, layers, inputs, logit, denseWords, rows };
}

/** The layers with ReLU, whose units can die. */
export function hiddenLayers({ layers }: ModelPlan): PlacedLayer[] {
  return layers.filter(({ layer }) => layer.canDie);
}

/** Units of all hidden layers. */
export function hiddenUnits(plan: ModelPlan): number {
  return hiddenLayers(plan).reduce((sum, { output }) => sum + output.width, 0);
}

/** Floating-point operations of a training step per sample, forward and backward, without lookups and updates. */
export function flopsOf({ layers }: ModelPlan): number {
  return layers.reduce((sum, { layer: { flops }, inputs }) => {
    const backward = flops.parameterGradients +
      (inputs.some(({ hasGradient }) => hasGradient) ? flops.inputGradients : 0);
    return sum + flops.forward + backward;
  }, 0);
}
