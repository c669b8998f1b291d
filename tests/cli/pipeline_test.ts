import assert from "node:assert/strict";
import { jsonLines, TINY_MODEL, Workplace } from "./support.ts";
import { slowTest } from "../support/series.ts";

/** Fields that each event must have; more are allowed. */
const FIELDS: Record<string, string[]> = {
  profile: [
    "sampleRate",
    "threshold",
    "hotRows",
    "hotBytes",
    "hotBytesEstimate",
    "hotLookupShare",
    "tables",
    "seconds",
  ],
  layout: ["samples", "hotSamples", "hotSampleShare", "hotBatches", "coldBatches", "bytes", "seconds"],
  progress: ["epoch", "step", "loss", "samplesPerSecond", "hotShare", "learningRate", "rate"],
  evaluation: ["split", "epoch", "step", "auc", "prAuc", "logloss", "accuracy", "calibration", "ne"],
  spent: ["step", "samples", "seconds", "hostToDeviceBytes", "deviceToHostBytes", "bytesFromRanks"],
  result: [
    ...["command", "mode", "device", "ranks", "samples", "steps", "seconds", "samplesPerSecond"],
    ...["auc", "prAuc", "logloss", "accuracy", "calibration", "ne", "hotSampleShare", "hotRows", "hotBytes"],
    ...["hostToDeviceBytes", "deviceToHostBytes", "launchesPerStep", "peakRssBytes", "run"],
  ],
};

slowTest("from a raw log to scores, stage by stage", async () => {
  using place = new Workplace();
  await place.log("log.tsv", 4000);
  assert.equal(await place.succeed("prepare", "log.tsv", "--out", "data", "--validation-fraction", "0.1"), "data\n");

  const budget = ["--hot-memory", "512KiB", "--arch-sparse-feature-size", "8"];
  const tables = await place.succeed("profile", "data", ...budget);
  assert.match(tables, /^table +rows +hot rows +lookups hot/);
  assert.match(tables, /^C26 /m);
  const layout = (await place.succeed("layout", "data", ...budget, "--batch-size", "64")).trim();
  assert.ok(place.files().includes(`${layout}/manifest.json`));

  const artifacts = () => place.files().filter((path) => /^hotset\/(layouts|profiles)\//.test(path));
  const before = artifacts();
  const table = await place.succeed(
    "train",
    ...["data", "--hot-memory", "512KiB", "--batch-size", "64", "--learning-rate", "0.1", ...TINY_MODEL],
  );
  assert.deepEqual(artifacts(), before, "train takes the profile and the layout that are there");
  const [, auc, logloss] = /^fae .* s +(?:best )?\d+ +(\S+) +(\S+)/m.exec(table)!;
  assert.match(table, /^Runs: hotset\/run-1$/m);

  const metrics = jsonLines(await place.succeed("evaluate", "hotset/run-1", "--json"));
  assert.deepEqual(metrics.map(({ split }) => split), ["validation", "test"]);
  assert.deepEqual([auc, logloss], [metrics[1].auc.toFixed(4), metrics[1].logloss.toFixed(4)]);

  // Rows of the test split score as they did in the evaluation, with and without their labels.
  const lines = Deno.readTextFileSync(place.join("log.tsv")).trimEnd().split("\n").slice(-400);
  place.write("test.tsv", lines.join("\n") + "\n");
  place.write("new.tsv", lines.map((line) => line.slice(2)).join("\n") + "\n");
  const csv = await place.succeed("predict", "hotset/run-1", "test.tsv");
  assert.equal(await place.succeed("predict", "hotset/run-1", "new.tsv"), csv);
  await place.succeed("predict", "hotset/run-1", "new.tsv", "--out", "scores.csv");
  assert.equal(Deno.readTextFileSync(place.join("scores.csv")), csv);
  assert.match(await place.succeed("pack", "hotset/run-1", "model.hotset"), /^model\.hotset \([\d.]+ [KM]iB\)\n$/);
  assert.equal(await place.succeed("predict", "model.hotset", "new.tsv"), csv);
  const [head, ...rows] = csv.trimEnd().split("\n").map((line) => line.split(","));
  assert.deepEqual(head, ["row", "probability"]);
  assert.deepEqual(rows.map(([row]) => Number(row)), lines.map((_, i) => i));
  const losses = rows.map(([, p], i) => -Math.log(lines[i][0] === "1" ? Number(p) : 1 - Number(p)));
  const mean = losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
  assert.ok(Math.abs(mean - metrics[1].logloss) < 1e-5, `${mean} and ${metrics[1].logloss}`);
});

Deno.test("--json: one object a line with the documented fields; --quiet: nothing on stderr", async () => {
  using place = new Workplace();
  await place.log("log.tsv", 3000);
  const { code, stdout, stderr } = await place.run(
    "train",
    ...["log.tsv", "--json", "--quiet", "--mode", "fae", "--print-freq", "10", "--batch-size", "64"],
    ...["--epochs", "1", ...TINY_MODEL],
  );
  assert.equal(code, 0, stderr);
  assert.equal(stderr, "");
  const events = jsonLines(stdout);
  for (const event of events) {
    for (const field of FIELDS[event.event] ?? []) assert.ok(field in event, `${field} of ${event.event}`);
  }
  // Checkpoints are written beside all else.
  assert.ok(events.some((event) => event.event === "checkpoint"));
  const names = events.map((event) => event.event).filter((name) => name !== "checkpoint");
  assert.deepEqual(
    names.filter((name, i) => name !== names[i - 1]),
    ["dataset", "profile", "layout", "progress", "evaluation", "spent", "evaluation", "result"],
  );
  assert.equal(names.filter((name) => name === "evaluation").length, 2);
  const result = events.at(-1);
  assert.equal(result.samples, 3000 - 150 - 300);
  assert.equal(result.steps, Math.ceil(result.samples / 64));
  assert.equal(result.ranks, 2);
  for (const field of ["seconds", "samplesPerSecond", "auc", "logloss", "hotRows", "peakRssBytes"]) {
    assert.ok(result[field] > 0, `${field} ${result[field]}`);
  }
  const scores = jsonLines(await place.succeed("predict", "hotset/run-1", "log.tsv", "--json"));
  assert.equal(scores.filter(({ event }) => event === "score").length, 3000);
});

slowTest("test files of their own become the test split", async () => {
  using place = new Workplace();
  await place.log("train.tsv", 1000);
  await place.log("test.tsv", 300);
  const [dataset] = jsonLines(
    await place.succeed("prepare", "train.tsv", "--test", "test.tsv", "--out", "data", "--json"),
  );
  assert.deepEqual(dataset.samples, { train: 950, validation: 50, test: 300 });
});
