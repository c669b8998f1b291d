/** The preset depends on the data, in one place. */
import assert from "node:assert/strict";
import { type Preset, PRESETS, resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import { configByData, type DataShape, presetFor } from "../../src/config/config_by_data.ts";
import { demoConfig } from "../../src/run/demo.ts";

const PAIRS = { denseFeatures: 0, tables: 2 };

Deno.test("two sparse features alone have preset pairs, unless a preset or options of the model are given", () => {
  const cases: [Preset, Partial<TrainConfig>, { denseFeatures: number; tables: number }, Preset][] = [
    ["default", {}, PAIRS, "pairs"],
    ["default", { epochs: 3, dim: 8 }, PAIRS, "pairs"],
    ["default", {}, { denseFeatures: 1, tables: 2 }, "default"],
    ["default", {}, { denseFeatures: 0, tables: 3 }, "default"],
    ["default", {}, { denseFeatures: 0, tables: 1 }, "default"],
    ["kaggle", {}, PAIRS, "kaggle"],
    ["default", { model: "dlrm" }, PAIRS, "default"],
    ["default", { bottom: [4] }, PAIRS, "default"],
    ["default", { top: [4, 1] }, PAIRS, "default"],
    ["default", { interaction: "dot" }, PAIRS, "default"],
    ["default", { dropout: 0 }, PAIRS, "default"],
  ];
  for (const [preset, given, data, expected] of cases) {
    assert.equal(presetFor(preset, given, data), expected, JSON.stringify([preset, given, data]));
    assert.deepEqual(configByData(preset, given)(data), resolveConfig(expected, given));
  }
});

Deno.test("before the data is known, the configuration is that of most data, and options are checked", () => {
  assert.deepEqual(configByData("default", { epochs: 3 })(), resolveConfig("default", { epochs: 3 }));
  assert.throws(() => configByData("default", { epochs: 0 }), /^UsageError: .*epochs/);
});

Deno.test("preset default warms up with Adagrad: a tenth of an epoch, at most 100 steps, unless they are given", () => {
  const steps = (preset: Preset, given: Partial<TrainConfig>, trainSamples?: number) =>
    configByData(preset, given)({ denseFeatures: 1, tables: 2, trainSamples }).warmupSteps;
  assert.deepEqual([1000, 12_800, 12_801, 128_000, 1e9].map((samples) => steps("default", {}, samples)), [
    ...[0, 10, 10, 100, 100],
  ]);
  assert.equal(steps("default", { batchSize: 64 }, 12_800), 20);
  assert.equal(steps("default", { model: "dcnv2" }, 12_800), 10);
  assert.equal(steps("default", { warmupSteps: 0 }, 12_800), 0);
  assert.equal(steps("default", { warmupSteps: 7 }, 12_800), 7);
  assert.equal(steps("default", { optimizer: "sgd" }, 12_800), 0);
  assert.equal(steps("kaggle", { optimizer: "adagrad" }, 12_800), 0);
  assert.equal(steps("default", {}), 0);
  assert.equal(configByData("default")({ denseFeatures: 0, tables: 2, trainSamples: 12_800 }).warmupSteps, 0);
});

Deno.test("preset default has two epochs on small logs, if the better one can be selected and nothing else is chosen", () => {
  const small = { denseFeatures: 1, tables: 2, trainSamples: 999_999, validationSamples: 1 };
  const epochs = (given: Partial<TrainConfig> = {}, data: Partial<DataShape> = {}, preset: Preset = "default") =>
    configByData(preset, given)({ ...small, ...data }).epochs;
  assert.equal(epochs(), 2);
  assert.equal(epochs({}, { trainSamples: 1_000_000 }), 1);
  assert.equal(epochs({}, { trainSamples: undefined }), 1);
  assert.equal(epochs({}, { scheduled: true }), 2);
  assert.equal(epochs({ model: "dcnv2", optimizer: "sgd", batchSize: 1 }), 2);
  assert.equal(epochs({ epochs: 1 }), 1);
  assert.equal(epochs({ epochs: 3 }), 3);
  assert.equal(epochs({}, { validationSamples: 0 }), 1, "no split selects a checkpoint");
  assert.equal(epochs({ save: false }), 1, "no checkpoint is kept");
  assert.equal(epochs({}, { further: true }), 1, "the days before were trained already");
  assert.equal(epochs({}, {}, "kaggle"), 1, "a published model");
  assert.equal(epochs({}, { denseFeatures: 0, further: true }), PRESETS.pairs.epochs);
});

Deno.test("the demonstration has one epoch", () => {
  assert.equal(resolveConfig("default", demoConfig({}, true), {}).epochs, 1);
});
