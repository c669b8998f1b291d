/** A resumed run reports the time and traffic of the whole run, and an ended run keeps its result. */
import assert from "node:assert/strict";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import type { ResultEvent, RunEvent, SpentEvent } from "../../src/events/events.ts";
import { resumeRun, startRun } from "../../src/run/run.ts";
import { readRunLog } from "../../src/run/run_log.ts";
import { Interrupted } from "../../src/errors.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

const SAMPLES = 1990;
const CONFIG: TrainConfig = resolveConfig("kaggle", {
  bottom: [12, 16],
  top: [12, 1],
  batchSize: 50,
  optimizer: "rwsadagrad",
  learningRate: 0.05,
  mode: "cpu",
  ranks: 1,
  printFreq: 3,
});

function dataOf(directory: TemporaryDirectory): Dataset {
  return tinyDataset(directory.join("data"), {
    samples: { train: SAMPLES, validation: 300, test: 310 },
    tableRows: [2000, 50],
    denseFeatures: 3,
    bags: false,
    seed: 1,
    skew: 8,
  });
}

/** Begins a run that is interrupted some steps later, at a progress event or soon after. */
async function interrupt(out: string, dataset: Dataset, config = CONFIG): Promise<void> {
  const controller = new AbortController();
  const report = (event: RunEvent) => event.event === "progress" && controller.abort();
  await assert.rejects(startRun(config, dataset, { out, report, signal: () => controller.signal }), Interrupted);
}

async function resume(out: string): Promise<{ result: ResultEvent; notes: string[] }> {
  const notes: string[] = [];
  const report = (event: RunEvent) => event.event === "note" && notes.push(event.text);
  return { result: await resumeRun({ out, report }), notes };
}

function metricsOf(out: string): string[] {
  return Deno.readTextFileSync(`${out}/metrics.jsonl`).trimEnd().split("\n");
}

function writeMetrics(out: string, lines: readonly string[]): void {
  Deno.writeTextFileSync(`${out}/metrics.jsonl`, lines.map((line) => `${line}\n`).join(""));
}

Deno.test("a resumed run counts on from what it had spent at its checkpoint", async () => {
  using directory = new TemporaryDirectory();
  const out = directory.join("run");
  await interrupt(out, dataOf(directory));
  const [spent] = readRunLog(out).spent;
  assert.deepEqual([spent.step, spent.samples], [3, 150]);
  assert.ok(spent.seconds > 0 && spent.seconds < 60);
  // As if the first steps had been slow, on a device; and a later checkpoint had begun, but a kill left none of it.
  const more = { seconds: 1000, hostToDeviceBytes: 5, deviceToHostBytes: 6, bytesFromRanks: 7 };
  const lines = metricsOf(out).filter((line) => JSON.parse(line).event !== "spent");
  const later: SpentEvent = { ...spent, step: 4, seconds: 1e6 };
  writeMetrics(out, [...lines, JSON.stringify({ ...spent, ...more }), JSON.stringify(later)]);
  const { result, notes } = await resume(out);
  assert.ok(result.seconds > 1000 && result.seconds < 1060, `${result.seconds} s`);
  assert.equal(result.samples, SAMPLES);
  assert.equal(result.samplesPerSecond, SAMPLES / result.seconds);
  assert.deepEqual([result.hostToDeviceBytes, result.deviceToHostBytes, result.bytesFromRanks], [5, 6, 7]);
  assert.ok(!notes.join().includes("counted from here"));
});

Deno.test("a run whose log is damaged, or gone, goes on, and says from where it counts", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  const out = directory.join("run");
  await interrupt(out, dataset);
  writeMetrics(out, ["{", ...metricsOf(out)]);
  const { result, notes } = await resume(out);
  assert.match(notes.join(), /^Time and traffic are counted from this point: Cannot read .*metrics\.jsonl line 1: /);
  assert.equal(result.samples, SAMPLES);
  assert.ok(result.seconds > 0 && result.samplesPerSecond > 0);
  const gone = directory.join("gone");
  await interrupt(gone, dataset);
  Deno.removeSync(`${gone}/metrics.jsonl`);
  const later = (await resume(gone)).result;
  assert.equal(later.samples, SAMPLES);
  assert.equal(Math.round(later.samplesPerSecond * later.seconds), SAMPLES - 150);
});

const ENDS: Record<ResultEvent["ended"], Partial<TrainConfig>> = {
  epochs: {},
  target: { epochs: 5, testFreq: 5, targetAuc: 0.52 },
  patience: { optimizer: "sgd", learningRate: 1e-30, epochs: 5, testFreq: 4, patience: 3 },
  stopped: { testFreq: 5 },
};
for (const [ended, config] of Object.entries(ENDS)) {
  Deno.test(`a run that is over keeps its result when it is resumed: ${ended}`, async () => {
    using directory = new TemporaryDirectory();
    const out = directory.join("run");
    const onEvaluation = ended === "stopped" ? () => "stop" as const : undefined;
    const first = await startRun({ ...CONFIG, ...config }, dataOf(directory), { out, report: () => {}, onEvaluation });
    assert.equal(first.ended, ended);
    assert.ok(first.seconds > 0);
    const results = () => metricsOf(out).filter((line) => JSON.parse(line).event === "result");
    const recorded = results();
    assert.deepEqual((await resume(out)).result, first);
    assert.deepEqual(results(), recorded);
    // As a kill leaves it between the last checkpoint and the result.
    writeMetrics(out, metricsOf(out).filter((line) => JSON.parse(line).event !== "result"));
    const { result } = await resume(out);
    const { peakRssBytes: _, ...figures } = first;
    assert.deepEqual({ ...result, peakRssBytes: undefined }, { ...figures, peakRssBytes: undefined });
    assert.equal(results().length, 1);
  });
}

Deno.test("a run that saves nothing is interrupted without a word of going on", async () => {
  using directory = new TemporaryDirectory();
  const controller = new AbortController();
  const report = (event: RunEvent) => event.event === "progress" && controller.abort();
  const options = { out: directory.join("run"), report, signal: () => controller.signal };
  await assert.rejects(
    startRun({ ...CONFIG, save: false }, dataOf(directory), options),
    (error) => error instanceof Interrupted && /; nothing was saved$/.test(error.message) && error.run === undefined,
  );
});
