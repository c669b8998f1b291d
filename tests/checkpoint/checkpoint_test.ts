import { OPTIMIZER_NAMES } from "../../src/optimizer/optimizers.ts";
import assert from "node:assert/strict";
import { ArtifactWriter } from "../../src/storage/artifact_writer.ts";
import { cpuOptions, openHost } from "../../src/backend/open.ts";
import { HotsetError } from "../../src/errors.ts";
import type { BatchShape } from "../../src/layout/batch.ts";
import type { ModelShape } from "../../src/model/shape.ts";
import { saveCheckpoint } from "../support/save_checkpoint.ts";
import { Checkpoint, CHECKPOINT_FILES, type CheckpointBody } from "../../src/checkpoint/checkpoint.ts";
import { ShuffleScheduler } from "../../src/schedule/shuffle_scheduler.ts";
import { rewrite } from "../support/rewrite.ts";
import { localModel } from "../support/local_model.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const MODEL: ModelShape = {
  dim: 3,
  tableRows: [10, 70],
  bottom: [2, 5, 3],
  top: [4, 1],
  interaction: "dot",
  optimizer: "adagrad",
};
const SHAPE: BatchShape = { batchSize: 2, denseFeatures: 2, tables: 2, bags: false, lookupCapacity: 4 };

/** The memory of a model, filled with numbers counted up from `first`. */
async function memoryOf(model: ModelShape, first = 0) {
  const host = await openHost(await cpuOptions("wasm"));
  const { memory } = localModel(host, model, { ...SHAPE, bags: model.pooling === "mean" });
  const { parameters, denseState, full } = memory;
  const vectors = [parameters, denseState, full.weights, full.state].flatMap((buffer) =>
    buffer === undefined ? [] : [host.floats(buffer)]
  );
  let next = first;
  for (const vector of vectors) vector.forEach((_, i) => vector[i] = next++ / 7);
  return { memory, vectors };
}

function bodyOf(model: ModelShape): CheckpointBody {
  const state = {
    epoch: 1,
    step: 17,
    samples: 2100,
    optimizerSteps: 40,
    scheduler: new ShuffleScheduler({ cold: 5, hot: 9 }, "hot", 50).state,
    bestAuc: 0.123456789,
    evaluationsSinceBest: 2,
    finished: false,
  };
  return { model, seed: 4, dataset: "abc", run: "def", state };
}

for (const optimizer of OPTIMIZER_NAMES) {
  Deno.test(`a checkpoint restores every word and all it says: ${optimizer}`, async () => {
    using directory = new TemporaryDirectory();
    const model = { ...MODEL, optimizer };
    const saved = await memoryOf(model, 1);
    saveCheckpoint(directory.join("last"), saved.memory, bodyOf(model));
    const checkpoint = Checkpoint.open(directory.join("last"));
    assert.deepEqual(checkpoint.body, bodyOf(model));
    const other = await memoryOf(model, 5000);
    await checkpoint.load(other.memory, model);
    assert.equal(saved.vectors.length, optimizer === "sgd" ? 2 : 4);
    assert.deepEqual(other.vectors, saved.vectors);
  });
}

Deno.test("a checkpoint replaces the one before; equal memory gives equal bytes", async () => {
  using directory = new TemporaryDirectory();
  const bytes = () =>
    [...Deno.readDirSync(directory.join("last"))].map(({ name }) => name).sort().map((name) =>
      [name, Deno.readFileSync(directory.join("last", name))] as const
    );
  const { memory } = await memoryOf(MODEL, 1);
  saveCheckpoint(directory.join("last"), memory, bodyOf(MODEL));
  const first = bytes();
  saveCheckpoint(directory.join("last"), (await memoryOf(MODEL, 9)).memory, bodyOf(MODEL));
  assert.notDeepEqual(bytes(), first);
  saveCheckpoint(directory.join("last"), memory, bodyOf(MODEL));
  assert.deepEqual(bytes(), first);
  assert.deepEqual([...Deno.readDirSync(directory.path)].map(({ name }) => name), ["last"]);
});

Deno.test("a checkpoint of another model is refused and says how it differs", async () => {
  using directory = new TemporaryDirectory();
  saveCheckpoint(directory.join("last"), (await memoryOf(MODEL)).memory, bodyOf(MODEL));
  const checkpoint = Checkpoint.open(directory.join("last"));
  const changes: [Partial<ModelShape>, RegExp][] = [
    [{ tableRows: [10, 71] }, /its tableRows is \[10,70\] and the run's is \[10,71\]/],
    [{ top: [5, 1] }, /its top is \[4,1\]/],
    [{ optimizer: "sgd" }, /its optimizer is "adagrad" and the run's is "sgd"/],
    [{ interaction: "cat" }, /its interaction is "dot"/],
    [{ bottom: [2, 6, 3] }, /its bottom is/],
    [{ pooling: "mean" }, /its pooling is the default and the run's is "mean"/],
    [{ cross: { layers: 1, rank: 2 }, interaction: "cat" }, /its model is "dlrm" and the run's is "dcnv2"/],
  ];
  for (const [change, reason] of changes) {
    const model = { ...MODEL, ...change };
    const { memory, vectors } = await memoryOf(model, 3);
    const before = vectors.map((vector) => vector.slice());
    await assert.rejects(
      () => checkpoint.load(memory, model),
      (error) =>
        error instanceof HotsetError && /^Cannot load checkpoint /.test(error.message) && reason.test(error.message),
    );
    assert.deepEqual(vectors, before, "nothing is loaded");
  }
});

Deno.test("a damaged checkpoint is refused and the fault named", async () => {
  using directory = new TemporaryDirectory();
  const { memory } = await memoryOf(MODEL);
  const path = directory.join("last");
  const manifest = directory.join("last", "manifest.json");
  const edit = (change: (text: string) => string) => rewrite(manifest, change(Deno.readTextFileSync(manifest)));
  const spoil = (change: (text: string) => string) =>
    Deno.writeTextFileSync(manifest, change(Deno.readTextFileSync(manifest)));
  const faults: [string, () => void, RegExp][] = [
    [
      "truncated",
      () => Deno.truncateSync(directory.join("last", "rows.f32"), 100),
      /rows\.f32 has 100 bytes instead of/,
    ],
    [
      "longer",
      () => Deno.writeFileSync(directory.join("last", "dense.f32"), new Uint8Array(4), { append: true }),
      /dense\.f32 has/,
    ],
    ["a flipped byte", () => {
      const bytes = Deno.readFileSync(directory.join("last", "row_state.f32"));
      bytes[50] ^= 1;
      Deno.writeFileSync(directory.join("last", "row_state.f32"), bytes);
    }, /row_state\.f32 is damaged/],
    ["no file", () => Deno.removeSync(directory.join("last", "dense_state.f32")), /dense_state\.f32 is missing/],
    ["no manifest", () => Deno.removeSync(manifest), /no manifest\.json/],
    [
      "a figure of the manifest changed",
      () => spoil((text) => text.replace("2100", "2101")),
      /manifest\.json is damaged/,
    ],
    ["a truncated manifest", () => spoil((text) => text.slice(0, 200)), /not JSON/],
    ["a manifest of another model", () => edit((text) => text.replace('"dim": 3', '"dim": 30')), /bottom MLP|bytes/],
    ["a manifest with more rows", () => edit((text) => text.replace("70", "71")), /rows\.f32 has .* implies/],
    ["a rate out of range", () => edit((text) => text.replace('"rate": 50', '"rate": 500')), /scheduler\.rate/],
    ["a negative step", () => edit((text) => text.replace('"step": 17', '"step": -1')), /state\.step/],
  ];
  for (const [what, damage, reason] of faults) {
    saveCheckpoint(path, memory, bodyOf(MODEL));
    damage();
    assert.throws(
      () => Checkpoint.open(path),
      (error) => error instanceof HotsetError && reason.test(error.message) && !error.message.includes("\n"),
      what,
    );
    Deno.removeSync(path, { recursive: true });
  }
});

Deno.test("weights that are no numbers are neither written nor read: the table and row or the layer is named", async () => {
  using directory = new TemporaryDirectory();
  const model = { ...MODEL, optimizer: "rwsadagrad" } as const;
  const { memory, vectors } = await memoryOf(model);
  const [dense, denseState, rows, rowState] = vectors;
  const target = await memoryOf(model);
  const cases: [Float32Array, number, number, RegExp][] = [
    [rows, 3 * 9 + 2, NaN, /rows\.f32: row 9 of table 0 holds NaN/],
    [rows, 3 * 10, Infinity, /rows\.f32: row 0 of table 1 holds Infinity/],
    [rows, 3 * 79 + 1, -Infinity, /rows\.f32: row 69 of table 1 holds -Infinity/],
    [rowState, 11, NaN, /row_state\.f32: the optimizer state of row 1 of table 1 holds NaN/],
    [rowState, 3, -1, /row_state\.f32: the optimizer state of row 3 of table 0 holds -1/],
    [dense, 9, NaN, /dense\.f32: a weight of layer 1 of the bottom MLP holds NaN/],
    [dense, 12, NaN, /dense\.f32: a bias of layer 1 of the bottom MLP holds NaN/],
    [
      denseState,
      dense.length - 4,
      NaN,
      /dense_state\.f32: the optimizer state of a bias of layer 2 of the top MLP holds NaN/,
    ],
  ];
  saveCheckpoint(directory.join("good"), memory, bodyOf(model));
  const { id } = Checkpoint.open(directory.join("good"));
  for (const [vector, word, value, reason] of cases) {
    const before = vector[word];
    vector[word] = value;
    if (!Number.isFinite(value)) {
      const place = reason.source.replace(/^.*f32: /, "").replace(
        /of table (\d)/,
        (_, table) => `of table ${"AB"[table]}`,
      );
      assert.throws(() => saveCheckpoint(directory.join("good"), memory, bodyOf(model), ["A", "B"]), {
        ...{ name: "NotFinite", message: new RegExp(`^${place}$`) },
      });
      assert.equal(Checkpoint.open(directory.join("good")).id, id, "the last good one is intact");
    }
    {
      using writer = new ArtifactWriter("checkpoint", directory.join("last"));
      Object.values(CHECKPOINT_FILES).forEach((name, i) => writer.file(name).append(vectors[i]));
      writer.commit(bodyOf(model));
    }
    vector[word] = before;
    await assert.rejects(
      () => Checkpoint.open(directory.join("last")).load(target.memory, model),
      (error: Error) =>
        error instanceof HotsetError && error.message.startsWith("Cannot use ") && reason.test(error.message),
      String(reason),
    );
  }
});
