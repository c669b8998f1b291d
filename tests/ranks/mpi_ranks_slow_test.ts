/**
 * MPI ranks compute the results of worker ranks: the same bits on one host, up to rounding on several; and their
 * failures.
 */
import assert from "node:assert/strict";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import type { Random } from "../../src/random.ts";
import { resumeRun, startRun } from "../../src/run/run.ts";
import { readRunLog } from "../../src/run/run_log.ts";
import { largestError } from "../support/close.ts";
import { type Launcher, processesOf, runMpi, startMpi, testInTurn, testWithEach } from "../support/mpirun.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";
import { waitFor } from "../support/wait_for.ts";

const TRAINING = new URL("../support/mpi_training.ts", import.meta.url);
const STEPS = 200;

/** Some rows of two tables are hot, so that there are hot and cold batches. */
const CONFIG: TrainConfig = resolveConfig("kaggle", {
  bottom: [12, 16],
  top: [12, 1],
  batchSize: 50,
  learningRate: 0.02,
  rowL2: 0.05,
  hotMemory: 4 * 16 * 400,
  ranks: 2,
  printFreq: 1,
  device: "cpu",
});

function dataOf(directory: TemporaryDirectory, bags = false, weight?: (random: Random) => number): Dataset {
  return tinyDataset(directory.join("data"), {
    samples: { train: 50 * STEPS - 20, validation: 300, test: 310 },
    tableRows: [20_000, 50, 17_000, 3],
    denseFeatures: 3,
    bags,
    seed: 1,
    skew: 8,
    ...(weight && { weight }),
  });
}

/** Trains over MPI and returns what rank 0 printed. */
async function trainOver(launcher: Launcher, ranks: number[], dataset: string, out: string, config?: TrainConfig) {
  const { code, stdout, stderr } = await runMpi(launcher, ranks, TRAINING, [dataset, out, JSON.stringify(config)]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

const lossesOf = (out: string) => readRunLog(out).progress.map((event) => event.loss);

function lastCheckpoint(out: string): Record<string, Uint8Array> {
  return Object.fromEntries(
    [...Deno.readDirSync(`${out}/last`)].filter(({ name }) => name.endsWith(".f32"))
      .map(({ name }) => [name, Deno.readFileSync(`${out}/last/${name}`)]),
  );
}

function assertEqualBits(actual: string, expected: string): void {
  const [a, b] = [lastCheckpoint(actual), lastCheckpoint(expected)];
  assert.deepEqual(Object.keys(a).sort(), Object.keys(b).sort());
  for (const name of Object.keys(a)) assert.ok(a[name].every((byte, i) => byte === b[name][i]), `${name} differs`);
  assert.deepEqual(lossesOf(actual), lossesOf(expected));
}

for (const ranks of [2, 4]) {
  testInTurn(`${ranks} ranks on one host leave the bits that ${ranks} workers leave`, async (launcher) => {
    using directory = new TemporaryDirectory();
    const dataset = dataOf(directory);
    const config = { ...CONFIG, ranks, optimizer: "adagrad" as const, clipNorm: ranks === 2 ? 0.05 : null };
    await startRun(config, dataset, { out: directory.join("workers"), report: () => {} });
    const result = await trainOver(launcher, [ranks], dataset.directory, directory.join("mpi"), config);
    assert.deepEqual([result.hosts, result.locals, result.ranks], [1, ranks, ranks]);
    assert.equal(result.bytes, 0, "nothing leaves the host");
    assert.ok(lossesOf(directory.join("mpi")).length >= STEPS);
    assertEqualBits(directory.join("mpi"), directory.join("workers"));
  });
}

testWithEach("gradients of several hosts are not clipped, and training with them is refused", async (launcher) => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  const config = JSON.stringify({ ...CONFIG, clipNorm: 1 });
  const { code, stderr } = await runMpi(launcher, [1, 1], TRAINING, [
    ...[dataset.directory, directory.join("mpi"), config],
  ]);
  assert.notEqual(code, 0);
  assert.match(stderr, /Cannot clip gradients over 2 hosts: .*; train on one host, or leave out --clip-norm/);
});

for (const hosts of [[1, 1], [2, 2], [1, 1, 1]]) {
  testInTurn(`${hosts.length} hosts with ${hosts[0]} ranks train as workers do, twice the same`, async (launcher) => {
    using directory = new TemporaryDirectory();
    const dataset = dataOf(directory);
    await startRun(CONFIG, dataset, { out: directory.join("workers"), report: () => {} });
    const result = await trainOver(launcher, hosts, dataset.directory, directory.join("mpi"), CONFIG);
    await trainOver(launcher, hosts, dataset.directory, directory.join("again"), CONFIG);
    assert.equal(result.hosts, hosts.length);
    assert.ok(result.bytes > 0);
    assertEqualBits(directory.join("again"), directory.join("mpi"));
    const error = largestError(lossesOf(directory.join("mpi")), lossesOf(directory.join("workers")));
    assert.ok(error <= 1e-6, `losses differ by ${error}`);
  });
}

for (const [what, weight] of [["bags", undefined], ["weighted bags", (random: Random) => random.normal()]] as const) {
  testInTurn(`${what} and Adagrad over two hosts`, async (launcher) => {
    using directory = new TemporaryDirectory();
    const dataset = dataOf(directory, true, weight);
    const config = { ...CONFIG, optimizer: "rwsadagrad" as const };
    await startRun(config, dataset, { out: directory.join("workers"), report: () => {} });
    const result = await trainOver(launcher, [1, 1], dataset.directory, directory.join("mpi"), config);
    assert.equal(result.hosts, 2);
    const error = largestError(lossesOf(directory.join("mpi")), lossesOf(directory.join("workers")));
    assert.ok(error <= 1e-4, `losses differ by ${error}`);
  });
}

testWithEach(
  "SIGUSR1 saves; what two hosts saved goes on with one process, and the other way round",
  async (launcher) => {
    using directory = new TemporaryDirectory();
    const dataset = dataOf(directory);
    const config = { ...CONFIG, optimizer: "adagrad" as const, epochs: 6, printFreq: 10 };
    const out = directory.join("run");
    const process = startMpi(launcher, [1, 1], TRAINING, [dataset.directory, out, JSON.stringify(config)]);
    await waitFor(() => exists(`${out}/last/manifest.json`));
    process.kill("SIGUSR1");
    const { stdout, stderr } = await process.output();
    assert.match(new TextDecoder().decode(stdout), /interrupted at step/, new TextDecoder().decode(stderr));
    const controller = new AbortController();
    const steps: number[] = [];
    await assert.rejects(
      resumeRun({
        out,
        report: (event) => {
          if (event.event !== "progress") return;
          steps.push(event.step);
          if (steps.length === 3) controller.abort();
        },
        signal: () => controller.signal,
      }),
      /interrupted/,
    );
    assert.ok(steps[0] > STEPS);
    const { code } = await startMpi(launcher, [1, 1], TRAINING, ["resume", out]).output();
    assert.equal(code, 0);
    assert.equal(readRunLog(out).result!.ended, "epochs");
    // One process that was never interrupted: rounding differs, the model does not.
    const whole = await startRun(config, dataset, { out: directory.join("whole"), report: () => {} });
    assert.ok(Math.abs(readRunLog(out).result!.auc - whole.auc) < 0.01);
  },
);

for (const signal of ["SIGKILL", "SIGSTOP"] as const) {
  testWithEach(`a rank that gets ${signal} ends all soon, and what was saved goes on`, async (launcher) => {
    using directory = new TemporaryDirectory();
    const dataset = dataOf(directory);
    const out = directory.join("run");
    const args = [dataset.directory, out, JSON.stringify({ ...CONFIG, epochs: 200 })];
    const process = startMpi(launcher, [1, 1], TRAINING, args, { HOTSET_MPI_TIMEOUT: "2" });
    await waitFor(() => exists(`${out}/last/manifest.json`));
    await assert.rejects(resumeRun({ out, report: () => {} }), /another process trains it/);
    const begin = performance.now();
    Deno.kill(processesOf(out)[0], signal);
    const { code, stderr } = await process.output();
    assert.notEqual(code, 0);
    assert.ok(performance.now() - begin < 20_000, "soon");
    if (signal === "SIGSTOP") assert.match(new TextDecoder().decode(stderr), /did not answer for 2 seconds/);
    const controller = new AbortController();
    const report = () => controller.abort();
    await assert.rejects(resumeRun({ out, report, signal: () => controller.signal }), /interrupted at step/);
  });
}

testWithEach("hosts with different numbers of ranks, and what fails on one rank", async (launcher) => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  const result = await trainOver(launcher, [2, 1], dataset.directory, directory.join("run"), CONFIG);
  assert.deepEqual([result.hosts, result.locals], [3, 1]);
  assert.match(result.isolationReason, /different numbers/);
  // The run has already joined: the first rank says so, once.
  const args = [dataset.directory, directory.join("run"), JSON.stringify(CONFIG)];
  const { code, stderr } = await runMpi(launcher, [1, 1], TRAINING, args);
  assert.notEqual(code, 0);
  assert.equal(stderr.match(/it contains a run/g)?.length, 1, stderr);
});

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
