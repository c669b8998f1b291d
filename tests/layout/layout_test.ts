import assert from "node:assert/strict";
import { atOnce } from "../../src/breaks.ts";
import { ArtifactWriter } from "../../src/storage/artifact_writer.ts";
import { Header, HEADER_WORDS } from "../../src/backend/backend.ts";
import { Dataset, type Samples } from "../../src/dataset/dataset.ts";
import { BatchRecord } from "../../src/layout/batch_record.ts";
import { SegmentSorter } from "../../src/layout/segment_sorter.ts";
import { Batch, type BatchShape } from "../../src/layout/batch.ts";
import { buildLayout } from "../../src/layout/build_layout.ts";
import { BATCH_KINDS, batchFiles, type BatchKind, Layout } from "../../src/layout/layout.ts";
import { HOT_ROWS_FILE } from "../../src/profile/profile.ts";
import { profileDataset } from "../../src/profile/profile_dataset.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

async function smallLayout(directory: TemporaryDirectory, bags: boolean): Promise<Layout> {
  const dataset = tinyDataset(directory.join("dataset"), {
    samples: { train: 400, validation: 5, test: 5 },
    tableRows: [20, 20_000, 300],
    denseFeatures: 2,
    bags,
    seed: 4,
    skew: 6,
  });
  const out = directory.join("profile");
  const profile = await profileDataset(dataset, {
    out,
    dim: 16,
    optimizer: "sgd",
    hotMemory: bags ? 40_000 : 22_000,
    seed: 1,
  });
  return await buildLayout(dataset, profile, { out: directory.join("layout"), batchSize: 32 });
}

/** Writes the layout again with changed content, under a manifest that fits, so that only its own checks can object. */
function rewrite(
  layout: Layout,
  change: (files: Map<string, Uint8Array>, body: Record<string, unknown>) => void,
): void {
  const names = [...BATCH_KINDS.flatMap((kind) => Object.values(batchFiles(kind))), HOT_ROWS_FILE];
  const files = new Map(names.map((name) => [name, Deno.readFileSync(`${layout.directory}/${name}`)]));
  const body = structuredClone(layout.body) as unknown as Record<string, unknown>;
  change(files, body);
  using writer = new ArtifactWriter("layout", layout.directory);
  for (const [name, bytes] of files) writer.file(name).append(bytes);
  writer.commit(body);
}

Deno.test("a layout opens with what was written", async () => {
  using directory = new TemporaryDirectory();
  using layout = await smallLayout(directory, true);
  using opened = Layout.open(layout.directory);
  assert.deepEqual([opened.id, opened.body, opened.hotRows], [layout.id, layout.body, layout.hotRows]);
  const other = tinyDataset(directory.join("other"), {
    samples: { train: 5, validation: 5, test: 5 },
    tableRows: [20, 20_000, 300],
    denseFeatures: 2,
    bags: true,
    seed: 5,
    skew: 6,
  });
  assert.throws(() => opened.expectDataset(other), /it was not made from dataset .*other; build it again/);
});

/** Samples as text, so that sets of them can be compared; rows of hot ids are looked up. */
function samplesOf(
  { labels, dense, indices, offsets }: Pick<Batch, "labels" | "dense" | "indices" | "offsets"> | Samples,
  tables: number,
  hotRows?: Uint32Array,
): string[] {
  const features = dense.length / labels.length;
  const bag = (b: number) => [...offsets === undefined ? [indices[b]] : indices.subarray(offsets[b], offsets[b + 1])];
  return Array.from(labels, (label, i) => {
    const bags = Array.from({ length: tables }, (_, t) => bag(i * tables + t));
    const rows = bags.map((ids) => ids.map((id) => hotRows === undefined ? id : hotRows[id]));
    return JSON.stringify([label, [...dense.subarray(i * features, (i + 1) * features)], rows]);
  });
}

for (const bags of [false, true]) {
  Deno.test(`the batches of a layout and of its dataset hold the same samples, ${bags ? "with" : "without"} bags`, async () => {
    using directory = new TemporaryDirectory();
    using layout = await smallLayout(directory, bags);
    const dataset = Dataset.open(directory.join("dataset"));
    const read = [...dataset.iterate("train", 150)];
    assert.deepEqual(read.map(({ count }) => count), [150, 150, 100]);
    const samples = read.flatMap((batch) => samplesOf(batch, 3));
    const packed = BATCH_KINDS.flatMap((kind) => {
      const batches = [...layout.iterate(kind)];
      assert.ok(batches.length > 1 && batches.every((batch) => batch.hot === (kind === "hot")), kind);
      return batches.flatMap((batch) => samplesOf(batch, 3, kind === "hot" ? layout.hotRows : undefined));
    });
    assert.deepEqual(packed.sort(), samples.sort());
    using reader = dataset.reader("train", 400);
    assert.deepEqual(samplesOf(reader.read(0, 400), 3).sort(), samples);
  });
}

Deno.test("a batch that is not there, or of no samples, is refused", async () => {
  using directory = new TemporaryDirectory();
  using layout = await smallLayout(directory, false);
  const batch = new Batch(layout.shape);
  for (const index of [-1, 0.5, NaN, layout.batches("hot")]) {
    assert.throws(() => layout.readBatch("hot", index, batch), {
      name: "UsageError",
      message: /^Cannot read hot batch /,
    });
  }
  const dataset = Dataset.open(directory.join("dataset"));
  for (const size of [0, -1, 1.5, NaN]) {
    assert.throws(() => dataset.iterate("train", size).next(), { name: "UsageError" });
  }
});

Deno.test("a layout that was cut off or changed does not open", async () => {
  using directory = new TemporaryDirectory();
  using layout = await smallLayout(directory, false);
  const path = `${layout.directory}/${batchFiles("cold").batches}`;
  const whole = Deno.readFileSync(path);
  Deno.truncateSync(path, whole.length - 4);
  assert.throws(() => Layout.open(layout.directory), {
    name: "HotsetError",
    message: `Cannot open layout ${layout.directory}: cold.batches has ${whole.length - 4} bytes instead of ` +
      `${whole.length}; remove the directory and build it again`,
  });
  whole[100] ^= 1;
  Deno.writeFileSync(path, whole);
  assert.throws(() => Layout.open(layout.directory), /cold.batches is damaged \(checksum does not match\)/);
});

Deno.test("layouts that contradict themselves do not open", async () => {
  using directory = new TemporaryDirectory();
  const { positions, batches } = batchFiles("cold");
  const position = (files: Map<string, Uint8Array>) => new Float64Array(files.get(positions)!.buffer);
  const cases: [Parameters<typeof rewrite>[1], RegExp][] = [
    [(files) => position(files)[0] = 4, /cold.positions.f64 does not fit cold.batches; build it again/],
    [(files) => position(files)[1] = 0, /cold.positions.f64 does not fit/],
    [(files) => position(files)[1] += 2, /cold.positions.f64 does not fit/],
    [(files) => position(files)[1] = NaN, /cold.positions.f64 does not fit/],
    [(files) => position(files)[1] = position(files)[2] + 64, /cold.positions.f64 does not fit/],
    [(files) => files.set(batches, files.get(batches)!.subarray(4)), /cold.positions.f64 does not fit/],
    [
      (files) => files.set(positions, files.get(positions)!.subarray(8)),
      /cold.positions.f64 has \d+ bytes, but its manifest implies \d+/,
    ],
    [(_, body) => body.coldBatches = 1, /manifest.json has batches: \d+ hot and 1 cold batches, which do not fit/],
    [(_, body) => body.hotSamples = 401, /manifest.json has hotSamples: 401 hot samples of 400/],
    [(_, body) => body.rows = 2 ** 32, /manifest.json has rows: 4294967296 rows, more than 32 bits/],
    [
      (_, body) => body.shape = { ...body.shape as BatchShape, lookupCapacity: 95 },
      /manifest.json has shape: room for 95 lookups, but 32 samples have 96/,
    ],
    [
      (_, body) => body.shape = { ...body.shape as BatchShape, denseFeatures: 2 ** 40 },
      /manifest.json has shape: batches of \d+ bytes, more than the maximum of 1073741824/,
    ],
    [(_, body) => body.hotRows = 1, /hot_rows.u32 has \d+ bytes, but its manifest implies 4/],
    [(files) => files.get(HOT_ROWS_FILE)!.fill(255), /hot_rows.u32 is not an ascending list of rows below 20320/],
    [(_, body) => body.shape = { ...body.shape as BatchShape, batchSize: 0 }, /manifest.json has shape.batchSize: /],
  ];
  for (const [change, message] of cases) {
    using layout = await smallLayout(directory, false);
    rewrite(layout, change);
    assert.throws(
      () => Layout.open(layout.directory),
      (error: Error) => error.name === "HotsetError" && message.test(error.message),
    );
  }
});

Deno.test("a batch with more distinct rows than the manifest says is refused", async () => {
  using directory = new TemporaryDirectory();
  using layout = await smallLayout(directory, false);
  rewrite(layout, (_, body) => body.mostDistinct = { hot: 1, cold: 1 });
  using opened = Layout.open(layout.directory);
  for (const kind of BATCH_KINDS) {
    assert.throws(
      () => opened.readBatch(kind, 0, new Batch(layout.shape)),
      /more distinct rows than the manifest says/,
    );
  }
});

/** Damage to one batch before it is packed: to its words or the positions of its lookups, and what the error says. */
type Damage = [change: (batch: Batch, positions: Uint32Array) => void, fault: RegExp];

/** Damage to the header of a record. */
const HEADER_DAMAGE: [change: (header: Uint32Array) => void, fault: RegExp][] = [
  [(header) => header[Header.samples] = 0, /0 samples in a batch of 32/],
  [(header) => header[Header.samples] = 33, /33 samples in a batch of 32/],
  [(header) => header[Header.lookups] = 2 ** 20, /1048576 lookups, but at most \d+ fit/],
  [(header) => header[Header.lookups]--, /95 lookups for 32 samples|bags of more than \d+ lookups|a record of/],
  [(header) => header[Header.hot] ^= 1, /the hot flag is [01]/],
  [(header) => header[Header.distinct]--, /a record of \d+ bytes that ends after \d+/],
];

const DAMAGE: Damage[] = [
  [({ floats, sections }) => floats[sections.labels + 1] = 2, /label 2 of sample 1 is neither 0 nor 1/],
  [({ floats, sections }) => floats[sections.dense + 3] = Infinity, /dense value Infinity in sample 1/],
  [({ floats, sections }) => floats[sections.dense] = NaN, /dense value NaN in sample 0/],
  [
    ({ words, sections }) => words[sections.segments + 2] = words[sections.segments],
    /row \d+ of segment 1 is out of order/,
  ],
  [
    ({ words, sections, distinct }) => words[sections.segments + 2 * distinct - 2] = 20_320,
    /row 20320 of segment \d+ is out of order or not below/,
  ],
  [
    ({ words, sections, distinct }) => words[sections.segments + 2 * distinct + 1]++,
    /segments of more than \d+ lookups/,
  ],
  [
    ({ words, sections, distinct }) => words[sections.segments + 2 * distinct + 1]--,
    /segments of (more than \d+ lookups|\d+ lookups instead of)/,
  ],
  [(_, positions) => positions[0] += 9600, /place \d+ of segment 0 is not below \d+/],
  [(_, positions) => positions[0] = positions[1], /place \d+ of segment \d+ is in another segment too/],
];

const DAMAGE_WITHOUT_BAGS: Damage[] = [
  ...DAMAGE,
  [({ words, sections: { segments } }) => {
    for (let o = segments;; o += 2) if (words[o + 1] === 32) return words[o + 1]++;
  }, /segment \d+ has lookups of two tables/],
];

const DAMAGE_WITH_BAGS: Damage[] = [
  ...DAMAGE,
  [({ words, sections }) => words[sections.offsets + 96] += 1000, /bags of more than \d+ lookups/],
  [({ words, sections }) => words[sections.offsets + 96]--, /bags of \d+ lookups instead of \d+/],
];

for (const [bags, damages] of [[false, DAMAGE_WITHOUT_BAGS], [true, DAMAGE_WITH_BAGS]] as const) {
  Deno.test(`a damaged batch is refused with its file, number and fault${bags ? ", with bags" : ""}`, async () => {
    using directory = new TemporaryDirectory();
    using layout = await smallLayout(directory, bags);
    const record = new BatchRecord(layout.shape);
    const sorter = new SegmentSorter(layout.shape);
    for (const kind of ["hot", "cold"] as BatchKind[]) {
      assert.ok(layout.batches(kind) > 1, `there are ${kind} batches`);
      const { batches, positions } = batchFiles(kind);
      const path = `${layout.directory}/${batches}`;
      const [start, end] = new Float64Array(Deno.readFileSync(`${layout.directory}/${positions}`).buffer);
      const intact = Deno.readFileSync(path).slice(start, end);
      const batch = new Batch(layout.shape);
      const refused = (fault: RegExp) =>
        assert.throws(() => layout.readBatch(kind, 0, batch), (error: Error) => {
          assert.equal(error.name, "HotsetError");
          assert.match(error.message, fault);
          return error.message.startsWith(`Cannot read ${path}: batch 0 is damaged (`) &&
            error.message.endsWith("); build the layout again");
        }, fault.source);
      for (const [change, fault] of damages) {
        writeAt(path, start, intact);
        layout.readBatch(kind, 0, batch);
        const found = sorter.write(batch).slice(0, batch.lookups);
        change(batch, found);
        atOnce(record.pack(batch, found));
        writeAt(path, start, record.bytes.subarray(0, intact.length));
        refused(fault);
      }
      for (const [change, fault] of HEADER_DAMAGE) {
        const damaged = intact.slice();
        change(new Uint32Array(damaged.buffer, 0, HEADER_WORDS));
        writeAt(path, start, damaged);
        refused(fault);
      }
      writeAt(path, start, intact);
      layout.readBatch(kind, 0, batch);
    }
  });
}

function writeAt(path: string, position: number, bytes: Uint8Array): void {
  using file = Deno.openSync(path, { write: true });
  file.seekSync(position, Deno.SeekMode.Start);
  file.writeSync(bytes);
}

Deno.test("a record that ends with the file too early is an error", async () => {
  using directory = new TemporaryDirectory();
  using layout = await smallLayout(directory, false);
  const path = `${layout.directory}/${batchFiles("cold").batches}`;
  Deno.truncateSync(path, Deno.statSync(path).size - 4);
  const last = layout.batches("cold") - 1;
  assert.throws(
    () => layout.readBatch("cold", last, new Batch(layout.shape)),
    /Cannot read .*cold.batches: it ends before byte \d+/,
  );
});
