/** The largest initial value of rows acts wherever rows are, and a model keeps it for its new rows. */
import assert from "node:assert/strict";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { PRESETS, resolveConfig, type TrainConfig, trainConfig } from "../../src/config/config.ts";
import { InitialRows } from "../../src/embedding/initialise.ts";
import { planModel } from "../../src/model/shape.ts";
import { startRun, trainOn } from "../../src/run/run.ts";
import { readRun } from "../../src/run/run_record.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

/** The rate is too small to change a weight, so that the rows of a checkpoint are the initial ones. */
const CONFIG: Partial<TrainConfig> = {
  ...{ mode: "cpu", device: "cpu", ranks: 1, dim: 4, bottom: [4], top: [4, 1], batchSize: 50, blas: "wasm", seed: 5 },
  ...{ optimizer: "sgd", learningRate: 1e-30 },
};
const report = () => {};

function rowsOf(run: string): Float32Array {
  const checkpoint = Checkpoint.open(`${run}/last`);
  const { rows, shape: { dim } } = planModel(checkpoint.body.model);
  using reader = checkpoint.reader("rows.f32");
  const words = new Float32Array(rows * dim);
  reader.read(0, words);
  return words;
}

Deno.test("only preset default with its optimizer has smaller initial rows, and runs of before have none", () => {
  for (const name of Object.keys(PRESETS) as (keyof typeof PRESETS)[]) {
    assert.equal(resolveConfig(name).rowInit, name === "default" ? 0.001 : 1, name);
  }
  const of = (layer: Partial<TrainConfig>) => resolveConfig("default", layer).rowInit;
  assert.deepEqual([of({ optimizer: "adagrad" }), of({ model: "dcnv2" })], [0.001, 0.001]);
  assert.deepEqual([of({ optimizer: "sgd" }), of({ optimizer: "sgd", rowInit: 0.5 }), of({ rowInit: 1 })], [1, 0.5, 1]);
  const { rowInit: _, ...before } = resolveConfig("default");
  assert.equal(trainConfig.parse(before).rowInit, 1);
});

Deno.test("initial rows are those of the reference, wherever the rows are", async () => {
  using directory = new TemporaryDirectory();
  const dataset = tinyDataset(directory.join("data"), {
    ...{ samples: { train: 300, validation: 50, test: 0 }, tableRows: [30, 900], denseFeatures: 2, bags: true },
    ...{ seed: 1, skew: 2 },
  });
  const places: Record<string, Partial<TrainConfig>> = {
    memory: {},
    ranks: { ranks: 2 },
    disk: { memory: { share: 0.25 } },
    fae: { mode: "fae", hotMemory: 2000 },
    gpu: { mode: "gpu", device: "emulated", blas: "auto" },
    hybrid: { mode: "hybrid", device: "emulated", blas: "auto" },
    cached: { mode: "cached", device: "emulated", blas: "auto" },
  };
  for (const rowInit of [1, 0.1]) {
    const { dim, seed } = resolveConfig("kaggle", CONFIG);
    const expected = new Float32Array(930 * dim);
    new InitialRows({ tableRows: [30, 900], dim, rowInit }, seed).write(0, 930, expected, 0);
    const largest = Math.max(...expected.map(Math.abs));
    assert.ok(rowInit === 1 ? largest > 0.15 : largest < 0.1 && largest > 0.09, `${largest}`);
    for (const [name, layer] of Object.entries(places)) {
      const out = directory.join(`${name}-${rowInit}`);
      await startRun(resolveConfig("kaggle", CONFIG, { ...layer, rowInit }), dataset, { out, report });
      assert.deepEqual(rowsOf(out), expected, `${name}, ${rowInit}`);
    }
  }
});

Deno.test("a model that is trained further keeps its own, also for the rows of new values", async () => {
  using directory = new TemporaryDirectory();
  const schema = directory.join("schema.json");
  const columns = [{ name: "y", kind: "label" }, { name: "price", kind: "dense" }, { name: "item", kind: "sparse" }];
  Deno.writeTextFileSync(schema, JSON.stringify({ columns }));
  const day = (name: string, items: string) => {
    const file = directory.join(name);
    const rows = Array.from({ length: 200 }, (_, i) => [i % 3 === 0 ? 1 : 0, i % 11, items[i % items.length]].join());
    Deno.writeTextFileSync(file, ["y,price,item", ...rows].join("\n") + "\n");
    return file;
  };
  const [first, second] = [day("first.csv", "abcd"), day("second.csv", "cdefghijk")];
  const raw = { format: "csv", schema, threads: 1 } as const;
  for (const [memory, bounds] of [[null, [0.01, 1]], [{ share: 0.25 }, [1, 0.01]]] as const) {
    const of = (rowInit: number) => resolveConfig("kaggle", CONFIG, { memory, rowInit });
    const outs = ["one", "two", "three"].map((name) => directory.join(`${name}-${bounds[0]}`));
    await trainOn([first], raw, of(bounds[0]), { out: outs[0], report });
    await trainOn([second], { format: "csv" }, of(bounds[1]), { out: outs[1], from: outs[0], report });
    await trainOn([second], { format: "csv" }, of(bounds[1]), { out: outs[2], from: `${outs[1]}/last`, report });
    for (const out of outs) assert.equal(readRun(out).config.rowInit, bounds[0]);
    const [before, grown, again] = outs.map(rowsOf);
    assert.ok(grown.length > before.length);
    assert.deepEqual(again, grown);
    const largest = Math.max(...grown.subarray(before.length).map(Math.abs));
    assert.ok(bounds[0] === 1 ? largest > 0.1 : largest <= 0.01 && largest > 0, `${largest}`);
  }
});
