/** Long work offers breaks, more of them the more work there is. How long the parts take is measured by event_loop_slow_test.ts. */
import assert from "node:assert/strict";
import { cpuOptions, openHost } from "../src/backend/open.ts";
import { resolveConfig } from "../src/config/config.ts";
import { generateDataset, writeCriteoLog } from "../src/dataset/generate.ts";
import { exportRun } from "../src/interop/export_run.ts";
import { importRun } from "../src/interop/import_run.ts";
import { planModel } from "../src/model/shape.ts";
import { planDataset } from "../src/plan/plan_training.ts";
import { profileDataset } from "../src/profile/profile_dataset.ts";
import { packRun } from "../src/run/packed_run.ts";
import { writeScores } from "../src/run/score_run.ts";
import { openModel } from "../src/serving/scoring_model.ts";
import { measureInParts } from "../src/storage/file_entry.ts";
import { TrainedRun } from "./serving/support.ts";
import { breaksOf } from "./support/breaks.ts";
import { localModel } from "./support/local_model.ts";
import { slowTest } from "./support/series.ts";
import { TemporaryDirectory } from "./support/temporary.ts";

const silent = () => {};
const GENERATION = { seed: 1, scale: 1000, fractions: { validation: 0.1, test: 0.1 } };
/** Samples that are generated at a time. */
const BLOCK = 1024;

async function expectBreaks(what: string, least: number, work: () => Promise<unknown>): Promise<void> {
  const breaks = await breaksOf(work);
  assert.ok(breaks >= least, `${what}: ${breaks} breaks, fewer than ${least}`);
}

Deno.test("generating has a break for each block of samples", async () => {
  using place = new TemporaryDirectory();
  for (const blocks of [1, 4]) {
    const options = { ...GENERATION, samples: blocks * BLOCK };
    await expectBreaks("dataset", blocks, () => generateDataset(place.join(`data-${blocks}`), options));
    await expectBreaks("log", blocks, () => writeCriteoLog(place.join(`log-${blocks}`), options));
  }
});

Deno.test("reading a file for its checksum has a break for each 8 MiB", async () => {
  using place = new TemporaryDirectory();
  const path = place.join("file");
  Deno.writeFileSync(path, new Uint8Array(20 << 20));
  assert.equal(await breaksOf(() => measureInParts(path)), 3);
});

Deno.test("profiling and planning have a break for each table and for each sample that is drawn", async () => {
  using place = new TemporaryDirectory();
  const dataset = await generateDataset(place.join("data"), { ...GENERATION, samples: 2 * BLOCK });
  const drawn = dataset.samples("train");
  const options = { dim: 16, optimizer: "sgd", hotMemory: 2 ** 18, seed: 1 } as const;
  const out = place.join("profile");
  const exact = drawn + dataset.tables;
  await expectBreaks("exact", exact, () => profileDataset(dataset, { ...options, out }));
  const sampled = exact + drawn; // the log has all samples
  await expectBreaks("sampled", sampled, () => profileDataset(dataset, { ...options, out, sampleRate: 100 }));
  const config = resolveConfig("kaggle", { hotMemory: 2 ** 18 });
  await expectBreaks("plan", drawn, () => planDataset(dataset, config, { total: 2 ** 34, available: 2 ** 34 }));
});

slowTest("what reads or writes a model has a break for each of its files", async () => {
  using trained = await TrainedRun.create();
  const { run } = trained;
  const files = 4; // rows and dense parameters, and their state
  const model = trained.join("model.hotset"), tensors = trained.join("model.safetensors");
  // The checkpoint is checked when its data is opened and when it is read.
  await expectBreaks("openModel", 3 * files, async () => (await openModel(run))[Symbol.dispose]());
  await expectBreaks("packRun", 3 * files, () => packRun(run, model, silent));
  await expectBreaks("a packed run", 4 * files, async () => (await openModel(model))[Symbol.dispose]());
  await expectBreaks("exportRun", 2 * files, () => exportRun(run, "safetensors", tensors, silent));
  const options = { data: trained.join("data"), out: trained.join("imported"), config: {} };
  await expectBreaks("importRun", files, () => importRun(tensors, options, silent));
});

Deno.test("writing scores has a break for the header and for each 8,192 lines", async () => {
  using place = new TemporaryDirectory();
  const scores = new Float32Array(20_000);
  assert.equal(await breaksOf(() => writeScores(scores, place.join("scores.csv"), "csv")), 1 + 3);
});

Deno.test("a rank on the calling thread has a break for each 16,384 rows that it draws", async () => {
  const model = planModel({
    ...{ dim: 4, tableRows: [70_000], bottom: [2, 4], top: [1], interaction: "dot", optimizer: "sgd" },
  });
  const batches = { batchSize: 2, denseFeatures: 2, tables: 1, bags: false, lookupCapacity: 2 };
  await using group = localModel(await openHost(await cpuOptions("wasm")), model.shape, batches);
  assert.equal(await breaksOf(() => group.initialise(new Float32Array(model.denseWords), 1)), 5);
});
