/**
 * The interaction of DLRM, between the output of the bottom MLP (if there is one) and the pooled rows of all tables.
 */
import { type InteractionShape, interactionWidth, vectorsPassedOn } from "../../backend/backend.ts";
import type { Layer, OnnxNodes, Part } from "./layer.ts";

/** Inputs: the bottom vector (dim), if the shape has one, and the pooled rows (tables, dim). See `Backend.interact`. */
export function interaction(shape: InteractionShape, part: Part): Layer {
  const { kind, bottom, tables, dim } = shape;
  const outputs = interactionWidth(shape);
  const flops = kind === "dot" ? 2 * dim * (outputs - dim * vectorsPassedOn(shape)) : 0;
  /** The bottom vector, if there is one, and the pooled rows. */
  const split = <T>(values: readonly T[]): [T | undefined, T] =>
    bottom ? [values[0], values[1]] : [undefined, values[0]];
  return {
    part,
    title: `the ${part.title}`,
    inputs: bottom ? [dim, tables * dim] : [tables * dim],
    outputs,
    parameters: [],
    canDie: false,
    writesPadded: true,
    flops: { forward: flops, parameterGradients: 0, inputGradients: 2 * flops },
    bind({ device, inputs, inputGradients, output, outputGradient: dOutput, outputStride: stride }) {
      const strided = { ...shape, stride };
      const [x, pooled] = split(inputs);
      const [dX, dPooled] = split(inputGradients);
      const gradients = { bottom: x, pooled, dOutput, dBottom: dX, dPooled: dPooled! };
      return {
        forward: (samples) => device.interact(strided, samples, x, pooled, output),
        backward: (samples) => device.interactBackward(strided, samples, gradients),
      };
    },
    onnx(graph, inputs) {
      const vectors = bottom ? graph.node("Concat", inputs, { axis: 1 }) : inputs[0];
      return kind === "dot" ? dotProducts(graph, inputs[0], vectors, tables + Number(bottom), dim) : vectors;
    },
  };
}

/** The vectors that are passed on, then the products of all pairs of vectors. */
function dotProducts(graph: OnnxNodes, passedOn: string, vectors: string, count: number, dim: number): string {
  const matrix = graph.node("Reshape", [vectors, graph.constant([0, count, dim])]);
  return graph.node("Concat", [passedOn, pairProducts(graph, matrix, count)], { axis: 1 });
}

/** The products of all pairs of vectors (samples, count, length) in the order (1, 0), (2, 0), (2, 1), ... */
export function pairProducts(graph: OnnxNodes, matrix: string, count: number): string {
  const transposed = graph.node("Transpose", [matrix], { perm: [0, 2, 1] });
  const products = graph.node("MatMul", [matrix, transposed]);
  const flat = graph.node("Reshape", [products, graph.constant([0, count * count])]);
  const pairs: number[] = [];
  for (let i = 1; i < count; i++) for (let j = 0; j < i; j++) pairs.push(i * count + j);
  return graph.node("Gather", [flat, graph.constant(pairs)], { axis: 1 });
}
