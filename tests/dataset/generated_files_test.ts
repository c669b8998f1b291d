/** Generated files are read by Hotset and by other programs with the same rows and values, or refused. */
import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { Engine, parquetFiles, quoted } from "../../src/dataset/duckdb.ts";
import { prepareDataset } from "../../src/dataset/prepare.ts";
import { HotsetError } from "../../src/errors.ts";
import { missingModule, runPython } from "../support/python.ts";
import { seriesLength } from "../support/series.ts";
import { denseOf, idsOf, labelsOf, TemporaryDirectory } from "./support.ts";

const FILES = {
  csv: seriesLength({ test: 20, all: 100, evidence: 700 }),
  parquet: seriesLength({ test: 10, all: 50, evidence: 300 }),
};
const SEED = 20240601;
const LIMITS = { memoryBytes: 2 ** 28, threads: 1 };

/** Label, number, value and bag of a row, as both sides tell them. */
type Row = [label: number, x: number, a: string, b: string[]];

/** The rows of a dataset whose samples are all in the train split. */
async function rowsOf(engine: Engine, dataset: Dataset): Promise<Row[]> {
  const values = dataset.body.tables.map(() => new Map<number, string>());
  for (
    const [feature, value, id] of await engine.rows(
      `SELECT feature, value, id FROM ${parquetFiles([dataset.dictionaryPath!])}`,
    )
  ) {
    values[dataset.body.tables.findIndex(({ name }) => name === feature)].set(Number(id), String(value));
  }
  const labels = labelsOf(dataset, "train"), dense = denseOf(dataset, "train");
  return idsOf(dataset, "train").map(([[a], bag], i) => [
    labels[i],
    dense[i][0],
    values[0].get(a)!,
    bag.map((id) => values[1].get(id)!),
  ]);
}

const COLUMNS = [
  { name: "y", kind: "label" },
  { name: "x", kind: "dense", transform: "none" },
  { name: "a", kind: "sparse", values: "exact" },
  { name: "b", kind: "bag", values: "exact", separator: "/" },
];

/** Prepares a file; undefined if it was refused. */
async function read(
  directory: TemporaryDirectory,
  engine: Engine,
  input: string,
  schema: object,
  format: "csv" | "parquet",
) {
  const out = directory.join("out");
  const options = {
    schema: directory.write("schema.json", JSON.stringify(schema)),
    validationFraction: 0,
    testFraction: 0,
  };
  try {
    return await rowsOf(engine, await prepareDataset({ inputs: [input], format, out, threads: 1, ...options }));
  } catch (error) {
    if (error instanceof HotsetError) return undefined;
    throw error;
  }
}

const piece = fc.constantFrom(
  "p",
  "Oslo",
  " ",
  '"',
  ",",
  ";",
  "\t",
  "|",
  "\n",
  "\r\n",
  "é",
  "日",
  "\\",
  "'",
  "''",
  "5",
  "5.0",
  "NaN",
  "null",
  "#",
);
const value = fc.array(piece, { maxLength: 5 }).map((pieces) => pieces.join(""));
const number = fc.oneof(
  fc.integer({ min: -1000, max: 1000 }).map(String),
  fc.constantFrom("", "2.5", "-0.125", "1e3", " 4"),
);

/** A text, and whether it was damaged. */
const csvFile = fc.record({
  rows: fc.array(
    fc.record({ y: fc.constantFrom("0", "1"), x: number, a: value, b: fc.array(value, { maxLength: 3 }), z: value }),
    {
      minLength: 1,
      maxLength: 30,
    },
  ),
  delimiter: fc.constantFrom(",", "\t", ";", "|"),
  end: fc.constantFrom("\n", "\r\n", "\r"),
  mark: fc.boolean(),
  all: fc.boolean(),
  last: fc.boolean(),
  blank: fc.option(fc.nat(30)),
  gzip: fc.boolean(),
  order: fc.shuffledSubarray(["y", "x", "a", "b", "z"] as const, { minLength: 5 }),
  damage: fc.option(fc.record({ at: fc.nat(), what: fc.constantFrom('"', "\n", "\r", "", ",", "\t") }), { freq: 2 }),
});
type CsvFile = typeof csvFile extends fc.Arbitrary<infer T> ? T : never;

function textOf({ rows, delimiter, end, mark, all, last, blank, order, damage }: CsvFile): string {
  const field = (text: string) =>
    all || /["\r\n]/.test(text) || text.includes(delimiter) ? `"${text.replaceAll('"', '""')}"` : text;
  const lines = rows.map((row) =>
    order.map((name) => field(name === "b" ? row.b.join("/") : row[name])).join(delimiter)
  );
  if (blank !== null) lines.splice(blank % (lines.length + 1), 0, "");
  const text = [order.join(delimiter), ...lines].join(end) + (last ? end : "");
  const at = damage === null ? 0 : order.join("").length + damage.at % text.length;
  const whole = damage === null ? text : text.slice(0, at) + damage.what + text.slice(at + Number(damage.what === ""));
  return (mark ? "\ufeff" : "") + whole;
}

/** What a row of text stands for, by the rules of docs/datasets.md; undefined if it is malformed. */
function meant(names: string[], fields: string[]): Row | undefined {
  const [y, x, a, b] = ["y", "x", "a", "b"].map((name) => fields[names.indexOf(name)]);
  const numeric = x === "" ? 0 : Number(x);
  if (fields.length === names.length + 1 && fields.at(-1) === "") fields.pop(); // a delimiter may end the last row
  if (fields.length !== names.length || !["0", "1"].includes(y.trim()) || Number.isNaN(numeric)) return undefined;
  return [Number(y), Math.fround(numeric), a, b === "" ? [] : b.split("/")];
}

const noPython = missingModule("csv");

Deno.test({
  name: `${FILES.csv} generated CSV files: the rows and values that Python reads, or a refusal${
    noPython ? ` (skipped: ${noPython})` : ""
  }`,
  ignore: noPython !== undefined,
  fn: async () => {
    using directory = new TemporaryDirectory();
    const cases = fc.sample(csvFile, { seed: SEED, numRuns: FILES.csv });
    const inputs = cases.map((file, i) => {
      const text = new TextEncoder().encode(textOf(file));
      return directory.write(`log${i}`, file.gzip ? gzipSync(text) : text);
    });
    const others = await runPython(
      new URL("./read_csv.py", import.meta.url),
      inputs.map((path, i) => ({ path, compressed: cases[i].gzip, delimiter: cases[i].delimiter })),
    ) as (string[][] | null)[];
    using engine = await Engine.create(directory.path, LIMITS);
    let refused = 0;
    for (const [i, { delimiter, damage }] of cases.entries()) {
      const found = await read(directory, engine, inputs[i], { delimiter, columns: COLUMNS }, "csv");
      if (found === undefined) {
        if (damage === null) refused++;
        continue;
      }
      const [names, ...rows] = others[i] ?? [[]];
      assert.deepEqual(found, rows.map((row) => meant(names, row)), `file ${i}: ${JSON.stringify(textOf(cases[i]))}`);
    }
    assert.ok(refused <= 0.1 * cases.length, "files as they should be are read");
  },
});

const typed = fc.record({
  rows: fc.array(
    fc.record({
      y: fc.boolean(),
      x: fc.oneof(fc.constant(null), fc.integer({ min: -1000, max: 1000 })),
      a: fc.oneof(fc.constant(null), fc.integer({ min: -50, max: 50 })),
      b: fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 4 }),
    }),
    { minLength: 1, maxLength: 30 },
  ),
  label: fc.constantFrom("BOOLEAN", "TINYINT", "BIGINT", "DOUBLE"),
  number: fc.constantFrom("SMALLINT", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL(9, 2)", "HUGEINT", "VARCHAR"),
  value: fc.constantFrom("TINYINT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL(12, 3)", "VARCHAR"),
  list: fc.constantFrom("INTEGER[]", "BIGINT[]", "DOUBLE[]", "VARCHAR[]"),
  groups: fc.constantFrom(2048, 122880),
  codec: fc.constantFrom("snappy", "zstd", "gzip", "uncompressed"),
});

Deno.test(`${FILES.parquet} generated Parquet files of any types: the values that were written`, async () => {
  using directory = new TemporaryDirectory();
  using engine = await Engine.create(directory.path, LIMITS);
  const columns = COLUMNS.map((column) => "values" in column ? { ...column, values: "text" } : column);
  for (const [i, file] of fc.sample(typed, { seed: SEED, numRuns: FILES.parquet }).entries()) {
    const literals = file.rows.map(({ y, x, a, b }) => `(${Number(y)}, ${x}, ${a}, [${b.join(", ")}]::INTEGER[])`);
    const path = directory.join(`log${i}`);
    await engine.run(
      `COPY (SELECT y::${file.label} AS y, x::${file.number} AS x, a::${file.value} AS a, b::${file.list} AS b ` +
        `FROM (VALUES ${literals.join(", ")}) AS t (y, x, a, b)) TO ${quoted(path)} ` +
        `(FORMAT parquet, COMPRESSION ${file.codec}, ROW_GROUP_SIZE ${file.groups})`,
    );
    const found = await read(directory, engine, path, { columns }, "parquet");
    const expected = file.rows.map(({ y, x, a, b }) => [Number(y), x ?? 0, `${a ?? ""}`, b.map(String)]);
    assert.deepEqual(found, expected, `file ${i}: ${JSON.stringify(file)}`);
  }
});
