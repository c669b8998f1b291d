import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { DuckDBInstance } from "@duckdb/node-api";
import { encodeWith, prepareDataset, type PrepareOptions, sourceOf } from "../../src/dataset/prepare.ts";
import { criteoLine, denseOf, idsOf, labelsOf, TemporaryDirectory } from "./support.ts";
import { slowTest } from "../support/series.ts";

const ALL_TRAIN = { validationFraction: 0, testFraction: 0 };

/** Prepares `content` as format criteo, everything in the train split. */
async function prepareCriteo(directory: TemporaryDirectory, content: string, options: Partial<PrepareOptions> = {}) {
  const input = directory.write("log.tsv", content);
  return await prepareDataset({
    inputs: [input],
    format: "criteo",
    out: directory.join("out"),
    ...ALL_TRAIN,
    ...options,
  });
}

/** The first field of each row of table C1. */
async function firstTable(directory: TemporaryDirectory, values: string[], options: Partial<PrepareOptions> = {}) {
  const dataset = await prepareCriteo(directory, values.map((v) => criteoLine("0", [], [v])).join(""), options);
  return { dataset, ids: idsOf(dataset, "train").map((row) => row[0][0]) };
}

Deno.test("ids follow falling frequency, ties follow the value", async () => {
  using directory = new TemporaryDirectory();
  const { dataset, ids } = await firstTable(directory, ["b", "0000000c", "a", "c", "b", "b", "d"]);
  assert.deepEqual(ids, [1, 2, 3, 2, 1, 1, 4], "0000000c and c are one value");
  assert.equal(dataset.body.tables[0].rows, 5);
  assert.equal(dataset.body.tables[1].rows, 2, "an empty field is a value of its own");
  assert.deepEqual([...(await dataset.readCounts()).subarray(0, 7)], [0, 3, 2, 1, 1, 0, 7]);
  assert.deepEqual(dataset.firstRows[1], 5);
});

Deno.test("values below the minimum frequency share row 0 and its count", async () => {
  using directory = new TemporaryDirectory();
  const { dataset, ids } = await firstTable(directory, ["1", "2", "2", "3", "4", "4", "4"], { minFrequency: 2 });
  assert.deepEqual(ids, [0, 2, 2, 0, 1, 1, 1]);
  assert.deepEqual([...(await dataset.readCounts()).subarray(0, 3)], [2, 3, 2]);
});

Deno.test("an index range takes hexadecimal values modulo it", async () => {
  using directory = new TemporaryDirectory();
  const { dataset, ids } = await firstTable(directory, ["10", "6", "b", "ffffffff", "1"], { maxIndRange: 5 });
  // 16, 6, 11, 4294967295 and 1 modulo 5: 1, 1, 1, 0, 1
  assert.deepEqual(ids, [1, 1, 1, 2, 1]);
  assert.equal(dataset.body.tables[0].rows, 3);
});

Deno.test("criteo: lines may end in CR LF, begin with a byte order mark and lack the last line end", async () => {
  using directory = new TemporaryDirectory();
  const line = criteoLine("1", ["3"], Array(26).fill("a"));
  const content = "\ufeff" + line + line.replace("\n", "\r\n") + "\r\n" + line.trimEnd();
  const dataset = await prepareCriteo(directory, content);
  assert.deepEqual(labelsOf(dataset, "train"), [1, 1, 1]);
  assert.deepEqual(idsOf(dataset, "train").map((row) => row.flat()), Array(3).fill(Array(26).fill(1)));
});

Deno.test("dense values are log(max(x, 0) + 1), empty is 0", async () => {
  using directory = new TemporaryDirectory();
  const dataset = await prepareCriteo(directory, criteoLine("1", ["7", "-3", "", "0", "1e3", "2.5"], []));
  const [row] = denseOf(dataset, "train");
  assert.deepEqual(row.slice(0, 6), [8, 1, 1, 1, 1001, 3.5].map((x) => Math.fround(Math.log(x))));
  assert.deepEqual(labelsOf(dataset, "train"), [1]);
});

Deno.test("splits follow the order, unseen values get id 0 and only the train split is counted", async () => {
  using directory = new TemporaryDirectory();
  const values = ["a", "a", "b", "a", "b", "f", "b", "e", "e", "a"];
  const { dataset } = await firstTable(directory, values, { validationFraction: 0.2, testFraction: 0.3 });
  assert.deepEqual(idsOf(dataset, "train").map((r) => r[0][0]), [1, 1, 2, 1, 2]);
  assert.deepEqual(idsOf(dataset, "validation").map((r) => r[0][0]), [0, 2]);
  assert.deepEqual(idsOf(dataset, "test").map((r) => r[0][0]), [0, 0, 1]);
  assert.deepEqual([...(await dataset.readCounts()).subarray(0, 3)], [0, 3, 2]);
});

Deno.test("test files become the test split; globs, gzip and several files keep the order", async () => {
  using directory = new TemporaryDirectory();
  const lines = (values: string[]) => values.map((v) => criteoLine("1", [], [v])).join("");
  directory.write("day1.tsv.gz", gzipSync(lines(["a", "b"])));
  directory.write("day0.tsv", lines(["b", "b"]));
  const test = directory.write("late.tsv", lines(["c", "b", "a"]));
  const options: PrepareOptions = {
    inputs: [directory.join("day*")],
    testInputs: [test],
    format: "criteo",
    out: directory.join("out"),
    validationFraction: 0.25,
  };
  const dataset = await prepareDataset(options);
  assert.deepEqual(idsOf(dataset, "train").map((r) => r[0][0]), [1, 1, 2]);
  assert.deepEqual(idsOf(dataset, "validation").map((r) => r[0][0]), [1]);
  assert.deepEqual(idsOf(dataset, "test").map((r) => r[0][0]), [0, 1, 2]);
  assert.deepEqual(dataset.body.source, (await sourceOf(options)).body);
});

const SHOP = JSON.stringify({
  columns: [
    { name: "city", kind: "sparse" },
    { name: "clicked", kind: "label" },
    { name: "price", kind: "dense", transform: "none" },
    { name: "seen", kind: "bag", separator: " " },
  ],
});

Deno.test("csv: columns by name, quotes, text values, bags", async () => {
  using directory = new TemporaryDirectory();
  const input = directory.write(
    "shop.csv",
    'clicked,unused,"city",price,seen\r\n1,x,"Rome, Italy",-2.5,p q p\r\n0,x,Oslo,,\r\n0,"x ""y""",Oslo,1e3,q p\r\n',
  );
  const schema = directory.write("schema.json", SHOP);
  const dataset = await prepareDataset({
    inputs: [input],
    format: "csv",
    schema,
    out: directory.join("out"),
    ...ALL_TRAIN,
  });
  assert.equal(dataset.body.bags, true);
  assert.deepEqual(idsOf(dataset, "train"), [[[2], [1, 2, 1]], [[1], []], [[1], [2, 1]]]);
  assert.deepEqual(denseOf(dataset, "train"), [[-2.5], [0], [1000]]);
  assert.deepEqual(labelsOf(dataset, "train"), [1, 0, 0]);
  assert.deepEqual([...await dataset.readCounts()], [0, 2, 1, 0, 3, 2]);
  assert.deepEqual(dataset.body.splits.train, { samples: 3, lookups: 8 });
  using reader = dataset.reader("train", 3);
  assert.deepEqual([...reader.read(2, 1).indices], [1, 5, 4], "bags are found from any sample on");
});

Deno.test("bags with an index range and a minimum frequency", async () => {
  using directory = new TemporaryDirectory();
  const schema = directory.write(
    "schema.json",
    JSON.stringify({
      header: false,
      columns: [{ name: "y", kind: "label" }, { name: "b", kind: "bag", separator: "|", values: "hex" }],
    }),
  );
  const input = directory.write("log.csv", "0,1|2\n1,7|6|c\n0,\n");
  const options: PrepareOptions = { inputs: [input], format: "csv", schema, out: directory.join("out"), ...ALL_TRAIN };
  const hashed = await prepareDataset({ ...options, maxIndRange: 5 });
  assert.deepEqual(idsOf(hashed, "train"), [[[2, 1]], [[1, 2, 1]], [[]]]); // 1 2 | 2 1 2
  const frequent = await prepareDataset({ ...options, maxIndRange: 5, minFrequency: 3 });
  assert.deepEqual(idsOf(frequent, "train"), [[[0, 1]], [[1, 0, 1]], [[]]]);
  assert.deepEqual([...await frequent.readCounts()], [2, 3]);
});

slowTest("the order is kept and the bytes are the same with any number of threads", async () => {
  using directory = new TemporaryDirectory();
  const rows = 200_000; // several of DuckDB's row groups, so that threads meet
  const lines = Array.from({ length: rows }, (_, i) => `${i % 2},${i},${(i % 977).toString(16)},${i.toString(16)}\n`);
  const input = directory.write("log.csv", lines.join(""));
  const schema = directory.write(
    "schema.json",
    JSON.stringify({
      header: false,
      columns: [
        { name: "label", kind: "label" },
        { name: "number", kind: "dense", transform: "none" },
        { name: "few", kind: "sparse", values: "hex" },
        { name: "many", kind: "sparse" },
      ],
    }),
  );
  const manifests: string[] = [];
  for (const threads of [1, 4, 4]) {
    const out = directory.join("out");
    const dataset = await prepareDataset({ inputs: [input], format: "csv", schema, out, threads, ...ALL_TRAIN });
    manifests.push(Deno.readTextFileSync(`${out}/manifest.json`));
    assert.equal(denseOf(dataset, "train").findIndex(([x], i) => x !== i), -1, "the dense column counts the rows");
    assert.deepEqual(idsOf(dataset, "train").map((r) => r[0][0]).slice(974, 980), [975, 976, 977, 1, 2, 3]);
  }
  assert.equal(manifests[0], manifests[1]);
  assert.equal(manifests[1], manifests[2]);
});

Deno.test("skipped rows are left out, counted and do not shift the others", async () => {
  using directory = new TemporaryDirectory();
  const content = criteoLine("1", [], ["a"]) + criteoLine("2", [], ["b"]) + criteoLine("0", ["x", "y"], ["c"]) +
    criteoLine("0", [], ["zz"]) + "short\n" + criteoLine("0", ["nan"], ["d"]) + criteoLine("1", [], ["a"]);
  const dataset = await prepareCriteo(directory, content, { onBadRow: "skip" });
  assert.equal(dataset.body.skippedRows, 5);
  assert.deepEqual(labelsOf(dataset, "train"), [1, 1]);
  assert.deepEqual(idsOf(dataset, "train").map((r) => r[0][0]), [1, 1]);
});

Deno.test("encodeWith uses the old dictionary; labels may be missing", async () => {
  using directory = new TemporaryDirectory();
  const { dataset } = await firstTable(directory, ["a", "b", "a", ""], { maxIndRange: 1000 });
  const lines = ["b", "f", "a", "3f2"];
  const bare = directory.write("bare.tsv", lines.map((v) => criteoLine(undefined, ["1"], [v])).join(""));
  const out = directory.join("encoded");
  const { dataset: encoded, labelled } = await encodeWith(dataset, [bare], { out });
  assert.equal(labelled, false);
  assert.deepEqual(idsOf(encoded, "test").map((r) => r[0][0]), [3, 0, 1, 1], "3f2 is a modulo 1000");
  assert.deepEqual(labelsOf(encoded, "test"), [0, 0, 0, 0]);
  assert.deepEqual(encoded.body.tables, dataset.body.tables);
  assert.equal(encoded.samples("train"), 0);

  const full = directory.write("full.tsv", lines.map((v) => criteoLine("1", ["1"], [v])).join(""));
  const again = await encodeWith(encoded, [full], { out: directory.join("again") });
  assert.equal(again.labelled, true);
  assert.deepEqual(labelsOf(again.dataset, "test"), [1, 1, 1, 1]);
  assert.deepEqual(idsOf(again.dataset, "test"), idsOf(encoded, "test"));
});

Deno.test("encodeWith: text values and bags come back from the dictionary", async () => {
  using directory = new TemporaryDirectory();
  const schema = directory.write("schema.json", SHOP);
  const input = directory.write("shop.csv", "clicked,city,price,seen\n1,Rome,1,p q p\n0,Oslo,2,\n0,Oslo,3,q p\n");
  const out = directory.join("out");
  const dataset = await prepareDataset({ inputs: [input], format: "csv", schema, out, ...ALL_TRAIN });
  const fresh = directory.write("new.csv", "city,price,seen\nRome,1,r q\n'Oslo',1,p\n,1,\n");
  const encoded = await encodeWith(dataset, [fresh], { out: directory.join("encoded") });
  assert.deepEqual(idsOf(encoded.dataset, "test"), [[[2], [0, 2]], [[0], [1]], [[0], []]]);
  assert.equal(encoded.labelled, false);
});

Deno.test("encodeWith: rows keep the order of their files, whatever their time", async () => {
  using directory = new TemporaryDirectory();
  const columns = [{ name: "y", kind: "label" }, { name: "user", kind: "sparse" }, { name: "when", kind: "time" }];
  const schema = directory.write("schema.json", JSON.stringify({ columns }));
  const input = directory.write("log.csv", "y,user,when\n0,b,30\n1,a,20\n1,b,10\n");
  const options = { inputs: [input], format: "csv", schema, ...ALL_TRAIN } as const;
  const dataset = await prepareDataset({ ...options, out: directory.join("out") });
  assert.deepEqual(labelsOf(dataset, "train"), [1, 1, 0]);
  const { dataset: encoded } = await encodeWith(dataset, [input], { out: directory.join("encoded") });
  assert.deepEqual([labelsOf(encoded, "test"), idsOf(encoded, "test").flat(2)], [[0, 1, 1], [1, 2, 1]]);

  // A time that only orders is not asked of them.
  const ordered = columns.map((column) => column.kind === "time" ? { ...column, transform: "order" } : column);
  const other = directory.write("other.json", JSON.stringify({ columns: ordered }));
  const trained = await prepareDataset({ ...options, schema: other, out: directory.join("ordered") });
  const fresh = directory.write("fresh.csv", "user\nb\na\n");
  const scored = await encodeWith(trained, [fresh], { out: directory.join("scored") });
  assert.deepEqual([scored.labelled, idsOf(scored.dataset, "test").flat(2)], [false, [1, 2]]);
});

Deno.test("Parquet and zstd inputs give what the same rows in CSV give", async () => {
  using directory = new TemporaryDirectory();
  const schema = directory.write("schema.json", SHOP);
  const csv = directory.write("shop.csv", "clicked,city,price,seen\n1,Rome,1.5,p q p\n0,,,\n0,Oslo,3,q p\n");
  const instance = await DuckDBInstance.create();
  const connection = await instance.connect();
  const rows = `SELECT clicked::INTEGER AS clicked, city, price::DOUBLE AS price, seen FROM read_csv('${csv}')`;
  await connection.run(`COPY (${rows}) TO '${directory.join("shop.parquet")}'`);
  await connection.run(`COPY (${rows}) TO '${directory.join("shop.csv.zst")}'`);
  connection.closeSync();
  instance.closeSync();
  const prepare = async (input: string) => {
    const options = { inputs: [input], format: "csv", schema, out: directory.join("out"), ...ALL_TRAIN } as const;
    const dataset = await prepareDataset(options);
    return [idsOf(dataset, "train"), denseOf(dataset, "train"), labelsOf(dataset, "train")];
  };
  const expected = await prepare(csv);
  assert.deepEqual(expected, [[[[3], [1, 2, 1]], [[1], []], [[2], [2, 1]]], [[1.5], [0], [3]], [1, 0, 0]]);
  assert.deepEqual(await prepare(directory.join("shop.parquet")), expected);
  assert.deepEqual(await prepare(directory.join("shop.csv.zst")), expected);
});

Deno.test("files of different layouts are read in the given order", async () => {
  using directory = new TemporaryDirectory();
  const schema = directory.write("schema.json", SHOP);
  const a = directory.write("a.csv", "clicked,city,price,seen\n1,Rome,1,p\n");
  const b = directory.write("b.csv", "price,seen,clicked,city\n2,p,0,Oslo\n");
  const c = directory.write("c.csv", "clicked,city,price,seen\n0,Rome,3,p\n");
  const out = directory.join("out");
  const dataset = await prepareDataset({ inputs: [a, b, c], format: "csv", schema, out, ...ALL_TRAIN });
  assert.deepEqual(denseOf(dataset, "train"), [[1], [2], [3]]);
  assert.deepEqual(idsOf(dataset, "train").map((r) => r[0][0]), [1, 2, 1]);
});

slowTest(
  "a dictionary beyond the memory limit is refused with the way out; one near it is numbered alone",
  async () => {
    using directory = new TemporaryDirectory();
    const values = Array.from({ length: 60_000 }, (_, i) => (i * 7919).toString(16));
    await assert.rejects(firstTable(directory, values, { memoryBytes: 4e6 }), {
      name: "HotsetError",
      message:
        "Cannot number the values of C1 in the 1 MB that the memory limit leaves for them; give a larger --memory or " +
        "set --max-ind-range",
    });
    // 131,072 slots take 2.6 MB: more than a third of the 3 MB that there are, less than all of them.
    const near = await firstTable(directory, values, { memoryBytes: 12e6, threads: 3 });
    assert.equal(new Set(near.ids).size, values.length);
  },
);
