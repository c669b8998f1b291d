/** The gradient of a value that several layers read is the sum of their gradients. */
import assert from "node:assert/strict";
import type { Buffer } from "../../src/backend/backend.ts";
import { ReferenceBackend } from "../../src/backend/reference/reference.ts";
import { Composition } from "../../src/model/composition.ts";
import type { Layer } from "../../src/model/layers/layer.ts";
import { Network } from "../../src/model/network.ts";

const PART = { name: "part", title: "part", ifDead: "nothing is left" };
const WIDTH = 2;

/** The sum of its inputs times a factor each. */
function weighted(host: ReferenceBackend, ...factors: number[]): Layer {
  const fill = (samples: number, target: Buffer, value: (i: number) => number) => {
    for (let i = 0; i < samples * WIDTH; i++) host.floats(target)[i] = value(i);
  };
  return {
    part: PART,
    title: `factors ${factors}`,
    inputs: factors.map(() => WIDTH),
    outputs: WIDTH,
    parameters: [],
    canDie: false,
    flops: { forward: 0, parameterGradients: 0, inputGradients: 0 },
    bind: ({ inputs, inputGradients, output, outputGradient }) => ({
      forward: (samples) =>
        fill(samples, output, (i) => factors.reduce((sum, factor, k) => sum + factor * host.floats(inputs[k])[i], 0)),
      backward: (samples) =>
        inputGradients.forEach((dX, k) => {
          if (dX !== undefined) fill(samples, dX, (i) => factors[k] * host.floats(outputGradient)[i]);
        }),
    }),
    onnx: () => "",
  };
}

Deno.test("a value may feed several layers, and one layer twice: gradients are summed", () => {
  using host = new ReferenceBackend();
  const model = new Composition({ denseFeatures: 0, bags: 1, dim: WIDTH });
  const pooled = model.pooled!;
  const x = model.add(weighted(host, 2, 3), pooled, pooled);
  const y = model.add(weighted(host, 5), x);
  const logit = model.add(weighted(host, 7, 11, 13), y, x, pooled);
  const { layers, inputs, denseWords } = model;
  const plan = { layers, inputs, logit, denseWords, rows: 0 } as unknown as ConstructorParameters<typeof Network>[0];
  const parameters = host.allocate(0, "parameters");
  const network = new Network(plan, 3, { device: host, parameters, gradients: parameters });
  const buffer = (...values: number[]) => {
    const made = host.allocate(values.length, "values");
    host.floats(made).set(values);
    return made;
  };
  const pooledGradients = buffer(9, 9, 9, 9, 9, 9);
  const { forward, train } = network.bind({
    dense: parameters,
    pooled: buffer(1, 2, 3, 4, 5, 6),
    offsets: undefined,
    pooledGradients,
  });
  const slope = (7 * 5 + 11) * (2 + 3) + 13;
  const expectedLogits = [1, 2, 3, 4, 0, 0].map((value) => slope * value);
  forward(2);
  assert.deepEqual([...host.floats(network.logits)], expectedLogits);
  for (let pass = 0; pass < 2; pass++) {
    train(2, ({ logits, logitGradients }) => {
      assert.deepEqual([...host.floats(logits)], expectedLogits);
      host.floats(logitGradients).set([1, 10, 100, 1000, 0, 0]);
    });
    const expected = [1, 10, 100, 1000].map((gradient) => slope * gradient);
    assert.deepEqual([...host.floats(pooledGradients)], [...expected, 9, 9], "also of a second pass");
  }
});
