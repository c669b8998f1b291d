/** Long work offers breaks, more of them the more work there is. How long the parts take is measured by event_loop_slow_test.ts. */
import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import { cpuOptions, openHost } from "../src/backend/open.ts";
import { inParts } from "../src/breaks.ts";
import { resolveConfig } from "../src/config/config.ts";
import { generateDataset, writeCriteoLog } from "../src/dataset/generate.ts";
import { writeRows } from "../src/dataset/write_rows.ts";
import { exportRun } from "../src/interop/export_run.ts";
import { importRun } from "../src/interop/import_run.ts";
import { initialiseDenseInParts } from "../src/model/initialise.ts";
import { planModel } from "../src/model/shape.ts";
import { planDataset } from "../src/plan/plan_training.ts";
import { profileDataset } from "../src/profile/profile_dataset.ts";
import { writeProfileReport } from "../src/report/html/profile_report.ts";
import { labelNotes } from "../src/run/label_notes.ts";
import { packRun } from "../src/run/packed_run.ts";
import { writeScores } from "../src/run/score_run.ts";
import { openModel } from "../src/serving/scoring_model.ts";
import { measureInParts } from "../src/storage/file_entry.ts";
import { TrainedRun } from "./serving/support.ts";
import { startWorker } from "../src/threads/start_worker.ts";
import { breaksOf } from "./support/breaks.ts";
import { localModel } from "./support/local_model.ts";
import { slowTest } from "./support/series.ts";
import { TemporaryDirectory } from "./support/temporary.ts";
import { writeDataset } from "./support/tiny_dataset.ts";

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

Deno.test("reading a file for its checksum has a break for each MiB", async () => {
  using place = new TemporaryDirectory();
  const path = place.join("file");
  Deno.writeFileSync(path, new Uint8Array(20 << 20));
  assert.equal(await breaksOf(() => measureInParts(path)), 20);
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

Deno.test("writing rows has a break for each module of DuckDB and for each 1,024 rows", async () => {
  using place = new TemporaryDirectory();
  const rows = Array.from({ length: 3000 }, (_, i) => ({ click: i % 2 }));
  await expectBreaks("rows", 6 + 3, () => writeRows(rows, place.join("rows.parquet")));
});

Deno.test("threads start one after the other, with a break before each", async () => {
  const module = new URL("data:text/javascript,");
  using workers = new DisposableStack();
  const start = async () => workers.adopt(await startWorker(module, "idle"), (worker) => worker.terminate());
  let turns = 0;
  const counted = breaksOf(() => Promise.all([start(), start(), start()]));
  const turn = () => void (turns++, immediate = setImmediate(turn));
  let immediate = setImmediate(turn);
  assert.equal(await counted, 3);
  clearImmediate(immediate);
  assert.ok(turns >= 2, `${turns} turns of the event loop`);
});

Deno.test("initial dense parameters and the search for labels come in parts", async () => {
  const plan = planModel({
    ...{ dim: 4, tableRows: [7], bottom: [300, 200, 4], top: [1], interaction: "dot", optimizer: "sgd" },
  });
  const least = plan.denseWords / 2 ** 14;
  await expectBreaks("parameters", least, () => {
    return inParts(initialiseDenseInParts(plan, 1, new Float32Array(plan.denseWords)));
  });
  using place = new TemporaryDirectory();
  const samples = 10_000;
  const train = {
    labels: new Uint8Array(samples),
    dense: new Float32Array(samples),
    ids: new Uint32Array(samples),
  };
  const dataset = writeDataset(place.join("data"), { tableRows: [1], denseFeatures: 1, splits: { train } });
  assert.equal(await breaksOf(() => labelNotes(dataset, "auc")), Math.ceil(samples / 2 ** 12));
});

slowTest("reports have a break for each drawing", async () => {
  using place = new TemporaryDirectory();
  const dataset = await generateDataset(place.join("data"), { ...GENERATION, samples: 2 * BLOCK });
  const options = { dim: 16, optimizer: "sgd", hotMemory: 2 ** 18, seed: 1 } as const;
  const profile = await profileDataset(dataset, { ...options, out: place.join("profile") });
  // Two charts in two widths, and a curve for each table.
  await expectBreaks("profile", 4 + dataset.tables, () => {
    return writeProfileReport(profile, dataset, place.join("profile.html"));
  });
});

Deno.test("a rank on the calling thread has a break for each 16,384 rows that it draws", async () => {
  const model = planModel({
    ...{ dim: 4, tableRows: [70_000], bottom: [2, 4], top: [1], interaction: "dot", optimizer: "sgd" },
  });
  const batches = { batchSize: 2, denseFeatures: 2, tables: 1, bags: false, lookupCapacity: 2 };
  await using group = localModel(await openHost(await cpuOptions("wasm")), model.shape, batches);
  assert.equal(await breaksOf(() => group.initialise(new Float32Array(model.denseWords), 1)), 5);
});
