/**
 * Ranks with one emulated GPU each compute the results of one rank and exchange the bytes that docs/cuda.md states.
 */
import { atOnce } from "../../src/breaks.ts";
import { DEVICE_SLOTS } from "../../src/ranks/train_state.ts";
import assert from "node:assert/strict";
import { type OptimizerName, rowStateWords } from "../../src/optimizer/optimizers.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { HotsetError } from "../../src/errors.ts";
import type { Layout } from "../../src/layout/layout.ts";
import { type ExchangeKind, exchangeKind, pooledGradientWords } from "../../src/embedding/replica_exchange.ts";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import type { ResultEvent } from "../../src/events/events.ts";
import { openRanks, type PlacementBatches } from "../../src/ranks/placement.ts";
import { planFor, resumeRun, startRun } from "../../src/run/run.ts";
import { ensureLayout, ensureProfile } from "../../src/run/stages.ts";
import { largestError } from "../support/close.ts";
import { testDevice } from "../support/cuda_device.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

const BATCH = 33; // which ranks cannot share evenly, and whose last batch leaves some rank without samples
const STEPS = 51;
const TABLE_ROWS = [3, 40, 900, 40_000];

/** Skew of the lookups for which each way of exchanging gradients is the better one, and hot rows that leave batches of both kinds. */
const SKEW: Record<ExchangeKind, number> = { pooled: 5, rows: 14 };
const HOT_ROWS: Record<ExchangeKind, number> = { pooled: 1243, rows: 143 };

function dataOf(directory: TemporaryDirectory, kind: ExchangeKind, bags = false, train = STEPS * BATCH - 16): Dataset {
  return tinyDataset(directory.join(`data-${kind}`), {
    samples: { train, validation: 64, test: 64 },
    tableRows: TABLE_ROWS,
    denseFeatures: 5,
    bags,
    seed: 3,
    skew: SKEW[kind],
  });
}

function configOf(
  mode: TrainConfig["mode"],
  optimizer: OptimizerName,
  kind: ExchangeKind,
  ranks: number,
): TrainConfig {
  const dim = 8;
  return resolveConfig("kaggle", {
    ...{ mode, optimizer, ranks, device: testDevice, dim, bottom: [24, 8], top: [20, 1], batchSize: BATCH },
    ...(mode === "fae" ? { hotMemory: 4 * HOT_ROWS[kind] * (dim + rowStateWords(optimizer, dim)) } : {}),
    printFreq: 1,
    learningRate: optimizer === "sgd" ? 0.1 : 0.02,
  });
}

/** What a run leaves. */
interface Outcome {
  readonly losses: number[];
  readonly result: ResultEvent;
  /** Files of the last checkpoint. */
  readonly bits: Record<string, Uint8Array>;
}

function checkpointBits(run: string): Record<string, Uint8Array> {
  const files = [...Deno.readDirSync(`${run}/last`)].map(({ name }) => name).filter((name) => name.endsWith(".f32"));
  return Object.fromEntries(files.sort().map((name) => [name, Deno.readFileSync(`${run}/last/${name}`)]));
}

async function train(directory: TemporaryDirectory, dataset: Dataset, config: TrainConfig): Promise<Outcome> {
  const out = directory.join(`run-${crypto.randomUUID()}`);
  const losses: number[] = [];
  const result = await startRun(config, dataset, {
    out,
    report: (event) => void (event.event === "progress" && losses.push(event.loss)),
  });
  return { losses, result, bits: checkpointBits(out) };
}

async function laidOut(directory: TemporaryDirectory, dataset: Dataset, config: TrainConfig): Promise<Layout> {
  const cache = directory.path, quiet = () => {};
  const profile = config.mode === "fae" ? await ensureProfile(dataset, config, { cache }, quiet) : undefined;
  return await ensureLayout(dataset, profile, config, { cache }, quiet);
}

function batchesOf({ shape, hotRows, body }: Layout): PlacementBatches {
  return { batchShape: shape, hotRows, mostDistinct: body.mostDistinct };
}

/** Bytes between ranks that docs/cuda.md states for a run. */
function statedBytes(config: TrainConfig, dataset: Dataset, layout: Layout, ranks: number): number {
  const { mostDistinct } = layout.body;
  const pooled = pooledGradientWords(layout.shape, config.dim, ranks);
  const exchange = (kind: "hot" | "cold") => 4 * (ranks - 1) * Math.min(pooled, 2 * mostDistinct[kind] * config.dim);
  const dense = 8 * (ranks - 1) * planFor(config, dataset).denseWords;
  const onHost = config.mode === "gpu" ? exchange("cold") : 0;
  return layout.batches("hot") * (dense + exchange("hot")) + layout.batches("cold") * (dense + onHost);
}

const RUNS = [
  { mode: "fae", optimizer: "sgd", kind: "rows", bags: false },
  { mode: "fae", optimizer: "adagrad", kind: "pooled", bags: true },
  { mode: "gpu", optimizer: "rwsadagrad", kind: "rows", bags: false },
  { mode: "hybrid", optimizer: "adagrad", kind: "pooled", bags: false },
] as const;

for (const { mode, optimizer, kind, bags } of RUNS) {
  Deno.test(`2 and 4 GPUs train as one: mode ${mode}, ${optimizer}, rows by ${kind}${bags ? ", bags" : ""}`, async () => {
    using directory = new TemporaryDirectory();
    const dataset = dataOf(directory, kind, bags);
    const one = await train(directory, dataset, configOf(mode, optimizer, kind, 1));
    assert.ok(one.losses.length >= 50);
    assert.equal(one.result.bytesFromRanks, 0);
    for (const ranks of [2, 4]) {
      const config = configOf(mode, optimizer, kind, ranks);
      using layout = await laidOut(directory, dataset, config);
      if (mode === "fae") assert.ok(layout.batches("hot") > 9 && layout.batches("cold") > 9, "both kinds of batches");
      const mostDistinct = layout.body.mostDistinct[mode === "fae" ? "hot" : "cold"];
      if (mode !== "hybrid") assert.equal(exchangeKind(layout.shape, mostDistinct, ranks), kind);
      const several = await train(directory, dataset, config);
      assert.equal(several.result.ranks, ranks);
      assert.match(several.result.device, testDevice === "emulated" ? /^emulated device/ : /, fp32/);
      const error = largestError(several.losses, one.losses);
      assert.ok(error <= 1e-5, `${ranks} ranks: ${error}`);
      assert.ok(Math.abs(several.result.auc - one.result.auc) < 1e-3);
      assert.equal(several.result.bytesFromRanks, statedBytes(config, dataset, layout, ranks));
      if (ranks !== 2) continue;
      const again = await train(directory, dataset, config);
      assert.deepEqual(again.losses, several.losses);
      assert.deepEqual(again.bits, several.bits);
    }
  });
}

Deno.test("a hot step of several GPUs is one graph with the exchanges in it", async () => {
  using directory = new TemporaryDirectory();
  const steps = 103;
  const dataset = dataOf(directory, "rows", false, steps * BATCH);
  const { launchesPerStep: alone } = (await train(directory, dataset, configOf("gpu", "sgd", "rows", 1))).result;
  const { launchesPerStep } = (await train(directory, dataset, configOf("gpu", "sgd", "rows", 2))).result;
  // The steps that are recorded, one for each slot, have three launches more: the sum of dense gradients, the sums of each row's and
  // those of all ranks.
  assert.ok(Math.abs((launchesPerStep.cold - alone.cold) * steps - 3 * DEVICE_SLOTS) < 1e-9);
  assert.ok(launchesPerStep.cold < 4);
});

Deno.test("a hot step takes its batch to every GPU and nothing back", async () => {
  using directory = new TemporaryDirectory();
  for (const kind of ["rows", "pooled"] as const) {
    const dataset = dataOf(directory, kind);
    const config = configOf("fae", "sgd", kind, 2);
    using layout = await laidOut(directory, dataset, config);
    await using group = await openRanks(config, planFor(config, dataset), batchesOf(layout), { report: () => {} });
    let usedWords = 0;
    atOnce(group.tables.refresh()); // the first hot step would
    const before = group.takeCounts();
    for (let step = 0; step < 6; step++) {
      const slot = group.acquire();
      layout.readBatch("hot", step, group.batches[slot]);
      usedWords += group.batches[slot].usedWords;
      group.train(slot);
    }
    const { bytesToDevice, bytesToHost } = group.takeCounts();
    const lists = kind === "rows" ? 6 * 4 * (layout.body.mostDistinct.hot + 1) : 0;
    assert.equal(bytesToDevice - before.bytesToDevice, 2 * (4 * usedWords + lists));
    assert.equal(bytesToHost, before.bytesToHost);
  }
});

Deno.test("a run on two GPUs goes on with the same bits after it was interrupted, and on the CPU with its numbers", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory, "rows");
  const config = { ...configOf("fae", "rwsadagrad", "rows", 2), epochs: 2 };
  const whole = await train(directory, dataset, config);
  const out = directory.join("interrupted");
  const stop = new AbortController();
  const report = (event: { event: string; step?: number }) => void (event.step === 20 && stop.abort());
  await assert.rejects(startRun(config, dataset, { out, report, signal: () => stop.signal }), /interrupted at step/);
  await resumeRun({ out, report: () => {} });
  assert.deepEqual(checkpointBits(out), whole.bits);
  const onCpu = await train(directory, dataset, { ...config, device: "cpu", ranks: 1 });
  assert.ok(largestError(onCpu.losses, whole.losses) < 1e-4);
});

Deno.test("a GPU that fails ends the run on all with its reason", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory, "pooled");
  const config = configOf("gpu", "sgd", "pooled", 2);
  using layout = await laidOut(directory, dataset, config);
  await using group = await openRanks(config, planFor(config, dataset), batchesOf(layout), { report: () => {} });
  await group.initialise(new Float32Array(planFor(config, dataset).denseWords), 1);
  const slot = group.acquire();
  const batch = group.batches[slot];
  layout.readBatch("cold", 0, batch);
  // The last lookup is the second rank's: only that rank reads far beyond its table.
  batch.words[batch.sections.indices + batch.lookups - 1] = 0x0ffffff0;
  group.train(slot);
  assert.throws(() => group.drain(), (error: unknown) => {
    assert.ok(error instanceof HotsetError);
    assert.match(error.message, /^Cannot continue training: a rank failed: Cannot run on the (GPU|emulated device): /);
    return true;
  });
});
