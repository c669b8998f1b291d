/** The preset depends on the data, in one place. */
import assert from "node:assert/strict";
import { type Preset, resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import { configByData, presetFor } from "../../src/config/config_by_data.ts";

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
