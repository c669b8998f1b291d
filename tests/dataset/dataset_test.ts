/** Datasets with right checksums and invalid values. */
import assert from "node:assert/strict";
import { ArtifactWriter } from "../../src/storage/artifact_writer.ts";
import { Dataset, splitFiles } from "../../src/dataset/dataset.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

type Files = Map<string, Uint8Array<ArrayBuffer>>;

/** Writes a small dataset with bags and changes its files or its manifest, under checksums that fit. */
function changed(directory: TemporaryDirectory, change: (files: Files, body: Record<string, unknown>) => void): string {
  const dataset = tinyDataset(directory.join("dataset"), {
    ...{ samples: { train: 50, validation: 5, test: 5 }, tableRows: [5, 70], denseFeatures: 2, bags: true },
    ...{ seed: 1, skew: 2 },
  });
  const { directory: path } = dataset;
  const files: Files = new Map(
    [...Deno.readDirSync(path)].filter(({ name }) => name !== "manifest.json")
      .map(({ name }) => [name, Deno.readFileSync(`${path}/${name}`)]),
  );
  const body = structuredClone(dataset.body) as unknown as Record<string, unknown>;
  change(files, body);
  using writer = new ArtifactWriter("dataset", path);
  for (const [name, bytes] of files) writer.file(name).append(bytes);
  writer.commit(body);
  return path;
}

function readAll(path: string): void {
  using reader = Dataset.open(path).reader("train", 50);
  for (let first = 0; first < 50; first += 10) reader.read(first, 10);
}

const TRAIN = splitFiles("train");
const floats = (files: Files) => new Float32Array(files.get(TRAIN.dense)!.buffer);
const words = (files: Files, name: string) => new Uint32Array(files.get(name)!.buffer);
const positions = (files: Files) => new Float64Array(files.get(TRAIN.firstLookups)!.buffer);

const CASES: [Parameters<typeof changed>[1], RegExp][] = [
  [(files) => files.get(TRAIN.labels)![12] = 2, /train sample 12: label 2 is neither 0 nor 1/],
  [(files) => floats(files)[2 * 31 + 1] = NaN, /train sample 31: dense value NaN/],
  [(files) => floats(files)[0] = -Infinity, /train sample 0: dense value -Infinity/],
  [(files) => words(files, TRAIN.indices).fill(75), /index \d+ is outside table C[12] of (5|70) rows/],
  [(files) => words(files, TRAIN.bagLengths)[0] += 1, /train sample 0: bag lengths do not add up/],
  [(files) => words(files, TRAIN.bagLengths)[41] = 2 ** 32 - 1, /train sample 20: bag lengths do not add up/],
  [(files) => positions(files)[10] = NaN, /train sample 10: lookup NaN is beyond the \d+ of the split/],
  [(files) => positions(files)[20] = -8, /train sample 20: lookup -8 is beyond/],
  [(files) => positions(files)[30] = 0.5, /train sample 30: lookup 0\.5 is beyond/],
  [(files) => positions(files)[40] = 1e15, /train sample 40: lookup 1000000000000000 is beyond/],
  [(files) => positions(files)[20] = 0, /train sample 10: the positions of lookups decrease/],
  [
    (_, body) => body.tables = [{ name: "a", rows: 2 ** 31 }, { name: "b", rows: 2 ** 31 }],
    /more than 32 bits/,
  ],
  [(_, body) => body.tables = [{ name: "a", rows: 5 }], /has \d+ bytes, but its manifest implies \d+/],
  [(_, body) => body.tables = [], /has \d+ bytes, but its manifest implies 0/],
  [(files) => files.delete(TRAIN.labels), /the manifest does not list it/],
];

Deno.test("values out of range are refused, with split and sample", () => {
  for (const [change, reason] of CASES) {
    using directory = new TemporaryDirectory();
    const path = changed(directory, change);
    assert.throws(
      () => readAll(path),
      (error: Error) => error.name === "HotsetError" && reason.test(error.message),
      String(reason),
    );
  }
});

Deno.test("the same dataset without a change is read", () => {
  using directory = new TemporaryDirectory();
  readAll(changed(directory, () => {}));
});

Deno.test("opened by lengths, a damaged dataset is found out by who reads a split in order, and not by who reads a part", () => {
  using directory = new TemporaryDirectory();
  const path = directory.join("data");
  tinyDataset(path, {
    samples: { train: 1000, validation: 10, test: 10 },
    tableRows: [50, 4],
    denseFeatures: 3,
    bags: false,
    seed: 1,
    skew: 1,
  });
  const labels = directory.join("data", "train.labels.u8");
  const damaged = Deno.readFileSync(labels);
  damaged[500] ^= 1; // a label that is as good as any other
  Deno.writeFileSync(labels, damaged);

  const message = `train.labels.u8 is damaged (checksum does not match); remove the directory and build it again`;
  assert.throws(() => Dataset.open(path), {
    name: "HotsetError",
    message: `Cannot open dataset ${path}: ${message}`,
  });
  const dataset = Dataset.open(path, "lengths");
  using part = dataset.reader("train", 100);
  assert.equal(part.read(450, 100).count, 100);
  using whole = dataset.reader("train", 300);
  for (const first of [0, 300, 600]) assert.equal(whole.read(first, 300).count, 300);
  assert.throws(() => whole.read(900, 100), { name: "HotsetError", message: `Cannot read ${path}: ${message}` });
});
