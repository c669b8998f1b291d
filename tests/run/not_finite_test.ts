/** A non-finite value anywhere in a model ends the run as diverged and reaches no checkpoint and no metric. */
import assert from "node:assert/strict";
import { dataOf, runWith, type TARGETS, type Way } from "../support/injection.ts";
import { HotsetError } from "../../src/errors.ts";
import { resolveConfig } from "../../src/config/config.ts";
import { startRun } from "../../src/run/run.ts";
import { evaluateRun } from "../../src/run/score_run.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

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
    /training: row 95 of table C1 holds -Infinity; checkpoints may not contain it/,
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
  const test = { labels: Uint8Array.of(0, 1), dense: Float32Array.of(1, 0, 3e38, 3e38), ids: new Uint32Array(4) };
  const refused = (message: RegExp) => (error: Error) => error instanceof HotsetError && message.test(error.message);
  const reason = "the logit of sample 1 \\(from 0\\) of the test split is (NaN|-?Infinity)";
  await assert.rejects(
    startRun(config, dataOf(directory, test), { out, report: () => {} }),
    refused(new RegExp(`^Cannot continue training: ${reason}; all parameters are finite.*the last good checkpoint is`)),
  );
  await assert.rejects(
    evaluateRun(out, [], () => {}),
    refused(new RegExp(`^Cannot score with .*: ${reason}, although`)),
  );
});
