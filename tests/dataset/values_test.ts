/** The rule for values in docs/datasets.md: equal values get the same row, whatever program wrote the file. */
import assert from "node:assert/strict";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { encodeWith, prepareDataset, type PrepareOptions } from "../../src/dataset/prepare.ts";
import { someOf } from "../support/series.ts";
import { denseOf, idsOf, labelsOf, TemporaryDirectory, writeParquet } from "./support.ts";

const ALL_TRAIN = { validationFraction: 0, testFraction: 0 };

/** A log with a label and one column `a`, as CSV lines or as the SQL of Parquet values. */
interface Log {
  readonly csv?: readonly string[];
  readonly sql?: readonly string[];
}

class Logs extends TemporaryDirectory {
  #files = 0;

  async file({ csv, sql }: Log): Promise<string> {
    const name = `log${this.#files++}`;
    if (csv !== undefined) return this.write(`${name}.csv`, `y,a\n${csv.map((value) => `1,${value}\n`).join("")}`);
    const rows = sql!.map((value, i) => `SELECT ${i} AS i, 1 AS y, ${value} AS a`).join(" UNION ALL ");
    return await writeParquet(this.join(`${name}.parquet`), `SELECT y, a FROM (${rows}) ORDER BY i`);
  }

  /** The dataset of logs whose column `a` is of some kind. */
  async prepare(logs: readonly Log[], column: object = { kind: "sparse" }, more: Partial<PrepareOptions> = {}) {
    const schema = this.write(
      "schema.json",
      JSON.stringify({
        columns: [
          { name: "y", kind: "label" },
          { name: "a", ...column },
        ],
      }),
    );
    const inputs = [];
    for (const log of logs) inputs.push(await this.file(log));
    const out = this.join(`out${this.#files++}`);
    return await prepareDataset({ inputs, format: "csv", schema, out, ...ALL_TRAIN, ...more });
  }

  /** Ids of the values of a log that is read with the dictionary of a dataset. */
  async encode(dataset: Dataset, log: Log): Promise<number[]> {
    const out = this.join(`out${this.#files++}`);
    const { dataset: encoded } = await encodeWith(dataset, [await this.file(log)], { out });
    return idsOf(encoded, "test").map((tables) => tables[0][0]);
  }
}

/** Logs that hold the same values in the same order, however they were written. */
const SAME: Record<string, Log[]> = {
  "whole numbers": [
    { csv: ["5", "-6", "0", "12"] },
    { csv: ["5.0", "-6.0", "0.0", "12.0"] },
    { csv: ["5.00", "-6.00", "0.00", "12.00"] },
    { csv: ["'5'", "-6", "0", "12"].map((v) => v.replaceAll("'", '"')) },
    { sql: ["5", "-6", "0", "12"] },
    { sql: ["5::DOUBLE", "-6::DOUBLE", "-0.0::DOUBLE", "12::DOUBLE"] },
    { sql: ["5::FLOAT", "-6::FLOAT", "0::FLOAT", "12::FLOAT"] },
    { sql: ["5::DECIMAL(9, 2)", "-6::DECIMAL(9, 2)", "0::DECIMAL(9, 2)", "12::DECIMAL(9, 2)"] },
    { sql: ["5::TINYINT", "-6::TINYINT", "0::TINYINT", "12::TINYINT"] },
    { sql: ["'5'", "'-6'", "'0'", "'12'"] },
    { sql: ["'5.0'", "'-6.0'", "'0.0'", "'12.0'"] },
    { sql: ["'5'", "'-6'", "'0'", "'12'"].map((v) => `${v}::ENUM('5', '-6', '0', '12')`) },
    { sql: ["'5'", "'-6'", "'0'", "'12'"].map((v) => `${v}::BLOB`) },
  ],
  "large whole numbers": [
    { csv: ["1234567890123456789", "1000000000000000", "2"] },
    { sql: ["1234567890123456789", "1000000000000000", "2"] },
  ],
  "booleans": [
    { csv: ["1", "0", "0"] },
    { csv: ["true", "false", "false"] },
    { csv: ["True", "False", "False"] },
    { csv: ["TRUE", "FALSE", "FALSE"] },
    { csv: ["1.0", "0.0", "0.0"] },
    { sql: ["true", "false", "false"] },
    { sql: ["1::DOUBLE", "0::DOUBLE", "0::DOUBLE"] },
  ],
  "fractions": [
    { csv: ["0.5", "-2.25", "3"] },
    { csv: ["0.50", "-2.25", "3.00"] },
    { sql: ["0.5::DOUBLE", "-2.25::DOUBLE", "3::DOUBLE"] },
    { sql: ["0.5::FLOAT", "-2.25::FLOAT", "3::FLOAT"] },
    { sql: ["0.5::DECIMAL(5, 2)", "-2.25::DECIMAL(5, 2)", "3::DECIMAL(5, 2)"] },
  ],
  "numbers that are written in unusual ways": [
    { csv: ["0.5", "-0.25", "1000", "0", "1e-05", "-1e-07"] },
    { csv: [".5", "-.25", "1e3", "-0", "0.00001", "-0.0000001"] },
    { csv: ["5e-1", "-2.5E-1", "1E+03", "0e0", "1E-5", "-1e-7"] },
    { sql: ["0.5", "-0.25", "1000", "-0.0", "1e-5", "-1e-7"].map((v) => `${v}::DOUBLE`) },
  ],
  "missing among numbers": [
    { csv: ["5", "", "6"] },
    { csv: ["5.0", "NaN", "6.0"] },
    { csv: ["5", "<NA>", "6"] },
    { csv: ["5", "null", "6"] },
    { csv: ["5", "\\N", "6"] },
    { sql: ["5", "NULL", "6"] },
    { sql: ["5::DOUBLE", "'nan'::DOUBLE", "6::DOUBLE"] },
  ],
  "days": [{ csv: ["2024-05-31", "2024-06-01"] }, { sql: ["DATE '2024-05-31'", "DATE '2024-06-01'"] }],
  "text": [{ csv: ["a", "Ümlaut", ""] }, { sql: ["'a'", "'Ümlaut'", "NULL"] }, {
    sql: ["'a'::BLOB", "encode('Ümlaut')", "NULL"],
  }],
};

for (const [name, logs] of someOf(Object.entries(SAME).toReversed(), 6)) {
  Deno.test(`the same values are the same rows whatever wrote them: ${name}`, async () => {
    using directory = new Logs();
    for (const first of [logs[0], logs.at(-1)!]) {
      const dataset = await directory.prepare([first]);
      const expected = idsOf(dataset, "train").map((tables) => tables[0][0]);
      for (const log of logs) assert.deepEqual(await directory.encode(dataset, log), expected, JSON.stringify(log));
    }
    // In one train log, 0.5 and 0.50 could be versions.
    const together = logs.filter(({ csv }) => !csv?.includes("0.50"));
    const ids = idsOf(await directory.prepare(together), "train").map((tables) => tables[0][0]);
    const length = ids.length / together.length;
    assert.ok(new Set(ids).size > 1);
    ids.forEach((id, i) => assert.equal(id, ids[i % length]));
  });
}

/** Values that are different although they look alike. */
const DIFFERENT: Record<string, Log> = {
  "versions": { csv: ["5", "5.0", "5.0.1", "5.1"] },
  "versions of two numbers": { csv: ["5.1", "5.10", "5.2"] },
  "leading zeros": { csv: ["7", "007", "07"] },
  "codes with signs": { csv: ["+5", "5", "5.0"] },
  "words": { csv: ["true", "True", "1", "yes"] },
  "Namibia and nobody": { csv: ["NA", "", "None", "DE"] },
  "versions in Parquet": { sql: ["'5'", "'5.0'", "'5.0-beta'"] },
  "text with e": { csv: ["1e3", "1000", "1e3x"] },
  "negative digits beyond floating point": { csv: ["-9007199254740992", "-9007199254740993"] },
  "digits beyond floating point": { csv: ["9007199254740992", "9007199254740993", "9007199254740993.0"] },
};

for (const [name, log] of someOf(Object.entries(DIFFERENT), 3)) {
  Deno.test(`different values keep rows of their own: ${name}`, async () => {
    using directory = new Logs();
    const dataset = await directory.prepare([log]);
    const values = (log.csv ?? log.sql)!.length;
    assert.equal(dataset.body.tables[0].rows - 1, values);
    assert.deepEqual(await directory.encode(dataset, log), idsOf(dataset, "train").map((tables) => tables[0][0]));
  });
}

Deno.test("values: the rule is found in the train log, and later rows follow it", async () => {
  using directory = new Logs();
  const versions = await directory.prepare([{ csv: ["5", "5.0", "5.0.1"] }]);
  assert.deepEqual(versions.body.tables[0].values, "text");
  assert.equal(new Set(await directory.encode(versions, { csv: ["5", "5.0"] })).size, 2);
  const ids = await directory.prepare([{ csv: ["5", "6"] }], undefined, {
    testInputs: [await directory.file({ csv: ["6.0", "", "5.0"] })],
    testFraction: 0,
  });
  assert.deepEqual(ids.body.tables[0].values, "number");
  assert.deepEqual(idsOf(ids, "test").map((tables) => tables[0][0]), [2, 0, 1]);
  const exact = await directory.prepare([{ csv: ["5", "5.0"] }], { kind: "sparse", values: "exact" });
  assert.equal(exact.body.tables[0].rows, 3);
});

Deno.test("values: an index range takes the same value to the same row, too", async () => {
  using directory = new Logs();
  const range = { maxIndRange: 1000 };
  const dataset = await directory.prepare([{ csv: ["5", "true", "6.5"] }], undefined, range);
  const expected = idsOf(dataset, "train").map((tables) => tables[0][0]);
  for (const log of [{ csv: ["5.0", "1", "6.50"] }, { sql: ["5::DOUBLE", "1::DOUBLE", "6.5::DOUBLE"] }]) {
    assert.deepEqual(await directory.encode(dataset, log), expected);
  }
});

Deno.test("values: those of bags follow the same rule", async () => {
  using directory = new Logs();
  const bag = { kind: "bag", values: "text" };
  const dataset = await directory.prepare([{ csv: ["5|6", "", "6"] }, { csv: ["6.0|5.0", "6.0", "7.0"] }], bag);
  assert.deepEqual(idsOf(dataset, "train").map(([a]) => a), [[2, 1], [], [1], [1, 2], [1], [3]]);
  const parquet = await directory.file({ sql: ["[5::DOUBLE, 6::DOUBLE]", "[]", "[6::DOUBLE, NULL]"] });
  const { dataset: encoded } = await encodeWith(dataset, [parquet], { out: directory.join("encoded") });
  assert.deepEqual(idsOf(encoded, "test").map(([a]) => a), [[2, 1], [], [1, 0]]);
});

Deno.test("values: floating-point ids that are not exact are refused with their row, and so are values of many parts", async () => {
  using directory = new Logs();
  const float = directory.prepare([{ sql: ["5::DOUBLE", "12345678901234567::DOUBLE"] }]);
  await assert.rejects(
    float,
    /row 2: a is "1.2345678901234568e\+16", too large to be exact as a floating-point number$/,
  );
  await assert.doesNotReject(directory.prepare([{ sql: ["16777215::FLOAT", "5::FLOAT"] }]));
  await assert.rejects(directory.prepare([{ sql: ["16777217::FLOAT"] }]), /row 1: a is .*too large to be exact/);
  for (const [value, type] of [["{'b': 1}", "STRUCT(b INTEGER)"], ["MAP {'b': 1}", "MAP(VARCHAR, INTEGER)"]]) {
    await assert.rejects(directory.prepare([{ sql: [value] }]), {
      message: new RegExp(
        `column a holds ${RegExp.escape(type)}, which is not one value; write it as several columns$`,
      ),
    });
  }
  await assert.rejects(directory.prepare([{ sql: ["'\\xC3'::BLOB"] }]), /row 1: a is .*it is not UTF-8$/);
});

const MISSING = ["", "NaN", "nan", "NA", "N/A", "null", "NULL", "None", "<NA>", "\\N", "  "];

Deno.test("missing numbers: every word for them is one, in CSV and in Parquet, and they are counted", async () => {
  using directory = new Logs();
  const column = { kind: "dense", transform: "none" };
  const rows = ["3", ...MISSING, "5"].map((value) => `${value},x`);
  const file = directory.write("missing.csv", `a,b,y\n${rows.map((row) => `${row},1\n`).join("")}`);
  const schemaOf = (missing: object) =>
    directory.write(
      "schema.json",
      JSON.stringify({
        columns: [{ name: "y", kind: "label" }, { name: "a", ...column, ...missing }, { name: "b", kind: "sparse" }],
      }),
    );
  const prepare = (missing: object, input = file) =>
    prepareDataset({
      inputs: [input],
      format: "csv",
      schema: schemaOf(missing),
      out: directory.join("out"),
      ...ALL_TRAIN,
    });
  const expected = { feature: "a", rows: MISSING.length };
  for (const [missing, value] of [[{}, 0], [{ missing: -1 }, -1], [{ missing: "mean" }, 4]] as const) {
    const dataset = await prepare(missing);
    assert.deepEqual(denseOf(dataset, "train").flat(), [3, ...MISSING.map(() => value), 5]);
    assert.deepEqual(dataset.body.missing, [{ ...expected, value }]);
    // What is read later follows the same rule, the mean being that of the train split.
    const later = directory.write("later.csv", "a,b\nnan,x\n7,x\n");
    const { dataset: encoded } = await encodeWith(dataset, [later], { out: directory.join("later") });
    assert.deepEqual(denseOf(encoded, "test").flat(), [value, 7]);
  }
  await assert.rejects(prepare({ missing: "error" }), { message: `Cannot read ${file}: line 3: a is empty` });
  const typed = "SELECT 1 AS y, 'x' AS b, unnest([3, NULL, 'nan'::DOUBLE, 5]) AS a";
  const dataset = await prepare({ missing: "mean" }, await writeParquet(directory.join("typed.parquet"), typed));
  assert.deepEqual(denseOf(dataset, "train").flat(), [3, 4, 4, 5]);
  const log = directory.write("log.csv", "a,b,y\n,x,1\n");
  const { body } = await prepare({ transform: "log", missing: Math.E - 1 }, log);
  assert.deepEqual(body.missing, [{ feature: "a", rows: 1, value: 1 }]);
});

/** Fields that are labels, with a schema's rule. */
const LABELS: [rule: object, csv: string[], sql: string[], labels: number[]][] = [
  [{}, ["0.0", "1.0", "1.00"], ["0::DOUBLE", "1::DOUBLE", "1::DECIMAL(4, 2)"], [0, 1, 1]],
  [{}, ["true", "False", "TRUE"], ["true", "false", "true"], [1, 0, 1]],
  [{}, ["yes", "No", "y"], ["'yes'", "'No'", "'y'"], [1, 0, 1]],
  [{ atLeast: 1 }, ["-1", "1", "1.0"], ["-1", "1", "1.0"], [0, 1, 1]],
  [{ atLeast: 2 }, ["1", "2", "2.0"], ["1::FLOAT", "2::FLOAT", "2::FLOAT"], [0, 1, 1]],
  [{ positive: ["1"] }, ["-1", "1.0", "true"], ["-1::DOUBLE", "1::DOUBLE", "1::DOUBLE"], [0, 1, 1]],
  [{ positive: ["buy", "cart"] }, ["buy", "view", "none"], ["'buy'", "'view'", "'none'"], [1, 0, 0]],
];

for (const [rule, csv, sql, labels] of someOf(LABELS, 3)) {
  Deno.test(`labels: ${csv.join(", ")} with ${JSON.stringify(rule)}`, async () => {
    using directory = new TemporaryDirectory();
    const columns = [{ name: "y", kind: "label", ...rule }, { name: "a", kind: "sparse" }];
    const schema = directory.write("schema.json", JSON.stringify({ columns }));
    const text = directory.write("log.csv", `y,a\n${csv.map((value) => `${value},x\n`).join("")}`);
    const parquet = await writeParquet(
      directory.join("log.parquet"),
      `SELECT unnest([${sql.join(", ")}]) AS y, 'x' AS a`,
    );
    for (const input of [text, parquet]) {
      const out = directory.join("out");
      const dataset = await prepareDataset({ inputs: [input], format: "csv", schema, out, ...ALL_TRAIN });
      assert.deepEqual(labelsOf(dataset, "train"), labels);
    }
  });
}

Deno.test("labels: what is refused is named as it is, with the way out", async () => {
  using directory = new TemporaryDirectory();
  const remedy = '; set in the schema what counts as 1: "atLeast": 1 or "positive": ["buy"]';
  const cases: [rule: object, csv: string, sql: string, fault: string][] = [
    [{}, "-1", "-1", `is "-1", neither 0 nor 1${remedy}`],
    [{}, "2", "2", `is "2", neither 0 nor 1${remedy}`],
    [{}, "0.5", "0.5::FLOAT", `is "0.5", neither 0 nor 1${remedy}`],
    [{}, "nan", "'nan'::DOUBLE", `is "nan", neither 0 nor 1${remedy}`],
    [{}, "", "NULL", "is empty"],
    [{ atLeast: 1 }, "", "NULL", "is empty"],
    [{ atLeast: 1 }, "NA", "'NA'", 'is "NA", not a finite number'],
    [{ positive: ["1"] }, "null", "'null'", 'is "null", which is not a value'],
    [{ positive: ["buy"] }, "", "NULL", "is empty"],
  ];
  for (const [rule, csv, sql, fault] of cases) {
    const columns = [{ name: "y", kind: "label", ...rule }, { name: "a", kind: "sparse" }];
    const schema = directory.write("schema.json", JSON.stringify({ columns }));
    const text = directory.write("log.csv", `y,a\n1,x\n${csv},x\n`);
    const parquet = await writeParquet(directory.join("log.parquet"), `SELECT ${sql} AS y, 'x' AS a`);
    for (const [input, place] of [[text, "line 3"], [parquet, "row 1"]]) {
      const work = prepareDataset({ inputs: [input], format: "csv", schema, out: directory.join("out") });
      await assert.rejects(work, { message: `Cannot read ${input}: ${place}: y ${fault}` });
    }
  }
});
