/** Imported models compute the same scores as the programs that they come from. */
import assert from "node:assert/strict";
import { prepareDataset } from "../../src/dataset/prepare.ts";
import { exportRun } from "../../src/interop/export_run.ts";
import { importRun } from "../../src/interop/import_run.ts";
import { SafetensorsReader, SafetensorsWriter } from "../../src/interop/safetensors.ts";
import { mix } from "../../src/random.ts";
import { resolveConfig } from "../../src/config/config.ts";
import { resumeRun, startRun } from "../../src/run/run.ts";
import { evaluateRun, predictRun } from "../../src/run/score_run.ts";
import { assertClose } from "../support/close.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";
import golden from "../golden/dlrm_scores.json" with { type: "json" };

const report = () => {};
const GOLDEN_FILE = new URL("../golden/dlrm.safetensors", import.meta.url).pathname;
const CPU = { mode: "cpu", device: "cpu", ranks: 1 } as const;

/** The samples of golden/make_dlrm.py as the binary format of facebookresearch/dlrm. */
function writeGoldenLog(path: string): void {
  const number = (stream: number, i: number) => (mix(stream * 1_000_003 + i) >>> 0) / 2 ** 32;
  const words = new Int32Array(40 * golden.scores.length);
  for (let s = 0; s < golden.scores.length; s++) {
    words[40 * s] = s % 2;
    for (let d = 0; d < 13; d++) words[40 * s + 1 + d] = Math.floor(20 * number(1, 13 * s + d));
    for (let t = 0; t < 26; t++) {
      words[40 * s + 14 + t] = Math.floor((2 + 7 * t % 12) * number(2, 26 * s + t) ** 2);
    }
  }
  Deno.writeFileSync(path, new Uint8Array(words.buffer));
}

Deno.test("an imported PyTorch model scores as in PyTorch", async () => {
  using directory = new TemporaryDirectory();
  const log = directory.join("log.bin");
  writeGoldenLog(log);
  const data = directory.join("data");
  const splits = { validationFraction: 0, testFraction: 0 };
  await prepareDataset({ inputs: [log], format: "dlrm", out: data, ...splits });
  const out = directory.join("run");
  await importRun(GOLDEN_FILE, { data, out, ids: "values", config: CPU }, report);
  assertClose(await predictRun(out, [log], {}, report), golden.scores, 1e-5, "probabilities");

  await assert.rejects(
    () => importRun(GOLDEN_FILE, { data, out: directory.join("other"), config: CPU }, report),
    {
      name: "UsageError",
      message: /it does not say how its rows are numbered; add --ids values for raw values/,
    },
  );
  await assert.rejects(
    () => importRun(GOLDEN_FILE, { data, out: directory.join("other"), ids: "rows", config: CPU }, report),
    { name: "HotsetError", message: /emb_l\.0\.weight has 2 rows and table C1 has 3; .* add --ids values/ },
  );
});

/** A dataset with a run on it and its export. */
async function exported(directory: TemporaryDirectory, interaction: "dot" | "cat", denseFeatures = 3) {
  const dataset = tinyDataset(directory.join("data"), {
    samples: { train: 300, validation: 50, test: 50 },
    tableRows: [10, 300, 1],
    denseFeatures,
    bags: true,
    seed: 1,
    skew: 3,
  });
  const config = resolveConfig("kaggle", CPU, {
    ...{ dim: 5, bottom: [7, 5], top: [6, 1], interaction, optimizer: "adagrad", batchSize: 32 },
  });
  await startRun(config, dataset, { out: directory.join("run"), report });
  const file = directory.join("model.safetensors");
  await exportRun(directory.join("run"), "safetensors", file, report);
  return { data: dataset.directory, file };
}

for (const [interaction, denseFeatures] of [["dot", 3], ["cat", 3], ["dot", 0], ["cat", 0]] as const) {
  const what = `${interaction}, ${denseFeatures} dense features`;
  Deno.test(`export, import and export again give the same bits, and metrics: ${what}`, async () => {
    using directory = new TemporaryDirectory();
    const { data, file } = await exported(directory, interaction, denseFeatures);
    const out = directory.join("imported");
    await importRun(file, { data, out, ids: "rows", config: CPU }, report);
    const again = directory.join("again.safetensors");
    await exportRun(out, "safetensors", again, report);
    assert.deepEqual(Deno.readFileSync(again), Deno.readFileSync(file));
    const metrics = (run: string) =>
      evaluateRun(run, [], report).then((events) => events.map(({ auc, logloss }) => ({ auc, logloss })));
    assert.deepEqual(await metrics(out), await metrics(directory.join("run")));
  });
}

Deno.test("an imported run trains on, in any optimizer, with the same bits each time", async () => {
  using directory = new TemporaryDirectory();
  const { data, file } = await exported(directory, "dot");
  const config = { ...CPU, optimizer: "rwsadagrad", batchSize: 32, epochs: 2, learningRate: 0.05 } as const;
  const train = async (name: string) => {
    const out = directory.join(name);
    await importRun(file, { data, out, ids: "rows", config }, report);
    const before = (await evaluateRun(out, [], report))[0].logloss;
    const { steps, logloss } = await resumeRun({ out, report });
    assert.equal(steps, 2 * Math.ceil(300 / 32));
    assert.notEqual(logloss, before);
    await exportRun(out, "safetensors", directory.join(`${name}.safetensors`), report);
    return Deno.readFileSync(directory.join(`${name}.safetensors`));
  };
  assert.deepEqual(await train("a"), await train("b"));
});

Deno.test("a file that is not the dataset's model is refused: the tensor is named, and nothing is left", async () => {
  using directory = new TemporaryDirectory();
  const { data, file } = await exported(directory, "dot");
  type Tensors = Map<string, { shape: number[]; values: Float32Array }>;
  const tensors: Tensors = new Map();
  using reader = new SafetensorsReader(file);
  for (const [name, tensor] of reader.tensors) {
    const values = new Float32Array(tensor.shape.reduce((product, n) => product * n, 1));
    reader.read(tensor, 0, values);
    tensors.set(name, { shape: [...tensor.shape], values });
  }
  const set = (name: string, ...shape: number[]) => (t: Tensors) =>
    t.set(name, { shape, values: new Float32Array(shape.reduce((product, n) => product * n, 1)) });
  const cases: [(tensors: Tensors) => unknown, RegExp][] = [
    [(t) => t.delete("bot_l.0.weight"), /bot_l\.0\.weight is missing; this is not the state dict of a DLRM/],
    [(t) => t.delete("bot_l.2.bias"), /bot_l\.2\.bias is missing/],
    [(t) => t.delete("emb_l.0.weight"), /emb_l\.0\.weight is missing/],
    [(t) => t.delete("emb_l.1.weight"), /it has a tensor "emb_l\.2\.weight", which is not part of a DLRM/],
    [(t) => t.delete("emb_l.2.weight"), /top_l\.0\.weight has 11 inputs, which fits neither the dot nor the cat/],
    [set("v_W_l.0", 10), /it has a tensor "v_W_l\.0", which is not part of a DLRM/],
    [set("emb_l.1.weight", 300), /emb_l\.1\.weight has the shape \(300\) but needs 2 positive sizes/],
    [set("emb_l.1.weight", 300, 4), /emb_l\.1\.weight has rows of 4 values, but the bottom MLP has 5/],
    [set("emb_l.1.weight", 0, 5), /emb_l\.1\.weight has the shape \(0, 5\)/],
    [set("emb_l.1.weight", 299, 5), /emb_l\.1\.weight has 299 rows and table C2 has 300/],
    [set("bot_l.2.weight", 5, 8), /bot_l\.2\.weight has 8 inputs, but the layer before has 7/],
    [set("bot_l.2.bias", 4), /bot_l\.2\.bias has 4 values/],
    [set("bot_l.0.weight", 7, 4), /its bottom MLP has 4 inputs, but dataset .* has 3 dense features/],
    [(t) => t.get("emb_l.1.weight")!.values[5 * 17 + 2] = NaN, /row 17 of table 1 holds NaN/],
    [(t) => t.get("emb_l.2.weight")!.values[0] = -Infinity, /row 0 of table 2 holds -Infinity/],
    [(t) => t.get("top_l.2.weight")!.values[3] = NaN, /a weight of layer 2 of the top MLP holds NaN/],
    [(t) => t.get("bot_l.0.bias")!.values[0] = Infinity, /a bias of layer 1 of the bottom MLP holds Infinity/],
  ];
  const before = () => [...Deno.readDirSync(directory.path)].map(({ name }) => name).sort();
  const changed = directory.join("changed.safetensors");
  Deno.writeTextFileSync(changed, "");
  const files = before();
  for (const [change, reason] of cases) {
    const copy = structuredClone(tensors);
    change(copy);
    {
      const specs = [...copy].map(([name, { shape }]) => ({ name, shape, dtype: "F32" as const }));
      using writer = new SafetensorsWriter(changed, specs, {});
      for (const { values } of copy.values()) writer.append(values);
      writer.commit();
    }
    const out = directory.join("refused");
    await assert.rejects(
      () => importRun(changed, { data, out, ids: "rows", config: CPU }, report),
      (error: Error) =>
        error.name === "HotsetError" && /^Cannot (import|train)/.test(error.message) && reason.test(error.message),
      String(reason),
    );
    assert.deepEqual(before(), files, "nothing is left");
  }
});

Deno.test("tensors of another type, and values where the dataset has none, are refused", async () => {
  using directory = new TemporaryDirectory();
  const { data, file } = await exported(directory, "dot");
  const out = directory.join("refused");
  await assert.rejects(() => importRun(file, { data, out, ids: "values", config: CPU }, report), {
    name: "UsageError",
    message: /Hotset exported it, so its rows are not numbered by raw values; leave out --ids/,
  });
  const other = directory.join("other.safetensors");
  {
    using writer = new SafetensorsWriter(other, [{ name: "emb_l.0.weight", dtype: "U32", shape: [1] }], {});
    writer.append(Uint32Array.of(1));
    writer.commit();
  }
  await assert.rejects(() => importRun(other, { data, out, ids: "rows", config: CPU }, report), {
    name: "HotsetError",
    message: /emb_l\.0\.weight is of type U32; save it with \.float\(\) first/,
  });
  await assert.rejects(
    () => importRun(file, { data, out: directory.join("run"), ids: "rows", config: CPU }, report),
    /it contains a run/,
  );
});
