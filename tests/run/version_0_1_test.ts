/**
 * Files of version 0.1 are read: a run that was interrupted in its second epoch, with its dataset and layout, and the
 * results of its `predict` and `evaluate` (tests/fixtures/0.1). They were made by commit 545862b in /hotset-0.1:
 * clicks.csv prepared by schema.json with splits of 0.1 each; mode cpu, one rank, dim 2, bottom [2], top [1], batches
 * of 12, 2 epochs, Adagrad 0.1, an evaluation every 2 steps; a signal at step 6; then scores of new.csv.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { MANIFEST } from "../../src/storage/artifact.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { exportRun } from "../../src/interop/export_run.ts";
import { SafetensorsReader } from "../../src/interop/safetensors.ts";
import type { RunEvent } from "../../src/events/events.ts";
import { resumeRun, startRun } from "../../src/run/run.ts";
import { readRunLog } from "../../src/run/run_log.ts";
import { readRun } from "../../src/run/run_record.ts";
import { evaluateRun, predictRun } from "../../src/run/score_run.ts";
import { ensureDataset, ensureLayout } from "../../src/run/stages.ts";
import { rewrite } from "../support/rewrite.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const FIXTURE = new URL("../fixtures/0.1/", import.meta.url).pathname;
const DATASET = "datasets/10631710ed202dc7";
const expected = JSON.parse(Deno.readTextFileSync(join(FIXTURE, "expected.json")));
const silent = () => {};

/** A copy of the fixture, whose run finds its dataset in it. */
function copyFixture(directory: TemporaryDirectory): { run: string; dataset: string; newRows: string } {
  copy(FIXTURE, directory.path);
  const run = directory.join("run");
  const record = join(run, "run.json");
  rewrite(record, Deno.readTextFileSync(record).replace("/hotset-0.1", directory.path));
  return { run, dataset: directory.join(DATASET), newRows: directory.join("new.csv") };
}

function copy(from: string, to: string): void {
  Deno.mkdirSync(to, { recursive: true });
  for (const { name, isDirectory } of Deno.readDirSync(from)) {
    if (isDirectory) copy(join(from, name), join(to, name));
    else Deno.copyFileSync(join(from, name), join(to, name));
  }
}

function assertClose(actual: number, wanted: number, what: string): void {
  assert.ok(Math.abs(actual - wanted) < 1e-5, `${what}: ${actual}, in 0.1 ${wanted}`);
}

Deno.test("a run of 0.1 predicts, is evaluated and exported as it was then", async () => {
  using directory = new TemporaryDirectory();
  const { run, dataset, newRows } = copyFixture(directory);
  const scores = await predictRun(run, [newRows], {}, silent);
  assert.equal(scores.length, expected.scores.length);
  scores.forEach((score, i) => assertClose(score, expected.scores[i], `score ${i}`));
  for (const inputs of [[], [dataset]]) {
    const [validation, test] = await evaluateRun(run, inputs, silent);
    for (const key of ["auc", "logloss", "calibration", "ne"] as const) {
      assertClose(validation[key], expected.validation[key], `validation ${key}`);
      assertClose(test[key], expected.test[key], `test ${key}`);
    }
  }
  const out = directory.join("model.safetensors");
  await exportRun(run, "safetensors", out, silent);
  using file = new SafetensorsReader(out);
  const weights = new Float32Array(2 * Dataset.open(dataset).body.tables[0].rows);
  file.read(file.tensors.get("emb_l.0.weight")!, 0, weights);
  const rows = new Float32Array(Deno.readFileSync(join(run, "best", "rows.f32")).buffer);
  assert.deepEqual(weights, rows.subarray(0, weights.length));
});

Deno.test("a run of 0.1 is gone on with, or refused in one line; a new one begins with its model", async () => {
  using directory = new TemporaryDirectory();
  const { run, dataset } = copyFixture(directory);
  assert.equal(readRunLog(run).evaluations.length, 3);
  const { config } = readRun(run);
  const from = directory.join("from");
  const next = await startRun({ ...config, epochs: 1 }, Dataset.open(dataset), {
    out: from,
    from: run,
    report: silent,
  });
  assert.equal(next.steps, 4);
  const outcome = await resumeRun({ out: run, report: silent }).then(({ steps }) => `${steps} steps`, String);
  assert.match(outcome, /^8 steps$|^HotsetError: Cannot resume .* start a new run from its model with --from .*$/);
});

Deno.test("caches of other versions are passed over and made anew", async () => {
  using directory = new TemporaryDirectory();
  copy(FIXTURE, directory.path);
  const [input, schema] = [directory.join("clicks.csv"), directory.join("schema.json")];
  const made: string[] = [];
  const report = (event: RunEvent) => {
    if (event.event === "stage") made.push(event.stage);
  };
  const make = async () => {
    made.length = 0;
    const dataset = await ensureDataset([input], { format: "csv", schema }, directory.join("cache"), report);
    using layout = await ensureLayout(dataset, undefined, { batchSize: 12, shuffle: "samples", seed: 1 }, {
      cache: directory.join("cache"),
    }, report);
    const stages = [...new Set(made)].filter((stage) => stage === "prepare: encode" || stage === "layout");
    return { stages, dataset, layout: layout.directory };
  };
  const { stages, dataset, layout } = await make();
  assert.deepEqual(stages, ["prepare: encode", "layout"]);
  assert.deepEqual((await make()).stages, []);
  for (const [artifact, stages] of [[layout, ["layout"]], [dataset.directory, ["prepare: encode"]]] as const) {
    const manifest = join(artifact, MANIFEST);
    const { version, ...rest } = JSON.parse(Deno.readTextFileSync(manifest));
    for (const other of [1, version + 1]) {
      rewrite(manifest, JSON.stringify({ ...rest, version: other }));
      assert.deepEqual((await make()).stages, stages, `version ${other}`);
    }
  }
});
