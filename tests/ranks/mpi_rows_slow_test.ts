/** MPI processes of one host with rows on disk share the rows in memory, and the first process moves them. */
import assert from "node:assert/strict";
import { cpSync, existsSync } from "node:fs";
import type { TrainConfig } from "../../src/config/config.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { prepareDataset } from "../../src/dataset/prepare.ts";
import { Random } from "../../src/random.ts";
import { resumeRun, startRun } from "../../src/run/run.ts";
import { evaluateRun } from "../../src/run/score_run.ts";
import { checkpointsOf } from "../support/checkpoint_words.ts";
import { processesOf, runMpi, startMpi, testInTurn, testWithEach } from "../support/mpirun.ts";
import { CONFIG, dataOf, quiet, stopAt } from "../support/row_runs.ts";
import { waitFor } from "../support/wait_for.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const TRAINING = new URL("../support/mpi_training.ts", import.meta.url);
const FAILING = new URL("../support/mpi_failing_rows.ts", import.meta.url);
const memory = { share: 0.05 };
const KINDS = ["label", "dense", "sparse", "sparse"];

for (const ranks of [2, 3]) {
  testInTurn(
    `${ranks} processes with rows on disk leave the bits of ${ranks} workers in memory`,
    async (launcher) => {
      using place = new TemporaryDirectory();
      const dataset = dataOf(place, { bags: ranks === 3 });
      const config: TrainConfig = { ...CONFIG, ranks, testFreq: 17, checkpointSteps: 10 };
      const [plain, out] = ["plain", "run"].map((name) => place.join(name));
      await startRun(config, dataset, { out: plain, report: quiet });
      const train = async (...args: string[]) => {
        const { code, stdout, stderr } = await runMpi(launcher, [ranks], TRAINING, args);
        assert.equal(code, 0, stderr);
        return JSON.parse(stdout);
      };
      const { moved } = await train(dataset.directory, out, JSON.stringify({ ...config, memory }));
      assert.ok(moved.read > 0 && moved.written > 0);
      assert.deepEqual(checkpointsOf(out), checkpointsOf(plain));
      // Threads begin, and processes continue.
      Deno.removeSync(out, { recursive: true });
      await stopAt(23, (stop) => startRun({ ...config, memory }, dataset, { out, ...stop }));
      await train("resume", out);
      assert.deepEqual(checkpointsOf(out), checkpointsOf(plain));
    },
  );
}

for (const hosts of [[1, 1], [2, 2], [1, 1, 1]]) {
  testInTurn(
    `${hosts.length} hosts of ${hosts[0]} processes with rows on disk leave the bits of the same hosts in memory`,
    async (launcher) => {
      using place = new TemporaryDirectory();
      const bags = hosts.length === 3;
      const dataset = dataOf(place, { bags });
      const config: TrainConfig = { ...CONFIG, testFreq: 17, checkpointSteps: 10 };
      const [plain, out] = ["plain", "run"].map((name) => place.join(name));
      const train = async (...args: string[]) => {
        const { code, stdout, stderr } = await runMpi(launcher, hosts, TRAINING, args);
        assert.equal(code, 0, stderr);
        return JSON.parse(stdout);
      };
      await train(dataset.directory, plain, JSON.stringify(config));
      const { moved, ...result } = await train(dataset.directory, out, JSON.stringify({ ...config, memory }));
      assert.deepEqual([result.hosts, result.locals], [hosts.length, hosts[0]]);
      assert.ok(moved.read > 0 && moved.written > 0);
      assert.deepEqual(checkpointsOf(out), checkpointsOf(plain));
      assert.deepEqual(await evaluateRun(out, [], quiet), await evaluateRun(plain, [], quiet));
    },
  );
}

testInTurn("what two hosts with rows on disk saved goes on, on these and on other hosts", async (launcher) => {
  using place = new TemporaryDirectory();
  const dataset = dataOf(place);
  const [plain, out] = ["plain", "run"].map((name) => place.join(name));
  const run = async (hosts: number[], ...args: string[]) => {
    const { code, stdout, stderr } = await runMpi(launcher, hosts, TRAINING, args);
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout);
  };
  const within = (memory: TrainConfig["memory"]) => JSON.stringify({ memory });
  await run([1, 1], dataset.directory, plain, JSON.stringify(CONFIG));
  const { interrupted } = await run([1, 1], dataset.directory, out, JSON.stringify({ ...CONFIG, memory }), "8");
  assert.match(interrupted, /interrupted at step \d+/);
  // Each pair goes on from the same checkpoint, on a disk and in memory.
  for (const hosts of [[1, 1, 1], [1], []]) {
    const copies = [{ share: 0.04 }, null].map((memory) => {
      const copy = place.join(`${hosts.length}-${memory === null ? "memory" : "disk"}`);
      cpSync(out, copy, { recursive: true });
      return { copy, memory };
    });
    for (const { copy, memory } of copies) {
      if (hosts.length > 0) await run(hosts, "resume", copy, within(memory));
      else await resumeRun({ out: copy, report: quiet, data: dataset.directory }, { memory, ranks: 1 });
    }
    assert.deepEqual(checkpointsOf(copies[0].copy), checkpointsOf(copies[1].copy));
  }
  assert.match((await run([1, 1], "resume", out, within(null), "20")).interrupted, /interrupted/);
  await run([1, 1], "resume", out, within({ share: 0.3 }));
  assert.deepEqual(checkpointsOf(out), checkpointsOf(plain));
  assert.ok(![...Deno.readDirSync(out)].some(({ name }) => name.includes("rows")), "rows are left");
});

for (const fault of ["a killed rank", "a read error on one disk"]) {
  testWithEach(`${fault} ends two hosts with rows on disk, and nothing is lost`, async (launcher) => {
    using place = new TemporaryDirectory();
    const dataset = dataOf(place);
    const [plain, out] = ["plain", "run"].map((name) => place.join(name));
    const config = { ...CONFIG, epochs: 20, checkpointSteps: 10 };
    const run = (...args: string[]) => runMpi(launcher, [1, 1], TRAINING, args);
    assert.equal((await run(dataset.directory, plain, JSON.stringify(config))).code, 0);
    const rows = () => [...Deno.readDirSync(out)].map(({ name }) => name).filter((name) => name.startsWith(".rows"));
    const args = [dataset.directory, out, JSON.stringify({ ...config, memory })];
    if (fault === "a killed rank") {
      const process = startMpi(launcher, [1, 1], TRAINING, args);
      await waitFor(() => existsSync(`${out}/last/manifest.json`));
      assert.deepEqual(rows().map((name) => name.split(".")[1]).sort(), ["rows", "rows-1"]);
      Deno.kill(processesOf(out)[1], "SIGKILL");
      assert.notEqual((await process.output()).code, 0);
      assert.ok(rows().length > 0, "a killed process has removed its rows");
    } else {
      const { code, stderr } = await runMpi(launcher, [1, 1], FAILING, args);
      assert.notEqual(code, 0);
      assert.match(
        stderr,
        /^rank 1: Cannot read rows from [^\n]*\.log at byte \d+: the disk reports an error; [^\n]*$/m,
      );
    }
    assert.equal((await run("resume", out)).code, 0);
    assert.deepEqual(checkpointsOf(out), checkpointsOf(plain));
    assert.deepEqual(rows(), []);
  });
}

testInTurn(
  "a model grows on two hosts, then on three, with the bits of the same hosts in memory",
  async (launcher) => {
    using place = new TemporaryDirectory();
    const schema = place.join("schema.json");
    Deno.writeTextFileSync(
      schema,
      JSON.stringify({ columns: ["y", "price", "item", "user"].map((name, i) => ({ name, kind: KINDS[i] })) }),
    );
    const config: TrainConfig = { ...CONFIG, bottom: [8, 8], top: [4, 1], epochs: 1 };
    const runs = { memory: "", disk: "" };
    let known: Dataset | undefined;
    for (const [day, hosts] of [[1, 1], [1, 1], [1, 1, 1]].entries()) {
      const random = new Random(day, 18);
      const lines = Array.from({ length: 800 }, () => {
        const [item, user] = [300, 900].map((count) => count / 5 * day + random.below(count));
        return `${random.below(2)},${random.below(11)},i${item},u${user}`;
      });
      const log = place.join(`day${day}.csv`);
      Deno.writeTextFileSync(log, ["y,price,item,user", ...lines].join("\n") + "\n");
      const reading = { inputs: [log], format: "csv", schema, testFraction: 0.2, threads: 1 } as const;
      const grows = known === undefined ? {} : { known, expire: 2 };
      known = await prepareDataset({ ...reading, ...grows, out: place.join(`data${day}`) });
      for (const [kind, memory] of [["memory", null], ["disk", { share: 0.1 }]] as const) {
        const out = place.join(`${kind}${day}`);
        const args = [known.directory, out, JSON.stringify({ ...config, memory }), "", runs[kind]];
        const { code, stderr } = await runMpi(launcher, hosts, TRAINING, args);
        assert.equal(code, 0, stderr);
        if (kind === "disk" && day > 0) {
          assert.ok(
            sharesSegments(runs[kind], out),
            "the pages of the day before were copied",
          );
        }
        runs[kind] = out;
      }
      const [found, expected] = [runs.disk, runs.memory].map(checkpointsOf);
      // The name of a run says which checkpoint it began with.
      for (const name of ["best", "last"]) {
        assert.deepEqual(
          found[name].vectors,
          expected[name].vectors,
          `${day} ${name}`,
        );
      }
    }
  },
);

/** True if the last checkpoint of a run has all segments of the best one of another run. */
function sharesSegments(before: string, after: string): boolean {
  const inodesOf = (directory: string) =>
    [...Deno.readDirSync(directory)].filter(({ name }) => name.startsWith("rows-"))
      .map(({ name }) => Deno.statSync(`${directory}/${name}`).ino);
  const now = new Set(inodesOf(`${after}/last`));
  return inodesOf(`${before}/best`).every((inode) => now.has(inode));
}
