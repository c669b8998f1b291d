import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { HotsetError } from "../../src/errors.ts";
import { prepareDataset, type PrepareOptions } from "../../src/dataset/prepare.ts";
import { criteoLine, failureIn, labelsOf, TemporaryDirectory } from "./support.ts";

const SCHEMA = JSON.stringify({
  columns: [{ name: "y", kind: "label" }, { name: "x", kind: "dense" }, { name: "a", kind: "sparse" }],
});

function prepare(directory: TemporaryDirectory, input: string): Promise<unknown> {
  const schema = directory.write("schema.json", SCHEMA);
  const splits = { validationFraction: 0, testFraction: 0 };
  return prepareDataset({ inputs: [input], format: "csv", schema, out: directory.join("out"), ...splits });
}

/** The text in UTF-16 with a byte order mark. */
function utf16(text: string): Uint8Array {
  return new Uint8Array(Uint16Array.from(`\ufeff${text}`, (character) => character.charCodeAt(0)).buffer);
}

const LATIN1 = Uint8Array.from("y,x,a\n1,2,caf\xe9\n", (character) => character.charCodeAt(0));

const BAD: [name: string, content: string | Uint8Array, reason: string][] = [
  ["UTF-16", utf16("y,x,a\n1,2,b\n"), "it is UTF-16; convert it to UTF-8, for example with iconv"],
  ["Latin-1", LATIN1, "line 2: it is not UTF-8"],
  [
    "line ends of both kinds",
    "y,x,a\n1,2,b\r\n1,2,b\n0,1,c\r\n",
    "it mixes LF and CR LF line ends, or a quote is not closed; use one kind of line end",
  ],
  ["an open quote", 'y,x,a\n1,2,"b\n0,1,d\n', "line 2: a misplaced quote"],
  ["a stray quote", 'y,x,a\n1,2,b\n1,2,"b"c\n', "line 3: a misplaced quote"],
  ["a short row", "y,x,a\n1,2\n1,2,b\n", "line 2: 2 columns instead of 3"],
  ["a long row", "y,x,a\n1,2,b,c\n1,2,b\n", "line 2: 4 columns instead of 3"],
  ["a huge field", `y,x,a\n1,2,b\n1,2,${"z".repeat(3_000_000)}\n`, "line 3: it is longer than 2 MB"],
  ["words for a number", "y,x,a\n1,2,b\n1,abc,b\n", 'line 3: x is "abc", not a finite number'],
  ["infinity", "y,x,a\n1,inf,b\n", 'line 2: x is "inf", not a finite number'],
  ["a number beyond 32 bits", "y,x,a\n1,1e99,b\n", 'line 2: x is "1e99", not a finite number'],
  ["two columns of one name", "y,x,a,a\n1,2,b,c\n", "2 columns named a; name them a.1, a.2 in the schema"],
  ["a missing column", "y,a\n1,b\n", 'no column named x; there are "y", "a"'],
  ["another delimiter", "y\tx\ta\n1\t2\tb\n", 'no column named y; there are "y\\tx\\ta"'],
  [
    "a label of 2",
    "y,x,a\n2,1,b\n",
    'line 2: y is "2", neither 0 nor 1; set in the schema what counts as 1: "atLeast": 1 or "positive": ["buy"]',
  ],
  ["no label", "y,x,a\n,1,b\n", "line 2: y is empty"],
  ["a header alone", "y,x,a\n", "there are no rows"],
];

for (const [name, content, reason] of BAD) {
  Deno.test(`bad csv: ${name}`, async () => {
    using directory = new TemporaryDirectory();
    const input = directory.write("log.csv", content);
    await assert.rejects(prepare(directory, input), {
      name: "HotsetError",
      code: reason.startsWith("line ") ? "bad-row" : "failed",
      message: `Cannot read ${input}: ${reason}`,
    });
  });
}

const GOOD: [name: string, content: string, labels: number[]][] = [
  ["CR LF everywhere", "y,x,a\r\n1,2,b\r\n0,1,c\r\n", [1, 0]],
  ["separators and line ends in quotes", 'y,x,a\n1,2,"b,c"\n0,1,"d\ne"\n', [1, 0]],
  ["a byte order mark", "\ufeffy,x,a\n1,2,b\n", [1]],
  ["blank lines", "y,x,a\n\n1,2,b\n\n", [1]],
  ["NUL bytes in text", "y,x,a\n1,2,b\0c\n", [1]],
];

for (const [name, content, labels] of GOOD) {
  Deno.test(`odd csv that can be read: ${name}`, async () => {
    using directory = new TemporaryDirectory();
    const dataset = await prepare(directory, directory.write("log.csv", content));
    assert.deepEqual(labelsOf(dataset as Parameters<typeof labelsOf>[0], "train"), labels);
  });
}

Deno.test("bad files: gzip cut off or something else, for csv", async () => {
  using directory = new TemporaryDirectory();
  const lines = Array.from({ length: 100_000 }, (_, i) => `1,${i},value${i}\n`);
  const whole = gzipSync(new TextEncoder().encode(`y,x,a\n${lines.join("")}`));
  const cases: [string, Uint8Array | string, string][] = [
    ["cut.csv.gz", whole.subarray(0, whole.length / 2), "the gzip file is truncated; download it again"],
    ["text.csv.gz", "y,x,a\n1,2,b\n".repeat(10), "not a gzip file: incorrect header check"],
  ];
  for (const [name, content, reason] of cases) {
    const input = directory.write(name, content);
    await assert.rejects(prepare(directory, input), {
      name: "HotsetError",
      message: `Cannot read ${input}: ${reason}`,
    });
  }
});

Deno.test("bad files: zstd cut off or something else, for criteo and csv", async () => {
  using directory = new TemporaryDirectory();
  const whole = zstdCompressSync(new TextEncoder().encode(criteoLine("1", ["1"], ["a"]).repeat(10_000)));
  const cut = directory.write("cut.tsv.zst", whole.subarray(0, whole.length - 9));
  const criteo = (input: string) => prepareDataset({ inputs: [input], format: "criteo", out: directory.join("out") });
  await assert.rejects(criteo(cut), {
    name: "HotsetError",
    message: `Cannot read ${cut}: the zstd file is truncated; download it again`,
  });
  const text = directory.write("text.csv.zst", "y,x,a\n");
  for (const reading of [criteo, (input: string) => prepare(directory, input)]) {
    await assert.rejects(
      reading(text),
      (error) => error instanceof HotsetError && /not a zstd file: /.test(error.message),
    );
  }
});

/** A limit on the length of files stands in for a full disk; without the signal it is an error like any other. */
const NO_SPACE = `trap "" XFSZ; ulimit -f 1024; exec "$@"`;

for (const format of ["criteo", "csv"] as const) {
  Deno.test(`a disk that takes no more: ${format} says so and leaves nothing`, async () => {
    using directory = new TemporaryDirectory();
    const rows = Array.from({ length: 40_000 }, (_, i) => criteoLine("1", [`${i}`], [i.toString(16)]));
    const schema = directory.write("schema.json", SCHEMA);
    const csv = Array.from({ length: 400_000 }, (_, i) => `1,${i},value${i}\n`);
    const input = format === "criteo"
      ? directory.write("log.tsv", rows.join(""))
      : directory.write("log.csv", `y,x,a\n${csv.join("")}`);
    const options = { inputs: [input], format, out: directory.join("out"), ...(format === "csv" ? { schema } : {}) };
    const message = await failureIn(NO_SPACE, "dataset/prepare.ts", "prepareDataset", [options]);
    const name = message.replaceAll(directory.path, "").replace(/\.stage-\w+/, ".stage-").replace(
      /partial-[^:]+/,
      "partial",
    );
    const expected = format === "criteo"
      ? "HotsetError: Cannot write /.out.stage-/log.0.0.0.rows: File too large"
      : "HotsetError: Cannot write /.out.stage-/.log.0.parquet.partial: File too large";
    assert.equal(name, expected);
    assert.deepEqual([...Deno.readDirSync(directory.path)].filter(({ name }) => name.includes("out")), []);
  });
}

Deno.test("a disk that takes no more: generate says so, ends its threads and leaves nothing", async () => {
  using directory = new TemporaryDirectory();
  const options = { samples: 400_000, seed: 1, scale: 1000, fractions: { validation: 0, test: 0 } };
  const out = directory.join("out");
  const message = await failureIn(NO_SPACE, "dataset/generate.ts", "generateDataset", [out, options]);
  assert.match(message, /^HotsetError: Cannot write .*\/train\.\w+\.\w+: File too large$/);
  assert.deepEqual([...Deno.readDirSync(directory.path)], []);
});

const isRoot = Deno.uid() === 0;
const cannotDrop = isRoot && !existsSync("/usr/bin/setpriv");

Deno.test({
  name: `no permission to read or to write${cannotDrop ? " (skipped: root without setpriv may do anything)" : ""}`,
  ignore: cannotDrop,
  fn: async () => {
    using directory = new TemporaryDirectory();
    const input = directory.write("log.tsv", criteoLine("1", [], []));
    const shell = isRoot ? 'exec setpriv --bounding-set -dac_override,-dac_read_search "$@"' : 'exec "$@"';
    Deno.chmodSync(input, 0);
    const options = { inputs: [input], format: "criteo", out: directory.join("out") } as const;
    const failure = (options: PrepareOptions) => failureIn(shell, "dataset/prepare.ts", "prepareDataset", [options]);
    assert.equal(await failure(options), `HotsetError: Cannot read ${input}: no permission`);
    Deno.chmodSync(input, 0o600);
    Deno.mkdirSync(directory.join("closed"), { mode: 0o500 });
    const out = directory.join("closed/out");
    const closed = await failure({ ...options, out });
    assert.ok(closed.startsWith(`HotsetError: Cannot write dataset ${out}: Permission denied`), closed);
  },
});
