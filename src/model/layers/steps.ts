/** Layers of samples that are sequences of steps, of which the last one is the candidate. */
import type { StepsShape } from "../../backend/backend.ts";
import type { Layer, OnnxNodes, Part } from "./layer.ts";

/** ONNX's number of 32-bit floating point. */
const FLOAT = 1;

/** The layer, applied to each step with the same parameters; its values are (samples, steps, width). */
export function atEachStep(layer: Layer, steps: number): Layer {
  if (steps === 1) return layer;
  const { flops } = layer;
  return {
    ...layer,
    inputs: layer.inputs.map((width) => steps * width),
    outputs: steps * layer.outputs,
    readsPadded: false,
    writesPadded: false,
    flops: {
      forward: steps * flops.forward,
      parameterGradients: steps * flops.parameterGradients,
      inputGradients: steps * flops.inputGradients,
    },
    bind(buffers) {
      const inputStrides = buffers.inputStrides.map((stride) => stride / steps);
      const outputStride = buffers.outputStride / steps;
      const { forward, backward } = layer.bind({ ...buffers, inputStrides, outputStride });
      return { forward: (samples) => forward(steps * samples), backward: (samples) => backward(steps * samples) };
    },
    onnx(graph, inputs) {
      const width = (values: number) => graph.constant([-1, values]);
      const rows = inputs.map((x, i) => graph.node("Reshape", [x, width(layer.inputs[i])]));
      return graph.node("Reshape", [layer.onnx(graph, rows), width(steps * layer.outputs)]);
    },
  };
}

/** Divides the vector of each step by its Euclidean norm. */
export function normaliseSteps({ steps, width }: StepsShape, part: Part): Layer {
  return {
    ...layerOf(part, [steps * width], steps * width, 3 * steps * width),
    bind: ({ device: { stepAttention }, inputs: [x], inputGradients: [dX], output, outputGradient }) => ({
      forward: (samples) => stepAttention.normalise(samples * steps, width, x, output),
      backward: (samples) => stepAttention.normaliseBackward(samples * steps, width, x, outputGradient, dX!),
    }),
    onnx(graph, [x]) {
      const vectors = graph.node("Reshape", [x, graph.constant([-1, width])]);
      const norms = graph.node("ReduceL2", [vectors], { axes: [1], keepdims: 1 });
      const smallest = graph.node("Reciprocal", [graph.node("Cast", [graph.constant([1e12])], { to: FLOAT })]);
      const unit = graph.node("Div", [vectors, graph.node("Max", [norms, smallest])]);
      return graph.node("Reshape", [unit, graph.constant([-1, steps * width])]);
    },
  };
}

/** The products of the candidate with each other step. */
export function scoreSteps(shape: StepsShape, part: Part): Layer {
  const { steps, width } = shape;
  return {
    ...layerOf(part, [steps * width], steps - 1, 2 * (steps - 1) * width),
    bind: ({ device: { stepAttention }, inputs: [x], inputGradients: [dX], output, outputGradient }) => ({
      forward: (samples) => stepAttention.scoreSteps(shape, samples, x, output),
      backward: (samples) => stepAttention.scoreStepsBackward(shape, samples, x, outputGradient, dX!),
    }),
    onnx(graph, [x]) {
      const { others, candidate } = stepsOf(graph, shape, x);
      const column = graph.node("Transpose", [candidate], { perm: [0, 2, 1] });
      return graph.node("Reshape", [graph.node("MatMul", [others, column]), graph.constant([0, steps - 1])]);
    },
  };
}

/** The weighted sum of the other steps and then the candidate. Inputs: the steps, and the weights. */
export function weighSteps(shape: StepsShape, part: Part): Layer {
  const { steps, width } = shape;
  return {
    ...layerOf(part, [steps * width, steps - 1], 2 * width, 2 * (steps - 1) * width),
    bind({ device: { stepAttention }, inputs: [x, weights], inputGradients, output, outputGradient: dY }) {
      const [dX, dWeights] = inputGradients;
      const gradients = { x, weights, dY, dX: dX!, dWeights: dWeights! };
      return {
        forward: (samples) => stepAttention.weighSteps(shape, samples, x, weights, output),
        backward: (samples) => stepAttention.weighStepsBackward(shape, samples, gradients),
      };
    },
    onnx(graph, [x, weights]) {
      const { others, candidate } = stepsOf(graph, shape, x);
      const row = graph.node("Reshape", [weights, graph.constant([0, 1, steps - 1])]);
      const both = graph.node("Concat", [graph.node("MatMul", [row, others]), candidate], { axis: 2 });
      return graph.node("Reshape", [both, graph.constant([0, 2 * width])]);
    },
  };
}

/** The candidate (samples, 1, width) and the other steps (samples, steps - 1, width). */
function stepsOf(graph: OnnxNodes, { steps, width }: StepsShape, x: string) {
  const all = graph.node("Reshape", [x, graph.constant([0, steps, width])]);
  const part = (from: number, to: number) =>
    graph.node("Slice", [all, graph.constant([from]), graph.constant([to]), graph.constant([1])]);
  return { others: part(0, steps - 1), candidate: part(steps - 1, steps) };
}

function layerOf(part: Part, inputs: readonly number[], outputs: number, flops: number): Omit<Layer, "bind" | "onnx"> {
  return {
    part,
    title: `the ${part.title}`,
    inputs,
    outputs,
    parameters: [],
    canDie: false,
    flops: { forward: flops, parameterGradients: 0, inputGradients: 2 * flops },
  };
}
