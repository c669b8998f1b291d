import assert from "node:assert/strict";
import { diagnosisText } from "../../src/report/tables.ts";
import { slowTest, someOf } from "../support/series.ts";
import { jsonLines, TINY_MODEL, Workplace } from "./support.ts";

const COMMANDS = [
  "prepare",
  "generate",
  "profile",
  "layout",
  "train",
  "evaluate",
  "predict",
  "runs",
  "compare",
  "report",
  "sweep",
  "clean",
  "reproduce",
  "doctor",
];

for (const command of someOf(COMMANDS, 8)) {
  Deno.test(`${command} -h shows every default and one example`, async () => {
    using place = new Workplace();
    const help = await place.succeed(command, "-h");
    assert.match(help, /--verbose +stack traces with errors/);
    if (/--seed/.test(help)) assert.match(help, /--seed <n> +random seed\s+\(default: 123\)/);
    assert.equal(
      help.match(new RegExp(`^Example: hotset ${command} .*|^Example: hotset ${command}$`, "gm"))?.length,
      1,
    );
    assert.equal(await place.succeed("help", command), help);
  });
}

Deno.test("without a command the help lists all of them", async () => {
  using place = new Workplace();
  const { code, stderr } = await place.run();
  assert.equal(code, 2);
  for (const command of COMMANDS) assert.match(stderr, new RegExp(`^  ${command} `, "m"));
});

slowTest("doctor says what the machine offers, and the command that installs what is missing", async () => {
  using place = new Workplace();
  const nothing = place.join("nothing.so");
  const missing = { HOTSET_OPENBLAS: nothing, HOTSET_ONNXRUNTIME: nothing };
  const { stdout } = await place.runWith(missing, "doctor", "--json");
  const [diagnosis] = jsonLines(stdout);
  assert.equal(diagnosis.event, "doctor");
  assert.ok(diagnosis.cores >= 1 && diagnosis.gemmGflops.wasm > 0 && diagnosis.copyGbPerSecond > 0);
  assert.ok(diagnosis.kaggleSpeed > 0 && diagnosis.kaggleSpeed < 1.1 * diagnosis.kaggleLimit);
  for (const library of ["OpenBLAS", "ONNX Runtime"]) {
    const { found, detail } = diagnosis.findings.find(({ name }: { name: string }) => name === library);
    assert.equal(found, false);
    assert.match(detail, /Install it with: \S+/);
  }
  const text = diagnosisText(diagnosis);
  assert.match(text, /^ok +WASM kernels +\d+ GFLOP\/s/m);
  assert.match(text, /^optional +OpenBLAS +Cannot load/m);
});

/** The configuration that a run recorded. */
const recorded = (place: Workplace, run: string) =>
  JSON.parse(Deno.readTextFileSync(place.join(run, "run.json"))).config;

Deno.test("--config gives flags, and flags override it", async () => {
  using place = new Workplace();
  await place.log("day_0.tsv", 400);
  await place.log("day_1.tsv", 200);
  const config = {
    "test": ["day_1.tsv"],
    "arch-mlp-bot": "13-16-8",
    "arch-mlp-top": [16, 1],
    "save": false,
    "mini-batch-size": 32,
    "learning-rate": 0.5,
    "print-time": true,
    "json": false,
    "ranks": 1,
    "scheduler-rate": 25,
  };
  place.write("config.json", JSON.stringify(config));
  const [dataset] = jsonLines(
    await place.succeed(
      "train",
      ...["--config", "config.json", "day_0.tsv", "--learning-rate", "0.25", "--out", "run", "--json"],
    ),
  );
  assert.equal(dataset.samples.test, 200);
  const { batchSize, learningRate, bottom, top, dim, ranks, schedulerRate, save } = recorded(place, "run");
  assert.deepEqual(
    { batchSize, learningRate, bottom, top, dim, ranks, schedulerRate, save },
    {
      batchSize: 32,
      learningRate: 0.25,
      bottom: [16, 8],
      top: [16, 1],
      dim: 8,
      ranks: 1,
      schedulerRate: 25,
      save: false,
    },
  );
  assert.deepEqual(place.files("run"), ["run/metrics.jsonl", "run/run.json"], "nothing is saved");
});

Deno.test("negatives: --item takes one column, the counts are in the event, and progress lines have the GAUC", async () => {
  using place = new Workplace();
  const columns = ["user", "item"].map((name) => ({ name, kind: "sparse" }));
  place.write("schema.json", JSON.stringify({ columns }));
  const pairs = Array.from({ length: 300 }, (_, i) => `${i % 12},${(i % 12 + i % 5) % 17}\n`);
  place.write("pairs.csv", `user,item\n${pairs.join("")}`);
  const { code, stdout, stderr } = await place.run(
    ...[
      "train",
      "--format",
      "csv",
      "--schema",
      "schema.json",
      "--mode",
      "cpu",
      "--ranks",
      "1",
      "--out",
      "run",
      "--json",
    ],
    ...["--arch-sparse-feature-size", "4", "--arch-mlp-top", "4-1", "--validation-fraction", "0.2"],
    ...["--negatives", "1", "--group", "user", "--item", "item", "pairs.csv"],
  );
  assert.equal(code, 0, stderr);
  const [{ negatives, samples }] = jsonLines(stdout);
  assert.deepEqual(negatives, { drawn: samples.train + samples.validation + samples.test - 300, missing: 0 });
  assert.match(stderr, /^validation after step \d+: AUC 0\.\d+, logloss \S+, accuracy \S+ %, GAUC 0\.\d+$/m);
});

slowTest("a preset is a published model, and its parts can be overridden", async () => {
  using place = new Workplace();
  await place.log("log.tsv", 300);
  await place.succeed("train", "log.tsv", "--preset", "terabyte", "--arch-mlp-top", "8-1", "--out", "run");
  const { dim, bottom, top, batchSize } = recorded(place, "run");
  assert.deepEqual({ dim, bottom, top, batchSize }, { dim: 64, bottom: [512, 256, 64], top: [8, 1], batchSize: 2048 });
});

slowTest("a run goes into the first directory that is free", async () => {
  using place = new Workplace();
  await place.log("log.tsv", 300);
  for (const run of ["hotset/run-1", "hotset/run-2"]) {
    assert.match(await place.succeed("train", "log.tsv", ...TINY_MODEL), new RegExp(`^Runs: ${run}$`, "m"));
  }
});

Deno.test("a mode that needs a GPU fails without one before anything is prepared", async () => {
  using place = new Workplace();
  await place.log("log.tsv", 300);
  // A driver that is not there, so that the test says the same on a machine with a GPU.
  const env = { HOTSET_CUDA_DRIVER: place.join("no.so"), HOTSET_CUDART: place.join("no.so") };
  for (const flags of [["log.tsv", "--mode", "gpu"], ["--demo", "--mode", "hybrid"], ["log.tsv", "--device", "cuda"]]) {
    const { code, stdout, stderr } = await place.runWith(env, "train", ...flags, "--quiet");
    assert.equal(code, 1);
    assert.match(stderr, /^error: Cannot (use|load) [^\n]*CUDA/);
    assert.equal(stdout, "");
    assert.deepEqual(place.files(), ["log.tsv"]);
  }
});
