/** Lookups of values that are not in the dictionary are counted by table, reported, and refused above a limit. */
import assert from "node:assert/strict";
import { Dataset } from "../../src/dataset/dataset.ts";
import { unknownShare } from "../../src/dataset/unknown_values.ts";
import { HotsetError } from "../../src/errors.ts";
import { unknownText } from "../../src/format.ts";
import { evaluationTable } from "../../src/report/tables.ts";
import { resolveConfig } from "../../src/config/config.ts";
import type { RunEvent } from "../../src/events/events.ts";
import { startRun } from "../../src/run/run.ts";
import { evaluateRun, predictRun } from "../../src/run/score_run.ts";
import { ensureDataset, prepareTo } from "../../src/run/stages.ts";
import { slowTest } from "../support/series.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const CONFIG = resolveConfig("kaggle", {
  ...{ mode: "cpu", device: "cpu", ranks: 1, dim: 2, bottom: [2], top: [1], batchSize: 4 },
  ...{ optimizer: "adagrad", learningRate: 0.1 },
});
const COLUMNS = [
  { name: "y", kind: "label" },
  { name: "price", kind: "dense" },
  { name: "city", kind: "sparse" },
  { name: "tags", kind: "bag" },
];
/** Rome and Oslo are known, as are the tags a and b. */
const TRAIN = ["1,1,Rome,a", "0,2,Oslo,b", "1,3,Rome,a|b", "0,4,Oslo,"].join("\n");
/** Three of four cities are unknown, and one of three tags. */
const TEST = ["1,1,Rome,a|x", "0,2,Bonn,", "1,3,Lima,b", "0,4,Bari,"].join("\n");
const HEADER = "y,price,city,tags\n";
const EXPECTED = { city: 3 / 4, tags: 1 / 3 };

function files(directory: TemporaryDirectory) {
  const write = (name: string, text: string) => {
    Deno.writeTextFileSync(directory.join(name), text);
    return directory.join(name);
  };
  return {
    schema: write("schema.json", JSON.stringify({ columns: COLUMNS })),
    train: write("train.csv", `${HEADER}${TRAIN}\n`),
    test: write("test.csv", `${HEADER}${TEST}\n`),
  };
}

/** What is reported, and the shares among it. */
function listen() {
  const events: RunEvent[] = [];
  const notes = () => events.flatMap((event) => event.event === "note" ? [event.text] : []);
  const shares = () => events.flatMap((event) => "unknownShare" in event ? [event.unknownShare] : []);
  return { report: (event: RunEvent) => void events.push(event), notes, shares };
}

const isRefusal = (error: unknown) =>
  error instanceof HotsetError &&
  /: 75.0 % of the lookups of city have values outside the dictionary, more than --max-unknown 0.7 allows$/
    .test(error.message);

slowTest(
  "prepare, evaluate and predict tell the share of unknown values by table, and fail above --max-unknown",
  async () => {
    using directory = new TemporaryDirectory();
    const { schema, train, test } = files(directory);
    const raw = { format: "csv", schema, testInputs: [test], validationFraction: 0 } as const;
    const paths: [string, (report: (event: RunEvent) => void, maxUnknown?: number) => Promise<unknown>][] = [
      [
        "prepare",
        (report, maxUnknown) => prepareTo({ ...raw, inputs: [train], out: directory.join("data"), maxUnknown }, report),
      ],
      [
        "train on a dataset",
        (report, maxUnknown) => ensureDataset([directory.join("data")], { ...raw, maxUnknown }, directory.path, report),
      ],
      ["evaluate", (report, maxUnknown) => evaluateRun(directory.join("run"), [], report, { maxUnknown })],
      [
        "evaluate raw files",
        (report, maxUnknown) => evaluateRun(directory.join("run"), [test], report, { maxUnknown }),
      ],
      ["predict", (report, maxUnknown) => predictRun(directory.join("run"), [test], { maxUnknown }, report)],
    ];
    for (const [name, path] of paths) {
      if (name === "evaluate") {
        await startRun(CONFIG, Dataset.open(directory.join("data")), { out: directory.join("run"), report: () => {} });
      }
      const { report, notes, shares } = listen();
      await path(report, 0.75);
      assert.deepEqual(shares(), [EXPECTED], name);
      const said = notes().filter((text) => text.includes("outside the dictionary"));
      assert.equal(said.length, 1, name);
      assert.match(said[0], /^75.0 % of the lookups of city in .* have values outside the dictionary/);
      await assert.rejects(path(() => {}, 0.7), isRefusal, name);
    }
  },
);

Deno.test("unknown values are counted in splits of any number of samples; known ones are none", async () => {
  using directory = new TemporaryDirectory();
  const { schema, train } = files(directory);
  const many = directory.join("many.csv");
  const rows = Array.from({ length: 20_000 }, (_, i) => `${i % 2},1,${i % 5 === 0 ? "Bonn" : "Oslo"},`);
  Deno.writeTextFileSync(many, HEADER + rows.join("\n") + "\n");
  const raw = { inputs: [train], format: "csv", schema, validationFraction: 0, out: directory.join("data") } as const;
  const dataset = await prepareTo({ ...raw, testInputs: [many] }, () => {});
  assert.deepEqual(await unknownShare(dataset, "test"), { city: 0.2, tags: 0 });
  assert.deepEqual(await unknownShare(dataset, "train"), { city: 0, tags: 0 });
  assert.deepEqual(await unknownShare(dataset, "validation"), {});
});

Deno.test("a note tells rare values, which share the row of unknown ones, by their share in training", async () => {
  using directory = new TemporaryDirectory();
  const { schema, train, test } = files(directory);
  Deno.writeTextFileSync(train, "1,1,Nice,a\n", { append: true });
  const { report, notes } = listen();
  const raw = { inputs: [train], format: "csv", schema, validationFraction: 0, out: directory.join("data") } as const;
  await prepareTo({ ...raw, testInputs: [test], minFrequency: 2 }, report);
  assert.match(notes().join("\n"), /too rare for their own row: 20.0 % of the train split's lookups/);
});

Deno.test("unknown values in words: the largest shares by name, and how large the others are at most", () => {
  assert.equal(unknownText({ city: 0, tags: 0 }), "no values outside the dictionary");
  const share = Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`C${i}`, i / 10]));
  assert.equal(
    unknownText(share),
    "values outside the dictionary, by share of lookups: C8 80.0 %, C7 70.0 %, C6 60.0 %, C5 50.0 %, " +
      "C4 40.0 %, C3 30.0 %, 2 more tables at most 20.0 %",
  );
  const metrics = { auc: 0.5, prAuc: 0.5, logloss: 0.7, accuracy: 0.5, calibration: 1, ne: 1 };
  const at = {
    event: "evaluation",
    split: "test",
    epoch: 1,
    step: 9,
    deadUnits: { bottom: [], top: [] },
    deciles: [],
  } as const;
  const text = evaluationTable([{ ...at, ...metrics, unknownShare: { city: 0.25 } } as never]);
  assert.match(text, /The test split has values .*: city 25.0 %/);
});
