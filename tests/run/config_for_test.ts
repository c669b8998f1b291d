/** Everything that trains, trains data of pairs with the preset for it. */
import assert from "node:assert/strict";
import type { TrainConfig } from "../../src/config/config.ts";
import { configByData } from "../../src/config/config_by_data.ts";
import type { RunEvent } from "../../src/events/events.ts";
import { trainBestOf } from "../../src/run/best_seed.ts";
import { startRun, trainOn } from "../../src/run/run.ts";
import { readRun } from "../../src/run/run_record.ts";
import { sweep } from "../../src/run/sweep.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

const RAW = { format: "csv" } as const; // the input is a dataset
const SMALL: Partial<TrainConfig> = { dim: 4, mode: "cpu", ranks: 1, batchSize: 100, blas: "wasm" };

function dataOf(directory: TemporaryDirectory, denseFeatures: number) {
  const samples = { train: 400, validation: 100, test: 0 };
  const options = { samples, tableRows: [30, 20], denseFeatures, bags: false, seed: 1, skew: 2 };
  return tinyDataset(directory.join(`data-${denseFeatures}`), options);
}

/** A receiver of events, and the notes about the preset that it received. */
function listener() {
  const notes: string[] = [];
  const report = (event: RunEvent) => {
    if (event.event === "note" && event.text.includes("the preset is")) notes.push(event.text);
  };
  return { notes, report };
}

for (const [denseFeatures, model, told] of [[0, "mf", 1], [1, "dlrm", 0]] as const) {
  Deno.test(`data of two tables and ${denseFeatures} dense features trains ${model}, however it is trained`, async () => {
    using directory = new TemporaryDirectory();
    const dataset = dataOf(directory, denseFeatures);
    const config = configByData("default", SMALL);
    const ways = {
      startRun: (out: string, report: (event: RunEvent) => void) => startRun(config, dataset, { out, report }),
      trainOn: (out: string, report: (event: RunEvent) => void) =>
        trainOn([dataset.directory], RAW, config, { out, report }),
      trainBestOf: (out: string, report: (event: RunEvent) => void) =>
        trainBestOf(2, [dataset.directory], () => Promise.resolve(RAW), config, { out, report }),
    };
    for (const [name, train] of Object.entries(ways)) {
      const { notes, report } = listener();
      const out = directory.join(name);
      await train(out, report);
      assert.equal(readRun(out).config.model, model, name);
      assert.equal(notes.length, told, `${name}: ${notes.join("\n")}`);
    }
  });
}

Deno.test("a sweep of pairs trains them with their preset, tells so once, and finds its runs again", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory, 0);
  const folder = directory.join("sweep");
  const runs = [
    { name: "seed=1", config: configByData("default", { ...SMALL, seed: 1 }) },
    { name: "seed=2", config: configByData("default", { ...SMALL, seed: 2 }) },
    { name: "model=dlrm", config: configByData("default", { ...SMALL, model: "dlrm", top: [4, 1] }) },
  ];
  const { notes, report } = listener();
  const first = await sweep([dataset.directory], RAW, runs, folder, { report });
  assert.deepEqual(runs.map(({ name }) => readRun(`${folder}/${name}`).config.model), ["mf", "mf", "dlrm"]);
  assert.equal(notes.length, 1, notes.join("\n"));
  assert.match(notes[0], /^The data is two sparse features alone, so the preset is pairs, .*; --model dlrm has the/);
  assert.deepEqual(await sweep([dataset.directory], RAW, runs, folder, { report: () => {} }), first);
  const other = [{ name: "seed=1", config: configByData("default", { ...SMALL, seed: 1, epochs: 1 }) }];
  await assert.rejects(
    sweep([dataset.directory], RAW, other, folder, { report: () => {} }),
    /^UsageError: .*seed=1 has another epochs; /,
  );
});

Deno.test("a new model of preset default warms up; one that is trained further, or by a function of the step, does not", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory, 1);
  const config = configByData("default", { ...SMALL, batchSize: 10, bottom: [4], top: [1], printFreq: 1 });
  const train = async (name: string, options: Partial<Parameters<typeof startRun>[2]>) => {
    const out = directory.join(name);
    const rates: number[] = [];
    const report = (event: RunEvent) => void (event.event === "progress" && rates.push(event.learningRate));
    await startRun(config, dataset, { out, report, ...options });
    return { steps: readRun(out).config.warmupSteps, first: rates[0] };
  };
  assert.deepEqual(await train("new", {}), { steps: 4, first: 0.01 / 4 });
  assert.deepEqual(await train("further", { from: directory.join("new") }), { steps: 0, first: 0.01 });
  assert.deepEqual(await train("function", { schedule: () => 0.5 }), { steps: 0, first: 0.5 });
});

Deno.test("a small log is trained for two epochs, with a note, however it is trained; further training has one", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory, 1);
  const small = { ...SMALL, bottom: [4], top: [1] };
  const config = configByData("default", small);
  const told: string[] = [];
  const report = (event: RunEvent) => {
    if (event.event === "note" && event.text.includes("epochs")) told.push(event.text);
  };
  const trained = (out: string) => readRun(out).config.epochs;
  const { steps } = await startRun(config, dataset, { out: directory.join("new"), report });
  assert.equal(steps, 2 * 4);
  assert.equal(trained(directory.join("new")), 2);
  assert.deepEqual(told.splice(0), [
    "The log is small (400 train samples), so training takes 2 epochs and keeps the checkpoint that is the best on the " +
    "validation split; choose --epochs 1 for less time",
  ]);
  const inputs = [dataset.directory];
  await trainBestOf(2, inputs, () => Promise.resolve(RAW), config, { out: directory.join("best"), report });
  assert.equal(trained(directory.join("best")), 2);
  const folder = directory.join("sweep");
  const runs = [1, 2].map((seed) => ({ name: `${seed}`, config: configByData("default", { ...small, seed }) }));
  await sweep(inputs, RAW, runs, folder, { report });
  assert.equal(trained(`${folder}/1`), 2);
  assert.equal(told.splice(0).length, 2, "one for each command");
  const from = directory.join("new");
  await trainOn(inputs, RAW, config, { out: directory.join("further"), from, report });
  assert.equal(trained(directory.join("further")), 1);
  await sweep(inputs, RAW, runs, directory.join("sweep-further"), { from, report });
  assert.deepEqual(
    [1, 2].map((seed) => readRun(directory.join("sweep-further", `${seed}`)).config).map((config) => [
      config.epochs,
      config.warmupSteps,
    ]),
    [[1, 0], [1, 0]],
  );
  assert.deepEqual(told, []);
});
