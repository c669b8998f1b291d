import assert from "node:assert/strict";
import { HotsetError } from "../../src/errors.ts";
import { Composition } from "../../src/model/composition.ts";
import { linear } from "../../src/model/layers/linear.ts";
import { elementsOf } from "../../src/model/layers/layer.ts";
import { flopsOf, hiddenUnits, type ModelShape, planModel, shapeOf } from "../../src/model/shape.ts";

const MODEL: ModelShape = {
  dim: 6,
  tableRows: [10, 20, 5],
  bottom: [5, 7, 6],
  top: [9, 3, 1],
  interaction: "dot",
  optimizer: "sgd",
};

Deno.test("layers of a plan: widths, activations, and places that do not overlap", () => {
  for (const interaction of ["dot", "cat"] as const) {
    const plan = planModel({ ...MODEL, interaction });
    const width = interaction === "dot" ? 6 + 4 * 3 / 2 : 6 * 4;
    assert.deepEqual(
      plan.layers.map(({ layer: { title, inputs, outputs, canDie } }) => [title, inputs, outputs, canDie]),
      [
        ["layer 1 of the bottom MLP", [5], 7, true],
        ["layer 2 of the bottom MLP", [7], 6, true],
        ["the interaction", [6, 18], width, false],
        ["layer 1 of the top MLP", [width], 9, true],
        ["layer 2 of the top MLP", [9], 3, true],
        ["layer 3 of the top MLP", [3], 1, false],
      ],
    );
    assert.equal(hiddenUnits(plan), 7 + 6 + 9 + 3);
    assert.equal(plan.rows, 35);
    assert.deepEqual(
      plan.layers.flatMap(({ parameters }) => parameters.map(({ tensor, shape }) => [tensor, ...shape])).slice(0, 5),
      [["bot_l.0.weight", 7, 5], ["bot_l.0.bias", 7], ["bot_l.2.weight", 6, 7], ["bot_l.2.bias", 6], [
        "top_l.0.weight",
        9,
        width,
      ]],
    );
    let end = 0;
    for (const { first, shape } of plan.layers.flatMap(({ parameters }) => parameters)) {
      assert.equal(first % 4, 0);
      assert.ok(first >= end && first < end + 4, "only padding to a multiple of 4 lies between");
      end = first + elementsOf(shape);
    }
    assert.equal(plan.denseWords, Math.ceil(end / 4) * 4);
  }
});

Deno.test("without dense features the pooled rows interact among themselves", () => {
  const titles = (interaction: ModelShape["interaction"]) =>
    planModel({ ...MODEL, bottom: [], interaction }).layers.map(({ layer: { title, inputs } }) => [title, ...inputs]);
  const rest = [["layer 2 of the top MLP", 9], ["layer 3 of the top MLP", 3]];
  assert.deepEqual(titles("dot"), [["the interaction", 18], ["layer 1 of the top MLP", 18 + 3], ...rest]);
  assert.deepEqual(titles("cat"), [["layer 1 of the top MLP", 18], ...rest]);
});

Deno.test("FLOP of a training step as by hand", () => {
  const { layers } = planModel({ ...MODEL, interaction: "dot" });
  // Two for each product; the bottom MLP's first layer has no gradient of its input.
  const products = [2 * 5 * 7, 3 * 7 * 6, 3 * 6 * 6, 3 * 12 * 9, 3 * 9 * 3, 3 * 3];
  assert.equal(layers.length, products.length);
  assert.equal(flopsOf(planModel(MODEL)), 2 * products.reduce((sum, n) => sum + n));
});

Deno.test("MLPerf's DCNv2 has the published sizes", () => {
  const sizes = { dim: 128, bottom: [512, 256, 128], top: [1024, 1024, 512, 256, 1], optimizer: "adagrad" } as const;
  const cross = {
    model: "dcnv2",
    interaction: "dot",
    crossLayers: 3,
    crossRank: 512,
    pooling: "sum",
    dropout: 0,
    seed: 1,
  } as const;
  const data = { denseFeatures: 13, tableRows: new Array<number>(26).fill(1) };
  const { layers } = planModel(shapeOf({ ...sizes, ...cross }, data));
  const inCross = layers.filter(({ layer }) => layer.part.name === "cross");
  assert.deepEqual(
    inCross.slice(0, 3).map(({ inputs, output }) => [...inputs.map(({ width }) => width), output.width]),
    [[3456, 512], [512, 3456], [3456, 3456, 3456, 3456]],
  );
  const tensors = inCross.flatMap(({ parameters }) => parameters.map(({ shape }) => elementsOf(shape)));
  assert.equal(tensors.reduce((sum, n) => sum + n), 3 * (2 * 512 * 3456 + 3456));
  const forward = layers.reduce((sum, { layer }) => sum + layer.flops.forward, 0);
  assert.equal(Math.round(forward / 1e6), 32);
});

Deno.test("layers that do not fit together are a fault of the model's file", () => {
  const part = { name: "top", title: "top MLP", ifDead: "nothing is left" };
  const layer = linear({ inputs: 3, outputs: 2, activation: "relu" }, { part, title: "layer 1", tensors: "top_l.0" });
  const model = new Composition({ denseFeatures: 3, bags: 1, dim: 4 });
  assert.throws(() => model.add(layer, model.pooled!), /layer 1 reads values of 3 words and gets 4/);
});

Deno.test("widths that do not fit together are refused", () => {
  const refused = (change: Partial<ModelShape>, reason: RegExp) =>
    assert.throws(
      () => planModel({ ...MODEL, ...change }),
      (error) =>
        error instanceof HotsetError && /^Cannot build the model: /.test(error.message) && reason.test(error.message),
    );
  refused({ dim: 8 }, /ends in 6 but embedding rows have 8 .*--arch-mlp-bot end in 8 .*feature-size 6/);
  refused({ top: [9, 2] }, /9-2 must end in 1/);
  refused({ top: [] }, /must end in 1/);
  refused({ bottom: [6] }, /at least two widths/);
});
