/** Weights of samples: read from a column, in the loss, and in metrics. */
import assert from "node:assert/strict";
import { resolveConfig } from "../../src/config/config.ts";
import { metricsOf } from "../../src/events/metrics.ts";
import { type Dataset, SPLITS } from "../../src/dataset/dataset.ts";
import { prepareDataset, type PrepareOptions } from "../../src/dataset/prepare.ts";
import { buildLayout } from "../../src/layout/build_layout.ts";
import { Batch } from "../../src/layout/batch.ts";
import { Random } from "../../src/random.ts";
import { evaluationTable } from "../../src/report/tables.ts";
import { startRun } from "../../src/run/run.ts";
import { evaluateRun, predictRun } from "../../src/run/score_run.ts";
import { TemporaryDirectory } from "../dataset/support.ts";
import { slowTest } from "../support/series.ts";

const COLUMNS = [
  { name: "y", kind: "label" },
  { name: "x", kind: "dense", transform: "none" },
  { name: "user", kind: "sparse" },
  { name: "item", kind: "sparse" },
  { name: "w", kind: "ignore" },
];
const HEADER = "y,x,user,item,w\n";

const WEIGHTS = ["1", "0.5", "4"];

/** Rows whose dense feature is their number. */
function rows(count: number, weight = (i: number) => WEIGHTS[i % 3]): string {
  const random = new Random(count);
  const line = (_: unknown, i: number) =>
    [Number(random.uniform() < 0.4), i, random.below(9), random.below(7), weight(i)].join(",");
  return HEADER + Array.from({ length: count }, line).join("\n") + "\n";
}

function prepare(directory: TemporaryDirectory, options: Partial<PrepareOptions> = {}): Promise<Dataset> {
  const schema = directory.write("schema.json", JSON.stringify({ columns: COLUMNS }));
  const inputs = [directory.write("log.csv", rows(240))];
  const out = directory.join(crypto.randomUUID());
  return prepareDataset({ inputs, format: "csv", schema, out, weight: "w", groupBy: "user", ...options });
}

/** The number of each row (its dense feature), and its weight with the sign of its label. */
function wordsOf(dataset: Dataset): [number, number][] {
  return SPLITS.flatMap((split) => {
    using reader = dataset.reader(split, 1000);
    const { dense, labels, weights } = reader.read(0, reader.samples);
    return Array.from(labels, (label, i): [number, number] => [dense[i], label === 1 ? weights![i] : -weights![i]]);
  });
}

Deno.test("a sample of weight k counts in metrics like k samples", () => {
  const random = new Random(2);
  const count = 300;
  const logits = Float32Array.from({ length: count }, () => Math.round(4 * random.normal()) / 4); // with ties
  const labels = Uint8Array.from({ length: count }, () => random.below(2));
  const groups = Uint32Array.from({ length: 2 * count }, (_, i) => Math.floor(i / 2) % 11);
  const weights = Float32Array.from({ length: count }, () => 1 + random.below(4));
  const places = [...weights].flatMap((weight, i) => Array<number>(weight).fill(i));
  const repeated = metricsOf(
    Float32Array.from(places, (i) => logits[i]),
    Uint8Array.from(places, (i) => labels[i]),
    Uint32Array.from(places.flatMap((i) => [groups[2 * i], groups[2 * i + 1]])),
  );
  const flat = ({ byGroup, weighted: _, ...rest }: ReturnType<typeof metricsOf>) =>
    Object.entries({ ...rest, ...byGroup });
  const expected = new Map(flat(repeated));
  for (const [name, value] of flat(metricsOf(logits, labels, groups, weights))) {
    assert.ok(Math.abs(value - expected.get(name)!) < 1e-9, `${name}: ${value}, not ${expected.get(name)}`);
  }
  assert.notEqual(metricsOf(logits, labels).auc, repeated.auc);
});

slowTest(
  "weights are those of the column, with --weight or its kind, by split, sorted and beside negatives",
  async () => {
    using directory = new TemporaryDirectory();
    const dataset = await prepare(directory, { testFraction: 0.2 });
    assert.equal(dataset.body.weight, "w");
    const words = wordsOf(dataset);
    assert.equal(words.length, 240);
    for (const [row, word] of words) assert.equal(Math.abs(word), Number(WEIGHTS[row % 3]));
    const named = COLUMNS.map((column) => column.name === "w" ? { ...column, kind: "weight" } : column);
    const schema = directory.write("weighted.json", JSON.stringify({ columns: named }));
    const byKind = await prepare(directory, { schema, testFraction: 0.2, ...{ weight: undefined } as object });
    assert.deepEqual(wordsOf(byKind), words);
    const negatives = await prepare(directory, { negatives: { count: 1, item: ["item"] } });
    for (const [row, word] of wordsOf(negatives)) assert.equal(Math.abs(word), Number(WEIGHTS[row % 3]));
  },
);

Deno.test("the batches of a layout have the weights, shuffled or not", async () => {
  using directory = new TemporaryDirectory();
  const dataset = await prepare(directory);
  const expected = wordsOf(dataset).slice(0, dataset.samples("train")).sort(([a], [b]) => a - b);
  for (const shuffle of [undefined, { seed: 1 }]) {
    using layout = await buildLayout(dataset, undefined, { out: directory.join(`${shuffle}`), batchSize: 50, shuffle });
    const batch = new Batch(layout.shape);
    const found: [number, number][] = [];
    for (let b = 0; b < layout.body.coldBatches; b++) {
      layout.readBatch("cold", b, batch);
      const { floats, sections } = batch;
      for (let i = 0; i < batch.samples; i++) found.push([floats[sections.dense + i], floats[sections.labels + i]]);
    }
    assert.deepEqual(found.sort(([a], [b]) => a - b), expected);
  }
});

slowTest("training and evaluation weight samples; weights of 1 change nothing", async () => {
  using directory = new TemporaryDirectory();
  const config = resolveConfig("kaggle", {
    ...{ mode: "cpu", device: "cpu", dim: 2, bottom: [4, 2], top: [4, 1], batchSize: 16, ranks: 1 },
    ...{ optimizer: "adagrad", learningRate: 0.1, epochs: 2 },
  });
  const train = async (name: string, input: string, weight?: string) => {
    const dataset = await prepare(directory, { inputs: [input], ...{ weight } as object, groupBy: "user" });
    const { seconds: _, ...result } = await startRun(config, dataset, { out: directory.join(name), report: () => {} });
    return result.last;
  };
  const ones = directory.write("ones.csv", rows(240, () => "1"));
  const plain = await train("plain", ones);
  assert.deepEqual(await train("ones", ones, "w"), { ...plain, weighted: true });
  assert.notDeepEqual(await train("weighted", directory.join("log.csv"), "w"), plain);

  const run = directory.join("weighted");
  const evaluate = async (input: string) => (await evaluateRun(run, [input], () => {}))[0];
  const test = rows(60, (i) => `${1 + i % 3}`);
  const repeated = test.split("\n").slice(1, -1).flatMap((line, i) =>
    Array<string>(1 + i % 3).fill(line.replace(/[0-9]+$/, "1"))
  );
  const events = await evaluateRun(run, [ones], () => {});
  assert.match(evaluationTable(events), /^Samples have weights: the loss and all metrics count each sample with its/m);
  assert.doesNotMatch(evaluationTable(await evaluateRun(directory.join("plain"), [ones], () => {})), /have weights/);
  const once = await evaluate(directory.write("test.csv", test));
  const often = await evaluate(directory.write("often.csv", `${HEADER}${repeated.join("\n")}\n`));
  for (const name of ["logloss", "accuracy", "calibration"] as const) {
    assert.ok(Math.abs(once[name] - often[name]) < 1e-6, `${name}: ${once[name]}, not ${often[name]}`);
  }
  const bare = directory.write("bare.csv", "x,user,item\n1,5,2\n");
  assert.equal((await predictRun(run, [bare], {}, () => {})).length, 1, "predictions need no weight");
});

Deno.test("what is no weight is refused, with its place", async () => {
  using directory = new TemporaryDirectory();
  for (const weight of ["0", "-1", "nan", "inf", "1e-50", "1e39", "many"]) {
    const input = directory.write("bad.csv", rows(30, (i) => i === 4 ? weight : "1"));
    await assert.rejects(prepare(directory, { inputs: [input] }), (error: Error) => {
      assert.match(error.message, /line 6: w is "[^"]+", not a number above 0$/);
      return true;
    });
  }
  const empty = directory.write("empty.csv", rows(30, (i) => i === 4 ? "" : "1"));
  await assert.rejects(prepare(directory, { inputs: [empty] }), /line 6: w is empty$/);
  const cases: [Partial<PrepareOptions>, RegExp][] = [
    [{ weight: "v" }, /Cannot weight samples by v: the schema has no column v/],
    [{ weight: "y" }, /Cannot weight samples by y: column y has kind label; a weight is a number$/],
    [{ weight: "user" }, /Cannot weight samples by user: column user is that of the groups$/],
    [
      { format: "criteo", ...{ schema: undefined, groupBy: undefined } as object },
      /Cannot weight samples by w: format criteo has no column of weights; describe the log with --format csv and a schema$/,
    ],
  ];
  for (const [options, message] of cases) await assert.rejects(prepare(directory, options), message);
});
