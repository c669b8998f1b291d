import assert from "node:assert/strict";
import { inParts } from "../../src/breaks.ts";
import { Batch, batchSections } from "../../src/layout/batch.ts";
import { buildLayout } from "../../src/layout/build_layout.ts";
import { batchFiles, type Layout } from "../../src/layout/layout.ts";
import { ReadAhead } from "../../src/layout/read_ahead.ts";
import { SplitBatches } from "../../src/layout/split_batches.ts";
import { breaksOf } from "../support/breaks.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

const SLOTS = 4;

async function coldLayout(directory: TemporaryDirectory): Promise<Layout> {
  const dataset = tinyDataset(directory.join("dataset"), {
    samples: { train: 3000, validation: 1, test: 1 },
    tableRows: [20, 20_000, 300],
    denseFeatures: 2,
    bags: false,
    seed: 4,
    skew: 3,
  });
  return await buildLayout(dataset, undefined, { out: directory.join("layout"), batchSize: 8 });
}

function slotsOf({ shape }: Layout): Batch[] {
  const bytes = 4 * batchSections(shape).capacity;
  const memory = new SharedArrayBuffer(SLOTS * bytes);
  return Array.from({ length: SLOTS }, (_, slot) => new Batch(shape, memory, slot * bytes));
}

/** Reads batches with as many asked ahead as are worth it. */
function readAll(reading: ReadAhead, batches: number, read: (index: number, slot: number) => void): void {
  for (let index = 0, asked = 0; index < batches; index++) {
    for (; asked < batches && reading.waiting < reading.depth; asked++) reading.ask(asked % SLOTS, "cold", asked);
    read(index, reading.take());
  }
}

for (const threads of [0, 1, 2]) {
  Deno.test(`batches are there in the order in which they were asked, ${threads} threads`, async () => {
    using directory = new TemporaryDirectory();
    using layout = await coldLayout(directory);
    const slots = slotsOf(layout);
    using reading = new ReadAhead(layout, slots, threads);
    assert.equal(reading.depth, threads === 0 ? 1 : SLOTS - 1);
    const expected = new Batch(layout.shape);
    // Threads start when they can: the second round has them.
    for (const pause of [threads === 0 ? 0 : 300, 0]) {
      readAll(reading, layout.batches("cold"), (index, slot) => {
        layout.readBatch("cold", index, expected);
        const { words, usedWords } = slots[slot];
        assert.deepEqual(words.subarray(0, usedWords), expected.words.subarray(0, expected.usedWords));
      });
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  });
}

Deno.test("a large batch is read in parts of some tables, and of some samples", async () => {
  using directory = new TemporaryDirectory();
  const samples = 20_000;
  const dataset = tinyDataset(directory.join("dataset"), {
    samples: { train: samples, validation: samples, test: 1 },
    tableRows: [20, 2000, 300, 4],
    denseFeatures: 2,
    bags: false,
    seed: 4,
    skew: 3,
  });
  using layout = await buildLayout(dataset, undefined, { out: directory.join("layout"), batchSize: samples });
  const slots = slotsOf(layout);
  using reading = new ReadAhead(layout, slots, 0);
  reading.ask(0, "cold", 0);
  // The record, then at most 65,536 lookups at a time: three tables and one; 16,384 samples and the rest.
  assert.equal(await breaksOf(() => reading.taken()), 1 + 2 + 2);
  const expected = new Batch(layout.shape);
  layout.readBatch("cold", 0, expected);
  assert.deepEqual(slots[0].words, expected.words);
  using split = new SplitBatches(dataset, "validation", samples);
  const batch = new Batch(split.shape);
  assert.equal(await breaksOf(() => inParts(split.readInParts(0, batch))), Math.ceil(samples / 8192));
});

Deno.test("a damaged batch is refused when it is needed, and not before", async () => {
  using directory = new TemporaryDirectory();
  using layout = await coldLayout(directory);
  const { batches, positions } = batchFiles("cold");
  const damaged = new Float64Array(Deno.readFileSync(`${layout.directory}/${positions}`).buffer)[2];
  using file = Deno.openSync(`${layout.directory}/${batches}`, { write: true });
  file.seekSync(damaged, Deno.SeekMode.Start);
  file.writeSync(Uint8Array.of(0)); // no samples
  using reading = new ReadAhead(layout, slotsOf(layout), 1);
  for (let index = 0; index < reading.depth; index++) reading.ask(index, "cold", index);
  await new Promise((resolve) => setTimeout(resolve, 300)); // time for the thread to meet it first
  assert.deepEqual([reading.take(), reading.take()], [0, 1]);
  await assert.rejects(() => reading.taken(), {
    name: "HotsetError",
    message: `Cannot read ${layout.directory}/${batches}: batch 2 is damaged (0 samples in a batch of 8); build the ` +
      `layout again`,
  });
});
