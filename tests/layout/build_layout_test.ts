import assert from "node:assert/strict";
import type { Dataset, Samples } from "../../src/dataset/dataset.ts";
import { Batch } from "../../src/layout/batch.ts";
import { buildLayout } from "../../src/layout/build_layout.ts";
import { BATCH_KINDS, batchFiles, type BatchKind, type Layout } from "../../src/layout/layout.ts";
import { profileDataset } from "../../src/profile/profile_dataset.ts";
import { checkSegments } from "../support/check_segments.ts";
import type { Random } from "../../src/random.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset, writeDataset } from "../support/tiny_dataset.ts";
import { slowTest } from "../support/series.ts";

const TABLE_ROWS = [20, 20_000, 300, 40_000];

async function setUp(directory: TemporaryDirectory, bags: boolean, hotMemory: number, train = 9000, weighted = false) {
  const dataset = tinyDataset(directory.join("dataset"), {
    samples: { train, validation: 5, test: 5 },
    tableRows: TABLE_ROWS,
    denseFeatures: 3,
    bags,
    seed: 4,
    skew: 6,
    ...(weighted && { weight: (random: Random) => random.normal() }),
  });
  const out = directory.join("profile");
  const profile = await profileDataset(dataset, { out, dim: 16, optimizer: "sgd", hotMemory, seed: 1 });
  return { dataset, profile };
}

/** One sample as plain values: label, dense values, global rows of each bag, and their weights. */
interface PlainSample {
  label: number;
  dense: number[];
  bags: number[][];
  weights: number[][];
}

function samplesOf(
  { count, labels, dense, indices, lookupWeights, offsets }: Samples,
  tables: number,
  denseFeatures: number,
) {
  const ofBags = (words: Uint32Array | Float32Array, i: number) =>
    Array.from({ length: tables }, (_, t) => {
      const bag = i * tables + t;
      return [...words.subarray(offsets?.[bag] ?? bag, offsets?.[bag + 1] ?? bag + 1)];
    });
  return Array.from({ length: count }, (_, i): PlainSample => ({
    label: labels[i],
    dense: [...dense.subarray(i * denseFeatures, (i + 1) * denseFeatures)],
    bags: ofBags(indices, i),
    weights: lookupWeights === undefined ? [] : ofBags(lookupWeights, i),
  }));
}

function trainSamples(dataset: Dataset): PlainSample[] {
  const count = dataset.samples("train");
  using reader = dataset.reader("train", count);
  return samplesOf(reader.read(0, count), dataset.tables, dataset.denseFeatures);
}

/** Reads all batches of a kind back into samples with global rows, checking each batch's numbers on the way. */
function unpack(layout: Layout, kind: BatchKind): PlainSample[] {
  const batch = new Batch(layout.shape);
  const { words, floats, sections } = batch;
  const { tables, denseFeatures, batchSize, bags } = layout.shape;
  const samples: PlainSample[] = [];
  for (let index = 0; index < layout.batches(kind); index++) {
    layout.readBatch(kind, index, batch);
    assert.equal(batch.hot, kind === "hot");
    assert.ok(batch.samples === batchSize || index === layout.batches(kind) - 1);
    checkSegments(batch);
    const indices = words.slice(sections.indices, sections.indices + batch.lookups);
    if (kind === "hot") indices.forEach((id, k) => indices[k] = layout.hotRows[id]);
    samples.push(...samplesOf(
      {
        count: batch.samples,
        labels: Uint8Array.from(floats.subarray(sections.labels, sections.labels + batch.samples)),
        dense: floats.subarray(sections.dense, sections.dense + batch.samples * denseFeatures),
        indices,
        lookupWeights: batch.lookupWeights?.slice(),
        offsets: bags ? words.subarray(sections.offsets, sections.offsets + batch.samples * tables + 1) : undefined,
      },
      tables,
      denseFeatures,
    ));
    checkUnusedWords(batch);
  }
  return samples;
}

function checkUnusedWords({ words, sections, shape, samples, lookups }: Batch): void {
  const unused: [string, number, number][] = [
    ["header", 5, sections.labels],
    ["labels", sections.labels + samples, sections.dense],
    ["dense", sections.dense + samples * shape.denseFeatures, sections.offsets],
    ["indices", sections.indices + lookups, sections.lookupWeights],
    ["segmentBags", sections.segmentBags + lookups, sections.segmentWeights],
  ];
  if (shape.weightedLookups) {
    unused.push(["lookupWeights", sections.lookupWeights + lookups, sections.segmentBags]);
    unused.push(["segmentWeights", sections.segmentWeights + lookups, sections.segments]);
  }
  if (shape.bags) unused.push(["offsets", sections.offsets + samples * shape.tables + 1, sections.indices]);
  for (const [name, from, to] of unused) {
    assert.ok(words.subarray(from, to).every((word) => word === 0), `unused words of ${name} are zero`);
  }
}

for (const way of ["", ", with bags", ", with weighted bags"]) {
  const bags = way !== "", weighted = way === ", with weighted bags";
  for (const [budget, hotMemory] of [["no", 0], ["a small", 150_000], ["a full", 1 << 30]] as const) {
    if (weighted && budget !== "a small") continue;
    Deno.test(`unpacked batches are the samples in order: ${budget} budget${way}`, async () => {
      using directory = new TemporaryDirectory();
      const { dataset, profile } = await setUp(directory, bags, hotMemory, 9000, weighted);
      const out = directory.join("layout");
      using layout = await buildLayout(dataset, profile, { out, batchSize: 128 });
      const hotRows = new Set(profile.hotRows);
      const all = trainSamples(dataset);
      const isHot = (sample: PlainSample) =>
        hotRows.size > 0 && sample.bags.every((bag) => bag.every((row) => hotRows.has(row)));
      const expected = { hot: all.filter(isHot), cold: all.filter((sample) => !isHot(sample)) };
      if (budget === "a small") assert.ok(expected.hot.length > 500 && expected.cold.length > 500, "both kinds occur");
      for (const kind of BATCH_KINDS) {
        assert.deepEqual(unpack(layout, kind), expected[kind]);
        assert.equal(layout.batches(kind), Math.ceil(expected[kind].length / 128));
      }
      const { body } = layout;
      assert.deepEqual(
        [
          body.dataset,
          body.profile,
          body.samples,
          body.hotSamples,
          body.hotSampleShare,
          body.hotBatches,
          body.coldBatches,
        ],
        [
          dataset.id,
          profile.id,
          9000,
          expected.hot.length,
          expected.hot.length / 9000,
          layout.batches("hot"),
          layout.batches("cold"),
        ],
      );
      const bytes = BATCH_KINDS.map((kind) => Deno.statSync(`${out}/${batchFiles(kind).batches}`).size);
      assert.equal(body.bytes, bytes[0] + bytes[1]);
      assert.deepEqual(layout.hotRows, profile.hotRows);
      for (const kind of BATCH_KINDS) {
        const batch = new Batch(layout.shape);
        let most = 0;
        for (let index = 0; index < layout.batches(kind); index++) {
          layout.readBatch(kind, index, batch);
          most = Math.max(most, batch.distinct);
        }
        assert.equal(body.mostDistinct[kind], most);
      }
    });
  }
}

Deno.test("without a profile every sample with a lookup is cold", async () => {
  using directory = new TemporaryDirectory();
  const { dataset } = await setUp(directory, false, 0, 300);
  using layout = await buildLayout(dataset, undefined, { out: directory.join("layout"), batchSize: 64 });
  assert.deepEqual([layout.body.profile, layout.body.hotRows, layout.body.hotSamples], [null, 0, 0]);
  assert.deepEqual([layout.batches("hot"), layout.batches("cold")], [0, 5]);
  assert.deepEqual(unpack(layout, "cold"), trainSamples(dataset));
});

Deno.test("a sample with only empty bags is cold where no row is hot", async () => {
  using directory = new TemporaryDirectory();
  const train = {
    labels: Uint8Array.of(1, 0, 1),
    dense: new Float32Array(0),
    ids: Uint32Array.of(2, 0, 2),
    bagLengths: Uint32Array.of(0, 0, 1, 0, 0, 2),
  };
  const dataset = writeDataset(directory.join("dataset"), { tableRows: [3, 4], denseFeatures: 0, splits: { train } });
  using layout = await buildLayout(dataset, undefined, { out: directory.join("layout"), batchSize: 2 });
  assert.equal(layout.batches("hot"), 0);
  assert.deepEqual(unpack(layout, "cold").map(({ bags }) => bags), [[[], []], [[2], []], [[], [3, 5]]]);
  assert.equal(layout.shape.lookupCapacity, 2);
});

for (const bags of [false, true]) {
  Deno.test(`the lookup capacity is the most lookups of any batch${bags ? ", with bags" : ""}`, async () => {
    using directory = new TemporaryDirectory();
    const { dataset, profile } = await setUp(directory, bags, 150_000, 2000);
    using layout = await buildLayout(dataset, profile, { out: directory.join("layout"), batchSize: 32 });
    const batch = new Batch(layout.shape);
    let most = 0;
    for (const kind of BATCH_KINDS) {
      for (let index = 0; index < layout.batches(kind); index++) {
        layout.readBatch(kind, index, batch);
        most = Math.max(most, batch.lookups);
      }
    }
    assert.equal(layout.shape.lookupCapacity, most);
  });
}

Deno.test("equal inputs give equal bytes", async () => {
  using directory = new TemporaryDirectory();
  const { dataset, profile } = await setUp(directory, true, 150_000, 3000);
  const read = async (out: string) => {
    using layout = await buildLayout(dataset, profile, { out: directory.join(out), batchSize: 50 });
    const files = [...Deno.readDirSync(directory.join(out))].map(({ name }) => name).sort();
    return { id: layout.id, files: files.map((name) => [name, Deno.readFileSync(directory.join(out, name))]) };
  };
  const first = await read("first");
  assert.equal(first.files.length, 6);
  assert.deepEqual(await read("second"), first);
});

slowTest("large datasets are packed with a second thread, to the same batches every time", async () => {
  using directory = new TemporaryDirectory();
  const { dataset, profile } = await setUp(directory, false, 150_000, 100_000);
  const hotRows = new Set(profile.hotRows);
  const all = trainSamples(dataset);
  const isHot = (sample: PlainSample) => sample.bags.every((bag) => bag.every((row) => hotRows.has(row)));
  using layout = await buildLayout(dataset, profile, { out: directory.join("layout"), batchSize: 256 });
  assert.deepEqual(unpack(layout, "hot"), all.filter(isHot));
  assert.deepEqual(unpack(layout, "cold"), all.filter((sample) => !isHot(sample)));
  using again = await buildLayout(dataset, profile, { out: directory.join("again"), batchSize: 256 });
  assert.equal(again.id, layout.id);
});

Deno.test("batches of one sample, and of more than there are", async () => {
  using directory = new TemporaryDirectory();
  const { dataset, profile } = await setUp(directory, true, 150_000, 60);
  for (const batchSize of [1, 1000]) {
    using layout = await buildLayout(dataset, profile, { out: directory.join("layout"), batchSize });
    assert.equal(unpack(layout, "hot").length + unpack(layout, "cold").length, 60);
  }
});

Deno.test("a dataset without train samples has a layout without batches", async () => {
  using directory = new TemporaryDirectory();
  const dataset = writeDataset(directory.join("dataset"), { tableRows: [3], denseFeatures: 0, splits: {} });
  using layout = await buildLayout(dataset, undefined, { out: directory.join("layout"), batchSize: 4 });
  assert.deepEqual([layout.batches("hot"), layout.batches("cold"), layout.body.hotSampleShare], [0, 0, 0]);
});

Deno.test("progress counts up to all samples", async () => {
  using directory = new TemporaryDirectory();
  const { dataset } = await setUp(directory, false, 0, 9000);
  const told: [number, number][] = [];
  const onProgress = (done: number, total: number) => told.push([done, total]);
  (await buildLayout(dataset, undefined, { out: directory.join("layout"), batchSize: 64, onProgress }))
    [Symbol.dispose]();
  assert.ok(told.length > 1 && told.every(([done], i) => i === 0 || done > told[i - 1][0]));
  assert.deepEqual(told.at(-1), [9000, 9000]);
});

Deno.test("what does not fit is refused, and nothing is left behind", async () => {
  using directory = new TemporaryDirectory();
  const { dataset, profile } = await setUp(directory, false, 0, 100);
  const other = writeDataset(directory.join("other"), { tableRows: TABLE_ROWS, denseFeatures: 0, splits: {} });
  const out = directory.join("layout");
  await assert.rejects(() => buildLayout(other, profile, { out, batchSize: 4 }), {
    name: "HotsetError",
    message: `Cannot use profile ${profile.directory}: it was not made from dataset ${other.directory}; build it again`,
  });
  await assert.rejects(
    () => buildLayout(dataset, profile, { out, batchSize: 0 }),
    /the batch size 0 is not a positive whole number/,
  );
  const ids = Uint32Array.of(0, 1, 2, 300);
  const train = { labels: Uint8Array.of(0, 1), dense: new Float32Array(0), ids };
  const damaged = writeDataset(directory.join("damaged"), { tableRows: [3, 100], denseFeatures: 0, splits: { train } });
  await assert.rejects(() => buildLayout(damaged, undefined, { out, batchSize: 4 }), {
    name: "HotsetError",
    message: `Cannot read dataset ${damaged.directory}: train sample 1: index 300 is outside table C2 of 100 rows`,
  });
  const left = [...Deno.readDirSync(directory.path)].map(({ name }) => name).sort();
  assert.deepEqual(left, ["damaged", "dataset", "other", "profile"]);
});
