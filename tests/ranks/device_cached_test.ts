/** Rows cached on a device have the same bits as tables on the device, and the expected bytes are copied. */
import assert from "node:assert/strict";
import type { CudaBackend } from "../../src/backend/cuda/backend.ts";
import { openCuda } from "../../src/backend/cuda/open.ts";
import { cpuOptions, openHost } from "../../src/backend/open.ts";
import type { TrainConfig } from "../../src/config/config.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import type { Layout } from "../../src/layout/layout.ts";
import { rowStateWords, writeStep } from "../../src/optimizer/optimizers.ts";
import type { DeviceCachedRanks } from "../../src/ranks/device_cached_ranks.ts";
import { writeLoss } from "../../src/model/loss.ts";
import { openDeviceCached } from "../../src/ranks/placement.ts";
import { tierOf } from "../../src/ranks/tier.ts";
import { LocalRank } from "../../src/ranks/rank_group.ts";
import { allocateTrainState } from "../../src/ranks/train_state.ts";
import { planFor } from "../../src/run/run.ts";
import { ensureLayout } from "../../src/run/stages.ts";
import { contentOf } from "../support/checkpoint_words.ts";
import { testDevice } from "../support/cuda_device.ts";
import { seriesLength, slowTest } from "../support/series.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { configOf, datasetOf, train } from "./support.ts";

/**
 * A rank on the test device; with `extraSlots` more than two batches of rows, rows are cached there, and with `onDisk` a
 * tenth of all rows in host memory.
 */
async function open(
  config: TrainConfig,
  dataset: Dataset,
  layout: Layout,
  extraSlots: number | undefined,
  onDisk?: string,
) {
  const hostOptions = await cpuOptions("wasm");
  const host = await openHost(hostOptions);
  const { precision, seed } = config;
  const device = openCuda({ device: testDevice, precision, emulated: { copiesFirst: seed % 3 === 1 } });
  const { mostDistinct } = layout.body;
  const options = { plan: planFor(config, dataset), batchShape: layout.shape, ranks: 1, device, host, mostDistinct };
  if (extraSlots === undefined) return new LocalRank(allocateTrainState({ ...options, tablesOnDevice: true }));
  const cache = { slots: 2 * mostDistinct.cold + extraSlots, batchRows: mostDistinct.cold };
  const tier = onDisk === undefined ? undefined : tierOf(onDisk, { share: 0.1 });
  return await openDeviceCached({ ...options, cache }, config, hostOptions, tier, () => {});
}

const SEEDS = { test: 1, all: 8, evidence: 500 };
for (let seed = 0; seed < seriesLength(SEEDS); seed++) {
  Deno.test(`rows on the device, in memory and on disk give the bits of rows on the device, seed ${seed}`, async () => {
    using directory = new TemporaryDirectory();
    const config = configOf(seed);
    const dataset = datasetOf(directory, seed);
    using layout = await ensureLayout(dataset, undefined, config, { cache: directory.path }, () => {});
    await using onDevice = await open(config, dataset, layout, undefined);
    const expected = await train(onDevice, config, dataset, layout, directory.join("a"));
    const out = directory.join("b");
    await using cached = await open(config, dataset, layout, [0, 1, 7, 40][seed % 4], directory.join("rows"));
    const actual = await train(cached, config, dataset, layout, out);
    assert.deepEqual(actual.events, expected.events);
    assert.deepEqual(contentOf(`${out}/last`).vectors, contentOf(directory.join("a/last")).vectors);
    const { rows, fetched, read } = cached.moved!;
    assert.ok(fetched > 0 && fetched < rows, `${fetched} of ${rows} rows were fetched`);
    assert.ok(read > 0, "no row was read from disk");
  });
}

for (let seed = 0; seed < seriesLength(SEEDS); seed++) {
  // The default suite has the test above, whose rows move further.
  slowTest(`rows cached on the device give the bits of rows on the device, seed ${seed}`, async () => {
    using directory = new TemporaryDirectory();
    const config = configOf(seed);
    const dataset = datasetOf(directory, seed);
    using layout = await ensureLayout(dataset, undefined, config, { cache: directory.path }, () => {});
    await using onDevice = await open(config, dataset, layout, undefined);
    const expected = await train(onDevice, config, dataset, layout, directory.join("a"));
    await using cached = await open(config, dataset, layout, [0, 1, 7, 100][seed % 4]);
    const actual = await train(cached, config, dataset, layout, directory.join("b"));
    assert.deepEqual(actual, expected);
    const { rows, fetched, written } = (cached as DeviceCachedRanks).cached;
    assert.ok(fetched > 0 && fetched < rows, `${fetched} of ${rows} rows were fetched`);
    assert.ok(seed % 4 === 3 || written > 0, "no row was evicted");
  });
}

Deno.test("host memory gets the rows of the device, under their numbers, before a bad value is searched for", async () => {
  using directory = new TemporaryDirectory();
  const config = configOf(1);
  const dataset = datasetOf(directory, 1);
  using layout = await ensureLayout(dataset, undefined, config, { cache: directory.path }, () => {});
  const { dim } = config;
  const trained = async (extraSlots?: number) => {
    const group = await open(config, dataset, layout, extraSlots, directory.join("rows"));
    const { plan } = group.memory;
    await group.initialise(new Float32Array(plan.denseWords).fill(0.1), 1);
    for (let step = 0; step < layout.batches("cold"); step++) {
      const slot = group.acquire();
      const batch = group.batches[slot];
      layout.readBatch("cold", step, batch);
      writeStep(config.optimizer, batch.floats, config.learningRate, step + 1, 0, 0);
      writeLoss(batch.floats, config);
      group.train(slot);
    }
    group.updateMirror();
    const { backend, weights } = group.memory.full;
    const floats = new Float32Array(weights.words);
    backend.download(weights, floats);
    return { group, rowOf: (at: number) => floats.subarray(at * dim, (at + 1) * dim) };
  };
  const expected = await trained();
  const { group, rowOf } = await trained(40);
  await using groups = new AsyncDisposableStack();
  groups.use(expected.group);
  groups.use(group);
  let found = 0;
  for (let position = 0; position < group.memory.full.rows; position++) {
    const row = group.rowAt(position);
    if (row < 0) continue;
    assert.deepEqual(rowOf(position), expected.rowOf(row), `row ${row}`);
    found++;
  }
  assert.ok(found > 40, `${found} rows are in memory`);
});

Deno.test("a step copies the batch, missing rows and evicted rows, and does not wait for the device", async () => {
  using directory = new TemporaryDirectory();
  const config = configOf(1);
  const dataset = datasetOf(directory, 1);
  using layout = await ensureLayout(dataset, undefined, config, { cache: directory.path }, () => {});
  await using group = await open(config, dataset, layout, 40) as DeviceCachedRanks;
  await group.initialise(new Float32Array(group.memory.plan.denseWords), 1);
  const { shape } = group.memory.plan;
  const rowBytes = 4 * (shape.dim + rowStateWords(shape.optimizer, shape.dim));
  const backend = group.memory.device as CudaBackend;
  let waits = 0;
  const { synchronize } = backend.device;
  backend.device.synchronize = function () {
    waits++;
    synchronize.call(this);
  };
  const listBytes = (rows: number) => 4 * 4 * Math.ceil(rows / 4);
  let evicting = 0;
  // The first two steps in a slot are recorded.
  for (let step = 0; step < layout.batches("cold"); step++) {
    const slot = group.acquire();
    layout.readBatch("cold", step, group.batches[slot]);
    const trained = step === 0 ? undefined : group.batches[(slot + group.batches.length - 1) % group.batches.length];
    const { bytesToDevice, bytesToHost } = backend.counters;
    const { fetched, written } = group.cached;
    waits = 0;
    group.train(slot);
    const moved = { fetched: group.cached.fetched - fetched, written: group.cached.written - written };
    const lists = listBytes(moved.fetched) + listBytes(moved.written);
    const batchBytes = trained === undefined ? 0 : 4 * trained.usedWords;
    assert.equal(backend.counters.bytesToDevice - bytesToDevice, batchBytes + lists + rowBytes * moved.fetched);
    assert.equal(backend.counters.bytesToHost - bytesToHost, rowBytes * moved.written);
    assert.equal(waits, 0);
    if (moved.written > 0) evicting++;
  }
  assert.ok(evicting > 2, `rows were evicted in ${evicting} steps`);
});

Deno.test("a step with rows on disk does not wait for the device", async () => {
  using directory = new TemporaryDirectory();
  const config = configOf(1);
  const dataset = datasetOf(directory, 1);
  using layout = await ensureLayout(dataset, undefined, config, { cache: directory.path }, () => {});
  await using group = await open(config, dataset, layout, 1, directory.join("rows"));
  await group.initialise(new Float32Array(group.memory.plan.denseWords), 1);
  const { device } = group.memory.device as CudaBackend;
  const { synchronize } = device;
  let waits = 0;
  device.synchronize = function () {
    waits++;
    synchronize.call(this);
  };
  const { fetched } = group.moved!;
  for (let step = 0; step < layout.batches("cold"); step++) {
    const slot = group.acquire();
    layout.readBatch("cold", step, group.batches[slot]);
    group.train(slot);
  }
  assert.equal(waits, 0);
  assert.ok(group.moved!.fetched > fetched + 100);
});

Deno.test("a budget counts the thread of a device", async () => {
  using directory = new TemporaryDirectory();
  const config = configOf(1);
  const dataset = datasetOf(directory, 1);
  using layout = await ensureLayout(dataset, undefined, config, { cache: directory.path }, () => {});
  const hostOptions = await cpuOptions("wasm");
  const host = await openHost(hostOptions);
  const { memoryUsage } = Deno;
  Deno.memoryUsage = () => ({ ...memoryUsage(), rss: 0 });
  using _ = { [Symbol.dispose]: () => void (Deno.memoryUsage = memoryUsage) };
  const least = async (ownThread: boolean) => {
    const device = openCuda({ device: testDevice });
    const state = { plan: planFor(config, dataset), batchShape: layout.shape, ranks: 1, device, host };
    const cache = { slots: 100, batchRows: 50 };
    const tier = tierOf(directory.join("rows"), { bytes: 1 });
    const opened = openDeviceCached({ ...state, cache }, config, hostOptions, tier, () => {}, ownThread);
    const error: Error = await opened.then(() => assert.fail("it fits"), (error) => error);
    return Number(/choose --memory (\d+)MiB/.exec(error.message)![1]);
  };
  assert.equal(await least(true) - await least(false), 48);
});
