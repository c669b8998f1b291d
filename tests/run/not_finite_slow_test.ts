/**
 * Non-finite values in every part of a model, in every mode, on every backend; and a learning rate that is far too
 * high.
 */
import assert from "node:assert/strict";
import { generateDataset } from "../../src/dataset/generate.ts";
import { resolveConfig } from "../../src/config/config.ts";
import { codeOf, messageOf } from "../../src/errors.ts";
import { startRun } from "../../src/run/run.ts";
import { dataOf, runWith, TARGETS, type Way } from "../support/injection.ts";
import { absent } from "../support/libraries.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const VALUES = [NaN, Infinity, -Infinity];
const WAYS: Way[] = [
  { mode: "cpu", host: "reference" },
  { mode: "cpu", host: "openblas" },
  { mode: "cpu", host: "onednn" },
  { mode: "cpu", host: "ort" },
  { mode: "cpu", ranks: 2 },
  { mode: "fae" },
  { mode: "fae", device: "ptx" },
  { mode: "hybrid", device: "ptx" },
  { mode: "gpu", device: "ptx" },
  { mode: "gpu", device: "cudnn" },
  { mode: "gpu", device: "cublaslt" },
  { mode: "gpu", device: "ptx", ranks: 2 },
];

for (const way of WAYS) {
  const name = `no place of a model hides what is no number: ${JSON.stringify(way)}`;
  const skip = way.host === "openblas" || way.host === "onednn" || way.host === "ort" ? absent(way.host) : undefined;
  Deno.test({
    name: skip === undefined ? name : `${name} (skipped: ${skip})`,
    ignore: skip !== undefined,
    fn: async () => {
      using directory = new TemporaryDirectory();
      const dataset = dataOf(directory);
      let checked = 0;
      for (const [i, target] of Object.keys(TARGETS).entries()) {
        // All values where runs are quick; on the emulated device each place has one.
        for (const value of way.device === undefined ? VALUES : [VALUES[i % VALUES.length]]) {
          if (await runWith(directory, dataset, way, target, value) !== undefined) checked++;
        }
      }
      assert.ok(checked >= 12, `${checked} places`);
    },
  });
}

Deno.test("a rate that is far too high ends a run on a device as diverged, where ReLU hid it once", async () => {
  using directory = new TemporaryDirectory();
  const dataset = await generateDataset(directory.join("data"), {
    ...{ samples: 4000, scale: 3000, seed: 123, fractions: { validation: 0.05, test: 0.1 } },
  });
  const config = resolveConfig("kaggle", {
    ...{ mode: "gpu", device: "emulated", learningRate: 10, batchSize: 64, bottom: [32, 16], top: [32, 1], ranks: 1 },
  });
  await assert.rejects(startRun(config, dataset, { out: directory.join("run"), report: () => {} }), (error) => {
    assert.equal(codeOf(error), "diverged");
    assert.match(messageOf(error), /the mean loss of steps 1 to \d+ .* is not a number; first of all/);
    return true;
  });
});
