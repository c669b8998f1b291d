/** A process group writes a layout with the same bytes as one process. */
import assert from "node:assert/strict";
import { Dataset, splitFiles } from "../../src/dataset/dataset.ts";
import { buildLayout } from "../../src/layout/build_layout.ts";
import { CHUNK_SAMPLES } from "../../src/layout/sample_shuffle.ts";
import { profileDataset } from "../../src/profile/profile_dataset.ts";
import { canWriteDirectly, directness } from "../support/direct.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { layOutWithThreads } from "../support/thread_group.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

const ROW_BYTES = 4 * 16;

async function setUp(directory: TemporaryDirectory, bags: boolean, skew: number, hotRows: number) {
  const dataset = tinyDataset(directory.join("dataset"), {
    samples: { train: 5 * CHUNK_SAMPLES + 77, validation: 5, test: 5 },
    tableRows: [20_000, 20, 17_000],
    denseFeatures: 2,
    bags,
    seed: 4,
    skew,
  });
  const hotMemory = ROW_BYTES * hotRows;
  const options = { out: directory.join("profile"), dim: 16, optimizer: "sgd", hotMemory, seed: 1 } as const;
  return { dataset, profile: await profileDataset(dataset, options) };
}

function filesOf(directory: string): Record<string, Uint8Array> {
  const names = [...Deno.readDirSync(directory)].map(({ name }) => name).sort();
  return Object.fromEntries(names.map((name) => [name, Deno.readFileSync(`${directory}/${name}`)]));
}

/** From few hot samples to few cold ones, so that a batch can span the parts of several ranks. */
const SHARES: [name: string, skew: number, hotRows: number, bags: boolean][] = [
  ["few hot samples", 2, 60, false],
  ["half of them hot", 6, 1500, false],
  ["half of them hot", 6, 1500, true],
  ["few cold samples", 20, 6000, false],
  ["none hot", 2, 0, true],
];

for (const [name, skew, hotRows, bags] of SHARES) {
  Deno.test(`threads divide a layout to the same bytes: ${name}${bags ? ", with bags" : ""}`, async () => {
    using directory = new TemporaryDirectory();
    const { dataset, profile } = await setUp(directory, bags, skew, hotRows);
    for (
      const [batchSize, ranks, shuffle] of [
        [100, 2, undefined],
        [3000, 7, undefined], // 7 are more than there are runs of samples
        [100, 3, { seed: 1, bucketBytes: 100_000 }],
      ] as const
    ) {
      const alone = directory.join(`alone-${batchSize}-${ranks}`);
      using layout = await buildLayout(dataset, profile, { out: alone, batchSize, ...shuffle && { shuffle } });
      const { hotSamples, samples } = layout.body;
      assert.ok(hotRows === 0 ? hotSamples === 0 : hotSamples > 0 && hotSamples < samples);
      const out = directory.join(`group-${batchSize}-${ranks}`);
      const options = { out, batchSize, ...shuffle && { shuffle } };
      const errors = await layOutWithThreads(new Array(ranks).fill(dataset), profile, options);
      assert.deepEqual(errors, new Array(ranks).fill(undefined));
      assert.deepEqual(filesOf(out), filesOf(alone), `${ranks} ranks, batches of ${batchSize}`);
    }
  });
}

Deno.test("a layout written past the system's cache has the same bytes, alone and divided", async () => {
  using directory = new TemporaryDirectory();
  const { dataset, profile } = await setUp(directory, false, 6, 1500);
  const seen = new Set<boolean>();
  const onProgress = () => directness("/cold.batches").forEach((direct) => seen.add(direct));
  const ordinary = directory.join("ordinary");
  using _ordinary = await buildLayout(dataset, profile, { out: ordinary, batchSize: 300, onProgress });
  assert.deepEqual([...seen], [false], "a small one is not");
  seen.clear();
  const alone = directory.join("alone");
  using _alone = await buildLayout(dataset, profile, { out: alone, batchSize: 300, direct: true, onProgress });
  // That of `ordinary`, which is open for reading, and the one being written.
  assert.equal(seen.has(true), canWriteDirectly(directory.path));
  assert.deepEqual(filesOf(alone), filesOf(ordinary));
  const out = directory.join("group");
  const errors = await layOutWithThreads([dataset, dataset, dataset], profile, { out, batchSize: 300, direct: true });
  assert.deepEqual(errors, [undefined, undefined, undefined]);
  assert.deepEqual(filesOf(out), filesOf(ordinary));
});

Deno.test("where one thread fails, all do, one says why, and nothing is left", async () => {
  using directory = new TemporaryDirectory();
  const { dataset, profile } = await setUp(directory, false, 6, 1500);
  // The last sample looks up a row that is not there; only the last rank reads it.
  const path = `${dataset.directory}/${splitFiles("train").indices}`;
  const indices = Deno.readFileSync(path);
  indices.fill(255, indices.length - 4);
  Deno.writeFileSync(path, indices);
  const damaged = Dataset.open(dataset.directory, "lengths");
  const errors = await layOutWithThreads([damaged, damaged, damaged], profile, {
    out: directory.join("layout"),
    batchSize: 100,
  });
  assert.equal(errors.filter((error) => /^PeerFailed: /.test(error!)).length, 2);
  assert.match(errors[2]!, /^HotsetError: Cannot read dataset .*: train sample 20556: index \d+ is outside table/);
  assert.deepEqual([...Deno.readDirSync(directory.path)].map(({ name }) => name).sort(), ["dataset", "profile"]);
});

Deno.test("threads with different datasets make no layout", async () => {
  using directory = new TemporaryDirectory();
  using other = new TemporaryDirectory();
  const { dataset } = await setUp(directory, false, 6, 0);
  const { dataset: otherDataset } = await setUp(other, false, 5, 0);
  const options = { out: directory.join("layout"), batchSize: 100 };
  const errors = await layOutWithThreads([dataset, otherDataset], undefined, options);
  assert.equal(errors[0], "HotsetError: Cannot lay out: the dataset differs between ranks");
  assert.match(errors[1]!, /^PeerFailed: /);
});
