import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { HotsetError } from "../../src/errors.ts";
import { prepareDataset, type PrepareOptions } from "../../src/dataset/prepare.ts";
import { criteoLine, TemporaryDirectory } from "./support.ts";

const GOOD = criteoLine("1", ["1"], ["a"]);

/** Prepares and returns the message of the failure with the directory's name left out. Nothing may be left behind. */
async function failure(directory: TemporaryDirectory, options: Partial<PrepareOptions> & { inputs: string[] }) {
  let message = "";
  try {
    await prepareDataset({ format: "criteo", out: directory.join("out"), ...options });
  } catch (error) {
    assert.ok(error instanceof HotsetError, String(error instanceof Error ? error.stack : error));
    if (/: (line|row) \d+: /.test(error.message)) assert.equal(error.code, "bad-row", error.message);
    message = error.message.replaceAll(`${directory.path}/`, "");
  }
  const left = [...Deno.readDirSync(directory.path)].map((e) => e.name).filter((n) => n.includes("out"));
  assert.deepEqual(left, [], "a failed prepare leaves nothing");
  return message;
}

const ROWS: [string, string, string][] = [
  ["label 2", GOOD + criteoLine("2", [], []), 'line 2: label is "2", neither 0 nor 1'],
  ["no label", criteoLine("", [], []), "line 1: label is empty"],
  ["words for a number", GOOD + GOOD + criteoLine("1", ["1", "many"], []), 'line 3: I2 is "many", not a finite number'],
  ["NaN", criteoLine("1", ["", "", "nan"], []), 'line 1: I3 is "nan", not a finite number'],
  ["infinity", GOOD + "\n" + criteoLine("1", ["-inf"], []), 'line 3: I1 is "-inf", not a finite number'],
  [
    "not hexadecimal",
    GOOD + criteoLine("0", [], ["12", "xyz"]),
    'line 2: C2 is "xyz", not a hexadecimal number of up to 8 digits',
  ],
  [
    "nine digits",
    criteoLine("0", [], ["123456789"]),
    'line 1: C1 is "123456789", not a hexadecimal number of up to 8 digits',
  ],
  ["a short row", GOOD + "1\t2\t3\n" + GOOD, "line 2: 3 columns instead of 40"],
  ["a long row", GOOD + GOOD.replace("\n", "\t1\t2\n"), "line 2: 42 columns instead of 40"],
  ["bad rows after line 9", GOOD.repeat(8) + "1\t\n".repeat(3), "line 9: 2 columns instead of 40"],
  ["a huge field", GOOD + criteoLine("0", [], ["f".repeat(3_000_000)]), "line 2: it is longer than 2 MB"],
  [
    "a NUL byte",
    GOOD + criteoLine("0", [], ["a\0b"]),
    'line 2: C1 is "a\\u0000b", not a hexadecimal number of up to 8 digits',
  ],
  ["only blank lines", "\n\n", "there are no rows"],
];

for (const [name, content, reason] of ROWS) {
  Deno.test(`bad rows: ${name}`, async () => {
    using directory = new TemporaryDirectory();
    const input = directory.write("log.tsv", content);
    assert.equal(await failure(directory, { inputs: [input] }), `Cannot read log.tsv: ${reason}`);
  });
}

Deno.test("bad rows: not UTF-8", async () => {
  using directory = new TemporaryDirectory();
  const line = new TextEncoder().encode(criteoLine("0", [], ["ab"]));
  line[line.indexOf(0x61)] = 0xff;
  const input = directory.write("log.tsv", line);
  assert.equal(await failure(directory, { inputs: [input] }), "Cannot read log.tsv: line 1: it is not UTF-8");
});

Deno.test("bad rows: the first one of several files is named", async () => {
  using directory = new TemporaryDirectory();
  const a = directory.write("a.tsv", GOOD);
  const b = directory.write("b.tsv", GOOD + criteoLine("3", [], []) + criteoLine("4", [], []));
  const c = directory.write("c.tsv", criteoLine("5", [], []));
  assert.equal(
    await failure(directory, { inputs: [a, b, c] }),
    'Cannot read b.tsv: line 2: label is "3", neither 0 nor 1',
  );
  const d = directory.write("d.tsv", GOOD + criteoLine("1", [], ["q"]));
  assert.match(await failure(directory, { inputs: [a, d] }), /^Cannot read d.tsv: line 2: C1 is "q"/);
});

Deno.test("bad rows: every row malformed is an error even when rows are skipped", async () => {
  using directory = new TemporaryDirectory();
  const input = directory.write("log.tsv", "x\ny\n");
  assert.equal(
    await failure(directory, { inputs: [input], onBadRow: "skip" }),
    "Cannot read log.tsv: every row is malformed",
  );
});

Deno.test("bad files: missing, empty, directory, no match", async () => {
  using directory = new TemporaryDirectory();
  Deno.mkdirSync(directory.join("days"));
  const empty = directory.write("empty.tsv", "");
  const cases: [string, string][] = [
    [directory.join("missing.tsv"), "Cannot read missing.tsv: no such file"],
    [directory.join("days"), "Cannot read days: it is a directory; name its files, for example 'days/*.gz'"],
    [empty, "Cannot read empty.tsv: there are no rows"],
    [directory.join("*.csv"), "Cannot read *.csv: no file matches"],
  ];
  for (const [input, message] of cases) assert.equal(await failure(directory, { inputs: [input] }), message);
});

Deno.test("bad files: gzip cut off, not gzip, not parquet", async () => {
  using directory = new TemporaryDirectory();
  const whole = gzipSync(Array.from({ length: 5000 }, (_, i) => criteoLine("1", [String(i)], [])).join(""));
  const cut = directory.write("cut.tsv.gz", whole.subarray(0, whole.length - 20));
  assert.equal(
    await failure(directory, { inputs: [cut] }),
    "Cannot read cut.tsv.gz: the gzip file is truncated; download it again",
  );
  assert.equal(
    await failure(directory, { inputs: [cut], onBadRow: "skip" }),
    "Cannot read cut.tsv.gz: the gzip file is truncated; download it again",
  );
  const text = directory.write("text.tsv.gz", GOOD);
  assert.match(await failure(directory, { inputs: [text] }), /^Cannot read text.tsv.gz: not a gzip file/);
  const parquet = directory.write("log.parquet", GOOD);
  assert.match(
    await failure(directory, { inputs: [parquet] }),
    /^Cannot read log.parquet: format criteo has no Parquet files; use format parquet$/,
  );
  const schema = directory.write(
    "schema.json",
    '{"columns": [{"name": "y", "kind": "label"}, {"name": "a", "kind": "sparse"}]}',
  );
  assert.match(
    await failure(directory, { inputs: [parquet], format: "parquet", schema }),
    /^Cannot read log.parquet: not a Parquet file, or truncated/,
  );
});

Deno.test("bad schemas", async () => {
  using directory = new TemporaryDirectory();
  const input = directory.write("log.csv", "y,a,a\n1,2,3\n");
  const label = { name: "y", kind: "label" };
  const sparse = { name: "a", kind: "sparse" };
  const cases: [string, string][] = [
    ["{", "Cannot read schema schema.json: it is not JSON"],
    [
      JSON.stringify({ columns: [sparse] }),
      "Cannot prepare with schema schema.json: without a column of kind label all rows are positives; draw negatives for them " +
      "with --negatives 4 --group USER --item ITEM",
    ],
    [
      JSON.stringify({ columns: [label] }),
      "Cannot read schema schema.json: columns: there must be a feature: a column of kind dense, time, sparse or bag",
    ],
    [JSON.stringify({ columns: [label, sparse, sparse] }), "Cannot read schema schema.json: columns: a appears twice"],
    [
      JSON.stringify({ columns: [label, { name: "a", kind: "number" }] }),
      "Cannot read schema schema.json: column a has kind: ",
    ],
    [JSON.stringify({ columns: [label, { ...sparse, name: "b" }] }), "Cannot read log.csv: no column named b"],
    [JSON.stringify({ columns: [label, sparse] }), "Cannot read log.csv: 2 columns named a"],
  ];
  for (const [content, message] of cases) {
    const schema = directory.write("schema.json", content);
    const found = await failure(directory, { inputs: [input], format: "csv", schema });
    assert.equal(found.slice(0, message.length), message);
  }
  assert.match(await failure(directory, { inputs: [input], format: "csv" }), /name its file with --schema/);
});

Deno.test("bad options", async () => {
  using directory = new TemporaryDirectory();
  const inputs = [directory.write("log.tsv", GOOD)];
  assert.match(await failure(directory, { inputs, minFrequency: 0 }), /minimum frequency of 0/);
  assert.match(await failure(directory, { inputs, maxIndRange: 0.5 }), /index range of 0.5/);
  assert.match(
    await failure(directory, { inputs, validationFraction: 0.5, testFraction: 0.5 }),
    /leave a share for training/,
  );
  assert.match(
    await failure(directory, { inputs, testInputs: [directory.write("test.tsv", GOOD)], testFraction: 0.5 }),
    /test files are the test split/,
  );
});
