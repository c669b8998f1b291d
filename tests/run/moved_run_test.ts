/** A run contains what its model needs and no absolute path: it can be moved with or without its data. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Dataset } from "../../src/dataset/dataset.ts";
import { exportRun } from "../../src/interop/export_run.ts";
import { reproduceRun } from "../../src/run/reproduce.ts";
import { resumeRun, startRun } from "../../src/run/run.ts";
import { ENCODING } from "../../src/run/run_record.ts";
import { evaluateRun, predictRun } from "../../src/run/score_run.ts";
import { openModel } from "../../src/serving/scoring_model.ts";
import { COLUMNS, csvOf, logRow, TrainedRun } from "../serving/support.ts";
import { slowTest } from "../support/series.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { CONFIG, dataOf } from "../support/small_run.ts";

const silent = () => {};
const ROWS = Array.from({ length: 40 }, (_, i) => logRow(i));

/** The text files below a directory. */
function* texts(directory: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(directory)) {
    const path = join(directory, name);
    if (isDirectory) yield* texts(path);
    else if (/\.jsonl?$/.test(name)) yield Deno.readTextFileSync(path);
  }
}

slowTest("a run that was moved away from its data predicts, evaluates, exports and serves the same", async () => {
  using trained = await TrainedRun.create();
  using elsewhere = new TemporaryDirectory();
  const input = elsewhere.join("new.csv");
  Deno.writeTextFileSync(input, csvOf(ROWS, COLUMNS.map(({ name }) => name)));
  const used = async (run: string, file: string) => {
    await exportRun(run, "safetensors", elsewhere.join(file), silent);
    using model = await openModel(run);
    return {
      scores: await predictRun(run, [input], { blas: "wasm" }, silent),
      evaluation: await evaluateRun(run, [input], silent),
      exported: Deno.readFileSync(elsewhere.join(file)),
      model: model.score(ROWS),
    };
  };
  const before = await used(trained.run, "a.safetensors");
  for (const text of texts(trained.run)) assert.ok(!text.includes(trained.join("")), text);
  const moved = elsewhere.join("moved");
  Deno.renameSync(trained.run, moved);
  Deno.removeSync(trained.join("data"), { recursive: true });
  assert.deepEqual(await used(moved, "b.safetensors"), before);
  await assert.rejects(
    evaluateRun(moved, [], silent),
    /^HotsetError: Cannot evaluate .*moved: its dataset is not at .*; name what to evaluate on: raw files, or a dataset$/,
  );
});

Deno.test("--data gives a moved run what training needs; beside its data it needs nothing", async () => {
  using directory = new TemporaryDirectory();
  const config = { ...CONFIG, mode: "cpu", epochs: 1 } as const;
  const run = directory.join("a/run");
  const dataset = dataOf(directory, 200);
  const result = await startRun(config, dataset, { out: run, report: silent });
  Deno.mkdirSync(directory.join("b/deeper"), { recursive: true });
  const moved = directory.join("b/deeper/run");
  Deno.renameSync(run, moved);
  const advice = /its dataset is not at .*; name its directory with --data$/;
  await assert.rejects(resumeRun({ out: moved, report: silent }), advice);
  await assert.rejects(reproduceRun(moved, silent), advice);
  using elsewhere = new TemporaryDirectory();
  const other = dataOf(elsewhere, 210);
  await assert.rejects(
    resumeRun({ out: moved, data: other.directory, report: silent }),
    /it was trained on another dataset than .*data/,
  );
  const data = dataset.directory;
  assert.equal((await resumeRun({ out: moved, data, report: silent })).steps, result.steps);
  assert.equal((await reproduceRun(moved, silent, undefined, data)).equal, true);
  // Moved together, they find each other.
  Deno.renameSync(moved, directory.join("b/run"));
  const together = elsewhere.join("together");
  Deno.mkdirSync(together);
  Deno.renameSync(directory.join("b"), join(together, "b"));
  Deno.renameSync(data, join(together, "data"));
  assert.equal((await resumeRun({ out: join(together, "b/run"), report: silent })).steps, result.steps);
});

Deno.test("a run that began with another's model goes on without it", async () => {
  using directory = new TemporaryDirectory();
  const config = { ...CONFIG, mode: "cpu", epochs: 1 } as const;
  const dataset = dataOf(directory, 200);
  const [first, second] = ["first", "second"].map((name) => directory.join(name));
  await startRun(config, dataset, { out: first, report: silent });
  const result = await startRun(config, dataset, { out: second, from: first, report: silent });
  Deno.removeSync(first, { recursive: true });
  assert.equal((await resumeRun({ out: second, report: silent })).steps, result.steps);
});

Deno.test("a run whose dictionary is damaged is refused, and one without it uses its dataset", async () => {
  using trained = await TrainedRun.create();
  const kept = join(trained.run, ENCODING);
  const expected = await scoresOf(trained.run);
  const dictionary = join(kept, "dictionary.parquet");
  const bytes = Deno.readFileSync(dictionary);
  bytes[bytes.length >> 1] ^= 4;
  Deno.removeSync(dictionary); // it is a hard link to that of the dataset
  Deno.writeFileSync(dictionary, bytes);
  await assert.rejects(scoresOf(trained.run), /^HotsetError: Cannot open encoding .*dictionary.parquet is damaged/);
  Deno.removeSync(kept, { recursive: true });
  assert.deepEqual(await scoresOf(trained.run), expected);
  assert.ok(Dataset.open(trained.join("data")));
});

async function scoresOf(run: string): Promise<Float32Array> {
  using model = await openModel(run);
  return model.score(ROWS);
}
