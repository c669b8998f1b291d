import assert from "node:assert/strict";
import { Header } from "../../src/backend/backend.ts";
import { Batch, type BatchShape } from "../../src/layout/batch.ts";
import { SegmentSorter } from "../../src/layout/segment_sorter.ts";
import { Random } from "../../src/random.ts";
import { checkSegments } from "../support/check_segments.ts";

/** A batch of random rows below `rowLimit`: those of each table above those of the table before it, or anything. */
function sorted(
  sorter: SegmentSorter,
  shape: BatchShape,
  byTable: boolean,
  rowLimit: number,
  samples: number,
  random: Random,
): Batch {
  const batch = new Batch(shape);
  const { words, sections } = batch;
  let lookups = 0;
  for (let bag = 0; bag < samples * shape.tables; bag++) {
    for (let left = shape.bags ? random.below(4) : 1; left > 0; left--) {
      const row = Math.floor(rowLimit * random.uniform() ** 3);
      words[sections.indices + lookups++] = byTable
        ? Math.floor((bag % shape.tables * rowLimit + row) / shape.tables)
        : row;
    }
    if (shape.bags) words[sections.offsets + bag + 1] = lookups;
  }
  words[Header.samples] = samples;
  words[Header.lookups] = lookups;
  sorter.write(batch);
  return batch;
}

for (const bags of [false, true]) {
  Deno.test(`every lookup is in the one segment of its row${bags ? ", with bags" : ""}`, () => {
    const random = new Random(1);
    const shape = { batchSize: 9, denseFeatures: 2, tables: 5, bags, lookupCapacity: bags ? 135 : 45 };
    const sorter = new SegmentSorter(shape);
    for (const rowLimit of [0, 1, 2, 3, 2048, 2049, 20_000, 1 << 22, (1 << 22) + 1, 2 ** 31, 2 ** 32 - 1]) {
      for (const byTable of [true, false]) {
        for (const samples of [9, 1, 8, 0]) {
          checkSegments(sorted(sorter, shape, byTable, rowLimit, samples, random));
        }
      }
    }
  });
}

Deno.test("one row that the whole batch looks up is one segment", () => {
  const shape = { batchSize: 4, denseFeatures: 0, tables: 2, bags: false, lookupCapacity: 8 };
  const batch = sorted(new SegmentSorter(shape), shape, false, 1, 4, new Random(1));
  assert.deepEqual([...batch.words.subarray(batch.sections.segmentBags)].slice(0, 12), [
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    0,
    0,
    2 ** 32 - 1,
    8,
  ]);
});

Deno.test("the largest rows come last", () => {
  const shape = { batchSize: 1, denseFeatures: 0, tables: 3, bags: false, lookupCapacity: 3 };
  const batch = new Batch(shape);
  batch.words.set([2 ** 32 - 2, 2 ** 31, 7], batch.sections.indices);
  batch.words.set([1, 3], Header.samples);
  new SegmentSorter(shape).write(batch);
  assert.deepEqual([0, 1, 2].map((s) => batch.row(s)), [7, 2 ** 31, 2 ** 32 - 2]);
});
