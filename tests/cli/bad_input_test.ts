import assert from "node:assert/strict";
import { ArtifactWriter } from "../../src/storage/artifact_writer.ts";
import { COUNTS_FILE, type DatasetBody, splitFiles, SPLITS } from "../../src/dataset/dataset.ts";
import { slowTest, someOf } from "../support/series.ts";
import { Workplace } from "./support.ts";

const LINE = ["1", ...Array(13).fill("3"), ...Array(26).fill("ab")];
const line = (changes: Record<number, string> = {}) => LINE.map((field, i) => changes[i] ?? field).join("\t") + "\n";

/** Raw logs that cannot be read, and what is said of them. */
const LOGS: [name: string, content: string | Uint8Array, message: RegExp][] = [
  ["an empty file", "", /^Cannot read log.tsv: (it is empty|there are no rows)$/],
  ["a wrong column count", line() + "1\t2\t3\n", /^Cannot read log.tsv: line 2: 3 columns instead of 40$/],
  ["label 2", line() + line() + line({ 0: "2" }), /^Cannot read log.tsv: line 3: label is "2", neither 0 nor 1$/],
  ["a word for a number", line({ 4: "many" }), /^Cannot read log.tsv: line 1: I4 is "many", not a finite number$/],
  [
    "bytes that are no text",
    new TextEncoder().encode(line()).fill(0xff, 60, 62),
    /^Cannot read log.tsv: line 1: it is not UTF-8$/,
  ],
];

for (const [name, content, message] of someOf(LOGS, 6)) {
  Deno.test(`bad input: ${name}`, async () => {
    using place = new Workplace();
    place.write("log.tsv", content);
    assert.match(await place.fail(1, "prepare", "log.tsv", "--out", "data"), message);
    // In training only the folder of the cache may come to be.
    assert.match((await place.run("train", "log.tsv", "--quiet")).stderr, /^error: Cannot read .*log.tsv: .*\n$/);
    assert.deepEqual(place.files().filter((path) => !path.endsWith("/")), ["log.tsv"]);
  });
}

Deno.test("bad input: a file that is not there, a directory in place of a file", async () => {
  using place = new Workplace();
  Deno.mkdirSync(place.join("logs"));
  for (const command of [["prepare", "--out", "data"], ["train"]] as const) {
    const [name, ...flags] = command;
    assert.equal(await place.fail(1, name, "log.tsv", ...flags), "Cannot read log.tsv: no such file");
    assert.match(await place.fail(1, name, "logs", ...flags), /^Cannot read logs: it is a directory; name its files/);
  }
});

Deno.test("bad input: a file where a directory is to be", async () => {
  using place = new Workplace();
  await place.log("log.tsv", 500);
  place.write("taken", "");
  assert.match(await place.fail(1, "prepare", "log.tsv", "--out", "taken"), /^Cannot write dataset taken: /);
  assert.match(await place.fail(1, "prepare", "log.tsv", "--out", "taken/data"), /^Cannot write dataset taken\/data: /);
  await place.succeed("prepare", "log.tsv", "--out", "data");
  const message = "Cannot start a run in taken: a file has that name";
  assert.equal(await place.fail(1, "train", "data", "--out", "taken"), message);
});

/** A dataset as a careless program would write it: right lengths and checksums, but an index out of its table. */
function writeDatasetByHand(directory: string, secondIndex: number): void {
  const samples = 4;
  using writer = new ArtifactWriter("dataset", directory);
  const splits = {} as DatasetBody["splits"];
  for (const split of SPLITS) {
    const count = split === "train" ? samples : 0;
    const { labels, dense, indices } = splitFiles(split);
    writer.file(labels).append(new Uint8Array(count));
    writer.file(dense).append(new Float32Array(count));
    writer.file(indices).append(Uint32Array.of(0, 3, 1, 3, 0, secondIndex, 2, 4).subarray(0, 2 * count));
    splits[split] = { samples: count, lookups: 2 * count };
  }
  writer.file(COUNTS_FILE).append(new Uint32Array(5).fill(1));
  const tables = [{ name: "city", rows: 3 }, { name: "day", rows: 2 }];
  const body: DatasetBody = {
    source: { format: "by hand" },
    dense: ["price"],
    tables,
    bags: false,
    splits,
    skippedRows: 0,
    generated: null,
  };
  writer.commit(body);
}

Deno.test("bad input: a table index out of range", async () => {
  using place = new Workplace();
  writeDatasetByHand(place.join("data"), 7);
  const message = "Cannot read dataset data: train sample 2: index 4 is outside table day of 2 rows";
  assert.equal(await place.fail(1, "layout", "data", "--hot-memory", "0", "--out", "layout"), message);
  const { stderr } = await place.run("train", "data", "--arch-mlp-bot", "1-4", "--arch-mlp-top", "4-1", "--quiet");
  assert.equal(stderr, `error: ${message}\n`);
  assert.deepEqual(place.files().filter((path) => path.startsWith("hotset/run")), []);
});

slowTest("bad input: truncated and damaged artifacts", async () => {
  using place = new Workplace();
  await place.log("log.tsv", 600);
  await place.succeed("prepare", "log.tsv", "--out", "data");
  const model = ["--mode", "fae", "--arch-mlp-bot", "13-8", "--arch-mlp-top", "8-1"];
  await place.succeed("train", "data", "--out", "run", ...model);
  const [profile] = Deno.readDirSync(place.join("profiles"));
  const [layout] = Deno.readDirSync(place.join("layouts"));
  const again = ["--out", "run-2", ...model];
  const cases: [path: string, fails: [string, ...string[]]][] = [
    ["data/counts.u32", ["profile", "data"]],
    ["data/train.indices.u32", ["layout", "data"]],
    ["data/train.indices.u32", ["train", "data", ...again]],
    ["data/manifest.json", ["layout", "data"]],
    ["run/best/rows.f32", ["evaluate", "run"]],
    ["run/best/manifest.json", ["predict", "run", "log.tsv"]],
    ["run/last/dense.f32", ["train", "--resume", "--out", "run"]],
    ["run/run.json", ["evaluate", "run"]],
    [`profiles/${profile.name}/hot_rows.u32`, ["train", "data", ...again]],
    [`layouts/${layout.name}/hot.batches`, ["train", "data", ...again]],
  ];
  for (const [path, command] of someOf(cases, 8)) {
    const whole = place.read(path);
    place.write(path, whole.subarray(0, whole.length - 5));
    assert.match(await openFailure(place, command), /^Cannot open \w+ \S+: .*\w/, `${path} cut`);
    if (!path.endsWith(".json")) {
      const damaged = whole.slice();
      damaged[damaged.length >> 1] ^= 1;
      place.write(path, damaged);
      assert.match(await openFailure(place, command), /is damaged \(checksum does not match\)/, `${path} damaged`);
    }
    place.write(path, whole);
  }
});

/** The error of a command; a run that begins may leave its own directory, which the next one does not trip over. */
async function openFailure(place: Workplace, [name, ...args]: [string, ...string[]]): Promise<string> {
  const { code, stderr } = await place.run(name, "--quiet", ...args);
  assert.equal(code, 1, stderr);
  assert.match(stderr, /^error: [^\n]*\n$/);
  await Deno.remove(place.join("run-2"), { recursive: true }).catch(() => {});
  return stderr.slice("error: ".length);
}

slowTest(
  "bad input: a model that the data does not fit, a run that is there, a dataset that was replaced",
  async () => {
    using place = new Workplace();
    await place.log("log.tsv", 600);
    await place.succeed("prepare", "log.tsv", "--out", "data");
    assert.match(
      await place.fail(1, "train", "data", "--arch-mlp-bot", "12-8", "--out", "run"),
      /^Cannot train on data: the bottom MLP has 12 inputs, but the data has 13 dense features/,
    );
    const tiny = ["--arch-mlp-bot", "13-8", "--arch-mlp-top", "8-1", "--out", "run"];
    await place.succeed("train", "data", ...tiny);
    assert.match(
      await place.fail(1, "train", "data", ...tiny),
      /^Cannot start a run in run: it contains a run; .*--resume/,
    );
    await place.succeed("prepare", "log.tsv", "--min-frequency", "2", "--out", "data");
    assert.match(await place.fail(1, "train", "--resume", "--out", "run"), /its dataset .*data has changed since$/);
    assert.match(await place.fail(1, "evaluate", "run"), /^Cannot evaluate run: its dataset .*data has changed since/);
  },
);
