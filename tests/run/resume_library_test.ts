/** A resumed run uses the library of matrix products with which it began, whatever `auto` would select now. */
import assert from "node:assert/strict";
import { Interrupted } from "../../src/errors.ts";
import { exportRun } from "../../src/interop/export_run.ts";
import { importRun } from "../../src/interop/import_run.ts";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import type { RunEvent } from "../../src/events/events.ts";
import { reproduceRun } from "../../src/run/reproduce.ts";
import { resumeRun, startRun } from "../../src/run/run.ts";
import { readRun } from "../../src/run/run_record.ts";
import { rewrite } from "../support/rewrite.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

const CONFIG: TrainConfig = resolveConfig("default", {
  ...{ mode: "cpu", blas: "wasm", ranks: 1, batchSize: 25, printFreq: 1 },
  ...{ dim: 8, bottom: [12, 8], top: [6, 1] },
});
const silent = () => {};

function dataOf(directory: TemporaryDirectory) {
  return tinyDataset(directory.join("data"), {
    samples: { train: 300, validation: 50, test: 0 },
    tableRows: [40, 300],
    denseFeatures: 3,
    bags: false,
    seed: 1,
    skew: 4,
  });
}

/** A run that the kernels began where `auto` chose them, and that ended after five steps. */
async function beginWithKernels(directory: TemporaryDirectory, mode: "cpu" | "fae"): Promise<string> {
  const out = directory.join(`begun-${mode}`);
  const controller = new AbortController();
  const report = (event: RunEvent) => {
    if (event.event === "progress" && event.step === 5) controller.abort();
  };
  const config: TrainConfig = { ...CONFIG, mode, device: "cpu" };
  const options = { out, report, signal: () => controller.signal };
  await assert.rejects(startRun(config, dataOf(directory), options), Interrupted);
  assert.equal(readRun(out).blas, "wasm");
  const record = JSON.parse(Deno.readTextFileSync(`${out}/run.json`));
  rewrite(
    `${out}/run.json`,
    JSON.stringify({ ...record, config: { ...record.config, blas: "auto", device: "auto" } }),
  );
  return out;
}

/** Goes on with a run and returns the notes of it that are about what computes. */
async function resume(out: string, changes: { blas?: TrainConfig["blas"] } = {}): Promise<string[]> {
  const notes: string[] = [];
  await resumeRun({ out, report: (event) => event.event === "note" && notes.push(event.text) }, changes);
  return notes.filter((text) => /^(Training on|Continuing with)/.test(text));
}

for (const mode of ["cpu", "fae"] as const) {
  Deno.test(`a run goes on with the library that it began with, and is reproduced with it, mode ${mode}`, async () => {
    using directory = new TemporaryDirectory();
    const out = await beginWithKernels(directory, mode);
    assert.deepEqual(await resume(out), ["Training on cpu (WASM SIMD) with 1 rank"]);
    const { equal, changes } = await reproduceRun(out, silent);
    assert.deepEqual({ equal, changes }, { equal: true, changes: [] });
  });
}

Deno.test("a run whose library was not recorded, or that computes elsewhere than it began, is told what changes", async () => {
  using directory = new TemporaryDirectory();
  const out = await beginWithKernels(directory, "cpu");
  const { blas: _blas, ...record } = JSON.parse(Deno.readTextFileSync(`${out}/run.json`));
  rewrite(`${out}/run.json`, JSON.stringify({ ...record, device: "cpu (another library)" }));
  assert.equal(readRun(out).blas, null);
  const [training, change, ...rest] = await resume(out, { blas: "wasm" });
  assert.equal(training, "Training on cpu (WASM SIMD) with 1 rank");
  assert.match(
    change,
    /^Continuing with cpu \(WASM SIMD\) instead of cpu \(another library\): the last bits .* may differ/,
  );
  assert.deepEqual(rest, []);
});

Deno.test("an imported model records what computes it when it is trained; it is not reproduced, for it is not kept", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  await startRun(CONFIG, dataset, { out: directory.join("run"), report: silent });
  const file = directory.join("model.safetensors"), out = directory.join("imported");
  await exportRun(directory.join("run"), "safetensors", file, silent);
  await importRun(file, { data: dataset.directory, out, ids: "rows", config: { ...CONFIG, blas: "auto" } }, silent);
  assert.equal(readRun(out).blas, null);
  await resume(out, { blas: "wasm" });
  const { blas, ranks, config } = readRun(out);
  assert.deepEqual({ blas, ranks, told: config.blas }, { blas: "wasm", ranks: 1, told: "auto" });
  await assert.rejects(reproduceRun(out, silent), /Cannot reproduce .* imported model, which is not stored/);
});
