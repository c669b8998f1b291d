/** A learning-rate schedule that is a function of the program. */
import assert from "node:assert/strict";
import { resolveConfig } from "../../src/config/config.ts";
import { Interrupted, UsageError } from "../../src/errors.ts";
import type { RunEvent } from "../../src/events/events.ts";
import { reproduceRun } from "../../src/run/reproduce.ts";
import { resumeRun, startRun } from "../../src/run/run.ts";
import type { RunOptions } from "../../src/run/run_options.ts";
import { readRun } from "../../src/run/run_record.ts";
import { scheduleOf } from "../../src/schedule/learning_rate.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

const CONFIG = resolveConfig("default", {
  ...{
    mode: "cpu",
    blas: "wasm",
    ranks: 1,
    dim: 4,
    bottom: [4],
    top: [1],
    batchSize: 50,
    printFreq: 1,
    checkpointMinutes: 0,
  },
});
const own = (step: number) => 0.01 / step;

function setUp(directory: TemporaryDirectory) {
  const samples = { train: 300, validation: 50, test: 0 };
  const dataset = tinyDataset(directory.join("data"), {
    ...{ samples, tableRows: [20], denseFeatures: 2, bags: false, seed: 1, skew: 2 },
  });
  const rates: number[] = [];
  const report = (event: RunEvent) => {
    if (event.event === "progress") rates.push(event.learningRate);
  };
  const out = directory.join("run");
  return {
    rates,
    out,
    train: (options: Partial<RunOptions>) => startRun(CONFIG, dataset, { out, report, ...options }),
  };
}

Deno.test("a function gives the rate of every step, and a run that goes on is refused without it", async () => {
  using directory = new TemporaryDirectory();
  const { rates, out, train } = setUp(directory);
  await assert.rejects(train({ schedule: own, signal: () => AbortSignal.abort() }), Interrupted);
  assert.equal(readRun(out).schedule, "function");
  const refused = { name: "UsageError", message: /^Cannot resume .*its learning rate comes from a function; pass the/ };
  await assert.rejects(resumeRun({ out, report: () => {} }), refused);
  const resumed: RunEvent[] = [];
  await resumeRun({ out, report: (event) => resumed.push(event), schedule: own });
  for (const event of resumed) if (event.event === "progress") rates.push(event.learningRate);
  assert.deepEqual(rates, [1, 2, 3, 4, 5, 6].map(own));
  await assert.rejects(reproduceRun(out, () => {}), { name: "UsageError", message: /^Cannot reproduce .*a function/ });
  assert.equal((await reproduceRun(out, () => {}, own)).equal, true);
});

Deno.test("a function that gives no rate ends the run; one beside the configuration's warm-up begins none", async () => {
  using directory = new TemporaryDirectory();
  const { out, train } = setUp(directory);
  for (const rate of [NaN, -1, Infinity, undefined]) {
    await assert.rejects(train({ schedule: (step) => step < 3 ? 0.1 : rate as number }), {
      name: "UsageError",
      message:
        `Cannot train: the schedule returned ${rate} for step 3; it must return a number of at least 0; no checkpoint was saved`,
    });
    Deno.removeSync(out, { recursive: true });
  }
  const dataset = tinyDataset(directory.join("more"), {
    ...{
      samples: { train: 100, validation: 0, test: 0 },
      tableRows: [9],
      denseFeatures: 1,
      bags: false,
      seed: 1,
      skew: 1,
    },
  });
  const moving = resolveConfig("default", { ...CONFIG, warmupSteps: 5 }, {});
  await assert.rejects(startRun(moving, dataset, { out, report: () => {}, schedule: own }), UsageError);
  assert.deepEqual([1, 2, 5, 6].map(scheduleOf(moving)), [0.002, 0.004, 0.01, 0.01]);
});

Deno.test("a run without a function takes none when it goes on", async () => {
  using directory = new TemporaryDirectory();
  const { out, train } = setUp(directory);
  await train({});
  await assert.rejects(resumeRun({ out, report: () => {}, schedule: own }), {
    name: "UsageError",
    message: /^Cannot resume .*comes from its configuration; leave the option schedule out$/,
  });
});
