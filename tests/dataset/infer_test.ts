/** `prepare` accepts what `prepare --infer` proposes, and the proposal contains no leak. */
import assert from "node:assert/strict";
import type { Column } from "../../src/dataset/schema.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { inferSchema } from "../../src/dataset/infer.ts";
import { prepareDataset } from "../../src/dataset/prepare.ts";
import { denseOf, TemporaryDirectory, writeParquet } from "./support.ts";
import { someOf } from "../support/series.ts";

const ROWS = 240;
const random = (i: number) => (i * 7919 + 13) % 101;

/** Rows of a label, a user and further fields. */
function lines(delimiter: string, field: (i: number) => string): string {
  return Array.from({ length: ROWS }, (_, i) => [random(i) % 2, `u${random(i) % 7}`, field(i)].join(delimiter) + "\n")
    .join("");
}

/** Proposes a schema for a file and prepares it by that. */
async function proposed(
  directory: TemporaryDirectory,
  input: string,
): Promise<{ columns: Column[]; text: Record<string, unknown>; dataset: Dataset; notes: string[] }> {
  const notes: string[] = [];
  const { columns, ...text } = await inferSchema(input, undefined, (note) => notes.push(note));
  const schema = directory.write("schema.json", JSON.stringify({ columns, ...text }));
  const splits = { validationFraction: 0, testFraction: 0 };
  const dataset = await prepareDataset({
    inputs: [input],
    format: "csv",
    schema,
    out: directory.join("out"),
    ...splits,
  });
  assert.equal(dataset.samples("train"), ROWS);
  return { columns, text: { ...text }, dataset, notes };
}

const PLAIN = { delimiter: ",", quote: '"', header: true };
const FORMS: [name: string, content: string, names: string[], text: object][] = [
  ["plain", `y,user,x\n${lines(",", (i) => `${random(i)}.5`)}`, ["y", "user", "x"], PLAIN],
  ["an empty name", `y,,x\n${lines(",", (i) => `${random(i)}.5`)}`, ["y", "column1", "x"], PLAIN],
  ["names that differ in case", `y,C1,c1\n${lines(",", (i) => `${random(i)}.5`)}`, ["y", "C1", "c1"], PLAIN],
  ["a delimiter in a name", `y,"u, v",x\n${lines(",", (i) => `${random(i)}.5`)}`, ["y", "u, v", "x"], PLAIN],
  ["quotes in a name", `y,"u ""v""",x\n${lines(",", (i) => `${random(i)}.5`)}`, ["y", 'u "v"', "x"], PLAIN],
  ["blanks at the end of a name", `y,user ,x \n${lines(",", (i) => `${random(i)}.5`)}`, ["y", "user ", "x "], PLAIN],
  ["a name twice", `y,x,x\n${lines(",", (i) => `${random(i)}.5`)}`, ["y", "x.1", "x.2"], PLAIN],
  [
    "a keyword and a quote in names",
    `y,select,it's\n${lines(",", (i) => `${random(i)}.5`)}`,
    ["y", "select", "it's"],
    PLAIN,
  ],
  ["comments", `# a, b\n# c\ny,user,x\n${lines(",", (i) => `${random(i)}.5`)}`, ["y", "user", "x"], {
    ...PLAIN,
    skip: 2,
  }],
  ["CR LF", `y,user,x\n${lines(",", (i) => `${random(i)}.5`)}`.replaceAll("\n", "\r\n"), ["y", "user", "x"], PLAIN],
  ["quoted fields", `y,user,x\n${lines(",", (i) => `"a, ""${random(i) % 5}"""`)}`, ["y", "user", "x"], PLAIN],
  ["tabs", `y\tuser\tx\n${lines("\t", (i) => `${random(i)}.5`)}`, ["y", "user", "x"], { ...PLAIN, delimiter: "\t" }],
  ["semicolons", `y;user;x\n${lines(";", (i) => `${random(i)},5`)}`, ["y", "user", "x"], { ...PLAIN, delimiter: ";" }],
  ["::", `y::user::x\n${lines("::", (i) => `${random(i)}.5`)}`, ["y", "user", "x"], { ...PLAIN, delimiter: "::" }],
  ["||", `y||user||x\n${lines("||", (i) => `${random(i)}.5`)}`, ["y", "user", "x"], { ...PLAIN, delimiter: "||" }],
  [
    "backslashes before quotes",
    `y,user,x\n${lines(",", (i) => `"say \\"${random(i) % 5}\\", or"`)}`,
    ["y", "user", "x"],
    { ...PLAIN, escape: "\\" },
  ],
  [
    "quotes that are none",
    `y\tuser\tx\n${lines("\t", (i) => `${random(i) % 5}" pipe`)}`,
    ["y", "user", "x"],
    { ...PLAIN, delimiter: "\t", quote: "" },
  ],
];

for (const [name, content, names, text] of someOf(FORMS, 3)) {
  Deno.test(`infer: what is proposed is accepted: ${name}`, async () => {
    using directory = new TemporaryDirectory();
    const made = await proposed(directory, directory.write("log.csv", content));
    assert.deepEqual(made.columns.map((column) => column.name), names);
    assert.equal(made.columns[0].kind, "label");
    assert.deepEqual(made.text, text);
  });
}

/** Fields, and what is proposed for them. */
const COLUMNS: [name: string, field: (i: number) => string, column: Record<string, unknown>][] = [
  ["decimal commas", (i) => `${random(i)},25`, { kind: "dense", decimal: "," }],
  ["both marks", (i) => `${random(i)}.000,25`, { kind: "dense", decimal: ",", thousands: "." }],
  ["thousands", (i) => `${1 + random(i) % 9},000,${100 + random(i)}`, { kind: "dense", thousands: "," }],
  ["thousands or decimals", (i) => `${random(i)},125`, { kind: "ignore" }],
  ["underscores", (i) => `${1 + random(i)}_000`, { kind: "dense", thousands: "_" }],
  ["missing words", (i) => i % 3 === 0 ? "NA" : `${random(i)}.5`, { kind: "dense" }],
  ["lists", (i) => `[${random(i) % 5}, 7]`, { kind: "bag", brackets: true, separator: "," }],
  ["lists of words", (i) => `['a${random(i) % 5}']`, { kind: "bag", brackets: true, separator: " " }],
  ["lists without commas", (i) => `[${random(i) % 5} 7]`, { kind: "bag", brackets: true, separator: " " }],
  ["milliseconds", (i) => `${1.7e12 + random(i) * 1e7}`, { kind: "time", transform: "order" }],
  ["dates", (i) => `${10 + random(i) % 19}.05.2024`, { kind: "time", transform: "order", format: "%d.%m.%Y" }],
  ["dates that could be two", (i) => `0${1 + random(i) % 9}/05/2024`, { kind: "ignore" }],
  ["yyyymmdd", (i) => `202405${10 + random(i) % 19}`, { kind: "time", transform: "order", format: "%Y%m%d" }],
  ["yyyymmddhh", (i) => `202405${10 + random(i) % 19}07`, { kind: "time", transform: "clock", format: "%Y%m%d%H" }],
  ["booleans", (i) => `${random(i) % 3 > 0}`, { kind: "sparse" }],
  ["row numbers", (i) => `${i + 5}`, { kind: "ignore" }],
  ["infinity", (i) => i === 7 ? "inf" : `${random(i)}.5`, { kind: "ignore" }],
];

for (const [name, field, expected] of COLUMNS) {
  Deno.test(`infer: columns of ${name}`, async () => {
    using directory = new TemporaryDirectory();
    const input = directory.write("log.csv", `y;user;x_time\n${lines(";", field)}`);
    if (name === "milliseconds") {
      const { columns } = await proposed(directory, input);
      assert.deepEqual([columns[2].kind, (columns[2] as { unit?: string }).unit], ["time", "ms"]);
      return;
    }
    const { columns } = await proposed(directory, directory.write("log.csv", `y;user;x\n${lines(";", field)}`));
    const { note: _, name: __, ...column } = columns[2] as unknown as Record<string, unknown>;
    for (const [key, value] of Object.entries(expected)) {
      assert.deepEqual(column[key], value, JSON.stringify(columns[2]));
    }
  });
}

Deno.test("infer: labels of 0.0, -1, 1 and 2 and ratings; what is a guess is told", async () => {
  using directory = new TemporaryDirectory();
  const cases: [values: string[], atLeast: number | undefined, told: boolean][] = [
    [["0.0", "1.0"], undefined, false],
    [["True", "False"], undefined, false],
    [["no", "yes"], undefined, false],
    [["-1", "1"], 1, true],
    [["1", "2"], 2, true],
    [["1", "2", "3", "4", "5"], 4, true],
  ];
  for (const [values, atLeast, told] of cases) {
    const content = Array.from(
      { length: ROWS },
      (_, i) => `${values[random(i) % values.length]},u${i % 7},${i % 9 / 8}\n`,
    );
    const { columns, notes } = await proposed(
      directory,
      directory.write("log.csv", `label,user,x\n${content.join("")}`),
    );
    assert.equal(columns[0].kind, "label");
    assert.equal((columns[0] as { atLeast?: number }).atLeast, atLeast, values.join());
    assert.equal(notes.length, Number(told));
  }
});

Deno.test("infer: pairs of users and items have no label, which is told with the way out", async () => {
  using directory = new TemporaryDirectory();
  const pair = (i: number) => `${1 + random(i) % 4},${1 + i % 9}`;
  const pairs = (header: string, line: (i: number) => string) =>
    `${header}${Array.from({ length: ROWS }, (_, i) => line(i) + "\n").join("")}`;
  for (
    const [content, kinds] of [
      [pairs("user,item\n", pair), ["sparse", "sparse"]],
      [pairs("user_id,item_id,brand\n", (i) => `${pair(i)},b${i % 20}`), ["sparse", "sparse", "sparse"]],
      [pairs("", pair), ["sparse", "sparse"]],
      [pairs("user,item,ts\n", (i) => `${pair(i)},${1.7e9 + 1000 * random(i)}`), ["sparse", "sparse", "time"]],
    ] as const
  ) {
    const notes: string[] = [];
    const log = directory.write("pairs.csv", content);
    const { columns } = await inferSchema(log, undefined, (note) => notes.push(note));
    assert.deepEqual(columns.map(({ kind }) => kind), kinds, content.slice(0, 20));
    assert.equal(notes.length, 1);
    assert.match(notes[0], /^No column looks like a label\. .*--negatives 4 --group USER --item ITEM/);
  }
});

Deno.test("infer: columns that only clicks have are left out, with the reason; so is the index of pandas", async () => {
  using directory = new TemporaryDirectory();
  const content = Array.from({ length: ROWS }, (_, i) => {
    const label = Number(random(i) % 5 === 0);
    return `${label},u${i % 7},${random(i)}.5,${label === 1 ? `2024-05-31 10:00:${10 + i % 50}` : ""},${
      i % 3 ? random(i) : ""
    }\n`;
  });
  const leak = directory.write("leak.csv", `y,user,x,attributed_time,age\n${content.join("")}`);
  const { columns } = await proposed(directory, leak);
  assert.deepEqual(columns.map(({ kind }) => kind), ["label", "sparse", "dense", "ignore", "dense"]);
  assert.match(columns[3].note!, /^filled in \d+ rows, all with the label 1: known only afterwards\?$/);
  const query =
    `SELECT i % 3 % 2 AS y, 'u' || i % 7 AS u, (i * 7919 % ${ROWS})::BIGINT AS __index_level_0__ FROM range(${ROWS}) t(i)`;
  const pandas = await proposed(directory, await writeParquet(directory.join("pandas.parquet"), query));
  assert.match(pandas.columns[2].note!, /^numbers the rows: /);
});

Deno.test("infer: later quotes are quotes, and JSON lines are said to be unread", async () => {
  using directory = new TemporaryDirectory();
  const json = directory.write("log.jsonl", '{"y": 1, "user": "a"}\n{"y": 0, "user": "b"}\n');
  await assert.rejects(inferSchema(json), {
    message: `Cannot read ${json}: it contains JSON, which is not supported; convert it to CSV or Parquet`,
  });
  const input = directory.write("log.csv", lines(",", (i) => `${random(i)}.5`));
  const { text, dataset } = await proposed(directory, input);
  assert.deepEqual(text, { ...PLAIN, header: false });
  assert.equal(denseOf(dataset, "train").length, ROWS);
});
