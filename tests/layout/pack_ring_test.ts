import assert from "node:assert/strict";
import { BatchFiller } from "../../src/layout/batch_filler.ts";
import { PackRing } from "../../src/layout/pack_ring.ts";
import { SplitBatches } from "../../src/layout/split_batches.ts";
import { breaksOf } from "../support/breaks.ts";
import { checkSegments } from "../support/check_segments.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

for (const withThread of [false, true]) {
  Deno.test(`batches leave in the order they were submitted, with segments, ${withThread ? "two threads" : "one"}`, async () => {
    using directory = new TemporaryDirectory();
    const samples = { train: 5000, validation: 0, test: 0 };
    const tableRows = [20, 7000, 300];
    const dataset = tinyDataset(directory.path, { samples, tableRows, denseFeatures: 1, bags: true, seed: 4, skew: 2 });
    using batches = new SplitBatches(dataset, "train", 16);
    using reader = dataset.reader("train", 16);
    const labels: number[] = [];
    let written = 0;
    const limits = batches.shape;
    using ring = new PackRing(limits, withThread, (batch) => {
      checkSegments(batch);
      labels.push(...batch.floats.subarray(batch.sections.labels, batch.sections.labels + batch.samples));
      written++;
    });
    const expected: number[] = [];
    for (let first = 0; first < 5000; first += 16) {
      const run = reader.read(first, Math.min(16, 5000 - first));
      expected.push(...run.labels);
      const batch = await ring.take();
      const filler = new BatchFiller(batch);
      for (let i = 0; i < run.count; i++) filler.add(run, i);
      filler.close();
      ring.submit(batch);
    }
    await ring.finish();
    assert.equal(written, batches.count);
    assert.deepEqual(labels, expected);
  });
}

Deno.test("a batch is packed in parts: a digit of a table's rows, and some lookups at a time", async () => {
  using directory = new TemporaryDirectory();
  const samples = { train: 50_000, validation: 0, test: 0 };
  const tableRows = [20, 7000, 300];
  const dataset = tinyDataset(directory.path, { samples, tableRows, denseFeatures: 1, bags: false, seed: 4, skew: 2 });
  using batches = new SplitBatches(dataset, "train", samples.train);
  using ring = new PackRing(batches.shape, false, () => {});
  const batch = await ring.take();
  batches.read(0, batch);
  ring.submit(batch);
  const digits = 1 + 2 + 1, pieces = 2, lengths = 1, written = 1;
  assert.equal(await breaksOf(() => ring.finish()), digits + pieces + lengths + written);
});

Deno.test("a ring that is left early stops its thread", async () => {
  const shape = { batchSize: 4, denseFeatures: 0, tables: 1, bags: false, lookupCapacity: 4 };
  const ring = new PackRing(shape, true, () => assert.fail("nothing was submitted"));
  await ring.take();
  ring[Symbol.dispose]();
});
