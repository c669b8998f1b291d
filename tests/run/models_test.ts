/** DCNv2 runs have the same bits after an interruption, and several ranks compute the results of one. */
import assert from "node:assert/strict";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import { Interrupted, UsageError } from "../../src/errors.ts";
import type { RunEvent } from "../../src/events/events.ts";
import { resumeRun, startRun } from "../../src/run/run.ts";
import { planModel, shapeOf } from "../../src/model/shape.ts";
import { slowTest } from "../support/series.ts";
import { CONFIG, dataOf, run } from "../support/small_run.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const MODELS: Record<string, Partial<TrainConfig>> = {
  DCNv2: { model: "dcnv2", crossLayers: 2, crossRank: 7 },
  "matrix factorisation": { model: "mf" },
  DeepFM: { model: "deepfm" },
  "Wide & Deep": { model: "wide-deep" },
};

for (const [name, model] of Object.entries(MODELS)) {
  slowTest(`an interrupted ${name} goes on with the same bits, and two ranks score as one`, async () => {
    using directory = new TemporaryDirectory();
    const dataset = dataOf(directory);
    const config: TrainConfig = { ...CONFIG, ...model, mode: "fae", ranks: 2 };
    const whole = await run(directory, "whole", dataset, config);
    const out = directory.join("stopped");
    const controller = new AbortController();
    const report = (event: RunEvent) => {
      if (event.event === "progress" && event.step === 7) controller.abort();
    };
    await assert.rejects(startRun(config, dataset, { out, report, signal: () => controller.signal }), Interrupted);
    await resumeRun({ out, report: () => {} });
    for (const file of ["dense.f32", "rows.f32"]) {
      assert.deepEqual(Deno.readFileSync(`${out}/last/${file}`), Deno.readFileSync(`${whole.out}/last/${file}`), file);
    }
    const one = await run(directory, "one", dataset, { ...config, ranks: 1 });
    assert.ok(Math.abs(one.result.logloss - whole.result.logloss) < 1e-4);
    const dlrm = await run(directory, "dlrm", dataset, { ...config, model: "dlrm" });
    assert.ok(Math.abs(dlrm.result.logloss - whole.result.logloss) > 1e-4, "the model makes a difference");
  });
}

Deno.test("options that a model has no use for are refused", () => {
  assert.throws(() => resolveConfig("kaggle", { crossRank: 7 }), /Cannot use --dcn-low-rank-dim with --model dlrm/);
  assert.throws(
    () => resolveConfig("kaggle", { model: "dcnv2", interaction: "cat" }),
    (error) => error instanceof UsageError && /--arch-interaction-op with --model dcnv2/.test(error.message),
  );
  assert.throws(
    () => resolveConfig("kaggle", { model: "mf", top: [3, 1] }),
    /Cannot use --arch-mlp-top with --model mf/,
  );
  assert.throws(() => resolveConfig("kaggle", { model: "mf", dropout: 0.1 }), /Cannot use --dropout with --model mf/);
  assert.throws(
    () => resolveConfig("kaggle", { bottom: [16], top: [1], dropout: 0.1 }),
    /Cannot use --dropout without a hidden layer/,
  );
  assert.throws(() => resolveConfig("kaggle", { dropout: 1 }), /dropout must be a number from 0 and below 1/);
  assert.throws(
    () => planModel({ ...shapeOf(resolveConfig("kaggle", { model: "deepfm" }), { denseFeatures: 2, tableRows: [] }) }),
    /^HotsetError: Cannot build the model: the data has no sparse features; choose --model dlrm/,
  );
});
