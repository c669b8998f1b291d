import assert from "node:assert/strict";
import { HotsetError } from "../../src/errors.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { saveCheckpoint } from "../support/save_checkpoint.ts";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { resolveConfig } from "../../src/config/config.ts";
import { cpuOptions, openHost } from "../../src/backend/open.ts";
import { reproduceRun } from "../../src/run/reproduce.ts";
import { startRun } from "../../src/run/run.ts";
import { readRun } from "../../src/run/run_record.ts";
import { rewrite } from "../support/rewrite.ts";
import { localModel } from "../support/local_model.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

const SHAPE = { samples: { train: 990, validation: 100, test: 0 }, tableRows: [20_000, 30], denseFeatures: 3 };
const CONFIG = resolveConfig("kaggle", {
  bottom: [12, 16],
  top: [12, 1],
  batchSize: 50,
  optimizer: "adagrad",
  learningRate: 0.05,
  hotMemory: 4 * 32 * 500,
  ranks: 2,
});
const silent = () => {};

function dataOf(directory: TemporaryDirectory): Dataset {
  return tinyDataset(directory.join("data"), { ...SHAPE, bags: false, seed: 1, skew: 8 });
}

Deno.test("a run is reproduced to the bit, one that began with another's model too, and nothing is left", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  await startRun(CONFIG, dataset, { out: directory.join("one"), report: silent });
  await startRun({ ...CONFIG, seed: 4, checkpointSteps: 7 }, dataset, {
    out: directory.join("two"),
    from: directory.join("one"),
    report: silent,
  });
  for (const name of ["one", "two"]) {
    const { equal, difference, changes, steps } = await reproduceRun(directory.join(name), silent);
    assert.deepEqual({ equal, difference, changes }, { equal: true, difference: null, changes: [] });
    assert.ok(steps > 19);
  }
  assert.ok(![...Deno.readDirSync(directory.path)].some(({ name }) => name.startsWith(".")));
});

Deno.test("the record says what ran, where, and on what", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  await startRun(CONFIG, dataset, { out: directory.join("run"), report: silent });
  const record = readRun(directory.join("run"));
  assert.deepEqual(record.config, CONFIG);
  assert.equal(record.datasetId, dataset.id);
  assert.equal(record.ranks, 2);
  assert.match(record.device!, /^cpu \(/);
  assert.match(record.layoutId!, /^[0-9a-f]{16}$/);
  assert.equal(record.versions.deno, Deno.version.deno);
  assert.equal(record.machine.cores, navigator.hardwareConcurrency);
});

Deno.test("a run that comes out otherwise is told so, with the place of the first difference and what has changed", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  const run = directory.join("run");
  await startRun(CONFIG, dataset, { out: run, report: silent });
  // One bit of one row, in a checkpoint that is whole otherwise.
  const checkpoint = Checkpoint.open(`${run}/last`);
  const host = await openHost(await cpuOptions("wasm"));
  const { memory } = localModel(host, checkpoint.body.model, {
    batchSize: 2,
    denseFeatures: 3,
    tables: 2,
    bags: false,
    lookupCapacity: 4,
  });
  await checkpoint.load(memory, checkpoint.body.model);
  const rows = host.floats(memory.full.weights);
  rows[20_007 * 16 + 3] += 1;
  Deno.removeSync(`${run}/last`, { recursive: true });
  saveCheckpoint(`${run}/last`, memory, checkpoint.body);
  const record = Deno.readTextFileSync(`${run}/run.json`);
  rewrite(`${run}/run.json`, record.replace(/"deno": "[^"]+"/, '"deno": "1.0.0"'));
  const result = await reproduceRun(run, silent);
  assert.equal(result.equal, false);
  assert.match(result.difference!, /^rows\.f32 differs first in word 320115, row 7 of table C2$/);
  assert.match(result.changes.join(), /^deno: then 1\.0\.0, now /);
});

Deno.test("what cannot be run again is refused", async () => {
  using directory = new TemporaryDirectory();
  await startRun(CONFIG, dataOf(directory), { out: directory.join("run"), report: silent });
  const manifest = directory.join("run/last/manifest.json");
  const text = Deno.readTextFileSync(manifest);
  rewrite(manifest, text.replace('"finished": true', '"finished": false'));
  const refused = (reason: RegExp) =>
    assert.rejects(
      reproduceRun(directory.join("run"), silent),
      (error) => error instanceof HotsetError && reason.test(error.message),
    );
  await refused(/it has not ended; finish it with --resume first/);
  Deno.writeTextFileSync(manifest, text);
  Deno.removeSync(directory.join("data"), { recursive: true });
  tinyDataset(directory.join("data"), { ...SHAPE, bags: false, seed: 2, skew: 8 });
  await refused(/has changed since/);
});
