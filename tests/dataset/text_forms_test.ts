/** Notations of numbers, lists, quotes and times are read according to the schema, or refused with their line. */
import assert from "node:assert/strict";
import { columnNames, splitLine } from "../../src/dataset/header_line.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { prepareDataset } from "../../src/dataset/prepare.ts";
import { denseOf, idsOf, TemporaryDirectory, writeParquet } from "./support.ts";
import { slowTest } from "../support/series.ts";

const ALL_TRAIN = { validationFraction: 0, testFraction: 0 };

/** Prepares a log of columns y, a and b. */
function prepare(directory: TemporaryDirectory, input: string, column: object, text: object = {}): Promise<Dataset> {
  const columns = [{ name: "y", kind: "label" }, { name: "a", ...column }, { name: "b", kind: "sparse" }];
  const schema = directory.write("schema.json", JSON.stringify({ ...text, columns }));
  return prepareDataset({ inputs: [input], format: "csv", schema, out: directory.join("out"), ...ALL_TRAIN });
}

const log = (directory: TemporaryDirectory, fields: readonly string[]) =>
  directory.write("log.csv", `y;a;b\n${fields.map((field) => `1;${field};x\n`).join("")}`);
const SEMICOLON = { delimiter: ";" };
const NUMBER = { kind: "dense", transform: "none" };
const HINT = '; set other separators in the schema: "decimal": "," or "thousands": ","';

const NUMBERS: [column: object, fields: string[], values: number[]][] = [
  [{}, ["1.5", " 2 ", "-3e2", "+4", ".5", "true"], [1.5, 2, -300, 4, 0.5, 1]],
  [{ decimal: "," }, ["48,93", "7", "-0,5", "1e3", "NA"], [48.93, 7, -0.5, 1000, 0]],
  [{ decimal: ",", thousands: "." }, ["1.234,5", "1.234.567", "12"], [1234.5, 1234567, 12]],
  [{ thousands: "," }, ["1,234.5", "-12,345,678", "0.25"], [1234.5, -12345678, 0.25]],
  [{ thousands: "_" }, ["1_000", "20"], [1000, 20]],
  [{ thousands: " " }, ["1 000", " 20 000,0 ".replace(",", ".")], [1000, 20000]],
  [{ thousands: "'" }, ["1'000.5"], [1000.5]],
];

for (const [column, fields, values] of NUMBERS) {
  Deno.test(`numbers as ${fields.join(" ; ")} with ${JSON.stringify(column)}`, async () => {
    using directory = new TemporaryDirectory();
    const input = log(directory, fields);
    const dataset = await prepare(directory, input, { ...NUMBER, ...column }, SEMICOLON);
    assert.deepEqual(denseOf(dataset, "train").flat(), values.map(Math.fround));
    const rows = fields.map((field) => `('${field.replaceAll("'", "''")}')`).join(", ");
    const parquet = await writeParquet(
      directory.join("log.parquet"),
      `SELECT 1 y, a, 'x' b FROM (VALUES ${rows}) t(a)`,
    );
    const typed = await prepare(directory, parquet, { ...NUMBER, ...column });
    assert.deepEqual(denseOf(typed, "train").flat(), values.map(Math.fround));
  });
}

const REFUSED: [column: object, field: string, fault: string][] = [
  [NUMBER, "1_000", `a is "1_000", not a finite number${HINT}`],
  [NUMBER, "1,125", `a is "1,125", not a finite number${HINT}`],
  [NUMBER, "1 000", `a is "1 000", not a finite number${HINT}`],
  [NUMBER, "$5", 'a is "$5", not a finite number'],
  [NUMBER, "0x1F", 'a is "0x1F", not a finite number'],
  [NUMBER, "inf", 'a is "inf", not a finite number'],
  [{ ...NUMBER, decimal: "," }, "1.5", `a is "1.5", not a finite number${HINT}`],
  [{ ...NUMBER, thousands: "," }, "1,50", `a is "1,50", not a finite number${HINT}`],
  [{ ...NUMBER, thousands: "," }, "12,34,567", `a is "12,34,567", not a finite number${HINT}`],
  [{ kind: "time" }, "1700000000000", unknownMoment("1700000000000", '; set "unit": "ms" in the schema')],
  [{ kind: "time" }, "1700000000000000", unknownMoment("1700000000000000", '; set "unit": "us" in the schema')],
  [{ kind: "time" }, "1.7e18", unknownMoment("1.7e18", '; set "unit": "ns" in the schema')],
  [{ kind: "time" }, "20240531", unknownMoment("20240531", written("%Y%m%d"))],
  [{ kind: "time" }, "14102100", unknownMoment("14102100", written("%Y%m%d"))],
  [{ kind: "time" }, "2024053123", unknownMoment("2024053123", written("%Y%m%d%H"))],
  [{ kind: "time" }, "20240531235900", unknownMoment("20240531235900", written("%Y%m%d%H%M%S"))],
  [{ ...NUMBER, transform: "clock" }, "31.05.2024", unknownMoment("31.05.2024", remedy())],
  [{ kind: "time", format: "%d.%m.%Y" }, "05/31/2024", unknownMoment("05/31/2024", remedy())],
  [{ kind: "time" }, "NaN", unknownMoment("NaN", remedy())],
  [{ kind: "time", transform: "hour" }, "14102124", 'a is "14102124", not a number that ends in an hour, as YYMMDDHH'],
  [
    { kind: "time", transform: "hour" },
    "2024-05-31",
    'a is "2024-05-31", not a number that ends in an hour, as YYMMDDHH',
  ],
  [{ kind: "bag" }, "[1, 2]", list("[1, 2]")],
  [{ kind: "bag", separator: "," }, "(1,2)", list("(1,2)")],
  [{ kind: "bag", separator: "," }, "{1,2}", list("{1,2}")],
  [
    { kind: "sparse" },
    "[1, 2]",
    'a is "[1, 2]", a list; use kind bag with "brackets": true and its separator, or "values": "exact"',
  ],
  [{ kind: "bag", separator: ",", brackets: true }, "1, 2", 'a is "1, 2", not a list in brackets'],
  [{ kind: "bag", separator: ",", brackets: true }, "['a,b', 'c']", `a is "['a,b', 'c']", not a list of values`],
  [{ kind: "bag", separator: ",", brackets: true }, "[[1, 2], [3]]", 'a is "[[1, 2], [3]]", not a list of values'],
];

function unknownMoment(field: string, hint: string): string {
  return `a is "${field}", neither unix seconds nor a date and time such as 2024-05-31 23:59:00${hint}`;
}
function written(format: string): string {
  return `; set its notation in the schema: "format": "${format}" or "unit": "s"`;
}
function remedy(): string {
  return '; set another notation in the schema: "format": "%d.%m.%Y"';
}
function list(field: string): string {
  return `a is "${field}", a list; set "brackets": true and the separator in the schema, or "values": "exact"`;
}

for (const [column, field, fault] of REFUSED) {
  Deno.test(`refused with its line: ${field} for ${JSON.stringify(column)}`, async () => {
    using directory = new TemporaryDirectory();
    const input = log(directory, ["", field].slice("kind" in column && column.kind === "time" ? 1 : 0));
    const line = "kind" in column && column.kind === "time" ? 2 : 3;
    await assert.rejects(prepare(directory, input, column, SEMICOLON), {
      message: `Cannot read ${input}: line ${line}: ${fault}`,
    });
  });
}

const BAGS: [column: object, fields: string[], ids: number[][]][] = [
  [{ separator: ",", brackets: true }, ["[1, 2]", "[]", "", "[2]", "(2,)"], [[2, 1], [], [], [1], [1]]],
  [{ separator: ",", brackets: true }, [`['a', "b"]`, "{'a'}", "[ a ,c ]"], [[1, 2], [1], [1, 3]]],
  [{ separator: " ", brackets: true }, ["[1  2]", "[2 2 ]"], [[2, 1], [1, 1]]],
  [{ separator: "|", values: "exact" }, ["[a]|[b]", "[b]"], [[2, 1], [1]]],
  [{ separator: "|" }, ["(no genres listed)", "Drama|[x"], [[1], [2, 3]]],
  [{ separator: "::" }, ["a::b", "b"], [[2, 1], [1]]],
  [{ separator: "," }, ["1, 2", "2 ,1", "2"], [[2, 1], [1, 2], [1]]],
  [{ separator: " " }, ["1  2", "2 1 ", "2"], [[2, 1], [1, 2], [1]]],
  [{ separator: ",", values: "exact" }, ["1, 2", "2,1", "2"], [[1, 3], [2, 1], [2]]],
];

for (const [column, fields, ids] of BAGS) {
  Deno.test(`lists as ${fields.join(" ; ")} with ${JSON.stringify(column)}`, async () => {
    using directory = new TemporaryDirectory();
    const quoted = fields.map((field) => `"${field.replaceAll('"', '""')}"`);
    const dataset = await prepare(directory, log(directory, quoted), { kind: "bag", ...column }, SEMICOLON);
    assert.deepEqual(idsOf(dataset, "train").map(([bag]) => bag), ids);
  });
}

const MOMENT = Date.UTC(2024, 4, 31, 18) / 1000;
const MOMENTS: [column: object, field: string][] = [
  [{}, `${MOMENT}`],
  [{}, `${MOMENT}.0`],
  [{}, "2024-05-31T20:00:00+02:00"],
  [{ unit: "s" }, `${MOMENT}`],
  [{ unit: "ms" }, `${MOMENT}000`],
  [{ unit: "us" }, `${MOMENT}000000`],
  [{ unit: "ns" }, `${MOMENT}000000000`],
  [{ format: "%d.%m.%Y %H:%M" }, "31.05.2024 18:00"],
  [{ format: "%Y%m%d%H" }, "2024053118"],
  [{ format: "%y%m%d%H" }, "24053118"],
  [{ format: "%Y%m%d%H%M%S" }, "20240531180000"],
];

slowTest("moments are the same in every unit and format, as text and as a number of Parquet", async () => {
  using directory = new TemporaryDirectory();
  for (const [how, field] of MOMENTS) {
    const input = log(directory, [field]);
    const column = { kind: "dense", transform: "clock", ...how };
    assert.deepEqual(denseOf(await prepare(directory, input, column, SEMICOLON), "train"), [[0.75]], field);
    if (Number.isNaN(Number(field))) continue;
    const parquet = await writeParquet(directory.join("log.parquet"), `SELECT 1 y, ${field} a, 'x' b`);
    assert.deepEqual(denseOf(await prepare(directory, parquet, column), "train"), [[0.75]], field);
  }
  const early = log(directory, ["20240531"]);
  const seconds = await prepare(directory, early, { kind: "dense", transform: "clock", unit: "s" }, SEMICOLON);
  assert.deepEqual(denseOf(seconds, "train"), [[Math.fround((20240531 % 86400) / 86400)]]);
});

Deno.test("between semicolons a comma is of decimals where it cannot be of thousands", async () => {
  using directory = new TemporaryDirectory();
  const dataset = await prepare(
    directory,
    log(directory, ["48,93", "-0,125", "7", "2.5", "1234,567"]),
    NUMBER,
    SEMICOLON,
  );
  assert.deepEqual(denseOf(dataset, "train").flat(), [48.93, -0.125, 7, 2.5, 1234.567].map(Math.fround));
  const commas = directory.write("commas.csv", 'y,a,b\n1,"48,93",x\n');
  await assert.rejects(prepare(directory, commas, NUMBER), {
    message: `Cannot read ${commas}: line 2: a is "48,93", not a finite number${HINT}`,
  });
});

Deno.test("delimiters of several bytes, escapes by a backslash and lines above the header", async () => {
  using directory = new TemporaryDirectory();
  const values = async (input: string, text: object) => {
    const dataset = await prepare(directory, input, { kind: "sparse" }, text);
    return idsOf(dataset, "train").map((tables) => tables.flat());
  };
  const ratings = directory.write("ratings.dat", "1::36::10\n0::36::11\n");
  assert.deepEqual(await values(ratings, { delimiter: "::", header: false }), [[1, 1], [1, 2]]);
  const arrows = directory.write("arrows.csv", "y→a→b\n1→36→10\n");
  assert.deepEqual(await values(arrows, { delimiter: "→" }), [[1, 1]]);
  const escaped = directory.write("escaped.csv", 'y,"a",b\n1,"say \\"no\\", or",x\n');
  assert.deepEqual(await values(escaped, { escape: "\\" }), [[1, 1]]);
  await assert.rejects(values(escaped, {}), {
    message: `Cannot read ${escaped}: line 2: 4 columns instead of 3; if backslashes escape quotes, set ` +
      '"escape": "\\\\" in the schema',
  });
  const comment = directory.write("comment.csv", "# exported, today\n# twice\ny,a,b\n1,2,3\n2,2,3\n");
  await assert.rejects(values(comment, { skip: 2 }), /comment.csv: line 5: y is "2", neither 0 nor 1/);
  await assert.rejects(values(comment, { delimiter: "→→" }), {
    message: `Cannot read schema ${directory.join("schema.json")}: delimiter: it must have one to four bytes`,
  });
  for (
    const [column, fault] of [
      [{ kind: "dense", decimal: ",", thousands: "," }, "decimal and thousands must differ"],
      [{ kind: "dense", unit: "ms" }, "unit and format need transform clock"],
      [{ kind: "time", unit: "ms", format: "%Y" }, "it must have either unit or format"],
      [{ kind: "dense", transform: "clock", decimal: "," }, "decimal and thousands are not for transform clock"],
    ] as const
  ) {
    await assert.rejects(
      prepare(directory, comment, column),
      (error: Error) => error.message.endsWith(`: a: ${fault}`),
    );
  }
});

Deno.test("headers: every name is found as it is, and by position or number where it has none of its own", () => {
  const cases: [line: string, names: string[]][] = [
    [",label,x", ["column0", "label", "x"]],
    ["C1,c1", ["C1", "c1"]],
    ['label,"price, usd"', ["label", "price, usd"]],
    ['label,"price ""net"""', ["label", 'price "net"']],
    ["item_id ,a", ["item_id ", "a"]],
    ["a,b,a,a", ["a.1", "b", "a.2", "a.3"]],
    ['"",a,', ["column0", "a", "column2"]],
    ['"a"', ["a"]],
  ];
  for (const [line, names] of cases) assert.deepEqual(columnNames(line, { delimiter: ",", quote: '"' }), names, line);
  assert.deepEqual(splitLine('"a \\"b\\"",c', { delimiter: ",", quote: '"', escape: "\\" }), ['a "b"', "c"]);
  assert.deepEqual(splitLine('"a"::b', { delimiter: "::", quote: "" }), ['"a"', "b"]);
});
