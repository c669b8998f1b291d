/** Inverted dropout, as nn.Dropout: in training some values become 0 and the others are enlarged. */
import { mix } from "../../random.ts";
import type { Layer, Part } from "./layer.ts";

/** Dropout in the hidden layers of a model, in training; a saved model has none. */
export interface Dropout {
  /** Probability that a value becomes 0. */
  readonly rate: number;
  /** Seed of the run: the values that become 0 follow from it, the step, the layer and the position in the batch. */
  readonly seed: number;
}

/** Of `width` values. `place` counts the dropout layers of a model. */
export function dropout(width: number, { rate, seed }: Dropout, place: number, part: Part): Layer {
  const key = mix(mix(seed) + place) >>> 0;
  return {
    part,
    title: `dropout ${place + 1}, of the ${part.title}`,
    inputs: [width],
    outputs: width,
    parameters: [],
    canDie: false,
    flops: { forward: width, parameterGradients: 0, inputGradients: width },
    bind({ device, inputs: [x], inputGradients: [dX], output: y, outputGradient: dY, step }) {
      const { header, firstSample } = step!;
      const shape = { width, rate, key, firstSample };
      return {
        forward: (samples) => device.dropout(shape, samples, header, x, y),
        backward: (samples) => device.dropout(shape, samples, header, dY, dX!),
      };
    },
    onnx: (_graph, [x]) => x,
  };
}
