/** The losses of 100 steps equal those of PyTorch with the same parameters and batches. */
import assert from "node:assert/strict";
import { OPTIMIZER_NAMES, type OptimizerName } from "../../src/optimizer/optimizers.ts";
import { cpuOptions, type HostOptions, openHost } from "../../src/backend/open.ts";
import type { LossSettings } from "../../src/model/loss.ts";
import type { Dropout } from "../../src/model/layers/dropout.ts";
import { elementsOf } from "../../src/model/layers/layer.ts";
import type { ModelName } from "../../src/model/shape.ts";
import { largestError } from "../support/close.ts";
import { localModel, trainOn } from "../support/local_model.ts";
import gradients from "./gradients.json" with { type: "json" };
import golden from "./losses.json" with { type: "json" };
import {
  DROPOUT,
  GoldenBatches,
  goldenMeans,
  goldenModel,
  goldenOther,
  goldenParameters,
  LARGEST_NORM,
  LEARNING_RATES,
  ROW_L2,
  STEPS,
  WEIGHT_DECAY,
  WEIGHTED_LOSS,
  type Without,
} from "./golden_model.ts";

/** A rate of SGD at which the change of a parameter tells its gradient to more digits than the parameter has. */
const RATE = 2 ** 10;

async function lossesOf(
  optimizer: OptimizerName,
  options: HostOptions,
  { without, clipNorm, loss, model, weighted, weightedLookups, rowL2, means, dropout }: {
    means?: boolean;
    weightedLookups?: boolean;
    dropout?: Dropout;
    without?: Without;
    clipNorm?: number;
    loss?: LossSettings;
    model?: Exclude<ModelName, "dlrm">;
    weighted?: boolean;
    rowL2?: number;
  } = {},
): Promise<number[]> {
  using host = await openHost(options);
  const batches = new GoldenBatches({ without, weighted, weightedLookups, model });
  const shape = means
    ? goldenMeans(optimizer)
    : model === undefined
    ? goldenModel(optimizer, without)
    : goldenOther(model, optimizer, without);
  await using group = localModel(host, { ...shape, dropout }, batches.shape, {
    ...(clipNorm !== undefined && { clipNorm }),
  });
  const { dense, rows } = goldenParameters(group.memory.plan);
  host.upload(dense, group.memory.parameters);
  host.upload(rows, group.memory.full.weights);
  return Array.from({ length: STEPS }, (_, i) => {
    const batch = batches.at(i);
    batch.step = i + 1;
    return trainOn(group, batch, LEARNING_RATES[optimizer], i + 1, WEIGHT_DECAY[optimizer], loss, rowL2);
  });
}

const BACKENDS: [string, () => Promise<HostOptions> | HostOptions, number][] = [
  ["reference", () => ({ kind: "reference" }), 1e-6],
  ["cpu, WASM", () => cpuOptions("wasm"), 1e-4],
  ["cpu, OpenBLAS where it is found", () => cpuOptions("auto"), 1e-4],
];

for (const [name, options, tolerance] of BACKENDS) {
  for (const optimizer of OPTIMIZER_NAMES) {
    Deno.test(`losses of ${STEPS} steps are PyTorch's: ${name}, ${optimizer}`, async () => {
      const expected = golden.losses[optimizer];
      const error = largestError(await lossesOf(optimizer, await options()), expected);
      assert.ok(error <= tolerance, `the losses differ by ${error} relative, more than ${tolerance}`);
    });
  }
}

for (const [name, options, tolerance] of BACKENDS) {
  for (const [without, expected] of [["dense", golden.withoutDense], ["tables", golden.withoutTables]] as const) {
    Deno.test(`losses without ${without === "dense" ? "dense features" : without} are PyTorch's: ${name}`, async () => {
      const error = largestError(await lossesOf("adagrad", await options(), { without }), expected);
      assert.ok(error <= tolerance, `the losses differ by ${error} relative, more than ${tolerance}`);
    });
  }
}

for (const [name, options, tolerance] of BACKENDS) {
  for (const optimizer of OPTIMIZER_NAMES) {
    Deno.test(`losses with clipped gradients are PyTorch's: ${name}, ${optimizer}`, async () => {
      const { steps, losses } = golden.clipped[optimizer];
      assert.ok(steps > 5 && steps < STEPS - 5, `${steps} steps are clipped`);
      const error = largestError(await lossesOf(optimizer, await options(), { clipNorm: LARGEST_NORM }), losses);
      assert.ok(error <= tolerance, `the losses differ by ${error} relative, more than ${tolerance}`);
      assert.ok(largestError(golden.losses[optimizer], losses) > 10 * tolerance, "clipping makes a difference");
    });
  }
}

for (const [name, options, tolerance] of BACKENDS) {
  Deno.test(`losses with weighted positives and smoothed labels are PyTorch's: ${name}`, async () => {
    const losses = await lossesOf("adagrad", await options(), { loss: WEIGHTED_LOSS });
    const error = largestError(losses, golden.weighted);
    assert.ok(error <= tolerance, `the losses differ by ${error} relative, more than ${tolerance}`);
    assert.ok(largestError(golden.losses.adagrad, golden.weighted) > 0.1, "the loss makes a difference");
  });
}

for (const [name, options, tolerance] of BACKENDS) {
  for (const [optimizer, expected] of Object.entries(golden.cross)) {
    Deno.test(`losses of DCNv2 are PyTorch's: ${name}, ${optimizer}`, async () => {
      const error = largestError(
        await lossesOf(optimizer as OptimizerName, await options(), { model: "dcnv2" }),
        expected,
      );
      assert.ok(error <= tolerance, `the losses differ by ${error} relative, more than ${tolerance}`);
    });
  }
  Deno.test(`losses with dropout are PyTorch's: ${name}`, async () => {
    const losses = await lossesOf("adagrad", await options(), { dropout: DROPOUT });
    const error = largestError(losses, golden.dropout);
    assert.ok(error <= tolerance, `the losses differ by ${error} relative, more than ${tolerance}`);
    assert.ok(largestError(golden.losses.adagrad, golden.dropout) > 0.1, "dropout makes a difference");
  });
  Deno.test(`losses of weighted samples are PyTorch's: ${name}`, async () => {
    const losses = await lossesOf("adagrad", await options(), { weighted: true });
    const error = largestError(losses, golden.weightedSamples);
    assert.ok(error <= tolerance, `the losses differ by ${error} relative, more than ${tolerance}`);
    assert.ok(largestError(golden.losses.adagrad, golden.weightedSamples) > 0.1, "the weights make a difference");
  });
}

for (const [name, options, tolerance] of BACKENDS) {
  for (const optimizer of OPTIMIZER_NAMES) {
    Deno.test(`losses with L2 of rows are PyTorch's: ${name}, ${optimizer}`, async () => {
      const expected = golden.rowL2[optimizer];
      const error = largestError(await lossesOf(optimizer, await options(), { rowL2: ROW_L2 }), expected);
      assert.ok(error <= tolerance, `the losses differ by ${error} relative, more than ${tolerance}`);
      assert.ok(largestError(golden.losses[optimizer], expected) > 10 * tolerance, "L2 makes a difference");
    });
  }
}

for (const [name, options, tolerance] of BACKENDS) {
  for (const optimizer of OPTIMIZER_NAMES) {
    Deno.test(`losses with means of bags are PyTorch's: ${name}, ${optimizer}`, async () => {
      const expected = golden.means[optimizer];
      const error = largestError(await lossesOf(optimizer, await options(), { means: true }), expected);
      assert.ok(error <= tolerance, `the losses differ by ${error} relative, more than ${tolerance}`);
      assert.ok(largestError(golden.losses[optimizer], expected) > 0.1, "the mean makes a difference");
    });
  }
}

for (const [name, options, tolerance] of BACKENDS) {
  for (const optimizer of OPTIMIZER_NAMES) {
    Deno.test(`losses with weights of lookups are PyTorch's: ${name}, ${optimizer}`, async () => {
      const expected = golden.weightedLookups[optimizer];
      const error = largestError(await lossesOf(optimizer, await options(), { weightedLookups: true }), expected);
      assert.ok(error <= tolerance, `the losses differ by ${error} relative, more than ${tolerance}`);
      assert.ok(largestError(golden.losses[optimizer], expected) > 0.1, "the weights make a difference");
    });
  }
  Deno.test(`losses with weights of lookups and clipped gradients are PyTorch's: ${name}`, async () => {
    const { steps, losses } = golden.clippedWeightedLookups;
    assert.ok(steps > 5 && steps < STEPS - 5, `${steps} steps are clipped`);
    const found = await lossesOf("adagrad", await options(), { weightedLookups: true, clipNorm: LARGEST_NORM });
    const error = largestError(found, losses);
    assert.ok(error <= tolerance, `the losses differ by ${error} relative, more than ${tolerance}`);
    assert.ok(largestError(golden.weightedLookups.adagrad, losses) > 10 * tolerance, "clipping makes a difference");
  });
}

const OTHERS = [
  ...Object.entries(golden.mf).map(([optimizer, losses]) =>
    ["mf", undefined, optimizer as OptimizerName, losses] as const
  ),
  ...Object.entries(golden.tbsm).map(([optimizer, losses]) =>
    ["tbsm", undefined, optimizer as OptimizerName, losses] as const
  ),
  ["mf", "dense", "adagrad", golden.mfWithoutDense],
  ["deepfm", undefined, "adagrad", golden.deepfm],
  ["wide-deep", undefined, "adagrad", golden["wide-deep"]],
] as const;
for (const [name, options, tolerance] of BACKENDS) {
  for (const [model, without, optimizer, expected] of OTHERS) {
    Deno.test(`losses of ${model}${without ? ` without ${without}` : ""} are PyTorch's: ${name}, ${optimizer}`, async () => {
      const error = largestError(await lossesOf(optimizer, await options(), { model, without }), expected);
      assert.ok(error <= tolerance, `the losses differ by ${error} relative, more than ${tolerance}`);
    });
  }
}

for (const [name, options] of BACKENDS) {
  for (const [kind, base64] of Object.entries(gradients) as [ModelName | "means" | "weightedLookups", string][]) {
    Deno.test(`gradients are PyTorch's: ${name}, ${kind}`, async () => {
      using host = await openHost(await options());
      const weightedLookups = kind === "weightedLookups";
      const batches = new GoldenBatches({ model: kind === "tbsm" ? kind : "dlrm", weightedLookups });
      const shape = kind === "means"
        ? goldenMeans("sgd")
        : kind === "dlrm" || weightedLookups
        ? goldenModel("sgd")
        : goldenOther(kind, "sgd");
      await using group = localModel(host, shape, batches.shape);
      const { plan, parameters, full } = group.memory;
      const before = goldenParameters(plan);
      host.upload(before.dense, parameters);
      host.upload(before.rows, full.weights);
      trainOn(group, batches.at(0), RATE);
      const changed = (after: Float32Array, from: Float32Array) => after.map((value, i) => (from[i] - value) / RATE);
      const dense = changed(host.floats(parameters), before.dense);
      const found = [
        ...plan.layers.flatMap(({ parameters }) =>
          parameters.map(({ first, shape }) => dense.subarray(first, first + elementsOf(shape)))
        ),
        changed(host.floats(full.weights), before.rows),
      ];
      const expected = new Float32Array(Uint8Array.fromBase64(base64).buffer);
      let at = 0;
      for (const part of found) {
        const of = expected.subarray(at, at += part.length);
        const largest = of.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        assert.ok(largest > 1e-4, "there is a gradient");
        part.forEach((value, i) =>
          assert.ok(Math.abs(value - of[i]) <= 1e-5 * largest, `${i}: ${value}, not ${of[i]}`)
        );
      }
      assert.equal(at, expected.length);
    });
  }
}

Deno.test("the golden batches repeat rows, within a bag too, and have empty bags", () => {
  const batches = new GoldenBatches();
  let twice = 0;
  let empty = 0;
  for (let step = 0; step < STEPS; step++) {
    const { lookups, distinct, words, sections, samples, shape } = batches.at(step);
    assert.ok(distinct < lookups / 2);
    for (let bag = 0; bag < samples * shape.tables; bag++) {
      const [from, to] = words.subarray(sections.offsets + bag, sections.offsets + bag + 2);
      const rows = words.subarray(sections.indices + from, sections.indices + to);
      if (rows.length === 0) empty++;
      if (new Set(rows).size < rows.length) twice++;
    }
  }
  assert.ok(twice > 100 && empty > 100, `${twice} bags with a row twice, ${empty} empty bags`);
});
