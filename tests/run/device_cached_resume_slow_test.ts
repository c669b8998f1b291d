/** A run that caches rows on a device goes on after a failure or an interrupt with the bits of one with all rows there. */
import assert from "node:assert/strict";
import { resolveConfig } from "../../src/config/config.ts";
import { resumeRun, startRun } from "../../src/run/run.ts";
import { checkpointsOf } from "../support/checkpoint_words.ts";
import { dataOf, interruptAgainAndAgain, quiet, stopAt } from "../support/row_runs.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

/** 25 steps of an epoch. */
const BATCH = 40;
/** Dim 4 with Adagrad's state. */
const ROW_BYTES = 4 * 8;
const CONFIG = resolveConfig("kaggle", {
  ...{ mode: "cached", device: "emulated", ranks: 1, dim: 4, bottom: [5, 4], top: [6, 1], batchSize: BATCH },
  ...{ optimizer: "adagrad", learningRate: 0.05, epochs: 1, printFreq: 1, testFreq: 11, checkpointSteps: 5 },
  // Two batches of four lookups a sample: rows are evicted in most steps.
  hotMemory: 2 * 4 * BATCH * ROW_BYTES,
});

/** Checkpoints without the number of their run, which depends on the mode. */
function trained(run: string) {
  return Object.values(checkpointsOf(run)).map(({ body: { run: _run, ...body }, ...words }) => ({ body, ...words }));
}

for (const [ranks, where] of [[1, "a device"], [2, "two devices"]] as const) {
  Deno.test(`a run with rows cached on ${where} goes on with the same bits`, async () => {
    using directory = new TemporaryDirectory();
    const dataset = dataOf(directory);
    const config = { ...CONFIG, ranks };
    const [plain, out] = ["plain", "run"].map((name) => directory.join(name));
    await startRun({ ...config, mode: "gpu" }, dataset, { out: plain, report: quiet });
    const fails = startRun(config, dataset, {
      out,
      report: (event) => {
        if (event.event === "progress" && event.step === 8) throw new Error("the process ends");
      },
    });
    await assert.rejects(fails, /the process ends/);
    await stopAt(17, (stop) => resumeRun({ out, ...stop }));
    await resumeRun({ out, report: quiet });
    assert.deepEqual(trained(out), trained(plain));
  });
}

for (const [ranks, where] of [[1, "a device"], [2, "two devices"]] as const) {
  Deno.test(`an interrupted run that caches rows on ${where} goes on within other memory with the same bits`, () =>
    interruptAgainAndAgain({ ...CONFIG, ranks, epochs: 2 }));
}
