import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { predictRun } from "../../mod/score.ts";
import { LAUNCHERS } from "../support/mpirun.ts";
import { missingModule } from "../support/python.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { example, runExample, succeed, trainedExample } from "./support.ts";

const CLI = new URL("../../cli.ts", import.meta.url).pathname;

/** A directory with a small dataset, `clicks`. */
async function withDataset() {
  const directory = new TemporaryDirectory();
  const flags = ["--samples", "4000", "--scale", "1000", "--out", "clicks", "--quiet"];
  await succeed(directory.path, Deno.execPath(), ["run", "-A", "--no-check", CLI, "generate", ...flags]);
  return directory;
}

const noRuntime = missingModule("onnxruntime");

Deno.test({
  name: "examples: ONNX Runtime gives the scores of predict" + (noRuntime ? ` (skipped: ${noRuntime})` : ""),
  ignore: noRuntime !== undefined,
  async fn() {
    const { directory } = await trainedExample(2000);
    using _ = directory;
    await runExample(directory.path, "onnx.ts", "run", "clicks.csv", "clicks.onnx");
    const { stdout } = await succeed(directory.path, "python3", [example("onnx.py"), "clicks.onnx"]);
    await expectPredicted(directory, stdout);
  },
});

Deno.test("examples: what Node runs gives the scores of predict", async () => {
  const { directory } = await trainedExample(2000);
  using _ = directory;
  await runExample(directory.path, "onnx.ts", "run", "clicks.csv", "clicks.onnx");
  await expectPredicted(directory, await runExample(directory.path, "onnx.mjs", "clicks.onnx")); // Deno stands in for Node
});

/** Expects the scores of `predict`, one a line, of the rows in clicks.csv. */
async function expectPredicted(directory: TemporaryDirectory, printed: string): Promise<void> {
  const scores = printed.trimEnd().split("\n");
  const expected = await predictRun(directory.join("run"), [directory.join("clicks.csv")], {}, () => {});
  assert.equal(scores.length, expected.length);
  for (const [i, score] of scores.entries()) {
    assert.ok(Math.abs(Number(score) - expected[i]) < 1e-5, `row ${i}: ${score} and ${expected[i]}`);
  }
}

Deno.test("examples: a worker trains for a program, and its errors reach the program", async () => {
  using directory = await withDataset();
  const printed = await runExample(directory.path, "train_in_worker.ts", "clicks", "run");
  assert.match(printed, /^test AUC 0\.\d{4}, logloss 0\.\d{4}$/m);
  assert.ok(Deno.statSync(directory.join("run/best")));

  const args = ["run", "-A", "--no-check", example("train_in_worker.ts"), "clicks", "run"];
  const again = await new Deno.Command(Deno.execPath(), { args, cwd: directory.path, env: { NO_COLOR: "1" } }).output();
  assert.equal(again.code, 1);
  assert.match(new TextDecoder().decode(again.stdout), /run/); // it exists: the worker's error reaches the program
});

Deno.test("examples: a sweep compares all its runs, the best first", async () => {
  using directory = await withDataset();
  const table = await runExample(directory.path, "sweep.ts", "clicks", "sweep");
  const aucs = [...table.matchAll(/│ ([\d.]+) +│$/gm)].map(([, auc]) => Number(auc));
  assert.equal(aucs.length, 3, table);
  assert.deepEqual(aucs, aucs.toSorted((a, b) => b - a));
  for (const rate of ["0.003", "0.01", "0.03"]) assert.ok(Deno.statSync(directory.join(`sweep/rate-${rate}/best`)));
  assert.equal([...Deno.readDirSync(directory.join("sweep/layouts"))].length, 1, "one layout serves all");
});

Deno.test("examples: a model grows over some days, is served and swapped, and moves away without its data", async () => {
  using directory = new TemporaryDirectory();
  const printed = await runExample(directory.path, "week.ts", "week", "4000", "3");
  const days = [...printed.matchAll(/│ +\d │ +(\d) │ ([\d.]+) +│ ([\d.]+) +│ ([\d.]+) +│$/gm)];
  assert.equal(days.length, 3, printed);
  const [, , grown, alone] = days.at(-1)!.map(Number);
  assert.ok(grown > alone, printed);
  assert.equal(printed.match(/POST \$URL\/reload/g)?.length, 2);
  assert.ok(Number(/answered (\d+) requests/.exec(printed)![1]) > 10, printed);
  assert.match(printed, /has scored without the week, with the same AUC and the server's scores/);
  assert.ok(!existsSync(directory.join("week")));
});

for (const { name, mpirun, skipped } of LAUNCHERS) {
  Deno.test({
    name: `${name}: examples: one machine plays two hosts${skipped}`,
    ignore: mpirun === undefined,
    async fn() {
      using directory = await withDataset();
      const env = {
        ...{ MPIRUN: mpirun!, DENO: Deno.execPath() },
        ...{ OMPI_ALLOW_RUN_AS_ROOT: "1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1" },
      };
      const { stdout, stderr } = await succeed(directory.path, example("two_hosts.sh"), ["clicks", "run"], env);
      assert.match(stdout, /Runs: run/);
      assert.match(stderr, /with 2 ranks on 2 hosts/);
    },
  });
}
