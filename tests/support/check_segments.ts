/** Definition of the segments of a batch, to check packed batches against. */
import assert from "node:assert/strict";
import { type Batch, SEGMENTS_END } from "../../src/layout/batch.ts";

/** Bag of every lookup of a batch, in order. */
export function bagsOfLookups({ shape, words, sections, samples, lookups }: Batch): number[] {
  if (!shape.bags) return Array.from({ length: lookups }, (_, k) => k);
  const bags: number[] = [];
  for (let bag = 0; bag < samples * shape.tables; bag++) {
    for (let k = words[sections.offsets + bag]; k < words[sections.offsets + bag + 1]; k++) bags.push(bag);
  }
  return bags;
}

/** Fails unless every lookup is in exactly one segment, that of its row, rows ascend, and so do the bags of a row. */
export function checkSegments(batch: Batch): void {
  const { words, sections, lookups, distinct } = batch;
  const indices = words.subarray(sections.indices, sections.indices + lookups);
  const expected = new Map<number, number[]>();
  bagsOfLookups(batch).forEach((bag, k) => expected.set(indices[k], [...expected.get(indices[k]) ?? [], bag]));
  const found = new Map<number, number[]>();
  for (let s = 0; s < distinct; s++) {
    const from = words[sections.segments + 2 * s + 1];
    const to = words[sections.segments + 2 * s + 3];
    found.set(batch.row(s), [...words.subarray(sections.segmentBags + from, sections.segmentBags + to)]);
  }
  assert.equal(found.size, distinct, "rows of segments are distinct");
  assert.deepEqual([...found], [...expected].sort(([a], [b]) => a - b));
  assert.deepEqual(
    [...words.subarray(sections.segments + 2 * distinct, sections.segments + 2 * distinct + 2)],
    [SEGMENTS_END, lookups],
  );
}
