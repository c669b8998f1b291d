import assert from "node:assert/strict";
import { resolveConfig } from "../../src/config/config.ts";
import { DEMO_CONFIG, demoConfigs, runDemo } from "../../src/run/demo.ts";
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
  assert.equal(demoConfigs(resolveConfig("kaggle", { mode: "cpu", device: "cpu" })).length, 1);
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
