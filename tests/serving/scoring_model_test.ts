/** Rows scored in memory have the same bits as `predict --blas wasm`, alone and in batches. */
import assert from "node:assert/strict";
import { cpuOptions, openHost } from "../../src/backend/open.ts";
import { Engine } from "../../src/dataset/duckdb.ts";
import { Checkpoint, CHECKPOINT_FILES } from "../../src/checkpoint/checkpoint.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import type { Row } from "../../src/dataset/row_encoder.ts";
import { HotsetError } from "../../src/errors.ts";
import { writeCriteoLog } from "../../src/dataset/generate.ts";
import { predictRun } from "../../src/run/score_run.ts";
import { Scorer } from "../../src/serving/scorer.ts";
import { openModel } from "../../src/serving/scoring_model.ts";
import { COLUMNS, csvOf, logRow, tagWeights, TrainedRun, typedRow, WEIGHTED_COLUMNS } from "./support.ts";
import { slowTest, someOf } from "../support/series.ts";

/** More than are computed at a time, some with values that were never seen, one with more lookups than others in all. */
const ROWS = Array.from({ length: 700 }, (_, i) => {
  const row = logRow(i * 3 + 1);
  if (i === 300) return { ...row, tags: Array.from({ length: 3000 }, (_, k) => "abcx"[(k * k) % 7 % 4]).join("|") };
  return i % 5 === 0 ? { ...row, city: "Atlantis", tags: `a|new${i}` } : row;
}).map((row) => ({ ...row, tag_weights: tagWeights(row.tags) }));

/** Scores rows in parts of a few sizes. */
function inParts(score: (rows: readonly Row[]) => Float32Array, rows: readonly Row[]): number[] {
  const found: number[] = [];
  for (let first = 0, size = 1; first < rows.length; first += size, size = size * 2 % 97 + 1) {
    found.push(...score(rows.slice(first, first + size)));
  }
  return found;
}

const WAYS = [
  [{}, { pooling: "mean" }, COLUMNS],
  [{ maxIndRange: 5 }, {}, COLUMNS],
  [{ minFrequency: 3 }, {}, COLUMNS],
  [{}, {}, COLUMNS],
] as const;
for (const [more, layer, columns] of [...someOf(WAYS, 4), [{}, {}, WEIGHTED_COLUMNS] as const]) {
  const way = JSON.stringify({ ...more, ...layer }) + (columns === WEIGHTED_COLUMNS ? " and weights of tags" : "");
  Deno.test(`score gives predict's bits for rows of every kind of column ${way}`, async () => {
    using trained = await TrainedRun.create(columns, more, layer);
    const input = trained.join("new.csv");
    Deno.writeTextFileSync(input, csvOf(ROWS, columns.map(({ name }) => name).filter((name) => name !== "clicked")));
    const shares: unknown[] = [];
    const expected = await predictRun(trained.run, [input], { blas: "wasm" }, (event) => {
      if (event.event === "encoded") shares.push(event.unknownShare);
    });
    using model = await openModel(trained.run);
    assert.deepEqual(model.score(ROWS), expected);
    assert.deepEqual([model.unknownShare], shares);
    assert.deepEqual(inParts((rows) => model.score(rows), ROWS.map(typedRow)), [...expected]);
    assert.ok(new Set(expected).size > 100);
  });
}

slowTest("score gives predict's bits for rows of the Criteo format, and encoded samples have the same", async () => {
  using trained = new TrainedRun();
  const log = trained.join("log.tsv");
  await writeCriteoLog(log, { samples: 900, seed: 3, scale: 1000, fractions: { validation: 0.1, test: 0.1 } });
  const dataset = await trained.train({ inputs: [log], format: "criteo" });
  const expected = await predictRun(trained.run, [log], { blas: "wasm" }, () => {});
  const names = ["label", ...dataset.body.dense, ...dataset.body.tables.map(({ name }) => name)];
  const byLibrary = await predictRun(trained.run, [log], {}, () => {});
  assert.ok(byLibrary.every((probability, i) => Math.abs(probability - expected[i]) < 1e-5));
  const rows = Deno.readTextFileSync(log).trimEnd().split("\n").map((line) =>
    Object.fromEntries(line.split("\t").map((field, i) => [names[i], field]))
  );
  using model = await openModel(trained.run);
  assert.deepEqual(inParts((rows) => model.score(rows), rows), [...expected]);
  const column = dataset.body.tables[0].name;
  assert.throws(
    () => model.score([{ ...rows[0], [column]: Array(1000).fill("a") }]),
    /: [^ ]+ is \["a",.{30,40}\.\.\.; write up to 8 hexadecimal digits as text$/,
  );

  using reader = dataset.reader("train", 256);
  const probabilities = new Float32Array(256);
  for (let first = 0; first < 500; first += 100) {
    model.scoreEncoded(reader.read(first, 100), probabilities);
    assert.deepEqual(probabilities.subarray(0, 100), expected.subarray(first, first + 100));
  }
});

for (const memory of [null, { share: 0.05 }]) {
  const where = memory === null ? "a file" : "segments of a log";
  Deno.test(`a model whose rows stay on disk, in ${where}, gives the same bits with any memory for rows`, async () => {
    using trained = await TrainedRun.create(COLUMNS, {}, { memory });
    assert.equal(Deno.readTextFileSync(`${trained.run}/best/manifest.json`).includes("rowLog"), memory !== null);
    using inMemory = await openModel(trained.run);
    const expected = inMemory.score(ROWS);
    for (const rowMemory of [1, 500, 1e6]) {
      using model = await openModel(trained.run, { rowMemory });
      assert.deepEqual(model.score(ROWS), expected, `${rowMemory} bytes`);
      assert.deepEqual(inParts((rows) => model.score(rows), ROWS), [...expected], `${rowMemory} bytes, again`);
    }
    for (const rowMemory of [0, -1, 1.5, NaN]) {
      await assert.rejects(openModel(trained.run, { rowMemory }), { name: "UsageError", message: /rowMemory must be/ });
    }
  });
}

Deno.test("rows on disk of a checkpoint that another one has replaced are refused", async () => {
  using trained = await TrainedRun.create();
  using other = await TrainedRun.create(undefined, {}, { seed: 2 });
  const checkpoint = Checkpoint.open(trained.join("run/best"));
  // As if training had replaced it when its dense parameters had been read.
  for (const name of ["manifest.json", CHECKPOINT_FILES.rows]) {
    Deno.copyFileSync(other.join(`run/best/${name}`), trained.join(`run/best/${name}`));
  }
  const host = await openHost(await cpuOptions("wasm"));
  await assert.rejects(
    () => Scorer.load(host, checkpoint, true, 500),
    /^HotsetError: Cannot read .*best: another checkpoint has taken its place$/,
  );
});

Deno.test("a run that is replaced while it is opened is not used with the dictionary of the one before", async () => {
  using trained = await TrainedRun.create();
  using other = await TrainedRun.create(undefined, { testFraction: 0.3 }); // its tables have the same sizes
  const path = trained.join("link");
  const { create } = Engine;
  const replaced = async (use: () => Promise<unknown>) => {
    Deno.symlinkSync(trained.run, path);
    // The dictionary has been opened when the engine is started that reads it, or rows.
    Engine.create = async (...given) => {
      Deno.removeSync(path);
      Deno.symlinkSync(other.run, path);
      Engine.create = create;
      return await Engine.create(...given);
    };
    await assert.rejects(use, /^HotsetError: Cannot use .*link: another run has taken its place; begin again$/);
    Deno.removeSync(path);
  };
  await replaced(() => openModel(path));
  await replaced(() => predictRun(path, [trained.join("log.csv")], { blas: "wasm" }, () => {}));
});

Deno.test("a range of rows that are not there is refused", async () => {
  using trained = await TrainedRun.create();
  using model = await openModel(trained.run);
  const rows = ROWS.slice(0, 5);
  assert.deepEqual(model.score(rows, 1, 3), model.score(rows).subarray(1, 3));
  assert.equal(model.score(rows, 5).length, 0);
  for (const [begin, end] of [[3, 1], [-1, 2], [0, 6], [0.5, 2], [NaN, 2], [0, NaN]]) {
    assert.throws(
      () => model.score(rows, begin, end),
      { name: "HotsetError", message: `Cannot score rows ${begin} to ${end} of 5` },
    );
  }
});

Deno.test("what a row cannot be is told with its row and column, and counts as no lookup", async () => {
  using trained = await TrainedRun.create();
  using model = await openModel(trained.run);
  const good = typedRow(logRow(1));
  const { city: _, ...lacking } = good;
  const FAULTS: [unknown, RegExp][] = [
    [{ ...good, price: "a lot" }, /^Cannot score row 2 \(from 0\): price is "a lot", not a finite number$/],
    [{ ...good, price: [1] }, /row 2 .*: price is a list, where text, a number, true, false or null is expected$/],
    [{ ...good, price: Infinity }, /row 2 .*: price is "inf", not a finite number$/],
    [{ ...good, when: "yesterday" }, /row 2 .*: when is "yesterday", neither unix seconds nor a date and time/],
    [{ ...good, when: null }, /row 2 .*: when is empty$/],
    [{ ...good, user: "xyz" }, /row 2 .*: user is "xyz", not a hexadecimal number of up to 8 digits$/],
    [{ ...good, city: { name: "Rome" } }, /row 2 .*: city is of type object, where/],
    [{ ...good, shop: 2 ** 60 }, /row 2 .*: shop is "1.152921504606847e\+18", too large to be exact/],
    [{ ...good, tags: ["a", ["b"]] }, /row 2 .*: tags is a list, where/],
    [{ ...good, tags: "[a, b]" }, /row 2 .*: tags is "\[a, b\]", a list$/],
    [{ ...lacking, City: "Rome" }, /row 2 .*: it has no column city; is it "City"\?; a value that is missing is null$/],
    [null, /row 2 .*: it is no object with a value for each column$/],
    [[1, 2], /row 2 .*: it is no object/],
  ];
  for (const [row, message] of FAULTS) {
    assert.throws(
      () => model.score([good, good, row as Row]),
      (error) => error instanceof HotsetError && error.code === "bad-row" && message.test(error.message),
      String(message),
    );
  }
  assert.deepEqual(Object.values(model.unknownShare), [0, 0, 0, 0]);
  model.score([{ ...good, city: "Atlantis" }, good]);
  assert.equal(model.unknownShare.city, 0.5);
  assert.equal(model.score([]).length, 0);
});

Deno.test("encoded samples of other sizes, or with rows of another table, are refused", async () => {
  using trained = await TrainedRun.create();
  const dataset = Dataset.open(trained.join("data"));
  using model = await openModel(trained.run);
  using reader = dataset.reader("test", 4);
  const { count, dense, indices, offsets } = reader.read(0, 4);
  const out = new Float32Array(4);
  const samples = { count, dense: dense.slice(), indices: indices.slice(), offsets: offsets!.slice() };
  model.scoreEncoded(samples, out);
  const swapped = indices.slice();
  [swapped[0], swapped[1]] = [indices[1], indices[0]];
  const FAULTS: [object, RegExp][] = [
    [{ ...samples, count: 5 }, /there is room for 4 probabilities of 5$/],
    [{ ...samples, count: -1 }, /-1 of them, not 0 to 256$/],
    [{ ...samples, dense: dense.subarray(1) }, /dense has 11 values instead of 12$/],
    [{ ...samples, dense: dense.map(() => NaN) }, /dense value 0 is NaN$/],
    [{ ...samples, offsets: undefined }, /offsets are missing$/],
    [{ ...samples, offsets: offsets!.map((x) => 2 * x) }, /offsets must be 17 numbers/],
    [{ ...samples, indices: swapped }, /index 0 is \d+, outside the rows of table 0$/],
  ];
  for (const [wrong, message] of FAULTS) {
    assert.throws(() => model.scoreEncoded(wrong as typeof samples, out), message);
  }
  model[Symbol.dispose]();
  assert.throws(() => model.scoreEncoded(samples, out), /the model has been closed$/);
});

Deno.test("a model with dates of another format is refused when it is opened, by the column's name", async () => {
  using trained = new TrainedRun();
  const columns = [
    { name: "y", kind: "label" },
    { name: "day", kind: "dense", transform: "clock", format: "%d.%m.%Y" },
    {
      name: "city",
      kind: "sparse",
    },
  ];
  Deno.writeTextFileSync(trained.join("schema.json"), JSON.stringify({ columns }));
  const lines = Array.from({ length: 80 }, (_, i) => `${i % 2},${i % 28 + 1}.05.2024,Rome\n`);
  Deno.writeTextFileSync(trained.join("log.csv"), `y,day,city\n${lines.join("")}`);
  await trained.train({ inputs: [trained.join("log.csv")], format: "csv", schema: trained.join("schema.json") });
  await assert.rejects(
    openModel(trained.run),
    /^HotsetError: Cannot encode rows in memory: column day: its dates are written as %d\.%m\.%Y, .*; score files with predict, or train/,
  );
});
