/** Exported models compute the same scores as their runs. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { encodeWith, prepareDataset } from "../../src/dataset/prepare.ts";
import { writeCriteoLog } from "../../src/dataset/generate.ts";
import { exportRun } from "../../src/interop/export_run.ts";
import { SafetensorsReader } from "../../src/interop/safetensors.ts";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import { predictRun } from "../../src/run/score_run.ts";
import { readRun } from "../../src/run/run_record.ts";
import { startRun } from "../../src/run/run.ts";
import { Random } from "../../src/random.ts";
import { openModel } from "../../src/serving/scoring_model.ts";
import { assertClose } from "../support/close.ts";
import { missingModule, PythonLines } from "../support/python.ts";
import { rewrite } from "../support/rewrite.ts";
import { onlyInAll } from "../support/series.ts";
import { smallSessions } from "../support/small_sessions.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const report = () => {};
const SAMPLES = 600;

const SMALL: Partial<TrainConfig> = {
  ...{ mode: "cpu", device: "cpu", ranks: 1, dim: 8, bottom: [16, 8], top: [16, 8, 1] },
  ...{ batchSize: 64, learningRate: 0.1 },
};

/** A run on a log, with the log's path. */
interface Trained {
  readonly dataset: Dataset;
  readonly run: string;
  readonly log: string;
}

/** Clicks in the Criteo format: one lookup a table, values that are numbers. */
async function trainCriteo(directory: TemporaryDirectory): Promise<Trained> {
  const log = directory.join("log.tsv");
  const fractions = { validation: 0.1, test: 0.1 };
  await writeCriteoLog(log, { shape: "kaggle", samples: SAMPLES, seed: 3, scale: 1000, drift: 0, fractions });
  const dataset = await prepareDataset({ inputs: [log], format: "criteo", out: directory.join("data") });
  const run = directory.join("run");
  await startRun(resolveConfig("kaggle", SMALL), dataset, { out: run, report });
  return { dataset, run, log };
}

/** Clicks with bags of words, some of them empty, perhaps with weights; by default with the cat interaction. */
async function trainBags(
  directory: TemporaryDirectory,
  model: Partial<TrainConfig> = { interaction: "cat" },
  weights = false,
): Promise<Trained> {
  const [log, schema] = [directory.join("log.csv"), directory.join("schema.json")];
  const random = new Random(5);
  const word = () => `w${Math.floor(30 * random.uniform() ** 2)}`;
  const rows = Array.from({ length: SAMPLES }, () => {
    const words = Array.from({ length: random.below(5) }, word);
    const price = (9 * random.uniform()).toFixed(2);
    return `${random.below(2)},${price},${word()},${words.join(" ")},${words.map((_, k) => k - 0.5).join(" ")}\n`;
  });
  Deno.writeTextFileSync(log, "clicked,price,city,words,counts\n" + rows.join(""));
  const columns = [
    { name: "clicked", kind: "label" },
    { name: "price", kind: "dense", transform: "none" },
    { name: "city", kind: "sparse" },
    { name: "words", kind: "bag", separator: " " },
    ...(weights ? [{ name: "counts", kind: "weights", of: "words" }] : []),
  ];
  Deno.writeTextFileSync(schema, JSON.stringify({ columns }));
  const dataset = await prepareDataset({ inputs: [log], format: "csv", schema, out: directory.join("data") });
  const run = directory.join("run");
  await startRun(resolveConfig("kaggle", SMALL, model), dataset, { out: run, report });
  return { dataset, run, log };
}

async function trainCross(directory: TemporaryDirectory): Promise<Trained> {
  return await trainBags(directory, { model: "dcnv2", crossLayers: 2, crossRank: 5 });
}

/** Pairs of a user and an item, without a dense feature. */
async function trainPairs(directory: TemporaryDirectory, model: Partial<TrainConfig> = {}): Promise<Trained> {
  const [log, schema] = [directory.join("log.csv"), directory.join("schema.json")];
  const random = new Random(6);
  const rows = Array.from({ length: SAMPLES }, () => `${random.below(40)},${random.below(25)},${random.below(2)}\n`);
  Deno.writeTextFileSync(log, "user,item,liked\n" + rows.join(""));
  const columns = [{ name: "user", kind: "sparse" }, { name: "item", kind: "sparse" }, {
    name: "liked",
    kind: "label",
  }];
  Deno.writeTextFileSync(schema, JSON.stringify({ columns }));
  const dataset = await prepareDataset({ inputs: [log], format: "csv", schema, out: directory.join("data") });
  const run = directory.join("run");
  const notes: string[] = [];
  await startRun(resolveConfig("kaggle", SMALL, model), dataset, {
    out: run,
    report: (event) => void (event.event === "note" && notes.push(event.text)),
  });
  assert.ok(notes.includes("The data has no dense features, so the model has no bottom MLP"), notes.join("\n"));
  return { dataset, run, log };
}

/** Numbers alone, without a sparse feature. */
async function trainNumbers(directory: TemporaryDirectory): Promise<Trained> {
  const [log, schema] = [directory.join("log.csv"), directory.join("schema.json")];
  const random = new Random(7);
  const rows = Array.from({ length: SAMPLES }, () => {
    const [x, y] = [random.normal(), random.normal()];
    return `${x.toFixed(3)},${y.toFixed(3)},${x * y + random.normal() / 4 > 0 ? 1 : 0}\n`;
  });
  Deno.writeTextFileSync(log, "x,y,clicked\n" + rows.join(""));
  const number = (name: string) => ({ name, kind: "dense", transform: "none" });
  Deno.writeTextFileSync(
    schema,
    JSON.stringify({ columns: [number("x"), number("y"), { name: "clicked", kind: "label" }] }),
  );
  const dataset = await prepareDataset({ inputs: [log], format: "csv", schema, out: directory.join("data") });
  const run = directory.join("run");
  await startRun(resolveConfig("kaggle", SMALL), dataset, { out: run, report });
  return { dataset, run, log };
}

/** What the ONNX model takes for the samples of a log, from their encoding. */
async function onnxInputs(directory: TemporaryDirectory, { dataset, log }: Trained): Promise<Record<string, unknown>> {
  const { dataset: encoded } = await encodeWith(dataset, [log], { out: directory.join("encoded") });
  using reader = encoded.reader("test", SAMPLES);
  const { dense, indices, lookupWeights, offsets } = reader.read(0, SAMPLES);
  const { tables, denseFeatures, firstRows } = encoded;
  const inputs: Record<string, unknown> = denseFeatures === 0 ? {} : {
    dense: Array.from({ length: SAMPLES }, (_, s) => [...dense.subarray(s * denseFeatures, (s + 1) * denseFeatures)]),
  };
  encoded.body.tables.forEach(({ name, weights: column }, t) => {
    const ids: number[] = [];
    const weights: number[] = [];
    const begins: number[] = [];
    for (let bag = t; bag < SAMPLES * tables; bag += tables) {
      begins.push(ids.length);
      const [begin, end] = offsets === undefined ? [bag, bag + 1] : [offsets[bag], offsets[bag + 1]];
      for (let k = begin; k < end; k++) {
        ids.push(indices[k] - firstRows[t]);
        weights.push(lookupWeights?.[k] ?? 1);
      }
    }
    if (column !== undefined) inputs[`weights_${name}`] = weights;
    inputs[`indices_${name}`] = ids;
    if (offsets !== undefined) inputs[`offsets_${name}`] = begins;
  });
  return inputs;
}

const MISSING = missingModule("onnxruntime");
const onnxRuntime = MISSING === undefined ? new PythonLines(new URL("score_onnx.py", import.meta.url)) : undefined;
globalThis.addEventListener("unload", () => onnxRuntime?.[Symbol.dispose]());

/** Models; true for those whose layers others have, too. */
const WAYS: [string, (directory: TemporaryDirectory) => Promise<Trained>, hasLayersOfOthers?: boolean][] = [
  ["one lookup a table, dot", trainCriteo],
  ["bags, cross network", trainCross],
  ["no dense features", trainPairs],
  ["no tables", trainNumbers],
  ["pairs, matrix factorisation", (directory) => trainPairs(directory, { model: "mf" })],
  ["means of bags", (directory) => trainBags(directory, { pooling: "mean" })],
  ["weighted bags", (directory) => trainBags(directory, {}, true)],
  ["bags, DeepFM", (directory) => trainBags(directory, { model: "deepfm" })],
  ["bags, Wide & Deep", (directory) => trainBags(directory, { model: "wide-deep" })],
  ["bags, cat", trainBags, true],
  ["bags, matrix factorisation", (directory) => trainBags(directory, { model: "mf" }), true],
];

Deno.test({
  name: "ONNX Runtime gives the scores of predict: sessions" + (MISSING ? ` (skipped: ${MISSING})` : ""),
  ignore: MISSING !== undefined,
  async fn() {
    using directory = new TemporaryDirectory();
    const dataset = await smallSessions(directory.join("sessions"));
    const run = directory.join("run");
    const shape = { model: "tbsm", mode: "cpu", ranks: 1, batchSize: 64, seed: 1, learningRate: 0.01 } as const;
    await startRun(resolveConfig("taobao", shape), dataset, { out: run, report });
    const model = directory.join("model.onnx");
    const [, , ids] = await exportRun(run, "onnx", model, report);
    assert.equal(ids, directory.join("model.ids.parquet"));
    const samples = dataset.samples("test");
    using reader = dataset.reader("test", samples);
    const encoded = reader.read(0, samples);
    const { tables, steps, firstRows } = dataset;
    const rows = (values: ArrayLike<number>) =>
      Array.from({ length: samples }, (_, s) => Array.from({ length: steps }, (_, i) => values[s * steps + i]));
    const inputs = Object.fromEntries(dataset.body.tables.map(({ name }, t) => {
      const ofTable = encoded.indices.filter((_, k) => k % tables === t);
      return [`indices_${name}`, rows(ofTable.map((row) => row - firstRows[t]))];
    }));
    const request = { model, inputs: { ...inputs, dense: rows(encoded.dense) } };
    const scores = await onnxRuntime!.answer(request) as number[];
    using scoring = await openModel(run);
    const expected = new Float32Array(samples);
    scoring.scoreEncoded(encoded, expected);
    assert.ok(Math.max(...expected) - Math.min(...expected) > 1e-3, "the scores differ from each other");
    assertClose(scores, expected, 1e-5, "probabilities");

    // A dead tower gives vectors of length 0, which have no direction.
    const parameters = join(run, "best/dense.f32");
    const zeros = new Uint8Array(Deno.statSync(parameters).size);
    Deno.writeFileSync(parameters, zeros);
    const manifest = JSON.parse(Deno.readTextFileSync(join(run, "best/manifest.json")));
    manifest.files["dense.f32"].crc32 = crc32(zeros);
    rewrite(join(run, "best/manifest.json"), JSON.stringify(manifest));
    await exportRun(run, "onnx", model, report);
    assert.deepEqual(await onnxRuntime!.answer(request), Array(samples).fill(0.5));
  },
});

for (const [what, train, hasLayersOfOthers] of WAYS) {
  const reason = MISSING ?? (hasLayersOfOthers ? onlyInAll : undefined);
  Deno.test({
    name: `ONNX Runtime gives the scores of predict: ${what}` + (reason ? ` (skipped: ${reason})` : ""),
    ignore: reason !== undefined,
    async fn() {
      using directory = new TemporaryDirectory();
      const trained = await train(directory);
      const model = directory.join("model.onnx");
      const [first, second] = await exportRun(trained.run, "onnx", model, report);
      assert.deepEqual([first, second], [model, `${model}.data`]);
      const { config } = readRun(trained.run);
      assert.ok(new TextDecoder("latin1").decode(Deno.readFileSync(model)).includes(config.model), "the graph's name");
      const inputs = await onnxInputs(directory, trained);
      const scores = await onnxRuntime!.answer({ model, inputs }) as number[];
      const expected = await predictRun(trained.run, [trained.log], {}, report);
      assert.ok(Math.max(...expected) - Math.min(...expected) > 0.01, "the scores differ from each other");
      assertClose(scores, expected, 1e-5, "probabilities");
    },
  });
}

Deno.test("an ONNX model refers to weights beside it and names its inputs", async () => {
  using directory = new TemporaryDirectory();
  const { run, dataset } = await trainBags(directory);
  const [model, data, ids] = await exportRun(run, "onnx", directory.join("model.onnx"), report);
  const text = new TextDecoder("latin1").decode(Deno.readFileSync(model));
  for (const part of ["model.onnx.data", "indices_city", "offsets_words", "emb_l.1.weight", "top_l.4.bias"]) {
    assert.ok(text.includes(part), part);
  }
  assert.ok(Deno.statSync(data).size >= 4 * dataset.rows * 8);
  assert.equal(ids, directory.join("model.ids.parquet"));
  assert.deepEqual(Deno.readFileSync(ids), Deno.readFileSync(dataset.dictionaryPath!));
});

Deno.test("a safetensors export has the names and shapes of facebookresearch/dlrm, and the rows' values beside it", async () => {
  using directory = new TemporaryDirectory();
  const { run, dataset } = await trainCriteo(directory);
  const [model, ids] = await exportRun(run, "safetensors", directory.join("model.safetensors"), report);
  using file = new SafetensorsReader(model);
  const shapes = Object.fromEntries([...file.tensors].map(([name, { shape }]) => [name, shape]));
  const expected: Record<string, number[]> = {
    ...Object.fromEntries(dataset.body.tables.map(({ rows }, t) => [`emb_l.${t}.weight`, [rows, 8]])),
    ...{ "bot_l.0.weight": [16, 13], "bot_l.0.bias": [16], "bot_l.2.weight": [8, 16], "bot_l.2.bias": [8] },
    ...{ "top_l.0.weight": [16, 8 + 27 * 13], "top_l.0.bias": [16], "top_l.2.weight": [8, 16], "top_l.2.bias": [8] },
    ...{ "top_l.4.weight": [1, 8], "top_l.4.bias": [1] },
  };
  assert.deepEqual(shapes, expected);
  using values = new SafetensorsReader(ids);
  assert.deepEqual([...values.tensors.keys()], dataset.body.tables.map(({ name }) => name));
  const { at } = values.tensors.get("C1")!;
  const bytes = Deno.readFileSync(ids).slice(at, at + 4 * dataset.rows);
  assert.deepEqual(bytes, Deno.readFileSync(dataset.keysPath!));
});

Deno.test("an export that cannot be written says so and leaves nothing", async () => {
  using directory = new TemporaryDirectory();
  const { run } = await trainBags(directory);
  const file = directory.join("file");
  Deno.writeTextFileSync(file, "");
  const before = [...Deno.readDirSync(directory.path)].length;
  for (const format of ["safetensors", "onnx"] as const) {
    await assert.rejects(
      () => exportRun(run, format, `${file}/model`, report),
      { name: "HotsetError", message: /^Cannot write .*file\/model.*: Not a directory$/ },
    );
    await assert.rejects(() => exportRun(run, format, run, report), {
      name: "HotsetError",
      message: /a directory has that name/,
    });
  }
  assert.equal([...Deno.readDirSync(directory.path)].length, before);
});
