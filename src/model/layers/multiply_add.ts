/** A product and a sum, element by element: what a cross layer does besides matrix products. */
import type { Layer } from "./layer.ts";
import type { LinearPlace } from "./linear.ts";

/** `y = x0 (u + bias) + x`, element by element, of the inputs x0, u and x, all of `width` values. */
export function multiplyAdd(width: number, { part, title, tensors }: LinearPlace): Layer {
  const bias = { name: "bias", tensor: `${tensors}.bias`, shape: [width], deviation: 0 };
  return {
    part,
    title,
    inputs: [width, width, width],
    outputs: width,
    parameters: [bias],
    canDie: false,
    adds: () => ({ inputs: [true, false, true], parameters: [false] }),
    passesGradient: 2,
    flops: { forward: 3 * width, parameterGradients: width, inputGradients: 3 * width },
    bind(
      {
        device,
        inputs: [x0, u, x],
        inputGradients: [dX0, dU, dX],
        added: { inputs: [addsA, , addsC] },
        parameters: [bias],
        parameterGradients: [dBias],
        output,
        outputGradient: dY,
      },
    ) {
      const shape = { width, addsA, addsC };
      const operands = { a: x0, b: u, bias, c: x };
      const gradients = { a: x0, b: u, bias, dY, dA: dX0!, dB: dU!, dBias, dC: dX === dY ? undefined : dX };
      return {
        forward: (samples) => device.multiplyAdd(shape, samples, operands, output),
        backward: (samples) => device.multiplyAddBackward(shape, samples, gradients),
      };
    },
    onnx: (graph, [x0, u, x]) => {
      const factor = graph.node("Add", [u, bias.tensor]);
      return graph.node("Add", [graph.node("Mul", [x0, factor]), x]);
    },
  };
}
