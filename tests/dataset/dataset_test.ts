import assert from "node:assert/strict";
import { Dataset } from "../../src/dataset/dataset.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

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

  const message = `train.labels.u8 is damaged (checksum does not match); remove the directory and make it again`;
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
