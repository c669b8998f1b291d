/** The tensors of a model by their names in a PyTorch state dict, and their positions in a checkpoint. */
import type { ModelPlan } from "../model/shape.ts";
import type { WeightFile } from "../checkpoint/weights.ts";

/** A parameter with its position in a checkpoint. */
export interface ModelTensor {
  readonly name: string;
  /** A table (rows, dim), a weight (outputs, inputs) or a bias (outputs). */
  readonly shape: readonly number[];
  readonly file: WeightFile;
  /** Its first word in the file. */
  readonly first: number;
}

/** All parameters of a model, tables first. */
export function tensorsOf({ shape, layers }: ModelPlan): ModelTensor[] {
  const tensors: ModelTensor[] = [];
  let first = 0;
  shape.tableRows.forEach((rows, t) => {
    tensors.push({ name: `emb_l.${t}.weight`, shape: [rows, shape.dim], file: "rows.f32", first });
    first += rows * shape.dim;
  });
  for (const { parameters } of layers) {
    for (const { tensor, shape, first } of parameters) tensors.push({ name: tensor, shape, file: "dense.f32", first });
  }
  return tensors;
}
