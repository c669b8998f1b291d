/** Checkpoints of runs with rows on disk: hard links to segments of a log, which every command reads. */
import assert from "node:assert/strict";
import { exportRun } from "../../src/interop/export_run.ts";
import { resumeRun, startRun } from "../../src/run/run.ts";
import { reproduceRun } from "../../src/run/reproduce.ts";
import { evaluateRun } from "../../src/run/score_run.ts";
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
    const [a, b] = [plain, cached].map((run) =>
      exportRun(run, format, directory.join(`model.${format}`), quiet).map((file) => Deno.readFileSync(file))
    );
    assert.deepEqual(b, a);
  }
  assert.equal((await reproduceRun(cached, quiet)).difference, null);
  assert.deepEqual(filesOf(cached), before);
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
