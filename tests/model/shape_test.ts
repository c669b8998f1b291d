import assert from "node:assert/strict";
import { HotsetError } from "../../src/errors.ts";
import { type ModelShape, parseWidths, planModel } from "../../src/model/shape.ts";

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
    const widths = (layers: typeof plan.top) =>
      layers.map(({ shape }) => [shape.inputs, shape.outputs, shape.activation]);
    assert.deepEqual(widths(plan.bottom), [[5, 7, "relu"], [7, 6, "relu"]]);
    assert.deepEqual(widths(plan.top), [[width, 9, "relu"], [9, 3, "relu"], [3, 1, "identity"]]);
    assert.equal(plan.rows, 35);
    assert.deepEqual(plan.interaction, { kind: interaction, tables: 3, dim: 6 });
    let end = 0;
    for (const { shape: { inputs, outputs }, weight, bias } of [...plan.bottom, ...plan.top]) {
      for (const [first, words] of [[weight, inputs * outputs], [bias, outputs]]) {
        assert.equal(first % 4, 0);
        assert.ok(first >= end && first < end + 4, "only padding to a multiple of 4 lies between");
        end = first + words;
      }
    }
    assert.equal(plan.denseWords, Math.ceil(end / 4) * 4);
  }
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

Deno.test("layer widths are read from dashes", () => {
  assert.deepEqual(parseWidths("13-512-256-64-16"), [13, 512, 256, 64, 16]);
  assert.deepEqual(parseWidths("1"), [1]);
  for (const text of ["", "-", "1-", "-1", "a", "1-b", "1--2", "0", "4-0-1", "1.5", "1e3", " 1", "1,2"]) {
    assert.throws(
      () => parseWidths(text),
      (error) => error instanceof HotsetError && error.message.includes(JSON.stringify(text)),
    );
  }
});
