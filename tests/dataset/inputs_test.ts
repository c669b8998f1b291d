import assert from "node:assert/strict";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { Engine } from "../../src/dataset/duckdb.ts";
import { byNumbers, expectNoInput, findInputs } from "../../src/dataset/inputs.ts";
import { encodeWith, prepareDataset, type PrepareOptions } from "../../src/dataset/prepare.ts";
import { readNotes } from "../../src/dataset/read_account.ts";
import { criteoLine, idsOf, labelsOf, TemporaryDirectory } from "./support.ts";
import { slowTest } from "../support/series.ts";

const SCHEMA = JSON.stringify({
  columns: [{ name: "y", kind: "label" }, { name: "a", kind: "sparse" }],
});
const ROWS = "1,p\n0,q\n1,q\n";
const TEXT = `y,a\n${ROWS}`;

function prepare(directory: TemporaryDirectory, inputs: string[], options: Partial<PrepareOptions> = {}) {
  const schema = directory.write("schema.json", SCHEMA);
  const out = directory.join("out");
  return prepareDataset({ inputs, format: "csv", schema, out, validationFraction: 0, testFraction: 0, ...options });
}

/** Writes the rows of an SQL query as Parquet. */
async function writeParquet(directory: TemporaryDirectory, path: string, query: string): Promise<string> {
  using engine = await Engine.create(directory.path, { memoryBytes: 2 ** 28, threads: 1 });
  await engine.run(`COPY (${query}) TO '${path}' (FORMAT parquet)`);
  return path;
}

const PARQUET_ROWS = "FROM (VALUES (1, 'p'), (0, 'q'), (1, 'q')) AS t (y, a)";

Deno.test("names are compared by the numbers in them, of any length", () => {
  const order = [
    "day_1",
    "day_2.tsv",
    "day_02.tsv",
    "day_9",
    "day_10",
    "day_99999999999999999999",
    "day_100000000000000000000",
  ];
  assert.deepEqual([...order].reverse().sort(byNumbers), [
    "day_1",
    "day_02.tsv",
    "day_2.tsv",
    ...order.slice(3),
  ]);
  assert.deepEqual(["2024-1-10/b", "2024-1-9/a", "2023-12-31/z", "x", ""].sort(byNumbers), [
    "",
    "2023-12-31/z",
    "2024-1-9/a",
    "2024-1-10/b",
    "x",
  ]);
});

Deno.test("files of a pattern are read by number, and the order is in the manifest and told", async () => {
  using directory = new TemporaryDirectory();
  for (const day of [10, 9, 1, 2]) directory.write(`day_${day}.csv`, `y,a\n1,v${day}\n`);
  const dataset = await prepare(directory, [directory.join("day_*.csv")]);
  const names = ["day_1.csv", "day_2.csv", "day_9.csv", "day_10.csv"];
  assert.deepEqual(dataset.body.read![0].map(({ path }) => path), names.map((name) => directory.join(name)));
  // Ids of values seen equally often follow the value: v1, v10, v2, v9.
  assert.deepEqual(idsOf(dataset, "train").flat(2), [1, 3, 4, 2]);
  assert.deepEqual(readNotes(dataset.body), [
    `Read in this order: ${names.join(", ")}`,
    "8 lines read: 4 rows, 4 header",
  ]);
});

Deno.test("an order that only a shell makes is told of", async () => {
  using directory = new TemporaryDirectory();
  const files = [1, 10, 2].map((day) => directory.write(`day_${day}.csv`, `y,a\n1,v\n`));
  const dataset = await prepare(directory, files);
  assert.match(
    readNotes(dataset.body)[1],
    /^day_10.csv comes before day_2.csv, as a shell sorts them: quote the pattern/,
  );
});

Deno.test("a path that exists is read literally, and so are the folders of a pattern", async () => {
  using directory = new TemporaryDirectory();
  const folder = directory.join("run[1]");
  Deno.mkdirSync(folder);
  Deno.mkdirSync(directory.join("run1"));
  const odd = ["a[1].csv", "b*.csv", "c?.csv", "d{1,2}.csv"];
  for (const name of odd) directory.write(`run[1]/${name}`, TEXT);
  // What the patterns would match.
  for (const name of ["a1.csv", "bb.csv", "cc.csv", "d1.csv"]) directory.write(`run[1]/${name}`, "y,a\n0,wrong\n");
  directory.write("run1/a1.csv", "y,a\n0,wrong\n");
  for (const name of odd) {
    const dataset = await prepare(directory, [`${folder}/${name}`]);
    assert.deepEqual(labelsOf(dataset, "train"), [1, 0, 1], name);
  }
  const parquet = await writeParquet(directory, `${folder}/e[1].parquet`, PARQUET_ROWS);
  await writeParquet(directory, `${folder}/e1.parquet`, "SELECT 0 AS y, 'wrong' AS a");
  assert.deepEqual(labelsOf(await prepare(directory, [parquet]), "train"), [1, 0, 1]);
  assert.deepEqual(findInputs([`${folder}/?[1].csv`]).map(({ path }) => path), [
    `${folder}/a1.csv`,
    `${folder}/d1.csv`,
  ]);
  const bad = directory.write("run[1]/f[1].csv", `${TEXT},p\n`);
  await assert.rejects(prepare(directory, [bad]), { message: `Cannot read ${bad}: line 5: y is empty` });
  const out = `${folder}/a=7/out`;
  assert.deepEqual(labelsOf(await prepare(directory, [parquet], { out }), "train"), [1, 0, 1], "of the output, too");
});

slowTest("what a file holds tells how it is read, whatever its name", async () => {
  using directory = new TemporaryDirectory();
  const bytes = new TextEncoder().encode(TEXT);
  const skippable = Uint8Array.of(0x53, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9);
  const columns = Deno.readFileSync(await writeParquet(directory, directory.join("columns"), PARQUET_ROWS));
  const files: [name: string, content: Uint8Array][] = [
    ["clicks", gzipSync(bytes)],
    ["clicks.csv", gzipSync(bytes)],
    ["clicks.csv.GZ", gzipSync(bytes)],
    ["clicks.gzip", gzipSync(bytes)],
    ["clicks.gz", zstdCompressSync(bytes)],
    [
      "clicks.zstd",
      new Uint8Array([...zstdCompressSync(bytes.subarray(0, 7)), ...zstdCompressSync(bytes.subarray(7))]),
    ],
    ["clicks.ZST", new Uint8Array([...skippable, ...zstdCompressSync(bytes)])],
    ["clicks.bin", bytes],
    ["clicks.pq", columns],
    ["part-00000", columns],
    ["clicks.csv.gz", columns],
  ];
  for (const format of ["csv", "parquet"] as const) {
    for (const [name, content] of files) {
      if (format === "parquet" && name === "clicks.bin") continue;
      const dataset = await prepare(directory, [directory.write(name, content)], { format });
      assert.deepEqual(labelsOf(dataset, "train"), [1, 0, 1], `${name} as ${format}`);
    }
  }
});

Deno.test("criteo: compressed files of several frames or members are read to the end, under any name", async () => {
  using directory = new TemporaryDirectory();
  const [first, second] = ["1", "0"].map((label) => new TextEncoder().encode(criteoLine(label, ["1"], ["a"])));
  const inputs = [
    directory.write("one", new Uint8Array([...zstdCompressSync(first), ...zstdCompressSync(second)])),
    directory.write("two.zst", new Uint8Array([...gzipSync(first), ...gzipSync(second)])),
  ];
  const out = directory.join("out");
  const dataset = await prepareDataset({ inputs, format: "criteo", out, validationFraction: 0, testFraction: 0 });
  assert.deepEqual(labelsOf(dataset, "train"), [1, 0, 1, 0]);
});

Deno.test("files that nothing here reads are refused by what they are", async () => {
  using directory = new TemporaryDirectory();
  const columns = Deno.readFileSync(await writeParquet(directory, directory.join("columns"), PARQUET_ROWS));
  const files: [name: string, content: string | Uint8Array, reason: RegExp][] = [
    ["a.csv", "BZh91AY&SY", /it is a bzip2 file; unpack it/],
    ["a.csv", "PK\x03\x04....", /it is a zip file; unpack it/],
    ["a", "\xfd7zXZ\x00", /it is a xz file; unpack it/],
    ["part-00000", columns.subarray(0, columns.length - 8), /not a Parquet file, or truncated/],
    ["part-00000", TEXT, /not a Parquet file/],
  ];
  for (const [name, content, reason] of files) {
    const bytes = typeof content === "string" ? Uint8Array.from(content, (c) => c.charCodeAt(0)) : content;
    await assert.rejects(prepare(directory, [directory.write(name, bytes)], { format: "parquet" }), reason);
  }
});

Deno.test("empty parts are passed over and told of, of any kind; all empty is an error", async () => {
  using directory = new TemporaryDirectory();
  const empty = [
    directory.write("part-0.csv", ""),
    directory.write("part-1.csv", "y,a\n"),
    directory.write("part-2.csv.gz", gzipSync("")),
    directory.write("part-3.csv", "\n\r\n"),
    await writeParquet(directory, directory.join("part-4.parquet"), "SELECT 1 AS y, 'p' AS a LIMIT 0"),
  ];
  const full = directory.write("part-5.csv", TEXT);
  const dataset = await prepare(directory, [...empty, full]);
  assert.deepEqual(labelsOf(dataset, "train"), [1, 0, 1]);
  assert.deepEqual(readNotes(dataset.body).slice(1), [
    "5 files without rows are skipped: part-0.csv, part-1.csv, part-2.csv.gz, part-3.csv, part-4.parquet",
    "7 lines read: 3 rows, 2 header, 2 blank",
  ]);
  const encoded = await encodeWith(dataset, [empty[0], full], { out: directory.join("encoded") });
  assert.deepEqual(encoded.dataset.body.read![0].map(({ rows }) => rows), [0, 3]);
  await assert.rejects(prepare(directory, empty), {
    message: `Cannot read ${empty[0]} and 4 more files: there are no rows`,
  });
  const criteo = await prepareDataset({
    ...{ inputs: [empty[0], directory.write("log.tsv", `1${"\t".repeat(39)}\n\n`)], format: "criteo" },
    ...{ out: directory.join("criteo"), validationFraction: 0, testFraction: 0 },
  });
  assert.deepEqual(criteo.body.read![0].map(({ lines }) => lines), [
    { read: 0, header: 0, blank: 0, quoted: 0, skipped: 0 },
    { read: 2, header: 0, blank: 1, quoted: 0, skipped: 0 },
  ]);
});

Deno.test("folders named key=value add no column that a file has, and none that nobody asked for", async () => {
  using directory = new TemporaryDirectory();
  for (const name of ["a=all", "y=0", "y=1", "lr=0.1"]) Deno.mkdirSync(directory.join(name));
  for (const folder of ["a=all", "y=0", "lr=0.1"]) {
    for (const name of ["log.csv", "log.parquet"]) {
      const path = directory.join(`${folder}/${name}`);
      if (name === "log.csv") Deno.writeTextFileSync(path, TEXT);
      else await writeParquet(directory, path, PARQUET_ROWS);
      const dataset = await prepare(directory, [path]);
      assert.deepEqual(labelsOf(dataset, "train"), [1, 0, 1], path);
      assert.deepEqual(idsOf(dataset, "train").flat(2), [2, 1, 1], path);
    }
  }
});

Deno.test("a column that a file lacks and the schema names is taken from its folders, and told of", async () => {
  using directory = new TemporaryDirectory();
  for (const name of ["y=0", "y=1", "y=1/a=x%2Fy"]) Deno.mkdirSync(directory.join(name));
  const headless = directory.write(
    "headless.json",
    JSON.stringify({
      header: false,
      columns: [{ name: "y", kind: "label" }, { name: "a", kind: "sparse" }, { name: "b", kind: "ignore" }],
    }),
  );
  const logs = [
    [directory.write("y=0/log.csv", "b,a\n1,p\n2,q\n"), directory.write("y=1/log.csv", "a\nq\n")],
    [
      await writeParquet(directory, directory.join("y=0/log.parquet"), "SELECT unnest(['p', 'q']) AS a"),
      await writeParquet(directory, directory.join("y=1/log.parquet"), "SELECT 'q' AS a"),
    ],
    [directory.write("y=0/bare.csv", "p,1\nq,2\n"), directory.write("y=1/bare.csv", "q,3\n")],
  ];
  for (const [i, inputs] of logs.entries()) {
    const dataset = await prepare(directory, inputs, i === 2 ? { schema: headless } : {});
    assert.deepEqual(labelsOf(dataset, "train"), [0, 0, 1]);
    assert.deepEqual(idsOf(dataset, "train").flat(2), [2, 1, 1]);
    assert.match(readNotes(dataset.body)[1], /column y is taken from the names of folders$/);
  }
  const all = directory.write("y=1/a=x%2Fy/log.csv", "b,c\n1,2\n");
  const dataset = await prepare(directory, [all]);
  assert.deepEqual([labelsOf(dataset, "train"), idsOf(dataset, "train").flat(2)], [[1], [1]]);
});

Deno.test("a file is not trained on and tested on, whatever it is called", async () => {
  using directory = new TemporaryDirectory();
  const [day1, day2] = ["day_1.csv", "day_2.csv"].map((name) => directory.write(name, TEXT));
  const link = directory.join("last.csv");
  Deno.symlinkSync(day2, link);
  for (const test of [day2, link]) {
    await assert.rejects(prepare(directory, [directory.join("day_*.csv")], { testInputs: [test] }), {
      name: "UsageError",
      message: `Cannot test on ${test}: it is also a train file; remove it from one of them`,
    });
  }
  await prepare(directory, [day1], { testInputs: [link] });
});

Deno.test("a file that is read is not written over, whatever it is called", () => {
  using directory = new TemporaryDirectory();
  const inputs = findInputs([directory.write("log.csv", TEXT)]);
  Deno.symlinkSync("log.csv", directory.join("link.csv"));
  for (const out of ["log.csv", "link.csv"].map((name) => directory.join(name))) {
    assert.throws(() => expectNoInput(out, inputs), {
      name: "UsageError",
      message: `Cannot write ${out}: it is one of the files to read; choose another --out`,
    });
  }
  expectNoInput(directory.join("scores.csv"), inputs);
});
