/** A factorisation machine (Rendle 2010) over the pooled rows: their weights, and the products of their factors. */
import type { MachineShape } from "../../backend/backend.ts";
import { pairProducts } from "./interaction.ts";
import type { Layer } from "./layer.ts";
import type { LinearPlace } from "./linear.ts";

/**
 * One logit of the pooled rows (tables, dim); see `Backend.factorise`. Its bias is a parameter, initially zero, if it is
 * shared, and otherwise a second input of width 1: the logit of other layers.
 */
export function factorisationMachine(shape: MachineShape, { part, title, tensors }: LinearPlace): Layer {
  const { degree, sharedBias, tables, dim } = shape;
  const bias = { name: "bias", tensor: `${tensors}.bias`, shape: [1], deviation: 0 };
  const flops = (degree === 2 ? 3 : 1) * tables * dim;
  return {
    part,
    title,
    inputs: sharedBias ? [tables * dim] : [tables * dim, 1],
    outputs: 1,
    parameters: sharedBias ? [bias] : [],
    canDie: false,
    flops: { forward: flops, parameterGradients: 0, inputGradients: flops },
    bind(
      {
        device,
        inputs: [pooled, logit],
        inputGradients: [dPooled, dLogit],
        parameters: [bias],
        parameterGradients: [dBias],
        output,
        outputGradient: dY,
      },
    ) {
      const gradients = { pooled, dY, dPooled: dPooled!, dBias: dLogit };
      return {
        forward: (samples) => device.factorise(shape, samples, pooled, sharedBias ? bias : logit, output),
        backward(samples) {
          device.factoriseBackward(shape, samples, gradients);
          if (sharedBias) device.columnSums(samples, 1, dY, dBias);
        },
      };
    },
    onnx(graph, [pooled, logit]) {
      const rows = graph.node("Reshape", [pooled, graph.constant([0, tables, dim])]);
      const part = (from: number, to: number) =>
        graph.node("Slice", [rows, graph.constant([from]), graph.constant([to]), graph.constant([2])]);
      const weights = graph.node("Reshape", [part(dim - 1, dim), graph.constant([0, tables])]);
      const total = (values: string) => graph.node("ReduceSum", [values, graph.constant([1])], { keepdims: 1 });
      const linear = graph.node("Add", [total(weights), sharedBias ? bias.tensor : logit]);
      if (degree === 1 || tables === 1 || dim === 1) return linear;
      return graph.node("Add", [linear, total(pairProducts(graph, part(0, dim - 1), tables))]);
    },
  };
}
