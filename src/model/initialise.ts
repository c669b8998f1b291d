/**
 * Initial dense parameters from a seed, distributed as in facebookresearch/dlrm. For rows see embedding/initialise.ts.
 */
import { Random } from "../random.ts";
import { elementsOf } from "./layers/layer.ts";
import type { ModelPlan } from "./shape.ts";

const DENSE_STREAM = 1;

/** Fills the dense parameters, layer by layer, with normally distributed values of each parameter's deviation. */
export function initialiseDense({ layers }: ModelPlan, seed: number, parameters: Float32Array): void {
  layers.filter((layer) => layer.parameters.length > 0).forEach((layer, i) => {
    const random = new Random(seed, DENSE_STREAM, i);
    for (const { shape, first, deviation } of layer.parameters) {
      const end = first + elementsOf(shape);
      for (let word = first; word < end; word++) parameters[word] = deviation * random.normal();
    }
  });
}
