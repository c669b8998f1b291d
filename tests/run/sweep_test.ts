/**
 * A sweep trains a run for each combination of options on data that is prepared once, and continues after an
 * interruption.
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { program } from "../../cli/main.ts";
import { resolveConfig } from "../../src/config/config.ts";
import { resumeRun } from "../../src/run/run.ts";
import { summarizeRun } from "../../src/run/run_list.ts";
import { METRICS_FILE } from "../../src/run/run_metrics.ts";
import { combinations, nameOf, sweep } from "../../src/run/sweep.ts";
import { dataOf } from "../support/small_run.ts";
import { slowTest } from "../support/series.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const names = (directory: string) => [...Deno.readDirSync(directory)].map(({ name }) => name).sort();
const RAW = { format: "csv" } as const; // the input is a dataset

Deno.test("options of a sweep take lists and ranges", () => {
  const command = program.commands.find((each) => each.name() === "sweep")!;
  const parse = (long: string, text: string) =>
    command.options.find((each) => each.long === long)!.parseArg!(text, undefined);
  assert.deepEqual(parse("--learning-rate", "0.01,0.02"), [0.01, 0.02]);
  assert.deepEqual(parse("--seed", "1..3,7"), [1, 2, 3, 7]);
  assert.deepEqual(parse("--arch-mlp-top", "8-1,16-1"), [[8, 1], [16, 1]]);
  assert.deepEqual(parse("--optimizer", "sgd,adam"), ["sgd", "adam"]);
  for (const [long, text] of [["--seed", "3..1"], ["--seed", "1..x"], ["--optimizer", "sgd,none"], ["--seed", ""]]) {
    assert.throws(() => parse(long, text), /Expected|must/, `${long} ${text}`);
  }
});

Deno.test("combinations, and the names of their runs", () => {
  const all = combinations({ learningRate: [0.1, 0.2], seed: [1, 2] });
  assert.deepEqual(all.map(nameOf), [
    ...["learningRate=0.1,seed=1", "learningRate=0.1,seed=2", "learningRate=0.2,seed=1", "learningRate=0.2,seed=2"],
  ]);
  assert.deepEqual(combinations({}), [{}]);
  assert.equal(nameOf({ top: [8, 1], blas: "../x" }), "top=8-1,blas=.._x");
  const budgets = [{ share: 0.25 }, { bytes: 2048 }, null].map((memory) => nameOf({ memory }));
  assert.deepEqual(budgets, ["memory=0.25", "memory=2048", "memory=null"]);
});

Deno.test("two runs of one name are refused before any trains", async () => {
  using directory = new TemporaryDirectory();
  const runs = [1, 2, 1].map((seed) => ({ name: nameOf({ seed }), config: resolveConfig("kaggle", { seed }) }));
  await assert.rejects(
    sweep(["missing"], RAW, runs, directory.join("twice"), { report: () => {} }),
    /^UsageError: Cannot sweep in .*twice: two runs would be named seed=1; give every value once$/,
  );
});

slowTest(
  "runs that train at the same time have the results of runs in turn, and are resumed after an interruption",
  async () => {
    using directory = new TemporaryDirectory();
    const data = dataOf(directory, 2000).directory;
    const config = (learningRate: number) =>
      resolveConfig("kaggle", {
        ...{ mode: "cpu", ranks: 1, bottom: [8, 16], top: [8, 1], batchSize: 50, epochs: 3 },
        learningRate,
      });
    const runs = [0.01, 0.02, 0.03].map((rate) => ({ name: nameOf({ learningRate: rate }), config: config(rate) }));
    const report = () => {};
    const inTurn = await sweep([data], RAW, runs, directory.join("turn"), { report });
    // Without a number of ranks, runs at the same time share the cores.
    const free = runs.map((run) => ({ ...run, config: { ...run.config, ranks: null } }));
    const jobs = navigator.hardwareConcurrency;
    const atOnce = await sweep([data], RAW, free, directory.join("once"), { report, jobs: Math.max(2, jobs) });
    assert.deepEqual(atOnce.map(({ test }) => test), inTurn.map(({ test }) => test));
    assert.equal(names(directory.join("once/layouts")).filter((name) => !name.startsWith(".")).length, 1);

    const folder = directory.join("stopped");
    const controller = new AbortController();
    const stopped = sweep([data], RAW, runs, folder, { report, jobs: 2, signal: () => controller.signal });
    while (!runs.slice(0, 2).every(({ name }) => existsSync(`${folder}/${name}/${METRICS_FILE}`))) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    controller.abort();
    await assert.rejects(stopped, /^Interrupted: The sweep was interrupted and its runs are saved; the same command/);
    const notes: string[] = [];
    const resumed = await sweep([data], RAW, runs, folder, {
      report: (event) => event.event === "note" && notes.push(event.text),
      jobs: 2,
    });
    assert.deepEqual(resumed.map(({ test }) => test), inTurn.map(({ test }) => test));
    assert.ok(notes.some((note) => note.endsWith(", resumed")), notes.join("\n"));
    // A signal that arrived before the runs begin ends them too.
    const late = sweep([data], RAW, runs, directory.join("late"), {
      report,
      jobs: 2,
      signal: () => AbortSignal.abort(),
    });
    await assert.rejects(late, /^Interrupted: The sweep was interrupted/);
    // A run that fails ends the sweep with its error, and is named.
    await assert.rejects(
      sweep([data], RAW, [...runs, { name: "other", config: { ...config(0.01), bottom: [8, 7] } }], folder, {
        report,
        jobs: 2,
      }),
      /^UsageError|^HotsetError/,
    );
  },
);

for (const jobs of [1, 2]) {
  slowTest(`a run that diverges does not end the sweep, and remains known as diverged, ${jobs} at a time`, async () => {
    using directory = new TemporaryDirectory();
    const data = dataOf(directory, 300).directory;
    const runs = [1e30, 0.01].map((learningRate) => ({
      name: nameOf({ learningRate }),
      config: resolveConfig("kaggle", {
        ...{ mode: "cpu", ranks: 1, bottom: [8, 16], top: [8, 1], batchSize: 50, learningRate },
      }),
    }));
    const train = async () => {
      const notes: string[] = [];
      const summaries = await sweep([data], RAW, runs, directory.join("sweep"), {
        report: (event) => event.event === "note" && notes.push(event.text),
        jobs,
      });
      return { summaries, notes: notes.filter((text) => text.startsWith("Run 1 of 2: ")) };
    };
    const first = await train();
    assert.deepEqual(first.summaries.map(({ state }) => state), ["diverged", "ended"]);
    const [{ run, diverged }] = first.summaries;
    assert.match(diverged!, /is not a number|is NaN/);
    assert.equal(first.notes.at(-1), `Run 1 of 2: ${run}, diverged: ${diverged}`);
    const again = await train();
    assert.deepEqual(again, { ...first, notes: [`Run 1 of 2: ${run}, diverged before`] });
    // Whoever resumes it tries once more.
    await assert.rejects(resumeRun({ out: run, report: () => {} }), { code: "diverged" });
    assert.equal(summarizeRun(run).diverged, diverged);
  });
}

slowTest("a sweep shares what it prepares, resumes what was interrupted, and refuses other options", async () => {
  using directory = new TemporaryDirectory();
  const folder = directory.join("sweep");
  const data = dataOf(directory, 200).directory;
  const config = (learningRate: number) =>
    resolveConfig("kaggle", {
      ...{ mode: "cpu", ranks: 1, bottom: [8, 16], top: [8, 1], batchSize: 50 },
      learningRate,
    });
  const runs = [0.01, 0.02].map((rate) => ({ name: nameOf({ learningRate: rate }), config: config(rate) }));
  const notes: string[] = [];
  const train = () =>
    sweep([data], RAW, runs, folder, {
      report: (event) => {
        if (event.event === "note" && event.text.startsWith("Run ")) notes.push(event.text.replace(directory.path, ""));
      },
    });
  const first = await train();
  assert.deepEqual(first.map(({ state }) => state), ["ended", "ended"]);
  assert.notEqual(first[0].test!.auc, first[1].test!.auc);
  assert.equal(names(`${folder}/layouts`).length, 1, "one layout for both");
  const metrics = `${folder}/${runs[1].name}/${METRICS_FILE}`;
  Deno.removeSync(`${folder}/${runs[0].name}`, { recursive: true });
  Deno.writeTextFileSync(metrics, Deno.readTextFileSync(metrics).replace(/^.*"event":"result".*\n/m, ""));
  notes.length = 0;
  const again = await train();
  assert.deepEqual(notes, [
    `Run 1 of 2: /sweep/${runs[0].name}, trained`,
    `Run 2 of 2: /sweep/${runs[1].name}, resumed`,
  ]);
  assert.deepEqual(again.map(({ test }) => test), first.map(({ test }) => test), "the same results");
  notes.length = 0;
  await train();
  assert.deepEqual(notes.map((note) => note.split(", ").at(-1)), ["there already", "there already"]);
  runs[1] = { ...runs[1], config: config(0.03) };
  await assert.rejects(train(), /^UsageError: Cannot sweep in .*: .*learningRate=0\.02 has another learningRate; /);
  runs[1] = { ...runs[1], config: { ...config(0.02), mode: "fae" } };
  await assert.rejects(train(), /^UsageError: Cannot sweep in .*: .*learningRate=0\.02 has another mode; /);
  assert.ok(existsSync(metrics));
});
