/** Properties of every optimizer that formats, options and kernels rely on, and the step count of Adam. */
import assert from "node:assert/strict";
import { HEADER_WORDS } from "../../src/batch_header.ts";
import { OPTIMIZER_NAMES, OPTIMIZERS, writeStep } from "../../src/optimizer/optimizers.ts";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { resolveConfig } from "../../src/config/config.ts";
import { startRun } from "../../src/run/run.ts";
import { assertClose } from "../support/close.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

function headerOf(name: (typeof OPTIMIZER_NAMES)[number], rate: number, step: number, decay = 0): Float32Array {
  const header = new Float32Array(HEADER_WORDS);
  writeStep(name, header, rate, step, decay);
  return header;
}

for (const name of OPTIMIZER_NAMES) {
  Deno.test(`${name}: a row and dense parameters have the state that the description says, and no other is written`, () => {
    const optimizer = OPTIMIZERS[name];
    const header = headerOf(name, 0.5, 1);
    for (
      const [words, update] of [
        [optimizer.rowStateWords(6), optimizer.updateRow],
        [optimizer.denseStateWords(6), optimizer.updateDense],
      ] as const
    ) {
      const state = new Float32Array(words + 4).fill(0.25), weights = new Float32Array(10).fill(1);
      update(header, 6, weights, 2, new Float32Array(6).fill(0.125), 0, state, 2);
      assert.ok(weights.every((x, i) => (x === 1) === (i < 2 || i >= 8)), `weights ${weights}`);
      assert.ok(state.every((x, i) => (x === 0.25) === (i < 2 || i >= 2 + words)), `state ${state}`);
    }
  });

  Deno.test(`${name}: dense state is that of each parameter in turn, so that ranks may share it out`, () => {
    const { denseStateWords, updateDense } = OPTIMIZERS[name];
    const header = headerOf(name, 0.1, 3, 0.01);
    const gradient = Float32Array.from({ length: 9 }, (_, i) => i - 4);
    const run = (parts: number[]) => {
      const weights = new Float32Array(9).fill(1), state = new Float32Array(denseStateWords(9)).fill(0.5);
      let at = 0;
      for (const count of parts) {
        updateDense(header, count, weights, at, gradient, at, state, denseStateWords(at));
        at += count;
      }
      return [...weights, ...state];
    };
    assert.deepEqual(run([4, 2, 3]), run([9]));
  });
}

Deno.test("the first step of Adam moves each weight by the learning rate against the sign of its gradient", () => {
  const weights = Float32Array.of(1, 1, 1), state = new Float32Array(6);
  OPTIMIZERS.adam.updateRow(headerOf("adam", 0.01, 1), 3, weights, 0, Float32Array.of(1e-3, -5, 1e4), 0, state, 0);
  assertClose(weights, [0.99, 1.01, 0.99], 1e-5, "weights");
});

Deno.test("AdamW takes decay off weights whatever their gradient, Adam by way of the gradient's scale", () => {
  const decayed = (name: "adam" | "adamw") => {
    const weights = Float32Array.of(2), state = new Float32Array(2);
    OPTIMIZERS[name].updateRow(headerOf(name, 0.1, 1, 0.5), 1, weights, 0, Float32Array.of(0), 0, state, 0);
    return weights[0];
  };
  assertClose(Float32Array.of(decayed("adamw")), [2 * (1 - 0.1 * 0.5)], 1e-6, "adamw");
  assertClose(Float32Array.of(decayed("adam")), [2 - 0.1], 1e-6, "adam: the gradient is all decay, so one rate");
});

Deno.test("weight decay and learning rate default by optimizer, and decay is refused where there is none", () => {
  const of = (optimizer: (typeof OPTIMIZER_NAMES)[number]) => resolveConfig("default", { optimizer });
  assert.deepEqual([of("adam").weightDecay, of("adam").learningRate], [0, 0.001]);
  assert.deepEqual([of("adamw").weightDecay, of("adamw").learningRate], [0.01, 0.001]);
  assert.deepEqual([of("sgd").weightDecay, of("sgd").learningRate], [0, 0.1]);
  assert.throws(
    () => resolveConfig("default", { weightDecay: 0.1 }),
    /--weight-decay with --optimizer adagrad: it has no weight decay; choose --optimizer/,
  );
});

Deno.test("a run that begins with another's model counts the steps that made the optimizer's state", async () => {
  using directory = new TemporaryDirectory();
  const dataset = tinyDataset(directory.join("data"), {
    samples: { train: 90, validation: 10, test: 0 },
    tableRows: [40, 7],
    denseFeatures: 3,
    bags: false,
    seed: 1,
    skew: 3,
  });
  const config = resolveConfig("default", {
    ...{ mode: "cpu", ranks: 1, optimizer: "adam", bottom: [4, 8], dim: 8, top: [4, 1], batchSize: 10, epochs: 2 },
  });
  const report = () => {};
  await startRun(config, dataset, { out: directory.join("first"), report });
  await startRun(config, dataset, { out: directory.join("second"), report, from: directory.join("first/last") });
  const stepsOf = (run: string) => {
    const { step, optimizerSteps } = Checkpoint.open(directory.join(run, "last")).body.state;
    return [step, optimizerSteps];
  };
  assert.deepEqual([stepsOf("first"), stepsOf("second")], [[18, 18], [18, 36]]);
});
