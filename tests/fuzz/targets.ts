/** The readers that are fuzzed: every reader of a file that Hotset or a user may have written, changed or damaged. */
import { crc32 } from "node:zlib";
import { join } from "node:path";
import fc from "fast-check";
import { parsePtx, PtxError } from "../../emulator/ptx.ts";
import { translate } from "../../emulator/translate.ts";
import { type ArtifactKind, parseManifest } from "../../src/storage/artifact.ts";
import { rowStateWords } from "../../src/optimizer/optimizers.ts";
import { Dataset, datasetBody, SPLITS } from "../../src/dataset/dataset.ts";
import { savedBody, SavedEncoding } from "../../src/dataset/dataset_encoding.ts";
import { parseSchema } from "../../src/dataset/schema.ts";
import { HotsetError } from "../../src/errors.ts";
import { dlrmShape } from "../../src/interop/dlrm_tensors.ts";
import { exportRun } from "../../src/interop/export_run.ts";
import { parseHeader, SafetensorsReader } from "../../src/interop/safetensors.ts";
import { Batch } from "../../src/layout/batch.ts";
import { BatchUnpacker } from "../../src/layout/batch_unpacker.ts";
import { buildLayout } from "../../src/layout/build_layout.ts";
import { findBatchFault } from "../../src/layout/check_batch.ts";
import { BATCH_KINDS, batchFiles, Layout, layoutBody } from "../../src/layout/layout.ts";
import { planModel } from "../../src/model/shape.ts";
import { Profile, profileBody } from "../../src/profile/profile.ts";
import { profileDataset } from "../../src/profile/profile_dataset.ts";
import { expandConfig, translateArguments } from "../../cli/arguments.ts";
import { Checkpoint, checkpointBody } from "../../src/checkpoint/checkpoint.ts";
import { resolveConfig } from "../../src/config/config.ts";
import { startRun } from "../../src/run/run.ts";
import { packRun, UsableRun } from "../../src/run/packed_run.ts";
import { METRICS_FILE } from "../../src/run/run_metrics.ts";
import { ENCODING, readRun } from "../../src/run/run_record.ts";
import { readRunLog } from "../../src/run/run_log.ts";
import type { CheckpointFile } from "../../src/checkpoint/weights.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";
import { damagedBytes, damagedJson, damagedJsonText, damagedText, textOf } from "./mutations.ts";

/** A reader under test. */
export interface Target {
  readonly name: string;
  /** Its part of all cases, out of the sum of all shares. */
  readonly share: number;
  /** Reads a drawn case. */
  readonly property: fc.IRawProperty<unknown>;
}

const SAMPLES_AT_ONCE = 64;
/** Batches larger than this are not read: reading is the same, and memory is zeroed for each. */
const MAX_BATCH_WORDS = 1 << 20;

/**
 * Holds where reading gives a value or fails as a user can understand: with HotsetError, or PtxError under ffi/, which
 * imports nothing from outside.
 */
function property<T>(arbitrary: fc.Arbitrary<T>, read: (value: T) => void): fc.IProperty<unknown> {
  return fc.property(arbitrary, (value) => {
    try {
      read(value);
    } catch (error) {
      expectRefusal(error);
    }
  }) as fc.IProperty<unknown>;
}

/** The same for a reader that lets the event loop turn. */
function asyncProperty<T>(arbitrary: fc.Arbitrary<T>, read: (value: T) => Promise<void>): fc.IAsyncProperty<unknown> {
  return fc.asyncProperty(arbitrary, (value) => read(value).catch(expectRefusal)) as fc.IAsyncProperty<unknown>;
}

function expectRefusal(error: unknown): void {
  if (!(error instanceof HotsetError) && !(error instanceof PtxError)) throw error;
}

/** Makes small valid files of all kinds in a directory, to be damaged. */
export async function fuzzTargets(directory: string): Promise<Target[]> {
  const path = (...names: string[]) => join(directory, ...names);
  const drawn = { samples: { train: 100, validation: 20, test: 20 }, denseFeatures: 2, bags: true, seed: 1, skew: 3 };
  const dataset = tinyDataset(path("dataset"), { ...drawn, tableRows: [5, 200, 30] });
  // A table must be large for some of its rows to be cold.
  const large = tinyDataset(path("large"), { ...drawn, tableRows: [20, 20_000] });
  const profile = await profileDataset(large, {
    ...{ out: path("profile"), dim: 16, optimizer: "sgd", hotMemory: 8000, seed: 1 },
  });
  (await buildLayout(large, profile, { out: path("layout"), batchSize: 16 }))[Symbol.dispose]();
  const config = resolveConfig("kaggle", {
    ...{ mode: "cpu", device: "cpu", ranks: 1, dim: 4, bottom: [5, 4], top: [3, 1], optimizer: "adagrad" },
    ...{ batchSize: 16, testFreq: 4, printFreq: 2 },
  });
  await startRun(config, dataset, { out: path("run"), report: () => {} });
  await exportRun(path("run"), "safetensors", path("model.safetensors"), () => {});
  return [
    ...manifests(path),
    ...directories(path),
    ...batchRecords(path),
    ...await models(path),
    ...texts(path),
    ...kernels(),
  ];
}

type Path = (...names: string[]) => string;

const SCHEMAS = {
  dataset: datasetBody,
  profile: profileBody,
  layout: layoutBody,
  checkpoint: checkpointBody,
  encoding: savedBody,
};
const directoryOf = (path: Path, kind: ArtifactKind) =>
  kind === "checkpoint" ? path("run", "last") : kind === "encoding" ? path("run", ENCODING) : path(kind);

/** The text of manifests alone: many cases in little time. */
function manifests(path: Path): Target[] {
  return (Object.keys(SCHEMAS) as ArtifactKind[]).map((kind) => {
    const text = Deno.readTextFileSync(join(directoryOf(path, kind), "manifest.json"));
    return {
      name: `manifest of a ${kind}`,
      share: 8,
      property: property(damagedJsonText(JSON.parse(text)), (damaged) => {
        const { body } = parseManifest(kind, "fuzz", damaged, SCHEMAS[kind] as never);
        if (kind === "checkpoint") planModel((body as { model: Parameters<typeof planModel>[0] }).model);
      }),
    };
  });
}

/** What reads all of an artifact. */
const READERS: Record<ArtifactKind, (directory: string) => void> = {
  dataset(directory) {
    const dataset = Dataset.open(directory);
    for (let t = 0; t < dataset.tables; t++) for (const _ of dataset.countsOf(t));
    for (const split of SPLITS) {
      using reader = dataset.reader(split, SAMPLES_AT_ONCE);
      for (let first = 0; first < reader.samples; first += SAMPLES_AT_ONCE) {
        reader.read(first, Math.min(SAMPLES_AT_ONCE, reader.samples - first));
      }
    }
  },
  profile: (directory) => void Profile.open(directory),
  layout(directory) {
    using layout = Layout.open(directory);
    if (layout.shape.batchSize * layout.shape.tables > MAX_BATCH_WORDS) return;
    const batch = new Batch(layout.shape);
    for (const kind of BATCH_KINDS) {
      for (let i = 0; i < layout.batches(kind); i++) layout.readBatch(kind, i, batch);
    }
  },
  encoding: (directory) => void SavedEncoding.open(directory),
  checkpoint(directory) {
    const checkpoint = Checkpoint.open(directory);
    const plan = planModel(checkpoint.body.model);
    const stateWords = rowStateWords(plan.shape.optimizer, plan.shape.dim);
    const words: [CheckpointFile, number][] = [["rows.f32", plan.rows * plan.shape.dim], [
      "dense.f32",
      plan.denseWords,
    ]];
    if (stateWords > 0) words.push(["row_state.f32", plan.rows * stateWords], ["dense_state.f32", plan.denseWords]);
    for (const [file, count] of words) {
      using reader = checkpoint.reader(file);
      reader.read(0, new Float32Array(count));
    }
  },
};

/** Whole artifacts on disk, with the damage hidden behind right lengths and checksums, or not. */
function directories(path: Path): Target[] {
  return (Object.keys(READERS) as ArtifactKind[]).map((kind) => {
    const directory = directoryOf(path, kind);
    const manifestPath = join(directory, "manifest.json");
    const manifest = JSON.parse(Deno.readTextFileSync(manifestPath));
    const files = Object.keys(manifest.files).map((name) => ({
      name,
      bytes: Deno.readFileSync(join(directory, name)),
    }));
    const damage = fc.record({
      body: fc.oneof(fc.constant(manifest.body), damagedJson(manifest.body, 2)),
      file: files.length === 0 ? fc.constant(undefined) : fc.oneof(
        ...files.map(({ name, bytes }) => damagedBytes(bytes, 0).map((changed) => ({ name, bytes: changed }))),
      ),
      hidden: fc.boolean(),
    });
    return {
      name: `directory of a ${kind}`,
      share: 1,
      property: property(damage, ({ body, file, hidden }) => {
        const entries = file !== undefined && hidden
          ? { [file.name]: { bytes: file.bytes.length, crc32: crc32(file.bytes) } }
          : {};
        Deno.writeTextFileSync(
          manifestPath,
          textOf({ ...manifest, files: { ...manifest.files, ...entries }, body }),
        );
        if (file !== undefined) Deno.writeFileSync(join(directory, file.name), file.bytes);
        try {
          READERS[kind](directory);
        } finally {
          for (const { name, bytes } of files) {
            if (name === file?.name) Deno.writeFileSync(join(directory, name), bytes);
          }
        }
      }),
    };
  });
}

function batchRecords(path: Path): Target[] {
  using layout = Layout.open(path("layout"));
  return BATCH_KINDS.map((kind) => {
    const { batches, positions } = batchFiles(kind);
    const ends = new Float64Array(Deno.readFileSync(path("layout", positions)).buffer);
    const bytes = Deno.readFileSync(path("layout", batches)).subarray(0, ends[1]);
    const unpacker = new BatchUnpacker(layout.shape);
    const batch = new Batch(layout.shape);
    const limit = kind === "hot" ? layout.hotRows.length : layout.body.rows;
    return {
      name: `record of a ${kind} batch`,
      share: 12,
      property: property(damagedBytes(bytes), (damaged) => {
        const { block } = batch, { packed } = unpacker;
        block.set(damaged.subarray(0, block.length));
        packed.set(damaged.subarray(block.length, block.length + packed.length));
        const fault = unpacker.unpack(batch, damaged.length - block.length, limit) ??
          findBatchFault(batch, kind === "hot");
        if (fault === undefined) expectInside(batch, limit);
      }),
    };
  });
}

/** What a training step relies on, read again in the plainest way. */
function expectInside(batch: Batch, limit: number): void {
  const { words, sections, lookups, distinct, samples, shape, indices, offsets } = batch;
  let ok = samples <= shape.batchSize && lookups <= shape.lookupCapacity && distinct <= lookups &&
    indices.every((row) => row < limit);
  for (let s = 0, o = sections.segments; s < distinct; s++, o += 2) {
    ok &&= s === 0 || words[o] > words[o - 2];
    for (let k = words[o + 1]; k < words[o + 3]; k++) {
      const bag = words[sections.segmentBags + k];
      const rows = indices.subarray(offsets?.[bag] ?? bag, offsets?.[bag + 1] ?? bag + 1);
      ok &&= bag < samples * shape.tables && rows.includes(words[o]);
    }
  }
  if (!ok) throw new Error("a batch that reaches outside was accepted");
}

async function models(path: Path): Promise<Target[]> {
  const file = Deno.readFileSync(path("model.safetensors"));
  const length = Number(new DataView(file.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length)));
  const damagedFile = path("damaged.safetensors");
  await packRun(path("run"), path("model.hotset"), () => {});
  return [
    {
      name: "packed run",
      share: 2,
      property: asyncProperty(damagedBytes(Deno.readFileSync(path("model.hotset"))), async (bytes) => {
        Deno.writeFileSync(path("damaged.hotset"), bytes);
        using _run = await UsableRun.open(path("damaged.hotset"));
      }),
    },
    {
      name: "header of safetensors",
      share: 12,
      property: property(damagedJsonText(header), (text) => {
        const bytes = new TextEncoder().encode(text);
        dlrmShape(parseHeader("fuzz", bytes, 8 + bytes.length + file.length - 8 - length).tensors);
      }),
    },
    {
      name: "safetensors file",
      share: 2,
      property: property(damagedBytes(file), (bytes) => {
        Deno.writeFileSync(damagedFile, bytes);
        using reader = new SafetensorsReader(damagedFile);
        for (const tensor of reader.tensors.values()) reader.read(tensor, 0, new Float32Array(1));
      }),
    },
  ];
}

const LOG_SCHEMA = {
  delimiter: ",",
  quote: '"',
  header: true,
  columns: [
    { name: "clicked", kind: "label", positive: ["yes"] },
    { name: "price", kind: "dense", transform: "log" },
    { name: "city", kind: "sparse", note: "towns too" },
    { name: "user", kind: "sparse", values: "hex" },
    { name: "seen", kind: "bag", separator: " " },
    { name: "when", kind: "time", transform: "order" },
    { name: "rest", kind: "ignore" },
  ],
};

const FLAGS = {
  "mini-batch-size": 128,
  "arch-mlp-bot": "13-16-8",
  test: ["a", "b"],
  "use-gpu": true,
  "raw-data-file": "day",
};

function texts(path: Path): Target[] {
  const run = path("damaged-run");
  Deno.mkdirSync(run);
  const record = JSON.parse(Deno.readTextFileSync(path("run", "run.json")));
  const metrics = Deno.readTextFileSync(path("run", METRICS_FILE));
  return [
    {
      name: "schema of a log",
      share: 12,
      property: property(damagedJsonText(LOG_SCHEMA), (text) => void parseSchema("fuzz", text)),
    },
    {
      name: "run.json",
      share: 2,
      property: property(damagedJsonText(record), (text) => {
        Deno.writeTextFileSync(join(run, "run.json"), text);
        readRun(run);
      }),
    },
    {
      name: "configuration of flags",
      share: 2,
      property: property(damagedJsonText(FLAGS), (text) => {
        Deno.writeTextFileSync(join(run, "flags.json"), text);
        translateArguments(expandConfig(["train", "--config", join(run, "flags.json")]));
      }),
    },
    {
      name: "metrics.jsonl",
      share: 2,
      property: property(damagedText(metrics), (text) => {
        Deno.writeTextFileSync(join(run, METRICS_FILE), text);
        readRunLog(run);
      }),
    },
  ];
}

const PTX_SNIPPETS = [
  ...[".entry", ".entry a(", ".func", ".shared .align 0 .b8 x[4];", ".shared .b8 y[99999999999];", ".param .u64 p"],
  ...[
    "ld.global.f32",
    "st.shared.v4.f32",
    "bra",
    "%r1",
    "%1",
    "%11",
    "%rd1",
    "%p1",
    "%tid.x",
    "[%rd1+4]",
    "{%f1, %f2}",
  ],
  ...["setp.constructor.f32", "setp.__proto__.s32", "mov.b32", ".b32", ".pred", "0f7FC00000", "a:", "bar.sync", "vote"],
];

function kernels(): Target[] {
  return ["loss", "scatter"].map((kernel) => {
    const source = Deno.readTextFileSync(new URL(`../../src/backend/cuda/kernels/${kernel}.ptx`, import.meta.url));
    return {
      name: `PTX of ${kernel}`,
      share: 6,
      property: property(damagedText(source, PTX_SNIPPETS), (text) => parsePtx(text).forEach(translate)),
    };
  });
}
