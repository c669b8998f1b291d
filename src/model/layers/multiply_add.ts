/** A product and a sum, element by element: what a cross layer does besides matrix products. */
import type { Layer } from "./layer.ts";
import type { LinearPlace } from "./linear.ts";

/** `y = x0 u + x`, element by element, of the inputs x0, u and x, all of `width` values. */
export function multiplyAdd(width: number, { part, title }: Pick<LinearPlace, "part" | "title">): Layer {
  return {
    part,
    title,
    inputs: [width, width, width],
    outputs: width,
    parameters: [],
    canDie: false,
    flops: { forward: 2 * width, parameterGradients: 0, inputGradients: 2 * width },
    bind({ device, inputs: [x0, u, x], inputGradients: [dX0, dU, dX], output, outputGradient: dY }) {
      const gradients = { a: x0, b: u, dY, dA: dX0!, dB: dU!, dC: dX! };
      return {
        forward: (samples) => device.multiplyAdd(samples * width, x0, u, x, output),
        backward: (samples) => device.multiplyAddBackward(samples * width, gradients),
      };
    },
    onnx: (graph, [x0, u, x]) => graph.node("Add", [graph.node("Mul", [x0, u]), x]),
  };
}
