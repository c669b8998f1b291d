/** Mean pooling: divides the sum of the rows of each bag by their number, like nn.EmbeddingBag(mode="mean"). */
import type { Layer } from "./layer.ts";

const TITLE = "mean of the rows of each bag";

/** Of samples with `bags` bags. Inputs: their sums (bags, dim), and the number of their lookups (bags), as offsets. */
export function meanOfBags(bags: number, dim: number): Layer {
  const width = bags * dim;
  return {
    part: { name: "mean", title: TITLE, ifDead: "sparse features no longer change any prediction" },
    title: `the ${TITLE}`,
    inputs: [width, bags],
    outputs: width,
    parameters: [],
    canDie: false,
    flops: { forward: width, parameterGradients: 0, inputGradients: width },
    bind: ({ device, inputs: [sums, offsets], inputGradients: [dSums], output, outputGradient }) => ({
      forward: (samples) => device.meanOfBags(samples * bags, dim, offsets, sums, output),
      backward: (samples) => device.meanOfBags(samples * bags, dim, offsets, outputGradient, dSums!),
    }),
    onnx(graph, [sums, sizes]) {
      const vectors = graph.node("Reshape", [sums, graph.constant([0, bags, dim])]);
      const divisors = graph.node("Reshape", [sizes, graph.constant([0, bags, 1])]);
      return graph.node("Reshape", [graph.node("Div", [vectors, divisors]), graph.constant([0, width])]);
    },
  };
}
