import assert from "node:assert/strict";
import { AccessLog } from "../../src/profile/access_log.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset, writeDataset } from "../support/tiny_dataset.ts";

const silent = () => {};

for (const bags of [false, true]) {
  Deno.test(`a log of all samples holds the exact counts${bags ? ", with bags" : ""}`, async () => {
    using directory = new TemporaryDirectory();
    const samples = { train: 20_000, validation: 10, test: 10 };
    const options = { samples, tableRows: [7, 900, 300], denseFeatures: 1, bags, seed: 1, skew: 3 };
    const dataset = tinyDataset(directory.path, options);
    const log = new AccessLog(dataset, 1);
    await log.growTo(100, silent);
    assert.deepEqual(log.counts, await dataset.readCounts());
  });
}

/** One table in which every sample has a row of its own: the counts tell which samples were drawn. */
function countingSamples(directory: string, samples: number) {
  return writeDataset(directory, {
    tableRows: [samples],
    denseFeatures: 0,
    splits: {
      train: {
        labels: new Uint8Array(samples),
        dense: new Float32Array(0),
        ids: Uint32Array.from({ length: samples }, (_, i) => i),
      },
    },
  });
}

Deno.test("samples are drawn without replacement, at the rate, and a larger sample contains the smaller", async () => {
  using directory = new TemporaryDirectory();
  const dataset = countingSamples(directory.path, 20_000);
  const log = new AccessLog(dataset, 5);
  await log.growTo(3, silent);
  const small = log.counts.slice();
  assert.equal(small.filter((count) => count === 1).length, 600);
  assert.ok(small.every((count) => count <= 1));
  await log.growTo(6, silent);
  assert.ok(log.counts.every((count, i) => count <= 1 && count >= small[i]));
  const direct = new AccessLog(dataset, 5);
  await direct.growTo(6, silent);
  assert.deepEqual(direct.counts, log.counts);
});

Deno.test("a long log is drawn in runs of consecutive samples, its end too", async () => {
  using directory = new TemporaryDirectory();
  const samples = (3 << 18) + 1; // runs of 3, and one of 1
  const log = new AccessLog(countingSamples(directory.path, samples), 5);
  const progress: number[] = [];
  await log.growTo(2, (done, total) => progress.push(done / total));
  assert.ok(progress.length <= 100 && progress.at(-1) === 1);
  let runs = 0;
  for (let first = 0; first < samples; first += 3) {
    const run = log.counts.subarray(first, first + 3);
    assert.ok(run.every((count) => count === run[0] && count <= 1));
    runs += run[0];
  }
  assert.equal(runs, Math.ceil(((1 << 18) + 1) * 0.02));
  await log.growTo(100, () => {});
  assert.ok(log.counts.every((count) => count === 1));
});

Deno.test("every sample is as likely as any other, and seeds differ", async () => {
  using directory = new TemporaryDirectory();
  const dataset = countingSamples(directory.path, 1000);
  const drawn = new Uint32Array(1000);
  const seeds = 2000;
  for (let seed = 0; seed < seeds; seed++) {
    const log = new AccessLog(dataset, seed);
    await log.growTo(10, silent);
    log.counts.forEach((count, i) => drawn[i] += count);
  }
  // Binomial with mean 200 and standard deviation 13.4: of 1,000 values none is expected beyond 5 deviations.
  assert.ok(drawn.every((count) => Math.abs(count - 200) < 67), `${Math.min(...drawn)} to ${Math.max(...drawn)}`);
  const variance = drawn.reduce((sum, count) => sum + (count - 200) ** 2, 0) / 1000;
  assert.ok(variance > 140 && variance < 220, `variance ${variance} where 180 is expected`);
});
