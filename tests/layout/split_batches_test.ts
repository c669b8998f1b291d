import assert from "node:assert/strict";
import { SPLITS } from "../../src/dataset/dataset.ts";
import { Batch, SEGMENTS_END } from "../../src/layout/batch.ts";
import { SplitBatches } from "../../src/layout/split_batches.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

for (const bags of [false, true]) {
  Deno.test(`the batches of a split are its samples in order${bags ? ", with bags" : ""}`, () => {
    using directory = new TemporaryDirectory();
    const dataset = tinyDataset(directory.path, {
      samples: { train: 64, validation: 50, test: 1 },
      tableRows: [20, 7, 300],
      denseFeatures: 2,
      bags,
      seed: 4,
      skew: 2,
    });
    for (const split of SPLITS) {
      using batches = new SplitBatches(dataset, split, 16);
      const count = dataset.samples(split);
      assert.equal(batches.count, Math.ceil(count / 16));
      using reader = dataset.reader(split, count);
      const all = reader.read(0, count);
      const batch = new Batch(batches.shape);
      batch.words.fill(0xdeadbeef); // whatever the block held before
      let most = 0, lookups = 0;
      for (let index = 0; index < batches.count; index++) {
        batches.read(index, batch);
        const { words, floats, sections, samples } = batch;
        assert.equal(samples, Math.min(16, count - 16 * index));
        const section = (from: number, length: number) => [...words.subarray(from, from + length)];
        const wanted = (
          values: Uint8Array | Float32Array,
          each: number,
        ) => [...values.subarray(16 * index * each, (16 * index + samples) * each)];
        assert.deepEqual([...floats.subarray(sections.labels, sections.labels + samples)], wanted(all.labels, 1));
        assert.deepEqual([...floats.subarray(sections.dense, sections.dense + 2 * samples)], wanted(all.dense, 2));
        assert.deepEqual(section(sections.indices, batch.lookups), [
          ...all.indices.subarray(lookups, lookups + batch.lookups),
        ]);
        if (bags) {
          const offsets = [...all.offsets!.subarray(48 * index, 48 * index + 3 * samples + 1)];
          assert.deepEqual(section(sections.offsets, 3 * samples + 1), offsets.map((offset) => offset - lookups));
        }
        assert.deepEqual([batch.hot, batch.distinct], [false, 0]);
        assert.deepEqual(section(sections.segments, 2), [SEGMENTS_END, batch.lookups]);
        lookups += batch.lookups;
        most = Math.max(most, batch.lookups);
      }
      assert.equal(lookups, all.indices.length);
      assert.equal(batches.shape.lookupCapacity, bags ? most : 48);
    }
  });
}

Deno.test("an empty split has no batches", () => {
  using directory = new TemporaryDirectory();
  const samples = { train: 3, validation: 0, test: 0 };
  const dataset = tinyDataset(directory.path, {
    samples,
    tableRows: [5],
    denseFeatures: 1,
    bags: true,
    seed: 1,
    skew: 1,
  });
  using batches = new SplitBatches(dataset, "validation", 8);
  assert.equal(batches.count, 0);
});
