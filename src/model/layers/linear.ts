/** A fully connected layer with its activation. */
import type { LinearShape } from "../../backend/backend.ts";
import type { Layer, Part } from "./layer.ts";

/** Names of a layer in its model. */
export interface LinearPlace {
  readonly part: Part;
  readonly title: string;
  /** Prefix of the names of its tensors in a state dict. */
  readonly tensors: string;
}

/**
 * `y = activation(x weightᵀ + bias)`. Initial values follow facebookresearch/dlrm: a weight (n, m) is normally
 * distributed with variance 2 / (m + n), a bias (n) with variance 1 / n.
 */
export function linear(shape: LinearShape, place: LinearPlace): Layer {
  return layer(shape, place, Math.sqrt(1 / shape.outputs));
}

/** `y = x weightᵀ`. */
export function product({ inputs, outputs }: Pick<LinearShape, "inputs" | "outputs">, place: LinearPlace): Layer {
  return layer({ inputs, outputs, activation: "identity" }, place, undefined);
}

/** A layer; `biasDeviation` is undefined for no bias. */
function layer(shape: LinearShape, place: LinearPlace, biasDeviation: number | undefined): Layer {
  const { inputs, outputs, activation } = shape;
  const { part, title, tensors } = place;
  const [weight, bias] = [`${tensors}.weight`, `${tensors}.bias`];
  const products = 2 * inputs * outputs;
  return {
    part,
    title,
    inputs: [inputs],
    outputs,
    parameters: [
      { name: "weight", tensor: weight, shape: [outputs, inputs], deviation: Math.sqrt(2 / (inputs + outputs)) },
      ...(biasDeviation === undefined
        ? []
        : [{ name: "bias", tensor: bias, shape: [outputs], deviation: biasDeviation }]),
    ],
    canDie: activation === "relu",
    readsPadded: true,
    adds: ({ addsProducts = false }) => ({ inputs: [addsProducts], parameters: [addsProducts, false] }),
    flops: { forward: products, parameterGradients: products, inputGradients: products },
    bind: (
      {
        device,
        inputs: [x],
        inputGradients: [dX],
        added: { inputs: [addsX], parameters: [addsWeight] },
        inputStrides: [stride],
        parameters: [weight, bias],
        parameterGradients: [dWeight, dBias],
        output: y,
        outputGradient: dY,
        sameParameters,
      },
    ) => {
      const strided = { ...shape, stride, sameWeight: sameParameters };
      device.prepareLinear(strided, x, weight);
      const gradients = { x, weight, y, dY, dX, dWeight, dBias, addsX, addsWeight };
      return {
        forward: (samples) => device.linear(strided, samples, x, weight, bias, y),
        backward: (samples) => device.linearBackward(strided, samples, gradients),
      };
    },
    onnx(graph, [x]) {
      const operands = [x, weight, ...(biasDeviation === undefined ? [] : [bias])];
      const y = graph.node("Gemm", operands, { transB: 1 });
      return activation === "identity" ? y : graph.node(activation === "relu" ? "Relu" : "Sigmoid", [y]);
    },
  };
}
