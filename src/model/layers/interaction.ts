/** The interaction of DLRM: one vector of the dense features with the pooled rows of all tables. */
import { type InteractionShape, interactionWidth } from "../../backend/backend.ts";
import type { Layer, OnnxNodes, Part } from "./layer.ts";

/** Inputs are the vector (dim) and the pooled rows (tables, dim); the output is what `Backend.interact` says. */
export function interaction(shape: InteractionShape, part: Part): Layer {
  const { kind, tables, dim } = shape;
  const outputs = interactionWidth(shape);
  const flops = kind === "dot" ? 2 * dim * (outputs - dim) : 0;
  return {
    part,
    title: `the ${part.title}`,
    inputs: [dim, tables * dim],
    outputs,
    parameters: [],
    canDie: false,
    flops: { forward: flops, parameterGradients: 0, inputGradients: 2 * flops },
    bind: (
      { device, inputs: [x, pooled], inputGradients: [dX, dPooled], output, outputGradient },
    ) => ({
      forward: (samples) => device.interact(shape, samples, x, pooled, output),
      backward: (samples) => device.interactBackward(shape, samples, x, pooled, outputGradient, dX!, dPooled!),
    }),
    onnx(graph, [x, pooled]) {
      const vectors = graph.node("Concat", [x, pooled], { axis: 1 });
      return kind === "dot" ? dotProducts(graph, x, vectors, tables + 1, dim) : vectors;
    },
  };
}

/** The first vector and the products of all pairs of vectors, in the order (1, 0), (2, 0), (2, 1), (3, 0), ... */
function dotProducts(graph: OnnxNodes, x: string, vectors: string, count: number, dim: number): string {
  const matrix = graph.node("Reshape", [vectors, graph.constant([0, count, dim])]);
  const transposed = graph.node("Transpose", [matrix], { perm: [0, 2, 1] });
  const products = graph.node("MatMul", [matrix, transposed]);
  const flat = graph.node("Reshape", [products, graph.constant([0, count * count])]);
  const pairs: number[] = [];
  for (let i = 1; i < count; i++) for (let j = 0; j < i; j++) pairs.push(i * count + j);
  return graph.node("Concat", [x, graph.node("Gather", [flat, graph.constant(pairs)], { axis: 1 })], { axis: 1 });
}
