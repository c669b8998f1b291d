/** Whole runs: the same bits when repeated and after an interruption; any number of hot rows. */
import assert from "node:assert/strict";
import { HotsetError, UsageError } from "../../src/errors.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { Layout } from "../../src/layout/layout.ts";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import type { ResultEvent, RunEvent } from "../../src/events/events.ts";
import { resumeRun, startRun } from "../../src/run/run.ts";
import { readRun } from "../../src/run/run_record.ts";
import { Interrupted } from "../../src/errors.ts";
import { seriesLength, slowTest, someOf } from "../support/series.ts";
import { rewrite } from "../support/rewrite.ts";
import { CONFIG, dataOf, EVERYTHING_HOT, run, TABLE_ROWS } from "../support/small_run.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

/** Starts a run, or resumes it, and interrupts it after a step. */
async function interrupt(out: string, step: number, start?: { config: TrainConfig; dataset: Dataset }): Promise<void> {
  const controller = new AbortController();
  const report = (event: RunEvent) => {
    if (event.event === "progress" && event.step === step) controller.abort();
  };
  const options = { out, report, signal: () => controller.signal };
  await assert.rejects(
    start === undefined ? resumeRun(options) : startRun(start.config, start.dataset, options),
    (error) => error instanceof Interrupted && error.message.includes(`step ${step};`) && error.run === out,
  );
}

async function resume(out: string): Promise<ResultEvent> {
  return await resumeRun({ out, report: () => {} });
}

/** All files of a run's checkpoints. */
function checkpoints(out: string): Record<string, Uint8Array> {
  const files: Record<string, Uint8Array> = {};
  for (const name of ["best", "last"]) {
    for (const file of Deno.readDirSync(`${out}/${name}`)) {
      files[`${name}/${file.name}`] = Deno.readFileSync(`${out}/${name}/${file.name}`);
    }
  }
  return files;
}

/** Fails unless two runs left equal checkpoints, apart from files whose name ends so. */
function assertEqualCheckpoints(actual: string, expected: string, what: string, except?: string): void {
  const [a, b] = [checkpoints(actual), checkpoints(expected)];
  assert.deepEqual(Object.keys(a).sort(), Object.keys(b).sort());
  for (const name of Object.keys(a)) {
    if (except !== undefined && name.endsWith(except)) continue;
    assert.ok(indexOfDifference(a[name], b[name]) < 0, `${what}: ${name} differs`);
  }
}

function indexOfDifference(a: Uint8Array, b: Uint8Array): number {
  return a.length === b.length ? a.findIndex((byte, i) => byte !== b[i]) : 0;
}

function figures({ auc, logloss, accuracy, calibration, ne, samples, steps, ended }: ResultEvent) {
  return { auc, logloss, accuracy, calibration, ne, samples, steps, ended };
}

for (const mode of ["fae", "cpu"] as const) {
  const testMode = mode === "fae" ? Deno.test : slowTest;

  for (const ranks of someOf([2, 1], 2)) {
    slowTest(`the same run twice leaves the same bits: mode ${mode}, ${ranks} ranks`, async () => {
      using directory = new TemporaryDirectory();
      const dataset = dataOf(directory);
      const config = { ...CONFIG, mode, ranks, epochs: 2 };
      const first = await run(directory, "first", dataset, config);
      for (const folder of ["layouts", "profiles"]) {
        if (mode === "fae" || folder === "layouts") Deno.removeSync(directory.join(folder), { recursive: true });
      }
      const second = await run(directory, "second", dataset, config);
      assertEqualCheckpoints(second.out, first.out, "again");
      assert.deepEqual(figures(second.result), figures(first.result));
      const losses = (events: RunEvent[]) => events.flatMap((event) => event.event === "progress" ? [event.loss] : []);
      assert.deepEqual(losses(second.events), losses(first.events));
      assert.ok(losses(first.events).length >= 80);
      const other = await run(directory, "other", dataset, { ...config, seed: 5 });
      assert.notEqual(other.result.logloss, first.result.logloss, "another seed is another run");
    });
  }

  testMode(`an interrupted run, resumed, leaves the bits of one that was not: mode ${mode}`, async () => {
    using directory = new TemporaryDirectory();
    const dataset = dataOf(directory);
    // Evaluations in the middle of turns, two epochs, and a learning rate that depends on the step.
    const config = { ...CONFIG, mode, epochs: 2, testFreq: 9, warmupSteps: 10, decayStartStep: 30, decaySteps: 30 };
    const whole = await run(directory, "whole", dataset, config);
    const steps = whole.result.steps;
    const turns = whole.events.flatMap((event) =>
      event.event === "progress" ? [{ step: event.step, hot: event.hotShare > 0 }] : []
    );
    if (mode === "fae") {
      const switches = turns.filter(({ hot }, i) => i > 0 && hot !== turns[i - 1].hot).length;
      assert.ok(switches >= 4, `${switches} switches`);
    }
    // Before a switch, within turns of both epochs, at the ends of an epoch, an evaluation and the first step, and at the end.
    const switched = turns.find(({ hot }) => hot !== turns[0].hot)?.step ?? 20;
    const stops = [switched - 1, steps / 2 + 5, 7, steps / 2, 9, 1, switched + 2, steps - 1, steps];
    const few = seriesLength({ test: 1, all: stops.length, evidence: stops.length });
    for (const stop of new Set(stops.slice(0, few))) {
      const out = directory.join(`stopped-${stop}`);
      await interrupt(out, stop, { config, dataset });
      const result = await resume(out);
      assertEqualCheckpoints(out, whole.out, `stopped after step ${stop}`);
      assert.deepEqual(figures(result), figures(whole.result));
    }
    // Twice, and once before there was a checkpoint.
    const out = directory.join("twice");
    await interrupt(out, 4, { config, dataset });
    Deno.removeSync(`${out}/last`, { recursive: true });
    await interrupt(out, 13);
    await interrupt(out, steps - 3);
    await resume(out);
    assertEqualCheckpoints(out, whole.out, "stopped twice");
  });
}

Deno.test("a run that is over stays over when resumed", async () => {
  using directory = new TemporaryDirectory();
  const { result, out } = await run(directory, "run", dataOf(directory, 300), CONFIG);
  const before = checkpoints(out);
  const again = await resume(out);
  assert.deepEqual(figures(again), figures(result));
  assert.deepEqual(checkpoints(out), before);
});

Deno.test("runs are not overwritten, and resumed only with their own data", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory, 300);
  const { out } = await run(directory, "run", dataset, { ...CONFIG, mode: "cpu" });
  await assert.rejects(
    startRun(CONFIG, dataset, { out, report: () => {} }),
    (error) => error instanceof HotsetError && /it contains a run; continue it with --resume/.test(error.message),
  );
  await assert.rejects(
    resumeRun({ out, report: () => {} }, { ranks: 300 }),
    (error) => error instanceof UsageError && /ranks must be a whole number from 1 to 256/.test(error.message),
  );
  const last = `${out}/last/manifest.json`;
  rewrite(last, Deno.readTextFileSync(last).replace(/"run": "\w+"/, '"run": "another"'));
  await assert.rejects(
    resume(out),
    (error) => error instanceof HotsetError && /other data or options/.test(error.message),
  );
  Deno.removeSync(directory.join("data"), { recursive: true });
  dataOf(directory, 301);
  await assert.rejects(resume(out), (error) => error instanceof HotsetError && /has changed since/.test(error.message));
  await assert.rejects(resume(directory.join("none")), /no such directory/);
});

Deno.test("turns begin with the rate and the kind that the run was told, and a run keeps them", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  /** Batches of the first turn's first kind, all of that kind, and the rate of the first step. */
  const turn = async (schedulerRate: number, firstTurn: TrainConfig["firstTurn"]) => {
    const config = { ...CONFIG, schedulerRate, firstTurn };
    const { events, out } = await run(directory, `run-${schedulerRate}`, dataset, config);
    assert.equal(readRun(out).config.schedulerRate, schedulerRate);
    const { coldBatches, hotBatches } = events.find((event) => event.event === "layout")!;
    const steps = events.flatMap((event) => event.event === "progress" ? [event] : []);
    const taken = steps.findIndex(({ hotShare }) => (hotShare > 0) !== (firstTurn === "hot"));
    return { taken, all: firstTurn === "hot" ? hotBatches : coldBatches, rate: steps[0].rate };
  };
  for (const [given, kind] of [[12.5, "cold"], [100, "hot"]] as const) {
    const { taken, all, rate } = await turn(given, kind);
    assert.ok(all > 8, `${all} ${kind} batches`);
    assert.deepEqual([taken, rate], [Math.ceil(all * given / 100), given]);
  }
  const record = directory.join("run-100/run.json");
  rewrite(record, Deno.readTextFileSync(record).replace('"schedulerRate": 100', '"schedulerRate": 50'));
  await assert.rejects(resume(directory.join("run-100")), /other data or options/);
  rewrite(record, Deno.readTextFileSync(record).replace('"schedulerRate": 50', '"schedulerRate": 100'));
  rewrite(record, Deno.readTextFileSync(record).replace('"firstTurn": "hot"', '"firstTurn": "cold"'));
  await assert.rejects(resume(directory.join("run-100")), /other data or options/);
  assert.throws(() => resolveConfig("kaggle", { schedulerRate: 0.5 }), UsageError);
});

Deno.test("--shuffle decides what is in random order: samples and batches, batches, or nothing", async (t) => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  using log = dataset.reader("train", 1990);
  const inOrder = [...log.read(0, 1990).dense];
  const { readInParts } = Layout.prototype;
  /** The dense values of each epoch's samples in the order of training, and the numbers of its batches. */
  const epochs = async (shuffle: TrainConfig["shuffle"], name: string = shuffle) => {
    const values: number[] = [], batches: number[] = [];
    Layout.prototype.readInParts = function* (kind, index, batch) {
      yield* readInParts.call(this, kind, index, batch);
      const { sections: { dense }, shape: { denseFeatures }, samples } = batch;
      values.push(...batch.floats.subarray(dense, dense + samples * denseFeatures));
      batches.push(index);
    };
    try {
      await run(directory, name, dataset, { ...CONFIG, mode: "cpu", epochs: 2, shuffle, save: false });
    } finally {
      Layout.prototype.readInParts = readInParts;
    }
    assert.equal(batches.length, 80);
    const first = batches.slice(0, 40), second = batches.slice(40);
    return { values: values.slice(0, values.length / 2), again: values.slice(values.length / 2), first, second };
  };
  const ascending = Array.from({ length: 40 }, (_, i) => i);
  await t.step("none", async () => {
    const { values, again, first } = await epochs("none");
    assert.deepEqual(first, ascending);
    assert.deepEqual(values, inOrder);
    assert.deepEqual(again, inOrder);
  });
  await t.step("batches", async () => {
    const { values, first, second } = await epochs("batches");
    assert.notDeepEqual(first, second);
    assert.deepEqual(values, first.flatMap((batch) => inOrder.slice(150 * batch, 150 * (batch + 1))));
  });
  await t.step("samples", async () => {
    const { values, first, second } = await epochs("samples");
    assert.notDeepEqual(first, second);
    const batch = new Set(values.slice(0, 150));
    const runs = Array.from({ length: 40 }, (_, b) => inOrder.slice(150 * b, 150 * (b + 1)));
    const most = Math.max(...runs.map((run) => run.filter((value) => batch.has(value)).length));
    assert.ok(most < 30, `${most} of 150 values of a batch come from one batch of the log`);
    assert.ok(values.toSorted().join() === inOrder.toSorted().join());
    const { values: same } = await epochs("samples", "again");
    assert.deepEqual(same, values);
  });
  for (const mode of ["fae", "hybrid"] as const) {
    assert.throws(() => resolveConfig("kaggle", { mode, shuffle: "none" }), {
      name: "UsageError",
      message:
        `Cannot use --shuffle none with --mode ${mode}: only modes cpu, gpu and cached keep the order of the log; ` +
        `choose one of them, or --shuffle batches`,
    });
  }
});

Deno.test("mode fae with nothing hot is mode cpu, to the bit", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  const cpu = await run(directory, "cpu", dataset, { ...CONFIG, mode: "cpu" });
  const fae = await run(directory, "fae", dataset, { ...CONFIG, hotMemory: 0 });
  assert.equal(fae.result.hotRows, 0);
  assert.equal(fae.result.hotSampleShare, 0);
  assertEqualCheckpoints(fae.out, cpu.out, "nothing hot", "manifest.json"); // which names the layout
  assert.equal(fae.result.auc, cpu.result.auc);
});

slowTest("mode fae with everything hot, or some rows, learns as mode cpu does", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory, 6000);
  const config = { ...CONFIG, batchSize: 64 };
  // One seed's order of samples moves logloss by more than modes do, so means over seeds are compared.
  const seeds = [1, 2, 3, 4];
  const resultsOf = async (name: string, more: Partial<TrainConfig>) => {
    const results = [];
    for (const seed of seeds) {
      results.push((await run(directory, `${name}-${seed}`, dataset, { ...config, ...more, seed })).result);
    }
    return results;
  };
  const mean = (results: readonly ResultEvent[], of: (result: ResultEvent) => number) =>
    results.reduce((sum, result) => sum + of(result), 0) / results.length;
  const cpu = await resultsOf("cpu", { mode: "cpu" });
  const all = await resultsOf("all", { hotMemory: EVERYTHING_HOT });
  const some = await resultsOf("some", {});
  for (const { hotRows, hotSampleShare } of all) assert.deepEqual([hotRows, hotSampleShare], [dataset.rows, 1]);
  for (const { hotSampleShare } of some) {
    assert.ok(hotSampleShare > 0.2 && hotSampleShare < 0.9, `${hotSampleShare} hot`);
  }
  assert.ok(mean(cpu, ({ ne }) => ne) < 0.97);
  for (const results of [all, some]) {
    const [logloss, cpuLogloss] = [results, cpu].map((each) => mean(each, (result) => result.logloss));
    const [auc, cpuAuc] = [results, cpu].map((each) => mean(each, (result) => result.auc));
    assert.ok(Math.abs(logloss - cpuLogloss) < 0.01, `logloss ${logloss}, cpu ${cpuLogloss}`);
    assert.ok(Math.abs(auc - cpuAuc) < 0.015, `AUC ${auc}, cpu ${cpuAuc}`);
  }
});

slowTest("every sample is trained on once an epoch, bags or not", async () => {
  for (const bags of [false, true]) {
    using directory = new TemporaryDirectory();
    const dataset = tinyDataset(directory.join("data"), {
      samples: { train: 777, validation: 100, test: 0 },
      tableRows: TABLE_ROWS,
      denseFeatures: 3,
      bags,
      seed: 2,
      skew: 8,
    });
    for (const mode of ["cpu", "fae"] as const) {
      const { result } = await run(directory, mode, dataset, { ...CONFIG, mode, epochs: 3 });
      assert.equal(result.samples, 3 * 777);
      assert.ok(Number.isFinite(result.logloss));
    }
  }
});

Deno.test("tables that this machine cannot hold are refused before anything is made of them", async () => {
  using directory = new TemporaryDirectory();
  const rows = 1_000_000;
  const dataset = tinyDataset(directory.join("data"), {
    samples: { train: 50, validation: 5, test: 5 },
    tableRows: [rows],
    denseFeatures: 3,
    bags: false,
    seed: 1,
    skew: 8,
  });
  const { total, swapTotal } = Deno.systemMemoryInfo();
  const dim = Math.ceil(1.1 * (total + swapTotal) / (4 * rows));
  await assert.rejects(
    startRun({ ...CONFIG, dim, bottom: [dim], top: [1] }, dataset, { out: directory.join("run"), report: () => {} }),
    {
      name: "HotsetError",
      message:
        /the tables take [\d.]+ [GT]iB and this machine has [\d.]+ [GT]iB of memory; --memory stores rows on disk, and plan shows/,
    },
  );
  assert.deepEqual([...Deno.readDirSync(directory.path)].map(({ name }) => name), ["data"]);
});

Deno.test("a bottom MLP that does not take the data's dense features is refused, and nothing is written", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory, 300);
  await assert.rejects(
    startRun({ ...CONFIG, denseFeatures: 13 }, dataset, { out: directory.join("run"), report: () => {} }),
    (error) => error instanceof HotsetError && /has 13 inputs, but the data has 3 dense features/.test(error.message),
  );
  assert.deepEqual([...Deno.readDirSync(directory.path)].map(({ name }) => name), ["data"]);
});
