/** What is no number, put anywhere into a model, ends the run as diverged and reaches no checkpoint and no figure. */
import assert from "node:assert/strict";
import { dataOf, runWith, type TARGETS, type Way } from "../support/injection.ts";
import { HotsetError } from "../../src/errors.ts";
import { resolveConfig } from "../../src/train/config.ts";
import { startRun } from "../../src/train/run.ts";
import { evaluateRun } from "../../src/train/score_run.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { writeDataset } from "../support/tiny_dataset.ts";

/** The whole product of ways, places and values is in not_finite_slow_test.ts. */
const SOME: [Way, keyof typeof TARGETS, number, RegExp][] = [
  [
    { mode: "cpu" },
    "a weight of layer 1 of the bottom MLP",
    NaN,
    /the loss of step 9 .* is not a number; first of all a weight of layer 1 of the bottom MLP holds NaN/,
  ],
  [
    { mode: "cpu", host: "reference" },
    "an unused row",
    -Infinity,
    /training: row 95 of table C1 holds -Infinity; no checkpoint keeps that/,
  ],
  [
    { mode: "fae" },
    "the state of a hot row",
    Infinity,
    /training: the optimizer state of row \d+ of table C\d holds Infinity/,
  ],
  [
    { mode: "gpu", device: "ptx" },
    "a weight of layer 1 of the bottom MLP",
    NaN,
    /the mean loss of steps 9 to 12 .* is not a number; first of all a weight of layer 1 of the bottom MLP holds NaN/,
  ],
  [
    { mode: "gpu", device: "cudnn" },
    "the state of an unused row",
    NaN,
    /training: the optimizer state of row 95 of table C1 holds NaN/,
  ],
  [
    { mode: "hybrid", device: "ptx" },
    "dense optimizer state",
    Infinity,
    /training: the optimizer state of a weight of layer 1 of the bottom MLP holds Infinity/,
  ],
  [{ mode: "fae", device: "ptx" }, "a hot row", NaN, /is (not a number|NaN); first of all .* holds NaN/],
];

for (const [way, target, value, reason] of SOME) {
  Deno.test(`${value} in ${target} ends the run: ${JSON.stringify(way)}`, async () => {
    using directory = new TemporaryDirectory();
    assert.match((await runWith(directory, dataOf(directory), way, target, value))!, reason);
  });
}

Deno.test("predictions that are no numbers are refused with their sample, never an AUC of them", async () => {
  using directory = new TemporaryDirectory();
  const out = directory.join("run");
  const config = resolveConfig("kaggle", {
    ...{ mode: "cpu", dim: 4, bottom: [6, 4], top: [5, 1], batchSize: 16, ranks: 1 },
  });
  await startRun(config, dataOf(directory), { out, report: () => {} });
  const split = (huge: number) => ({
    labels: Uint8Array.of(0, 1, 1, 0),
    dense: Float32Array.of(1, 0, 0, 1, huge, huge, 0, 0),
    ids: new Uint32Array(8),
  });
  const scored = (name: string, huge: number) => {
    writeDataset(directory.join(name), { tableRows: [100, 4], denseFeatures: 2, splits: { test: split(huge) } });
    return evaluateRun(out, [directory.join(name)], () => {});
  };
  assert.ok(Number.isFinite((await scored("ordinary", 1))[0].auc));
  await assert.rejects(scored("huge", 3e38), (error: Error) =>
    error instanceof HotsetError &&
    /^Cannot score with .*: the logit of sample 2 \(from 0\) of the test split is (NaN|-?Infinity), though/.test(
      error.message,
    ));
});
