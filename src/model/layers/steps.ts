/** Layers of samples that are sequences of steps, of which the last one is the candidate. */
import type { StepsShape } from "../../backend/backend.ts";
import type { Layer, Part } from "./layer.ts";

/** The layer, applied to each step with the same parameters; its values are (samples, steps, width). */
export function atEachStep(layer: Layer, steps: number): Layer {
  if (steps === 1) return layer;
  const { flops } = layer;
  return {
    ...layer,
    inputs: layer.inputs.map((width) => steps * width),
    outputs: steps * layer.outputs,
    flops: {
      forward: steps * flops.forward,
      parameterGradients: steps * flops.parameterGradients,
      inputGradients: steps * flops.inputGradients,
    },
    bind(buffers) {
      const { forward, backward } = layer.bind(buffers);
      return { forward: (samples) => forward(steps * samples), backward: (samples) => backward(steps * samples) };
    },
    onnx: noGraph,
  };
}

/** Divides the vector of each step by its Euclidean norm. */
export function normaliseSteps({ steps, width }: StepsShape, part: Part): Layer {
  return {
    ...layerOf(part, [steps * width], steps * width, 3 * steps * width),
    bind: ({ device: { stepAttention }, inputs: [x], inputGradients: [dX], output, outputGradient }) => ({
      forward: (samples) => stepAttention!.normalise(samples * steps, width, x, output),
      backward: (samples) => stepAttention!.normaliseBackward(samples * steps, width, x, outputGradient, dX!),
    }),
  };
}

/** The products of the candidate with each other step. */
export function scoreSteps(shape: StepsShape, part: Part): Layer {
  const { steps, width } = shape;
  return {
    ...layerOf(part, [steps * width], steps - 1, 2 * (steps - 1) * width),
    bind: ({ device: { stepAttention }, inputs: [x], inputGradients: [dX], output, outputGradient }) => ({
      forward: (samples) => stepAttention!.scoreSteps(shape, samples, x, output),
      backward: (samples) => stepAttention!.scoreStepsBackward(shape, samples, x, outputGradient, dX!),
    }),
  };
}

/** The weighted sum of the other steps and then the candidate. Inputs: the steps, and the weights. */
export function weighSteps(shape: StepsShape, part: Part): Layer {
  const { steps, width } = shape;
  return {
    ...layerOf(part, [steps * width, steps - 1], 2 * width, 2 * (steps - 1) * width),
    bind: (
      { device: { stepAttention }, inputs: [x, weights], inputGradients: [dX, dWeights], output, outputGradient },
    ) => ({
      forward: (samples) => stepAttention!.weighSteps(shape, samples, x, weights, output),
      backward: (samples) =>
        stepAttention!.weighStepsBackward(shape, samples, x, weights, outputGradient, dX!, dWeights!),
    }),
  };
}

function layerOf(part: Part, inputs: readonly number[], outputs: number, flops: number): Omit<Layer, "bind"> {
  return {
    part,
    title: `the ${part.title}`,
    inputs,
    outputs,
    parameters: [],
    canDie: false,
    flops: { forward: flops, parameterGradients: 0, inputGradients: 2 * flops },
    onnx: noGraph,
  };
}

/** `export` refuses such models before it asks for a graph. */
function noGraph(): never {
  throw new Error("layers over steps have no ONNX graph");
}
