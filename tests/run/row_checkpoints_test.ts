/** Checkpoints of runs with rows on disk: hard links to segments of a log, which every command reads. */
import assert from "node:assert/strict";
import { exportRun } from "../../src/interop/export_run.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import type { MemoryBudget } from "../../src/config/memory_budget.ts";
import { resumeRun, startRun } from "../../src/run/run.ts";
import { reproduceRun } from "../../src/run/reproduce.ts";
import { evaluateRun, predictRun } from "../../src/run/score_run.ts";
import { COLUMNS, CONFIG as TRAINED, csvOf, logRow, TrainedRun } from "../serving/support.ts";
import { checkpointsOf, contentOf } from "../support/checkpoint_words.ts";
import { CONFIG, dataOf, quiet, stopAt } from "../support/row_runs.ts";
import { slowTest } from "../support/series.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const memory = { share: 0.05 };

/** Every file of a run's checkpoints: which one it is, and its content. */
function filesOf(run: string): Record<string, { inode: number | null; bytes: string }> {
  return Object.fromEntries(["best", "last"].flatMap((name) =>
    [...Deno.readDirSync(`${run}/${name}`)].map((file) => {
      const path = `${run}/${name}/${file.name}`;
      return [`${name}/${file.name}`, { inode: Deno.statSync(path).ino, bytes: Deno.readFileSync(path).toBase64() }];
    })
  ));
}

Deno.test("checkpoints share segments, and hold the rows that were trained and no others", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory, { rows: 400_000 });
  const out = directory.join("run");
  await startRun({ ...CONFIG, memory, testFreq: 11 }, dataset, { out, report: quiet });
  const files = Object.entries(filesOf(out));
  const inodes = files.filter(([name]) => name.includes("rows-")).map(([_, { inode }]) => inode);
  assert.ok(inodes.length > new Set(inodes).size, "nothing is shared");
  const bytes = files.filter(([name]) => name.startsWith("last/")).reduce(
    (sum, [_, file]) => sum + file.bytes.length,
    0,
  );
  assert.ok(bytes < 4e6, `${bytes} bytes of base64 for a few thousand of 400,000 rows`);
});

slowTest("evaluate, export and reproduce read either kind of checkpoint, and change none", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  const [plain, cached] = ["plain", "cached"].map((name) => directory.join(name));
  await startRun(CONFIG, dataset, { out: plain, report: quiet });
  await startRun({ ...CONFIG, memory }, dataset, { out: cached, report: quiet });
  assert.deepEqual(checkpointsOf(cached), checkpointsOf(plain));
  const before = filesOf(cached);
  const [expected, found] = [await evaluateRun(plain, [], quiet), await evaluateRun(cached, [], quiet)];
  assert.deepEqual(found, expected);
  for (const run of [plain, cached]) assert.deepEqual(await evaluateRun(run, [], quiet, { memory }), expected, run);
  for (const format of ["safetensors", "onnx"] as const) {
    const files: Uint8Array[][] = [];
    for (const run of [plain, cached]) {
      const paths = await exportRun(run, format, directory.join(`model.${format}`), quiet);
      files.push(paths.map((file) => Deno.readFileSync(file)));
    }
    assert.deepEqual(files[1], files[0]);
  }
  assert.equal((await reproduceRun(cached, quiet)).difference, null);
  assert.deepEqual(filesOf(cached), before);
});

slowTest("predict gives the same scores within a memory budget, for checkpoints of either kind", async () => {
  using trained = await TrainedRun.create();
  const onDisk = trained.join("on-disk");
  await startRun({ ...TRAINED, memory }, Dataset.open(trained.join("data")), { out: onDisk, report: quiet });
  const input = trained.join("new.csv");
  const rows = Array.from({ length: 700 }, (_, i) => ({ ...logRow(i + 555), city: i % 50 === 0 ? "Nowhere" : "Oslo" }));
  Deno.writeTextFileSync(input, csvOf(rows, COLUMNS.map(({ name }) => name)));
  const predict = (run: string, memory?: MemoryBudget) => predictRun(run, [input], { blas: "wasm", memory }, quiet);
  const expected = await predict(trained.run);
  assert.ok(new Set(expected).size > 100, "scores are all the same");
  for (const run of [trained.run, onDisk]) {
    for (const memory of [undefined, { share: 0 }, { share: 0.5 }, { bytes: 4 * 2 ** 30 }]) {
      assert.deepEqual(await predict(run, memory), expected, `${run} ${JSON.stringify(memory)}`);
    }
    await assert.rejects(predict(run, { bytes: 128 * 2 ** 20 }), /Cannot work within 128 MiB of memory/);
  }
});

Deno.test("--from a run with rows on a disk shares them and writes to none", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  const [first, plain, cached, inMemory] = ["first", "plain", "cached", "in-memory"].map((name) =>
    directory.join(name)
  );
  await startRun({ ...CONFIG, memory }, dataset, { out: first, report: quiet });
  await startRun(CONFIG, dataset, { out: plain, report: quiet });
  const before = filesOf(first);
  const config = { ...CONFIG, seed: 9, learningRate: 0.01 };
  const from = (out: string, from: string, memory: { share: number } | null = null) =>
    startRun({ ...config, memory }, dataset, { out, from, report: quiet });
  await from(directory.join("expected"), plain);
  const expected = checkpointsOf(directory.join("expected"));
  for (const [out, memory] of [[cached, { share: 0.05 }], [inMemory, null]] as const) {
    await from(out, first, memory);
    const found = checkpointsOf(out);
    // The name of a run says which checkpoint it began with.
    for (const name of ["best", "last"]) {
      assert.deepEqual(found[name].vectors, expected[name].vectors, `${out} ${name}`);
    }
  }
  assert.deepEqual(filesOf(first), before);
  Deno.removeSync(first, { recursive: true });
  await evaluateRun(cached, [], quiet);
});

Deno.test("a run goes on from a checkpoint whatever is left of a killed process", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  const [plain, out] = ["plain", "run"].map((name) => directory.join(name));
  await startRun(CONFIG, dataset, { out: plain, report: quiet });
  // Of a number that no process has.
  const leave = () => {
    Deno.mkdirSync(`${out}/.rows.partial-4194304-abc`, { recursive: true });
    Deno.writeTextFileSync(`${out}/.rows.partial-4194304-abc/rows-1.log`, "half a page");
  };
  leave();
  await stopAt(7, (options) => startRun({ ...CONFIG, memory }, dataset, { out, ...options }));
  leave();
  await resumeRun({ out, report: quiet });
  assert.deepEqual(contentOf(`${out}/last`), contentOf(`${plain}/last`));
  assert.deepEqual([...Deno.readDirSync(out)].map(({ name }) => name).filter((name) => name.startsWith(".")), []);
});
