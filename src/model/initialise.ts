/**
 * Initial dense parameters from a seed, distributed as in facebookresearch/dlrm. For rows see embedding/initialise.ts.
 */
import { atOnce, type Parts } from "../breaks.ts";
import { Random } from "../random.ts";
import { elementsOf } from "./layers/layer.ts";
import type { ModelPlan } from "./shape.ts";

const DENSE_STREAM = 1;
/** Words that are drawn at a time, which takes a millisecond. */
const PART_WORDS = 1 << 14;

/** Fills the dense parameters, layer by layer, with normally distributed values of each parameter's deviation. */
export function initialiseDense(plan: ModelPlan, seed: number, parameters: Float32Array): void {
  atOnce(initialiseDenseInParts(plan, seed, parameters));
}

/** The same in parts. */
export function* initialiseDenseInParts({ layers }: ModelPlan, seed: number, parameters: Float32Array): Parts<void> {
  parameters.fill(0);
  let drawn = 0;
  for (const { parameters: own } of layers) {
    if (own.every(({ deviation }) => deviation === 0)) continue;
    const random = new Random(seed, DENSE_STREAM, drawn++);
    for (const { shape, first, deviation } of own) {
      const end = first + elementsOf(shape);
      for (let word = first; word < end;) {
        for (const stop = Math.min(word + PART_WORDS, end); word < stop; word++) {
          parameters[word] = deviation * random.normal();
        }
        yield;
      }
    }
  }
}
