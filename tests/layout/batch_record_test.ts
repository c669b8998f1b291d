import assert from "node:assert/strict";
import { atOnce } from "../../src/breaks.ts";
import { Header } from "../../src/backend/backend.ts";
import { Batch, type BatchShape } from "../../src/layout/batch.ts";
import { BatchRecord, maxRecordBytes } from "../../src/layout/batch_record.ts";
import { BatchUnpacker } from "../../src/layout/batch_unpacker.ts";
import { SegmentSorter } from "../../src/layout/segment_sorter.ts";
import { Random } from "../../src/random.ts";

const TABLES = 5, TABLE_ROWS = 100_000;

/** A batch of random lookups, complete but for its segments; words that it does not use are zero. */
function randomBatch(shape: BatchShape, samples: number, random: Random): Batch {
  const batch = new Batch(shape);
  const { words, floats, sections } = batch;
  let lookups = 0;
  for (let i = 0; i < samples; i++) floats[sections.labels + i] = shape.weighted ? random.normal() : random.below(2);
  for (let i = 0; i < samples * shape.denseFeatures; i++) floats[sections.dense + i] = random.normal();
  for (let bag = 0; bag < samples * shape.tables; bag++) {
    for (let left = shape.bags ? random.below(4) : 1; left > 0; left--) {
      words[sections.indices + lookups++] = bag % shape.tables * TABLE_ROWS + random.below(TABLE_ROWS);
    }
    if (shape.bags) words[sections.offsets + bag + 1] = lookups;
  }
  for (let k = 0; shape.weightedLookups && k < lookups; k++) floats[sections.lookupWeights + k] = random.normal();
  words[Header.samples] = samples;
  words[Header.lookups] = lookups;
  return batch;
}

/** Unpacks the first `bytes` bytes of a record into `batch`. Returns its fault. */
function unpack(unpacker: BatchUnpacker, record: BatchRecord, bytes: number, batch: Batch): string | undefined {
  const { block } = batch;
  block.set(record.bytes.subarray(0, block.length));
  unpacker.packed.set(record.bytes.subarray(block.length, bytes));
  return unpacker.unpack(batch, bytes - block.length, TABLES * TABLE_ROWS);
}

// Both widths of places, with and without bags; all tables at once, several, and one after the other.
for (
  const [bags, batchSize, weighted, weightedLookups] of [
    ...[[false, 8, false, false], [true, 8, false, false], [false, 65_537, false, false]] as const,
    ...[[false, 20_000, false, false], [false, 65_536, false, false], [true, 40_000, false, false]] as const,
    ...[[true, 8000, false, false], [false, 9, true, false], [true, 9, true, false]] as const,
    ...[[true, 9, false, true], [true, 8000, true, true]] as const,
  ]
) {
  const what = `${batchSize} samples${bags ? " with bags" : ""}${weighted ? " with weights" : ""}` +
    (weightedLookups ? " and weights of lookups" : "");
  Deno.test(`a record unpacks to the batch, ${what}`, () => {
    const random = new Random(3);
    const shape = {
      batchSize,
      denseFeatures: 3,
      tables: TABLES,
      bags,
      weighted,
      weightedLookups,
      lookupCapacity: (bags ? 4 : 1) * TABLES * batchSize,
    };
    const sorter = new SegmentSorter(shape);
    const record = new BatchRecord(shape);
    const unpacker = new BatchUnpacker(shape);
    const found = new Batch(shape);
    found.words.fill(77); // what an earlier batch left
    for (const samples of [batchSize, 1, 5]) {
      const batch = randomBatch(shape, samples, random);
      const positions = sorter.write(batch);
      if (weightedLookups) {
        const { floats, sections: { lookupWeights, segmentWeights } } = batch;
        positions.forEach((at, k) =>
          k >= batch.lookups || assert.equal(floats[segmentWeights + k], floats[lookupWeights + at])
        );
      }
      const bytes = atOnce(record.pack(batch, positions));
      assert.ok(bytes <= maxRecordBytes(shape));
      assert.equal(unpack(unpacker, record, bytes, found), undefined);
      assert.deepEqual(found.words.subarray(0, batch.usedWords), batch.words.subarray(0, batch.usedWords));
      assert.match(unpack(unpacker, record, bytes + 4, found)!, /a record of \d+ bytes that ends after \d+/);
    }
  });
}

Deno.test("a batch without lookups is a record without segments", () => {
  const shape = { batchSize: 3, denseFeatures: 1, tables: TABLES, bags: true, lookupCapacity: 9 };
  const batch = new Batch(shape), found = new Batch(shape);
  found.words.fill(77);
  batch.words[Header.samples] = 3;
  const record = new BatchRecord(shape);
  const bytes = atOnce(record.pack(batch, new SegmentSorter(shape).write(batch)));
  assert.equal(unpack(new BatchUnpacker(shape), record, bytes, found), undefined);
  assert.deepEqual(found.words.subarray(0, batch.usedWords), batch.words.subarray(0, batch.usedWords));
});

Deno.test("a place that is damaged is refused with its segment, in whatever table it is", () => {
  const shape = { batchSize: 20_000, denseFeatures: 0, tables: TABLES, bags: false, lookupCapacity: 20_000 * TABLES };
  const batch = randomBatch(shape, 20_000, new Random(5));
  const positions = new SegmentSorter(shape).write(batch);
  const record = new BatchRecord(shape), unpacker = new BatchUnpacker(shape), found = new Batch(shape);
  for (const table of [0, 2, 3, 4]) {
    const at = 20_000 * table + 17;
    const segment = Array.from({ length: batch.distinct }, (_, s) => s)
      .findLast((s) => batch.words[batch.sections.segments + 2 * s + 1] <= at);
    for (const [place, fault] of [[20_000, "is not below 20000"], [undefined, "is in another segment too"]] as const) {
      const damaged = positions.slice();
      damaged[at] = place === undefined ? damaged[at - 1] : place * TABLES + table;
      const bytes = atOnce(record.pack(batch, damaged));
      const message = unpack(unpacker, record, bytes, found)!;
      assert.ok(message.endsWith(` of segment ${segment} ${fault}`), message);
    }
  }
});

Deno.test("rows that descend from one table to the next are refused, also where the next ones are unpacked later", () => {
  const shape = { batchSize: 20_000, denseFeatures: 0, tables: TABLES, bags: false, lookupCapacity: 20_000 * TABLES };
  const batch = randomBatch(shape, 20_000, new Random(6));
  const record = new BatchRecord(shape), unpacker = new BatchUnpacker(shape), found = new Batch(shape);
  const bytes = atOnce(record.pack(batch, new SegmentSorter(shape).write(batch)));
  const { words, sections, distinct } = batch;
  const rows = new Uint32Array(record.bytes.buffer, 4 * sections.indices, distinct);
  for (let table = 1; table < TABLES; table++) {
    const segment = Array.from({ length: distinct }, (_, s) => s)
      .find((s) => words[sections.segments + 2 * s + 1] === 20_000 * table)!;
    const row = rows[segment];
    rows[segment] = rows[segment - 1];
    const message = unpack(unpacker, record, bytes, found)!;
    assert.match(message, new RegExp(`^row ${rows[segment]} of segment ${segment} is out of order`));
    rows[segment] = row;
  }
  assert.equal(unpack(unpacker, record, bytes, found), undefined);
});

Deno.test("a record with a row that no lookup has is refused", () => {
  const shape = { batchSize: 4, denseFeatures: 0, tables: 2, bags: false, lookupCapacity: 8 };
  const batch = randomBatch(shape, 4, new Random(7));
  batch.words.set([1, 100_001, 2, 100_002, 1, 100_001, 2, 100_002], batch.sections.indices);
  const record = new BatchRecord(shape);
  const { block } = batch;
  atOnce(record.pack(batch, new SegmentSorter(shape).write(batch)));
  const [placesAt, lengthsAt] = [block.length + 4 * 4, block.length + 4 * 4 + 2 * 8];
  const [places, lengths] = [record.bytes.slice(placesAt, lengthsAt), record.bytes.slice(lengthsAt, lengthsAt + 2 * 4)];
  new Uint32Array(record.bytes.buffer)[Header.distinct] = 5;
  new Uint32Array(record.bytes.buffer)[placesAt / 4] = 100_003;
  record.bytes.set(places, placesAt + 4);
  record.bytes.set(lengths, lengthsAt + 4);
  const bytes = lengthsAt + 4 + 2 * 4 + 4; // the length of the fifth segment is 1, which is written as 0
  record.bytes.fill(0, bytes - 4, bytes);
  assert.equal(unpack(new BatchUnpacker(shape), record, bytes, new Batch(shape)), "segments of more than 8 lookups");
});

Deno.test("lookups whose rows are not in the order of the tables cannot be packed", () => {
  const shape = { batchSize: 2, denseFeatures: 0, tables: 2, bags: false, lookupCapacity: 4 };
  const batch = new Batch(shape);
  const { words, sections } = batch;
  words.set([1, 0, 3, 2], sections.indices);
  words[Header.samples] = 2;
  words[Header.lookups] = 4;
  const positions = new SegmentSorter(shape).write(batch);
  assert.throws(
    () => atOnce(new BatchRecord(shape).pack(batch, positions)),
    /Cannot pack lookup 1: its row is no row of its table/,
  );
});
