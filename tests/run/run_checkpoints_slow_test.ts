/** Checkpoints of whole runs: written during training, exact at their step, pruned, and resumed from. */
import assert from "node:assert/strict";
import type { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import { HotsetError } from "../../src/errors.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import type { CheckpointEvent, RunEvent } from "../../src/events/events.ts";
import { resumeRun, startRun } from "../../src/run/run.ts";
import { Interrupted } from "../../src/errors.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

/** Tables of 36 MB with their state: many chunks, which take longer to write than a few steps. */
const TABLE_ROWS = [300_000, 50, 200_000, 3];
const CONFIG: TrainConfig = resolveConfig("kaggle", {
  bottom: [12, 16],
  top: [12, 1],
  batchSize: 100,
  optimizer: "rwsadagrad",
  learningRate: 0.05,
  hotMemory: 4 * 17 * 2000,
  printFreq: 1,
  testFreq: 13,
  checkpointSteps: 4,
  keep: 1000,
});

function dataOf(directory: TemporaryDirectory): Dataset {
  return tinyDataset(directory.join("data"), {
    samples: { train: 2990, validation: 200, test: 0 },
    tableRows: TABLE_ROWS,
    denseFeatures: 3,
    bags: false,
    seed: 1,
    skew: 8,
  });
}

async function train(out: string, dataset: Dataset, config: TrainConfig) {
  const events: RunEvent[] = [];
  await startRun(config, dataset, { out, report: (event) => events.push(event) });
  return events;
}

function bits(directory: string): Record<string, Buffer> {
  const names = [...Deno.readDirSync(directory)].map(({ name }) => name).sort();
  return Object.fromEntries(names.map((name) => [name, readFileSync(`${directory}/${name}`)]));
}

function assertEqual(actual: string, expected: string): void {
  const [a, b] = [bits(actual), bits(expected)];
  assert.deepEqual(Object.keys(a), Object.keys(b));
  for (const name of Object.keys(a)) {
    assert.ok(
      a[name].equals(b[name]),
      `${name} of ${actual} differs from ${expected}`,
    );
  }
}

const names = (directory: string) => [...Deno.readDirSync(directory)].map(({ name }) => name).sort();

for (const [mode, ranks] of [["cpu", 2], ["fae", 1], ["fae", 2]] as const) {
  Deno.test(`checkpoints written beside training hold the state of their step: mode ${mode}, ${ranks} ranks`, async () => {
    using directory = new TemporaryDirectory();
    const dataset = dataOf(directory);
    const config = { ...CONFIG, mode, ranks };
    const out = directory.join("run");
    const events = await train(out, dataset, config);
    const written = events.filter((event): event is CheckpointEvent => event.event === "checkpoint");
    const bytes = 500_053 * 4 * 17;
    const steps = events.findLast((event) => event.event === "result")!.steps;
    assert.deepEqual(written.map(({ step }) => step), [4, 8, 12, 13, 16, 20, 24, 26, 28, steps]);
    assert.ok(written.every((event) => event.bytes > bytes && event.seconds > 0 && event.pauseSeconds >= 0));

    // The same run without them, interrupted at steps where the other one went on.
    for (const stop of [4, 12, 24, 28]) {
      const controller = new AbortController();
      const report = (event: RunEvent) => {
        if (event.event === "progress" && event.step === stop) controller.abort();
      };
      const stopped = directory.join(`stopped-${stop}`);
      const options = { out: stopped, report, signal: () => controller.signal };
      await assert.rejects(startRun({ ...config, checkpointSteps: 0 }, dataset, options), Interrupted);
      assertEqual(`${out}/step-${stop}`, `${stopped}/last`);
    }
    // A run that continues from any of them ends with the same bits.
    const again = directory.join("again");
    Deno.mkdirSync(again);
    Deno.copyFileSync(`${out}/run.json`, `${again}/run.json`);
    Deno.mkdirSync(`${again}/step-12`);
    for (const name of names(`${out}/step-12`)) {
      Deno.copyFileSync(`${out}/step-12/${name}`, `${again}/step-12/${name}`);
    }
    const rest: RunEvent[] = [];
    await resumeRun({ out: again, report: (event) => rest.push(event) });
    assert.equal(rest.find((event) => event.event === "progress")?.step, 13);
    for (const name of ["last", "best"]) assertEqual(`${again}/${name}`, `${out}/${name}`);
  });
}

Deno.test("the latest step checkpoints are kept, and share their files with last and best", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  const out = directory.join("run");
  await train(out, dataset, { ...CONFIG, ranks: 1, keep: 2 });
  assert.deepEqual(names(out), ["best", "encoding", "last", "metrics.jsonl", "run.json", "step-24", "step-28"]);
  await train(directory.join("none"), dataset, { ...CONFIG, ranks: 1, keep: 0 });
  assert.deepEqual(names(directory.join("none")), ["best", "encoding", "last", "metrics.jsonl", "run.json"]);
  await train(directory.join("time"), dataset, { ...CONFIG, ranks: 1, checkpointSteps: 0, checkpointMinutes: 0.0001 });
  assert.ok(names(directory.join("time")).some((name) => /^step-\d+$/.test(name)), "written by the clock");
});

Deno.test("what a killed writer left is removed when the run goes on", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  const out = directory.join("run");
  await train(out, dataset, { ...CONFIG, ranks: 1, keep: 1 });
  const before = names(out);
  // No process has such a number.
  for (const name of [".last.partial-99999999-a", ".step-12.partial-99999999-b", ".best.partial-99999999-c.replaced"]) {
    Deno.mkdirSync(`${out}/${name}`);
    Deno.writeTextFileSync(`${out}/${name}/rows.f32`, "1234");
  }
  Deno.writeTextFileSync(`${out}/metrics.jsonl`, '{"event":"progr', { append: true });
  await resumeRun({ out, report: () => {} });
  assert.deepEqual(names(out), before);
  for (const line of Deno.readTextFileSync(`${out}/metrics.jsonl`).trimEnd().split("\n")) JSON.parse(line);
});

Deno.test("a damaged last checkpoint is refused; without it the run continues from the one before", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  const out = directory.join("run");
  await train(out, dataset, { ...CONFIG, ranks: 1, keep: 1 });
  const whole = bits(`${out}/last`);
  Deno.truncateSync(`${out}/last/rows.f32`, 1000);
  await assert.rejects(
    resumeRun({ out, report: () => {} }),
    (error) =>
      error instanceof HotsetError &&
      /rows\.f32 has 1000 bytes.*; without .*\/last, --resume continues from .*\/step-28$/.test(error.message),
  );
  Deno.removeSync(`${out}/last`, { recursive: true });
  await resumeRun({ out, report: () => {} });
  for (const [name, content] of Object.entries(bits(`${out}/last`))) assert.ok(content.equals(whole[name]), name);
});

Deno.test("a run begins with the model of another one, in any layout, budget, mode, backend, and number of ranks", async () => {
  using directory = new TemporaryDirectory();
  const dataset = tinyDataset(directory.join("data"), {
    samples: { train: 200, validation: 40, test: 0 },
    tableRows: [20_000, 50],
    denseFeatures: 3,
    bags: false,
    seed: 1,
    skew: 8,
  });
  const config: TrainConfig = { ...CONFIG, mode: "cpu", ranks: 1, checkpointSteps: 0, batchSize: 50 };
  const first = directory.join("first");
  await train(first, dataset, config);
  const others: Partial<TrainConfig>[] = [
    { mode: "fae", ranks: 2, batchSize: 40 },
    { mode: "fae", ranks: 1, hotMemory: 4 * 17 * 700 },
    { mode: "cpu", ranks: 2, seed: 9 },
    { mode: "fae", device: "emulated", epochs: 1, batchSize: 20 },
    { mode: "gpu", device: "emulated", epochs: 1, batchSize: 20 },
  ];
  for (const [i, other] of others.entries()) {
    const out = directory.join(`other-${i}`);
    const events: RunEvent[] = [];
    // So small a rate changes no bit of a weight: what the run saves is what it loaded, whatever way it went meanwhile.
    await startRun({ ...config, ...other, learningRate: 1e-30 }, dataset, {
      out,
      from: first,
      report: (event) => events.push(event),
    });
    const [loaded, saved] = [bits(`${first}/best`), bits(`${out}/last`)];
    for (const name of ["rows.f32", "dense.f32"]) assert.ok(loaded[name].equals(saved[name]), `${name} of ${out}`);
    const progress = events.filter((event) => event.event === "progress");
    assert.equal(progress[0].step, 1, "the steps begin anew");
    // And it learns with a rate that does.
    const learning = directory.join(`learning-${i}`);
    if (other.device !== undefined) continue;
    await startRun({ ...config, ...other }, dataset, { out: learning, from: `${first}/last`, report: () => {} });
    assert.ok(!bits(`${learning}/last`)["rows.f32"].equals(loaded["rows.f32"]));
  }
  await assert.rejects(
    startRun({ ...config, optimizer: "sgd" }, dataset, { out: directory.join("no"), from: first, report: () => {} }),
    (error) =>
      error instanceof HotsetError && /its optimizer is "rwsadagrad" and the run's is "sgd"/.test(error.message),
  );
});

Deno.test("a run goes on with the ranks it had; with others it says what that changes", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  const config: TrainConfig = { ...CONFIG, mode: "cpu", ranks: null, checkpointSteps: 0, testFreq: 0 };
  const stop = async (out: string) => {
    const controller = new AbortController();
    const report = (event: RunEvent) => {
      if (event.event === "progress" && event.step === 5) controller.abort();
    };
    await assert.rejects(startRun(config, dataset, { out, report, signal: () => controller.signal }), Interrupted);
  };
  const resume = async (out: string, ranks?: number) => {
    const notes: string[] = [];
    const report = (event: RunEvent) => {
      if (event.event === "note") notes.push(event.text);
    };
    const result = await resumeRun({ out, report }, ranks === undefined ? {} : { ranks });
    return { ranks: result.ranks, said: notes.some((text) => /^Continuing with \d ranks instead of/.test(text)) };
  };
  const cores = navigator.hardwareConcurrency;
  await stop(directory.join("same"));
  assert.deepEqual(await resume(directory.join("same")), { ranks: cores, said: false });
  await stop(directory.join("other"));
  assert.deepEqual(await resume(directory.join("other"), cores + 1), { ranks: cores + 1, said: true });
});
