/** Rows in memory give the dataset that the same rows give in a CSV file, in every form in which they can be. */
import assert from "node:assert/strict";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { inferSchema } from "../../src/dataset/infer.ts";
import { prepareDataset } from "../../src/dataset/prepare.ts";
import type { InputRow, RowsInMemory } from "../../src/dataset/rows_in_memory.ts";
import type { LogSchema } from "../../src/dataset/schema.ts";
import { isPartial } from "../../src/storage/partial.ts";
import { writeRows } from "../../src/dataset/write_rows.ts";
import { TemporaryDirectory } from "./support.ts";

const SCHEMA: LogSchema = {
  ...{ delimiter: ",", quote: '"', header: true },
  columns: [
    { name: "clicked", kind: "label" },
    { name: "price", kind: "dense", transform: "log" },
    { name: "age", kind: "dense", transform: "none", missing: "mean" },
    { name: "at", kind: "time", transform: "clock" },
    { name: "user", kind: "sparse", values: "text" },
    { name: "code", kind: "sparse", values: "exact" },
    { name: "mixed", kind: "sparse", values: "text" },
    { name: "tags", kind: "bag", values: "text", separator: "|" },
  ],
};
const BEGIN = Date.UTC(2026, 0, 1);

/** More rows than one batch. */
const ROWS = Array.from({ length: 1100 }, (_, i) => ({
  clicked: i % 3 === 0,
  price: i % 7 === 0 ? null : i / 4,
  age: i % 5 === 0 ? NaN : 20 + i % 50,
  at: new Date(BEGIN + (i * 7919 % 1100) * 60_000),
  user: 2n ** 60n + BigInt(i % 40),
  code: i % 11 === 0 ? "" : `00${i % 13}, "a" \n${i % 3} é`,
  mixed: [i % 17, `v${i % 17}`, i % 2 === 0, 0.5 + i % 3][i % 4],
  tags: Array.from({ length: i % 4 }, (_, k) => k === 2 ? null : `t${i % (k + 5)}`),
}));

/** The field of a value as programs write it. */
function field(value: unknown): string {
  if (value === null || value === undefined || Number.isNaN(value)) return "";
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(field).join("|");
  if (typeof value === "boolean") return value ? "1" : "0";
  return /[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value);
}

function csv(rows: readonly object[]): string {
  return [Object.keys(rows[0]).join(","), ...rows.map((row) => Object.values(row).map(field).join(","))].join("\n");
}

async function prepared(directory: TemporaryDirectory, name: string, rows: RowsInMemory): Promise<Dataset> {
  const inputs = [directory.join(`${name}.parquet`)];
  await writeRows(rows, inputs[0]);
  return await prepareDataset({ inputs, format: "parquet", schema: SCHEMA, out: directory.join(name) });
}

/** Everything but the names of the sources. */
function contentOf({ directory, body: { source: _source, read: _read, ...body } }: Dataset) {
  const files = [...Deno.readDirSync(directory)].filter(({ name }) =>
    name !== "manifest.json" && !name.endsWith(".json")
  );
  assert(files.length >= 8, files.map(({ name }) => name).join());
  return {
    body,
    files: Object.fromEntries(files.map(({ name }) => [name, Deno.readFileSync(`${directory}/${name}`)])),
  };
}

/** The rows as a table of apache-arrow gives them. */
function arrowTable(rows: readonly InputRow[], types: Readonly<Record<string, string>>) {
  const plain = (value: unknown) => value instanceof Date ? value.getTime() : value;
  return {
    numRows: rows.length,
    schema: { fields: Object.keys(rows[0]).map((name) => ({ name, type: types[name] ?? "Utf8" })) },
    getChild: (name: string) => ({ get: (row: number) => plain(rows[row][name]) }),
  };
}

Deno.test("rows in memory, in every form, give the bytes of the same rows in a CSV file", async () => {
  using directory = new TemporaryDirectory();
  const inputs = [directory.write("log.csv", csv(ROWS))];
  const expected = contentOf(
    await prepareDataset({ inputs, format: "csv", schema: SCHEMA, out: directory.join("csv") }),
  );
  assert.equal(expected.body.tables.length, 4);
  const columns = Object.fromEntries(
    Object.keys(ROWS[0]).map((name) => [name, ROWS.map((row) => row[name as keyof typeof row])]),
  );
  const arrays = {
    ...columns,
    clicked: Uint8Array.from(ROWS, ({ clicked }) => Number(clicked)),
    age: Float32Array.from(ROWS, ({ age }) => age),
    user: BigUint64Array.from(ROWS, ({ user }) => user),
  };
  for (const [name, rows] of [["objects", ROWS], ["arrays", arrays]] as const) {
    assert.deepEqual(contentOf(await prepared(directory, name, rows)), expected, name);
  }
  const written = Deno.readFileSync(directory.join("objects.parquet"));
  const overTime = async function* () {
    for (const row of ROWS) yield await Promise.resolve(row);
  };
  for (const rows of [overTime(), arrowTable(ROWS, { at: "Timestamp<MILLISECOND>", tags: "List<Utf8>" })]) {
    await writeRows(rows, directory.join("same.parquet"));
    assert.deepEqual(Deno.readFileSync(directory.join("same.parquet")), written);
  }
});

Deno.test("columns keep their types for inferSchema", async () => {
  using directory = new TemporaryDirectory();
  assert.equal(await writeRows(ROWS.map(({ mixed: _mixed, ...row }) => row), directory.join("a")), ROWS.length);
  const { columns } = await inferSchema(directory.join("a"));
  assert.deepEqual(Object.fromEntries(columns.map(({ name, kind }) => [name, kind])), {
    ...{ clicked: "label", price: "dense", age: "dense", at: "time", user: "sparse", code: "sparse", tags: "bag" },
  });
  assert.deepEqual([...Deno.readDirSync(directory.path)].map(({ name }) => name), ["a"], "nothing else");
});

Deno.test("rows that cannot be written are refused with their number, and no file is left", async () => {
  using directory = new TemporaryDirectory();
  const refused = async (rows: unknown, message: RegExp) => {
    await assert.rejects(writeRows(rows as RowsInMemory, directory.join("out")), { name: "HotsetError", message });
    assert.deepEqual([...Deno.readDirSync(directory.path)], []);
  };
  await refused([], /^Cannot write rows: there are none$/);
  await refused([{}], /the first row has no columns/);
  await refused({ a: [1, 2], b: [1] }, /column b has 1 values, and a has 2/);
  for (const column of [null, 1, new Set([1]), "xy"]) await refused({ a: column, b: [1, 2] }, /column a is no array/);
  await refused({ user: "Ann", city: "Ulm" }, /column user is no array; a single row is an array with one object$/);
  await refused([{ a: 1 }, { b: 1 }], /row 1 \(from 0\): it has no column a; a value that is missing is null/);
  await refused([{ a: 1 }, { a: 1, b: 1 }], /row 1 \(from 0\): it has a column b, which the first row has not/);
  await refused([{ a: 1 }, 5], /row 1 \(from 0\): it is no object/);
  await refused("log.csv", /log.csv is neither rows nor columns/);
  await refused([{ a: 1, A: 2 }], /the columns a and A would have one name/);
  await refused([{ a: ["x"] }, { a: null }, { a: "x" }], /row 2 \(from 0\): a holds both lists and other values/);
  await refused([{ a: new Date(NaN) }], /row 0 \(from 0\): a is an invalid date/);
  await refused([{ a: { b: 1 } }], /row 0 \(from 0\): a is of type object/);
  await refused([{ a: [["x"]] }], /row 0 \(from 0\): a is a list with a value of type object/);
  await refused([{ a: "x\0y" }], /row 0 \(from 0\): a contains a character of code 0/);
  await refused([{ a: ["x\x1fy"] }], /row 0 \(from 0\): a contains a character of code 31/);
  const decimals = {
    ...arrowTable([{ a: 1 }], { a: "Decimal[10e+2]" }),
    getChild: () => ({ get: () => [1, 0, 0, 0] }),
  };
  await refused(decimals, /row 0 \(from 0\): column a has the Arrow type Decimal\[10e\+2\]/);
  const failing = async function* () {
    yield await Promise.resolve({ a: 1 });
    throw new TypeError("the query failed");
  };
  await assert.rejects(writeRows(failing(), directory.join("out")), TypeError);
  assert.deepEqual([...Deno.readDirSync(directory.path)], []);
});

Deno.test("what a kill leaves of rows that are being written is known to hotset clean", async () => {
  using directory = new TemporaryDirectory();
  let names: string[] = [];
  const rows = function* () {
    for (let i = 0; i < 3000; i++) yield { a: i };
    names = [...Deno.readDirSync(directory.path)].map(({ name }) => name);
  };
  await writeRows(rows(), directory.join("out"));
  assert.ok(names.length > 0);
  assert.deepEqual(names.filter((name) => !isPartial(name)), []);
});

Deno.test("two calls write one file at the same time: it is that of the last one to end", async () => {
  using directory = new TemporaryDirectory();
  const path = directory.join("out");
  const contents = [];
  for (const a of [1, 2]) {
    await writeRows([{ a }], path);
    contents.push(Deno.readFileSync(path));
  }
  assert.deepEqual(await Promise.all([1, 2].map((a) => writeRows([{ a }], path))), [1, 1]);
  const written = Deno.readFileSync(path);
  assert.ok(contents.some((content) => content.join() === written.join()));
  assert.deepEqual([...Deno.readDirSync(directory.path)].map(({ name }) => name), ["out"]);
});
