import assert from "node:assert/strict";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import { DEMO_CONFIG, demoConfig, demoConfigs, runDemo } from "../../src/run/demo.ts";
import { expectPlacement } from "../../src/ranks/placement.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

Deno.test("the demonstration compares any mode on any device with the CPU", () => {
  for (const mode of ["fae", "hybrid", "gpu"] as const) {
    for (const device of ["cuda", "emulated", "auto"] as const) {
      const config = resolveConfig("kaggle", DEMO_CONFIG, { mode, device, precision: "tf32" });
      const configs = demoConfigs(config);
      for (const each of configs) expectPlacement(each);
      assert.deepEqual(configs.map((each) => [each.mode, each.device, each.precision]), [
        ["cpu", "cpu", "fp32"],
        [mode, device, "tf32"],
      ]);
    }
  }
  const inModeCpu = (layer: Partial<TrainConfig>) =>
    demoConfigs(resolveConfig("kaggle", demoConfig(layer, true), layer)).map((
      { mode, ranks, memory },
    ) => [mode, ranks, memory]);
  assert.deepEqual(inModeCpu({}), [["cpu", 1, null], ["cpu", 1, { share: 0.1 }]]);
  assert.deepEqual(inModeCpu({ memory: { bytes: 9 }, mode: "cpu" }), [["cpu", 1, null], ["cpu", 1, { bytes: 9 }]]);
  assert.deepEqual(inModeCpu({ ranks: 2 }), [["cpu", 2, null], ["cpu", 2, { share: 0.1 }]]);
  assert.deepEqual(inModeCpu({ device: "emulated" }), [["cpu", null, null], ["fae", null, null]]);
});

Deno.test("the demonstration begins on the emulated device, in any mode that it has", async () => {
  using directory = new TemporaryDirectory();
  const begun = new Error("it has begun");
  const config = resolveConfig("kaggle", DEMO_CONFIG, { mode: "gpu", device: "emulated" });
  const report = () => {
    throw begun;
  };
  await assert.rejects(runDemo(config, { out: directory.join("demo"), report }), begun);
});
