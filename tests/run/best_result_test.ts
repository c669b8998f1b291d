/** The result of a run has the metrics of the best checkpoint, and separately those of the last one. */
import assert from "node:assert/strict";
import { resultTable } from "../../src/report/tables.ts";
import { resolveConfig } from "../../src/config/config.ts";
import { Interrupted } from "../../src/errors.ts";
import type { EvaluationEvent, RunEvent } from "../../src/events/events.ts";
import { resumeRun, startRun } from "../../src/run/run.ts";
import { readRunLog } from "../../src/run/run_log.ts";
import { evaluateRun } from "../../src/run/score_run.ts";
import { seriesLength } from "../support/series.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

/** A learning rate that overfits. */
const CONFIG = resolveConfig("kaggle", {
  ...{ mode: "cpu", ranks: 1, dim: 8, bottom: [12, 8], top: [12, 1], batchSize: 50 },
  ...{ optimizer: "rwsadagrad", learningRate: 0.8, testFreq: 10, epochs: 6 },
});
const METRICS = ["auc", "prAuc", "logloss", "accuracy", "calibration", "ne"] as const;

/** What differs from CONFIG; steps of the emulated device take long. */
const WAYS = [{}, { mode: "fae", hotMemory: 64 * 2 ** 10, ranks: 2 }, { mode: "gpu", device: "emulated" }] as const;

for (const other of WAYS.slice(0, seriesLength({ test: 1, all: 3, evidence: 3 }))) {
  Deno.test(`train reports the best checkpoint as evaluate does, and the last beside it: ${JSON.stringify(other)}`, async () => {
    using directory = new TemporaryDirectory();
    const shape = { tableRows: [2000, 50, 1700, 3], denseFeatures: 3, bags: false, seed: 1, skew: 8 };
    const dataset = tinyDataset(directory.join("data"), {
      ...shape,
      samples: { train: 990, validation: 300, test: 310 },
    });
    const events: RunEvent[] = [];
    const out = directory.join("run");
    const result = await startRun({ ...CONFIG, ...other }, dataset, { out, report: (event) => events.push(event) });

    const { best, last } = result;
    assert.ok(best.step < last.step, "this run gets worse in the end");
    assert.notEqual(best.auc, last.auc);
    const [, test] = await evaluateRun(out, [], () => {});
    assert.equal(best.step, test.step);
    for (const key of METRICS) {
      assert.equal(result[key], best[key]);
      assert.ok(Math.abs(best[key] - test[key]) < 1e-4, `${key}: train ${best[key]}, evaluate ${test[key]}`);
    }
    const tests = events.flatMap((event) => event.event === "evaluation" && event.split === "test" ? [event] : []);
    assert.deepEqual(tests.map(({ step, auc }) => [step, auc]), [[last.step, last.auc], [best.step, best.auc]]);
    assert.ok(events.some((event) =>
      event.event === "note" &&
      /^Best checkpoint: step \d+ \(validation AUC 0\.\d{4}\)\. evaluate, predict and export use it\.$/.test(event.text)
    ));
    const text = resultTable([result]);
    assert.match(text, new RegExp(`best ${best.step} +${best.auc.toFixed(4)} .*\\n +last ${last.step} +`));
    assert.match(text, /Figures of the test split\. .*use the best checkpoint\.\nAUC: share of pairs/);
    // It is the record of the run, and what is told again.
    assert.deepEqual(readRunLog(out).result, result);
    assert.deepEqual(await resumeRun({ out, report: () => {} }), result);
  });
}

Deno.test("the checkpoint with the least logloss is the best where that is monitored, also by a run that goes on", async () => {
  using directory = new TemporaryDirectory();
  const dataset = tinyDataset(directory.join("data"), {
    ...{ tableRows: [2000, 50, 1700, 3], denseFeatures: 3, bags: false, seed: 1, skew: 8 },
    samples: { train: 990, validation: 300, test: 0 },
  });
  const config = { ...CONFIG, monitor: "logloss" } as const;
  const evaluations: EvaluationEvent[] = [];
  const controller = new AbortController();
  const report = (event: RunEvent) => {
    if (event.event === "evaluation") evaluations.push(event);
    if (evaluations.length === 4) controller.abort();
  };
  const out = directory.join("run");
  await assert.rejects(startRun(config, dataset, { out, report, signal: () => controller.signal }), Interrupted);
  const { best } = await resumeRun({ out, report });
  const least = Math.min(...evaluations.map(({ logloss }) => logloss));
  const highest = evaluations.reduce((a, b) => a.auc >= b.auc ? a : b);
  assert.equal(best.logloss, least);
  assert.notEqual(best.step, highest.step, "by AUC another one is the best");
});

Deno.test("where nothing is saved, or the last checkpoint is the best, there is one row of metrics", async () => {
  using directory = new TemporaryDirectory();
  const shape = { tableRows: [200, 50], denseFeatures: 3, bags: false, seed: 1, skew: 8 };
  const dataset = tinyDataset(directory.join("data"), {
    ...shape,
    samples: { train: 500, validation: 100, test: 100 },
  });
  for (const other of [{ save: false, epochs: 2 }, { testFreq: 0, epochs: 1 }]) {
    const out = Deno.makeTempDirSync({ dir: directory.path });
    const result = await startRun({ ...CONFIG, ...other }, dataset, { out, report: () => {} });
    assert.deepEqual(result.best, result.last);
    assert.equal(result.last.step, result.steps);
    assert.match(resultTable([result]), new RegExp(` s +${result.steps} +0\\.`));
  }
});
