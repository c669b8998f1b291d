import assert from "node:assert/strict";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { SampleShuffle, type SampleSource, type ShuffleOptions } from "../../src/layout/sample_shuffle.ts";
import { ALONE } from "../../src/parallel/host_group.ts";
import type { Random } from "../../src/random.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset, writeDataset } from "../support/tiny_dataset.ts";

function shuffle(directory: TemporaryDirectory, dataset: Dataset, options: ShuffleOptions): Promise<SampleShuffle> {
  const path = directory.join("shuffle");
  return SampleShuffle.create(dataset, options, {
    group: ALONE,
    pathOf: () => path,
    create: undefined,
    onProgress() {},
  });
}

/** Each sample of a source as text, read in runs of some lengths. */
function samplesOf(source: SampleSource, { tables, denseFeatures }: Dataset, capacity: number): string[] {
  const all: string[] = [];
  while (all.length < source.samples) {
    const wanted = Math.min(1 + all.length % capacity, source.samples - all.length);
    const { count, labels, dense, indices, lookupWeights, offsets } = source.read(all.length, wanted);
    for (let i = 0; i < count; i++) {
      const bags = Array.from({ length: tables }, (_, t) => {
        const bag = i * tables + t;
        const lookups = [offsets?.[bag] ?? bag, offsets?.[bag + 1] ?? bag + 1] as const;
        return [[...indices.subarray(...lookups)], [...lookupWeights?.subarray(...lookups) ?? []]];
      });
      all.push(JSON.stringify([labels[i], [...dense.subarray(i * denseFeatures, (i + 1) * denseFeatures)], bags]));
    }
  }
  return all;
}

for (const way of ["", ", with bags", ", with weighted bags"]) {
  const bags = way !== "";
  Deno.test(`a shuffle keeps every sample, in an order that the seed decides${way}`, async () => {
    using directory = new TemporaryDirectory();
    const dataset = tinyDataset(directory.join("dataset"), {
      samples: { train: 9001, validation: 5, test: 5 },
      tableRows: [20_000, 300],
      denseFeatures: 2,
      bags,
      seed: 1,
      skew: 2,
      ...(way === ", with weighted bags" && { weight: (random: Random) => random.normal() }),
    });
    using log = dataset.reader("train", 4096);
    const inOrder = samplesOf(log, dataset, 4096);
    const orders: string[][] = [];
    for (const [seed, bucketBytes] of [[1, undefined], [1, 10_000], [2, 10_000], [1, 10_000]]) {
      const shuffled = await shuffle(directory, dataset, { seed: seed!, bucketBytes });
      using source = shuffled.reader(4096);
      const samples = samplesOf(source, dataset, 4096);
      assert.ok(source.readLookups(17, 3).indices.length > 0, "an earlier bucket can be read again");
      shuffled.remove();
      assert.ok(samples.toSorted().join() === inOrder.toSorted().join(), "every sample is there once");
      assert.ok(samples.join() !== inOrder.join());
      orders.push(samples);
    }
    assert.ok(orders[3].join() === orders[1].join());
    assert.ok(orders[2].join() !== orders[1].join());
    assert.deepEqual([...Deno.readDirSync(directory.path)].map(({ name }) => name), ["dataset"]);
  });
}

const SAMPLES = 40_000;

/** The numbers that samples have in the log, in the order of a shuffle. */
async function permutation(options: ShuffleOptions): Promise<number[]> {
  using directory = new TemporaryDirectory();
  const train = {
    labels: new Uint8Array(SAMPLES),
    dense: new Float32Array(0),
    ids: Uint32Array.from({ length: SAMPLES }, (_, i) => i),
  };
  const plain = { tableRows: [SAMPLES], denseFeatures: 0, splits: { train } };
  const dataset = writeDataset(directory.join("dataset"), plain);
  using source = (await shuffle(directory, dataset, options)).reader(SAMPLES);
  return [...source.read(0, SAMPLES).indices];
}

/** A sample here takes 8 bytes: one bucket, a few, and hundreds of about 100 samples. */
for (const bucketBytes of [undefined, 40_000, 800]) {
  Deno.test(`shuffled samples are as far from the log as in a uniform permutation, buckets of ${bucketBytes} bytes`, async () => {
    for (const seed of [1, 2, 3]) {
      const order = await permutation({ seed, bucketBytes });
      // Where the samples of each twentieth of the log go: 361 degrees of freedom, of which 4.5 deviations are 121.
      const cells = new Array<number>(400).fill(0);
      order.forEach((from, to) => cells[20 * Math.floor(20 * from / SAMPLES) + Math.floor(20 * to / SAMPLES)]++);
      const expected = SAMPLES / 400;
      const chiSquare = cells.reduce((sum, found) => sum + (found - expected) ** 2 / expected, 0);
      assert.ok(Math.abs(chiSquare - 361) < 121, `chi-square ${chiSquare}`);
      // The mean displacement is a third of the samples, with a deviation of some N / sqrt(18 N).
      const displacement = order.reduce((sum, from, to) => sum + Math.abs(from - to), 0) / SAMPLES;
      assert.ok(Math.abs(displacement / SAMPLES - 1 / 3) < 4.5 / Math.sqrt(18 * SAMPLES), `moved by ${displacement}`);
      // Neighbours of the log that are neighbours still, and those within 100 places: about 2 and 2 * 199 of them.
      const place = new Uint32Array(SAMPLES);
      order.forEach((from, to) => place[from] = to);
      const distances = Array.from({ length: SAMPLES - 1 }, (_, i) => Math.abs(place[i + 1] - place[i]));
      assert.ok(distances.filter((distance) => distance === 1).length < 12);
      const near = distances.filter((distance) => distance <= 100).length;
      assert.ok(Math.abs(near - 200) < 4.5 * Math.sqrt(200), `${near} neighbours within 100 places`);
      // The correlation of neighbours is 0 with a deviation of 1 / sqrt(N).
      const mean = (SAMPLES - 1) / 2;
      let covariance = 0, variance = 0;
      order.forEach((from, to) => {
        variance += (from - mean) ** 2;
        if (to > 0) covariance += (from - mean) * (order[to - 1] - mean);
      });
      assert.ok(Math.abs(covariance / variance) < 4.5 / Math.sqrt(SAMPLES), `correlation ${covariance / variance}`);
    }
  });
}
