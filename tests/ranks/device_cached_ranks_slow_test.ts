/** Rows cached on the devices of ranks have the bits of tables on these devices, and the expected bytes are copied. */
import assert from "node:assert/strict";
import type { TrainConfig } from "../../src/config/config.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import type { Layout } from "../../src/layout/layout.ts";
import { rowStateWords } from "../../src/optimizer/optimizers.ts";
import { DeviceCachedRanks } from "../../src/ranks/device_cached_ranks.ts";
import { openRanks } from "../../src/ranks/placement.ts";
import { tierOf } from "../../src/ranks/tier.ts";
import { planFor } from "../../src/run/run.ts";
import { ensureLayout } from "../../src/run/stages.ts";
import { contentOf } from "../support/checkpoint_words.ts";
import { testDevice } from "../support/cuda_device.ts";
import { seriesLength } from "../support/series.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { configOf, datasetOf, train } from "./support.ts";

/** The words of a row with its state. */
function rowWords({ dim, optimizer }: TrainConfig): number {
  return dim + rowStateWords(optimizer, dim);
}

/**
 * Ranks with a device each; with `extraSlots` more than two batches of rows, rows are cached there, and with `onDisk` a
 * tenth of all rows in host memory.
 */
function open(
  config: TrainConfig,
  ranks: number,
  dataset: Dataset,
  layout: Layout,
  extraSlots?: number,
  onDisk?: string,
) {
  const { shape, body: { mostDistinct } } = layout;
  const cached = extraSlots === undefined
    ? {}
    : { mode: "cached" as const, hotMemory: 4 * rowWords(config) * (2 * mostDistinct.cold + extraSlots) };
  const placed = { ...config, device: testDevice, ranks, ...cached };
  const tier = onDisk === undefined ? undefined : tierOf(onDisk, { share: 0.1 });
  return openRanks(placed, planFor(config, dataset), { batchShape: shape, mostDistinct }, { tier });
}

/** Ranks of a run, and slots of its cache beyond two batches of rows. */
function placeOf(seed: number): { ranks: number; extraSlots: number } {
  return { ranks: 1 + seed % 4, extraSlots: [0, 1, 7, 40][(seed + (seed >> 2)) % 4] };
}

const SEEDS = { test: 3, all: 5, evidence: 100 };
for (let seed = 0; seed < seriesLength(SEEDS); seed++) {
  const { ranks, extraSlots } = placeOf(seed);
  Deno.test(`rows cached on the device of each rank give the bits of rows on it, ranks ${ranks}, seed ${seed}`, async () => {
    using directory = new TemporaryDirectory();
    const config = configOf(seed);
    const dataset = datasetOf(directory, seed);
    using layout = await ensureLayout(dataset, undefined, config, { cache: directory.path }, () => {});
    await using onDevices = await open(config, ranks, dataset, layout);
    const expected = await train(onDevices, config, dataset, layout, directory.join("a"));
    await using cached = await open(config, ranks, dataset, layout, extraSlots);
    assert.ok(cached instanceof DeviceCachedRanks);
    assert.equal(cached.ranks, ranks);
    const actual = await train(cached, config, dataset, layout, directory.join("b"));
    assert.deepEqual(actual, expected);
    const { rows, fetched, written } = cached.cached;
    assert.ok(fetched > 0 && fetched < rows, `${fetched} of ${rows} rows were fetched`);
    assert.ok(written > 0, "no row was evicted");
  });
}

for (let seed = 0; seed < seriesLength(SEEDS); seed++) {
  const { ranks, extraSlots } = placeOf(seed);
  Deno.test(`rows on devices, in memory and on disk give the bits of rows on devices, ranks ${ranks}, seed ${seed}`, async () => {
    using directory = new TemporaryDirectory();
    const config = configOf(seed);
    const dataset = datasetOf(directory, seed);
    using layout = await ensureLayout(dataset, undefined, config, { cache: directory.path }, () => {});
    await using onDevices = await open(config, ranks, dataset, layout);
    const expected = await train(onDevices, config, dataset, layout, directory.join("a"));
    const rowsOnDisk = directory.join("rows");
    await using cached = await open(config, ranks, dataset, layout, extraSlots, rowsOnDisk);
    assert.equal(cached.ranks, ranks);
    const actual = await train(cached, config, dataset, layout, directory.join("b"));
    assert.deepEqual(actual.events, expected.events);
    assert.deepEqual(contentOf(directory.join("b/last")).vectors, contentOf(directory.join("a/last")).vectors);
    const { rows, fetched, read } = cached.moved!;
    assert.ok(fetched > 0 && fetched < rows, `${fetched} of ${rows} rows were fetched`);
    assert.ok(read > 0, "no row was read from disk");
  });
}

Deno.test("every device fetches all missing rows, and one of them writes each evicted row", async () => {
  using directory = new TemporaryDirectory();
  const config = configOf(2);
  const dataset = datasetOf(directory, 2);
  using layout = await ensureLayout(dataset, undefined, config, { cache: directory.path }, () => {});
  await using cached = await open(config, 2, dataset, layout, 40) as DeviceCachedRanks;
  await cached.initialise(new Float32Array(cached.memory.plan.denseWords), 1);
  const rowBytes = 4 * rowWords(config);
  const listBytes = (rows: number) => 4 * 4 * Math.ceil(rows / 4);
  const before = cached.takeCounts();
  let batchBytes = 0, lists = 0;
  let { fetched, written } = cached.cached;
  for (let step = 0; step < layout.batches("cold"); step++) {
    const slot = cached.acquire();
    layout.readBatch("cold", step, cached.batches[slot]);
    const { usedWords } = cached.batches[slot];
    batchBytes += 4 * usedWords;
    cached.train(slot);
    const moved = { fetched: cached.cached.fetched - fetched, written: cached.cached.written - written };
    lists += 2 * listBytes(moved.fetched) + listBytes(Math.floor(moved.written / 2)) +
      listBytes(Math.ceil(moved.written / 2));
    ({ fetched, written } = cached.cached);
  }
  const { bytesToDevice, bytesToHost } = cached.takeCounts();
  assert.ok(written > 50, `${written} rows were evicted`);
  assert.equal(bytesToDevice - before.bytesToDevice, 2 * batchBytes + lists + 2 * rowBytes * fetched);
  assert.equal(bytesToHost - before.bytesToHost, rowBytes * written);
});
