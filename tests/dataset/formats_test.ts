import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { zipSync } from "fflate";
import type { Dataset } from "../../src/dataset/dataset.ts";
import type { Format } from "../../src/dataset/formats.ts";
import { inferSchema } from "../../src/dataset/infer.ts";
import { encodeWith, prepareDataset, type PrepareOptions } from "../../src/dataset/prepare.ts";
import { onlyInAll, slowTest } from "../support/series.ts";
import { npy } from "../support/npy.ts";
import { denseOf, idsOf, labelsOf, TemporaryDirectory, writeParquet } from "./support.ts";

const ALL_TRAIN = { validationFraction: 0, testFraction: 0 };
const DATA = join(import.meta.dirname!, "../../../shared/data");
const absent = existsSync(DATA) ? onlyInAll : "../shared/data is absent";
const reason = absent === undefined ? "" : ` (skipped: ${absent})`;

async function prepare(
  directory: TemporaryDirectory,
  format: Format,
  input: string,
  more: Partial<PrepareOptions> = {},
) {
  return await prepareDataset({ inputs: [input], format, out: directory.join("out"), ...ALL_TRAIN, ...more });
}

/** Rows of a compressed text. */
function rowsOf(file: string, separator: string): string[][] {
  const text = new TextDecoder().decode(gunzipSync(Deno.readFileSync(join(DATA, file))));
  return text.trimEnd().split(/\r?\n/).map((line) => line.split(separator));
}

/** Distinct values of a column, and row 0. */
const tableRows = (rows: string[][], column: number) => new Set(rows.map((row) => row[column])).size + 1;
const tables = (dataset: Dataset) => dataset.body.tables.map(({ rows }) => rows);

Deno.test("avazu: 21 tables, and the hour of the day as the dense feature", async () => {
  using directory = new TemporaryDirectory();
  const names = "id,click,hour,C1,banner_pos,site_id,site_domain,site_category,app_id,app_domain,app_category," +
    "device_id,device_ip,device_model,device_type,device_conn_type,C14,C15,C16,C17,C18,C19,C20,C21";
  const row = (id: number, click: number, hour: string, site: string) =>
    `${id},${click},${hour},1,0,${site},d,s,a,b,c,i,p,m,1,2,3,4,5,6,7,8,-1,9`;
  const rows = [names, row(1, 0, "14102100", "x"), row(2, 1, "14102106", "y"), row(3, 1, "14102123", "y")];
  const dataset = await prepare(directory, "avazu", directory.write("a.csv", rows.join("\n") + "\n"));
  assert.equal(dataset.tables, 21);
  assert.deepEqual(dataset.body.dense, ["hour"]);
  assert.deepEqual(denseOf(dataset, "train").flat(), [0, 0.25, Math.fround(23 / 24)]);
  assert.deepEqual(labelsOf(dataset, "train"), [0, 1, 1]);
  assert.deepEqual(idsOf(dataset, "train").map((r) => r[2][0]), [2, 1, 1]);
});

Deno.test("taobao: rows in the order of time, buys are the clicks", async () => {
  using directory = new TemporaryDirectory();
  const input = directory.write(
    "t.csv",
    "u1,i1,c1,pv,86400\nu1,i2,c1,buy,43200\nu2,i1,c2,cart,21600\nu2,i3,c2,fav,43200\n",
  );
  const dataset = await prepare(directory, "taobao", input);
  assert.deepEqual(denseOf(dataset, "train").flat(), [0.25, 0.5, 0.5, 0]);
  assert.deepEqual(labelsOf(dataset, "train"), [0, 1, 0, 0], "equal times keep the order of the log");
  assert.deepEqual(idsOf(dataset, "train").map((r) => r.flat()), [[2, 1, 2], [1, 2, 1], [2, 3, 2], [1, 1, 1]]);
});

Deno.test("movielens: ratings from 4 on are clicks", async () => {
  using directory = new TemporaryDirectory();
  const input = directory.write("u.data", "7\t5\t4\t20\n7\t6\t3\t10\n8\t5\t5\t30\n");
  const dataset = await prepare(directory, "movielens", input);
  assert.deepEqual(labelsOf(dataset, "train"), [0, 1, 1]);
  assert.deepEqual(idsOf(dataset, "train").map((r) => r.flat()), [[1, 2], [1, 1], [2, 1]]);
});

/** Rows of label, 13 dense and 26 sparse values. */
const INTEGERS = Array.from({ length: 500 }, (_, i) => [
  i % 3 === 0 ? 1 : 0,
  ...Array.from({ length: 13 }, (_, d) => i * d - 3),
  ...Array.from({ length: 26 }, (_, t) => (i * i) % (t + 2)),
]);

slowTest("dlrm: the int32 binary and the .npz give what the same rows give as Criteo text", async () => {
  using directory = new TemporaryDirectory();
  const text = INTEGERS.map(([label, ...rest]) =>
    [label, ...rest.slice(0, 13), ...rest.slice(13).map((key) => key.toString(16))].join("\t") + "\n"
  ).join("");
  const contents = async (format: Format, input: string) => {
    const dataset = await prepare(directory, format, input);
    return [labelsOf(dataset, "train"), denseOf(dataset, "train"), idsOf(dataset, "train"), tables(dataset)];
  };
  const expected = await contents("criteo", directory.write("log.tsv", text));
  const binary = directory.write("log.bin", new Uint8Array(Int32Array.from(INTEGERS.flat()).buffer));
  assert.deepEqual(await contents("dlrm", binary), expected);
  for (const level of [0, 6] as const) {
    const arrays = {
      "X_int.npy": npy(INTEGERS.map((row) => row.slice(1, 14))),
      "X_cat.npy": npy(INTEGERS.map((row) => row.slice(14))),
      "y.npy": npy(INTEGERS.map((row) => row.slice(0, 1)), { vector: true }),
      "counts.npy": npy([[1, 2]]),
    };
    assert.deepEqual(await contents("dlrm", directory.write("log.npz", zipSync(arrays, { level }))), expected);
    for (const fortran of [true, false]) {
      const double = { ...arrays, "X_cat.npy": npy(INTEGERS.map((row) => row.slice(14)), { double: true, fortran }) };
      assert.deepEqual(await contents("dlrm", directory.write("log.npz", zipSync(double, { level }))), expected);
    }
  }
  const old = await prepare(directory, "dlrm", binary, { out: directory.join("old") });
  const encoded = await encodeWith(old, [binary], { out: directory.join("new") });
  assert.deepEqual(idsOf(encoded.dataset, "test"), expected[2]);
});

Deno.test("dlrm: what is wrong with a file is said", async () => {
  using directory = new TemporaryDirectory();
  const bytes = new Uint8Array(Int32Array.from(INTEGERS.flat()).buffer);
  const bad = Int32Array.from(INTEGERS.flat());
  bad[40] = 7;
  const y = npy(INTEGERS.map((row) => row.slice(0, 1)), { vector: true });
  const dense = npy(INTEGERS.map((row) => row.slice(1, 14)));
  const sparse = npy(INTEGERS.map((row) => row.slice(14)));
  const cases: [string, Uint8Array, string][] = [
    [
      "cut.bin",
      bytes.subarray(0, 1000),
      "its 1000 bytes are not whole rows of 160 (label, 13 dense and 26 sparse values of 4 bytes); is it truncated?",
    ],
    ["bad.bin", new Uint8Array(bad.buffer), 'row 2: label is "7", neither 0 nor 1'],
    ["some.npz", zipSync({ "y.npy": y, "X_int.npy": dense }), "it has no array X_cat"],
    [
      "wide.npz",
      zipSync({ "y.npy": y, "X_int.npy": sparse, "X_cat.npy": sparse }),
      "X_int has the shape (500, 26) instead of (rows, 13)",
    ],
    [
      "short.npz",
      zipSync({ "y.npy": y, "X_int.npy": dense, "X_cat.npy": sparse.subarray(0, 999) }),
      "X_cat is truncated",
    ],
    [
      "half.npz",
      zipSync({
        "y.npy": y,
        "X_int.npy": dense,
        "X_cat.npy": npy(INTEGERS.map((row, i) => row.slice(14).map((v) => i === 6 ? v + 0.5 : v)), { double: true }),
      }),
      "row 7: 0.5 is not a 32-bit whole number",
    ],
  ];
  for (const [name, content, message] of cases) {
    const input = directory.write(name, content);
    await assert.rejects(prepare(directory, "dlrm", input), {
      name: "HotsetError",
      message: `Cannot read ${input}: ${message}`,
    });
  }
  const text = directory.write("text.npz", "no zip");
  await assert.rejects(prepare(directory, "dlrm", text), /Cannot read .*text.npz: not a complete .npz file: /);
});

Deno.test("infer: a proposed schema reads the file it was made from", async () => {
  using directory = new TemporaryDirectory();
  const lines = Array.from(
    { length: 400 },
    (_, i) => `${i},${i % 2},${(i * 37 % 100) / 7},${i * i % 977},city${i % 9},${1.5e9 + i},x,a|b${i % 3}`,
  );
  const input = directory.write("log.csv", `id,click,price,views,city,seen_time,same,tags\n${lines.join("\n")}\n`);
  const schema = await inferSchema(input);
  assert.deepEqual(
    schema.columns.map((c) => `${c.name} ${c.kind}`),
    [
      "id ignore",
      "click label",
      "price dense",
      "views dense",
      "city sparse",
      "seen_time time",
      "same ignore",
      "tags bag",
    ],
  );
  const file = directory.write("schema.json", JSON.stringify(schema));
  const dataset = await prepare(directory, "csv", input, { schema: file });
  assert.deepEqual(tables(dataset), [10, 5]);
  assert.deepEqual(dataset.body.dense, ["price", "views", "seen_time"]);
  await assert.rejects(inferSchema(directory.write("numbers.csv", "a,b\n1.5,2.5\n2.5,7.5\n")), {
    name: "HotsetError",
    message: `Cannot infer a schema of ${
      directory.join("numbers.csv")
    }: no column looks like categories; write one by hand`,
  });
});

const NEWS = JSON.stringify({
  columns: [
    { name: "click", kind: "label" },
    { name: "when", kind: "time" },
    { name: "joined", kind: "dense", transform: "clock" },
    { name: "user", kind: "sparse" },
    { name: "seen", kind: "bag" },
  ],
});

Deno.test("dates and times are as good as unix seconds, as text and as Parquet's own types", async () => {
  using directory = new TemporaryDirectory();
  const schema = directory.write("schema.json", NEWS);
  const day = 86400, first = Date.UTC(2024, 0, 1) / 1000;
  const rows = (times: string[], joined: string[]) =>
    `click,when,joined,user,seen\n1,${times[0]},${joined[0]},b,x|y\n0,${times[1]},${joined[1]},a,\n1,${times[2]},${
      joined[2]
    },a,y\n`;
  const contents = async (input: string) => {
    const dataset = await prepare(directory, "csv", input, { schema });
    return [labelsOf(dataset, "train"), denseOf(dataset, "train"), idsOf(dataset, "train")];
  };
  const seconds = [first + day + 0.75 * day, first + 0.5 * day, first + day].map(String);
  const expected = await contents(directory.write("unix.csv", rows(seconds, [`${first}`, "", `${0.25 * day}`])));
  assert.deepEqual(expected.slice(0, 2), [[0, 1, 1], [[0.5, 0], [0, 0.25], [0.75, 0]]]);
  const times = ["2024-01-02T18:00:00Z", "2024-01-01 14:00:00+02:00", "2024-01-02"];
  const joined = ["2024-01-01", "", "1970-01-01 06:00:00.000"];
  assert.deepEqual(await contents(directory.write("iso.csv", rows(times, joined))), expected);
  const values = times.map((time, i) =>
    `(${Number(i !== 1)}, TIMESTAMPTZ '${time}${i === 2 ? " 00:00:00Z" : ""}', ` +
    `${joined[i] === "" ? "NULL" : `TIMESTAMP '${joined[i]}'`}, '${"baa"[i]}', ${["['x', 'y']", "NULL", "['y']"][i]})`
  );
  const query = `FROM (VALUES ${values.join(", ")}) AS t(click, "when", joined, "user", seen)`;
  assert.deepEqual(await contents(await writeParquet(directory.join("types.parquet"), query)), expected);
  await assert.rejects(contents(directory.write("bad.csv", rows([times[0], "yesterday", times[2]], joined))), {
    name: "HotsetError",
    message:
      `Cannot read ${
        directory.join("bad.csv")
      }: line 3: when is "yesterday", neither unix seconds nor a date and time such as 2024-05-31 23:59:00; set another notation in the schema: ` +
      '"format": "%d.%m.%Y"',
  });
});

Deno.test("lists of Parquet are bags, whatever they hold, and nothing else", async () => {
  using directory = new TemporaryDirectory();
  const columns = (kind: string) => [{ name: "y", kind: "label" }, { name: "a", kind }, { name: "b", kind: "sparse" }];
  const schema = (kind: string) => directory.write("schema.json", JSON.stringify({ columns: columns(kind) }));
  const query =
    "FROM (VALUES (true, [7, 7, 12], 0), (false, [], 0), (true, NULL, 0), (true, [12, NULL], 0)) AS t(y, a, b)";
  const parquet = await writeParquet(directory.join("lists.parquet"), query);
  const dataset = await prepare(directory, "parquet", parquet, { schema: schema("bag") });
  assert.deepEqual(idsOf(dataset, "train").map(([a]) => a), [[2, 2, 1], [], [], [1, 3]]);
  for (const kind of ["sparse", "dense"]) {
    await assert.rejects(prepare(directory, "parquet", parquet, { schema: schema(kind) }), {
      name: "HotsetError",
      message: `Cannot read ${parquet}: column a has lists (INTEGER[]), and its kind is ${kind}; use kind bag`,
    });
  }
});

Deno.test("infer: what is no text is refused, and dates in other forms are told of", async () => {
  using directory = new TemporaryDirectory();
  const binary = directory.write("noise.csv", Uint8Array.from({ length: 3000 }, (_, i) => (i * i * 7919) >> 3));
  await assert.rejects(inferSchema(binary), {
    name: "HotsetError",
    message: `Cannot read ${binary}: it is neither text with columns nor a Parquet file`,
  });
  const latin = new TextEncoder().encode("click,city\n1,Rome\n0,K?ln\n".repeat(40));
  latin.forEach((byte, i) => byte === 63 && (latin[i] = 0xf6));
  const encoded = directory.write("latin.csv", latin);
  await assert.rejects(inferSchema(encoded), { message: `Cannot read ${encoded}: line 3: it is not UTF-8` });
  const lines = Array.from(
    { length: 300 },
    (_, i) => `${i % 2},u${i % 9},${String(1 + i % 28).padStart(2, "0")}.06.2024\n`,
  );
  const schema = await inferSchema(directory.write("log.csv", `click,user,day\n${lines.join("")}`));
  assert.deepEqual(schema.columns[2], {
    name: "day",
    kind: "time",
    transform: "order",
    format: "%d.%m.%Y",
    note: "2024-06-01 to 2024-06-28",
  });
});

Deno.test("infer: of a text label the rarest value counts as 1, as a guess that is told; where nothing looks like codes, numbers are", async () => {
  using directory = new TemporaryDirectory();
  const lines = Array.from(
    { length: 500 },
    (_, i) => `${i * 7919 % 4999},${["view", "cart", "view", "buy", "cart"][i % 5]},${i % 9 / 7}`,
  );
  const input = directory.write("log.csv", `${lines.join("\n")}\n499,view,nan\n`);
  const notes: string[] = [];
  const schema = await inferSchema(input, undefined, (note) => notes.push(note));
  const { columns } = schema;
  assert.deepEqual(columns[1], {
    name: "column1",
    kind: "label",
    positive: ["buy"],
    note: 'one of 3 values: that "buy", the rarest (100 of 501 rows), counts as 1 is a guess',
  });
  assert.deepEqual(notes, [`No column contains only 0 and 1; column1 is proposed as the label: ${columns[1].note}`]);
  assert.deepEqual([columns[0].kind, columns[2].kind, columns[2].note], [
    "sparse",
    "dense",
    "0.0 to 1.1428571428571428",
  ]);
  const file = directory.write("schema.json", JSON.stringify(schema));
  const dataset = await prepare(directory, "csv", input, { schema: file });
  assert.equal(labelsOf(dataset, "train").reduce((sum, label) => sum + label), 100);
});

Deno.test("infer: types of Parquet become their kinds", async () => {
  using directory = new TemporaryDirectory();
  const query = "SELECT i % 3 = 0 AS bought, TIMESTAMPTZ '2024-01-01 00:00:00Z' + to_minutes(i) AS seen_at, " +
    "DATE '2024-01-01' + (i // 100)::INTEGER AS day, [i % 7, i % 5] AS items, i % 2 = 0 AS mobile, 1700000000000 + i " +
    "AS event_time FROM range(500) AS t(i)";
  const parquet = await writeParquet(directory.join("log.parquet"), query);
  const schema = await inferSchema(parquet);
  assert.deepEqual(
    schema.columns.map((column) => [column.name, column.kind, "transform" in column ? column.transform : undefined]),
    [
      ["bought", "label", undefined],
      ["seen_at", "time", "clock"],
      ["day", "ignore", undefined],
      ["items", "bag", undefined],
      ["mobile", "sparse", undefined],
      ["event_time", "dense", "clock"],
    ],
  );
  const file = directory.write("schema.json", JSON.stringify(schema));
  const dataset = await prepare(directory, "parquet", parquet, { schema: file });
  assert.deepEqual([tables(dataset), dataset.body.dense], [[8, 3], ["seen_at", "event_time"]]);
});

Deno.test({
  name: `every log in ../shared/data is read by its format${reason}`,
  ignore: absent !== undefined,
  fn: async () => {
    using directory = new TemporaryDirectory();
    const at = (file: string) => join(DATA, file);
    const avazu = rowsOf("avazu/head9999.csv.gz", ",").slice(1);
    let dataset = await prepare(directory, "avazu", at("avazu/head9999.csv.gz"));
    assert.deepEqual(tables(dataset), Array.from({ length: 21 }, (_, t) => tableRows(avazu, t + 3)));
    assert.deepEqual(labelsOf(dataset, "train"), avazu.map((row) => Number(row[1])));

    const taobao = rowsOf("taobao/UserBehavior_84k.csv.gz", ",").sort((a, b) => Number(a[4]) - Number(b[4]));
    dataset = await prepare(directory, "taobao", at("taobao/UserBehavior_84k.csv.gz"));
    assert.deepEqual(tables(dataset), [0, 1, 2].map((column) => tableRows(taobao, column)));
    assert.deepEqual(labelsOf(dataset, "train"), taobao.map((row) => row[3] === "buy" ? 1 : 0));

    const movies = rowsOf("movielens/ml100k_u.data.gz", "\t").sort((a, b) => Number(a[3]) - Number(b[3]));
    dataset = await prepare(directory, "movielens", at("movielens/ml100k_u.data.gz"));
    assert.deepEqual(tables(dataset), [0, 1].map((column) => tableRows(movies, column)));
    assert.deepEqual(labelsOf(dataset, "train"), movies.map((row) => Number(row[2]) >= 4 ? 1 : 0));

    dataset = await prepare(directory, "criteo", at("criteo_terabyte/day0_head1000.tsv"));
    assert.equal(dataset.samples("train"), 1000);
    const files = ["head10k_contiguous", "rows10k_to_15k_contiguous"].map((name) => at(`criteo_kaggle/${name}.tsv.gz`));
    dataset = await prepare(directory, "criteo", "", { inputs: files });
    assert.equal(dataset.samples("train"), 15_000);

    const ranks = ["09", "10"].map((part) => at(`criteo_kaggle/global_rank10k_c0${part}.csv.gz`));
    const schema = directory.write("schema.json", JSON.stringify(await inferSchema(ranks[0])));
    dataset = await prepare(directory, "csv", "", { inputs: ranks, schema });
    assert.equal(dataset.samples("train"), 20_000);
    assert.equal(dataset.tables, 26);
  },
});
