/** TBSM: runs on sessions, their interruption, ranks and scores, and what is refused. */
import assert from "node:assert/strict";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import { Interrupted } from "../../src/errors.ts";
import type { RunEvent } from "../../src/events/events.ts";
import { planDataset } from "../../src/plan/plan_training.ts";
import { evaluateRun } from "../../src/run/score_run.ts";
import { resumeRun, startRun } from "../../src/run/run.ts";
import { slowTest } from "../support/series.ts";
import { smallSessions } from "../support/small_sessions.ts";
import { CONFIG, dataOf, run } from "../support/small_run.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const TBSM: TrainConfig = resolveConfig("taobao", {
  ...{ model: "tbsm", mode: "cpu", ranks: 1, batchSize: 32, blas: "wasm", printFreq: 1, seed: 1 },
});

slowTest("an interrupted TBSM goes on with the same bits, and two ranks or hot rows score as one", async () => {
  using directory = new TemporaryDirectory();
  const dataset = await smallSessions(directory.join("sessions"));
  const whole = await run(directory, "whole", dataset, TBSM);
  const out = directory.join("stopped");
  const controller = new AbortController();
  const report = (event: RunEvent) => {
    if (event.event === "progress" && event.step === 7) controller.abort();
  };
  await assert.rejects(startRun(TBSM, dataset, { out, report, signal: () => controller.signal }), Interrupted);
  await resumeRun({ out, report: () => {} });
  for (const file of ["dense.f32", "rows.f32"]) {
    assert.deepEqual(Deno.readFileSync(`${out}/last/${file}`), Deno.readFileSync(`${whole.out}/last/${file}`), file);
  }
  const two = await run(directory, "two", dataset, { ...TBSM, ranks: 2 });
  assert.ok(Math.abs(two.result.logloss - whole.result.logloss) < 1e-4);
  const fae = { ...TBSM, mode: "fae", device: "cpu" } as const;
  const cold = await run(directory, "cold", dataset, { ...fae, hotMemory: 2 ** 14 });
  assert.equal(cold.result.logloss, whole.result.logloss, "no sample is all hot");
  const hot = await run(directory, "hot", dataset, { ...fae, hotMemory: 2 ** 26 });
  assert.ok(Math.abs(hot.result.logloss - whole.result.logloss) < 0.1, "the batches have another order");
  const evaluations = await evaluateRun(out, [dataset.directory], () => {}, { blas: "wasm" });
  const { logloss } = evaluations.find(({ split }) => split === "test")!;
  assert.ok(Math.abs(logloss - whole.result.logloss) < 1e-6, "evaluate loads what was saved");
});

Deno.test("models and samples that do not fit each other are refused", async () => {
  using directory = new TemporaryDirectory();
  const sessions = await smallSessions(directory.join("sessions"));
  const start = (config: TrainConfig, dataset = sessions) =>
    startRun(config, dataset, { out: directory.join("run"), report: () => {} });
  await assert.rejects(
    start({ ...TBSM, model: "dlrm" }),
    /^HotsetError: Cannot build the model: the samples are sequences of 21 steps, which dlrm cannot read; choose --model tbsm$/,
  );
  await assert.rejects(
    start({ ...TBSM, pooling: "mean" }),
    /with --pooling mean: every sample has one value in each sparse feature/,
  );
  await assert.rejects(
    start({ ...CONFIG, model: "tbsm", mode: "cpu" }, dataOf(directory, 100)),
    /^HotsetError: Cannot build the model: the samples are no sequences of steps; choose --model dlrm/,
  );
});

Deno.test("plan places a TBSM on CPUs and devices", async () => {
  using directory = new TemporaryDirectory();
  const dataset = await smallSessions(directory.join("sessions"), { samples: { train: 64, validation: 4, test: 8 } });
  const machine = { total: 2 ** 34, available: 2 ** 33 };
  const { placements } = await planDataset(dataset, TBSM, machine);
  assert.deepEqual(new Set(placements.map(({ mode }) => mode)), new Set(["cpu", "fae", "gpu", "hybrid", "cached"]));
});
