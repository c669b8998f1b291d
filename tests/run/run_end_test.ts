/** Why a run ends, and which checkpoint is the best. */
import assert from "node:assert/strict";
import { HotsetError, Interrupted } from "../../src/errors.ts";
import { reproduceRun } from "../../src/run/reproduce.ts";
import { resumeRun, startRun } from "../../src/run/run.ts";
import { evaluateRun } from "../../src/run/score_run.ts";
import { withBest } from "../../src/run/trained_run.ts";
import { CONFIG, dataOf, run } from "../support/small_run.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

Deno.test("a run ends when the selection split reaches the target AUC", async () => {
  using directory = new TemporaryDirectory();
  const { result, events, out } = await run(directory, "run", dataOf(directory), {
    ...CONFIG,
    epochs: 5,
    testFreq: 5,
    targetAuc: 0.55,
  });
  assert.equal(result.ended, "target");
  assert.ok(result.steps < 5 * 40);
  const aucs = events.flatMap((event) =>
    event.event === "evaluation" && event.split === "validation" ? [event.auc] : []
  );
  assert.ok(aucs.pop()! >= 0.55 && aucs.every((auc) => auc < 0.55), "at the first evaluation that reaches it");
  assert.equal((await resumeRun({ out, report: () => {} })).steps, result.steps);
});

Deno.test("a run ends when its patience does, and keeps the best checkpoint", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  // A rate that changes nothing: the first evaluation stays the best.
  const { result, events } = await run(directory, "run", dataset, {
    ...CONFIG,
    optimizer: "sgd",
    learningRate: 1e-30,
    epochs: 5,
    testFreq: 4,
    patience: 3,
  });
  assert.equal(result.ended, "patience");
  assert.equal(result.steps, 4 * 4);
  const evaluations = events.filter((event) => event.event === "evaluation" && event.split === "validation");
  assert.equal(evaluations.length, 4);
});

Deno.test("an epoch's end is evaluated once, also where the frequency falls on it", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  const { events } = await run(directory, "run", dataset, { ...CONFIG, mode: "cpu", testFreq: 20, epochs: 2 });
  const steps = events.flatMap((event) =>
    event.event === "evaluation" && event.split === "validation" ? [event.step] : []
  );
  assert.deepEqual(steps, [20, 40, 60, 80]);
});

Deno.test("the best checkpoint is the one with the best AUC, and what a run is evaluated by", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  // A learning rate that overfits.
  const { events, out } = await run(directory, "run", dataset, {
    ...CONFIG,
    learningRate: 0.8,
    testFreq: 10,
    epochs: 8,
  });
  const evaluations = events.flatMap((event) =>
    event.event === "evaluation" && event.split === "validation" ? [event] : []
  );
  const best = evaluations.reduce((a, b) => b.auc > a.auc ? b : a);
  assert.ok(best.step < evaluations.at(-1)!.step, "this run gets worse in the end");
  const [validation, test] = await evaluateRun(out, [], () => {});
  assert.equal(validation.step, best.step);
  assert.ok(Math.abs(validation.auc - best.auc) < 1e-6);
  assert.equal(test.split, "test");

  const last = evaluations.at(-1)!.step;
  let reads = 0;
  const read = await withBest(out, dataset, ({ body }) => {
    if (reads++ > 0) return body.state.step;
    // As training does, while the files of the one before are being read.
    Deno.removeSync(`${out}/best`, { recursive: true });
    Deno.renameSync(`${out}/last`, `${out}/best`);
    throw new HotsetError("Cannot read best: rows.f32 is damaged");
  });
  assert.deepEqual([read, reads], [last, 2]);
  const damaged = new HotsetError("Cannot read best: rows.f32 is damaged");
  await assert.rejects(() =>
    withBest(out, dataset, () => {
      reads++;
      throw damaged;
    }), damaged);
  assert.equal(reads, 3, "what nobody replaces is read once");
});

Deno.test("aborting a signal ends a run with its reason, and the run can be resumed", async () => {
  using directory = new TemporaryDirectory();
  const controller = new AbortController();
  const reason = new Error("enough");
  const out = directory.join("run");
  const error = await startRun(CONFIG, dataOf(directory), {
    out,
    signal: controller.signal,
    report: (event) => {
      if (event.event === "progress" && event.step === 3) controller.abort(reason);
    },
  }).catch((error) => error);
  assert.ok(error instanceof Interrupted, String(error));
  assert.deepEqual([error.code, error.run, error.cause === reason], ["interrupted", out, true]);
  assert.ok((await resumeRun({ out, report: () => {} })).steps > 3);
});

Deno.test("a run ends after the evaluation at which its program says so, and is complete", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  const config = { ...CONFIG, epochs: 5, testFreq: 7 };
  const out = directory.join("stopped");
  const steps: number[] = [];
  const result = await startRun(config, dataset, {
    out,
    report: () => {},
    onEvaluation: ({ step, auc }) => {
      assert.ok(auc > 0 && auc < 1);
      return steps.push(step) === 3 ? "stop" : undefined;
    },
  });
  assert.deepEqual(steps, [7, 14, 21]);
  assert.deepEqual([result.ended, result.steps], ["stopped", 21]);
  const [, test] = await evaluateRun(out, [], () => {});
  assert.deepEqual([test.split, test.auc], ["test", result.auc]);
  const resumed = await resumeRun({ out, report: () => {} });
  assert.deepEqual([resumed.ended, resumed.steps], ["stopped", 21], "there is nothing to resume");
  assert.equal((await reproduceRun(out, () => {})).equal, true);

  const wrong = () => Promise.resolve("stop") as unknown as "stop";
  await assert.rejects(
    startRun(config, dataset, { out: directory.join("wrong"), report: () => {}, onEvaluation: wrong }),
    {
      name: "UsageError",
      message: /^Cannot train: onEvaluation returned \[object Promise\] at step 7; it must return "stop" or undefined/,
    },
  );
});
