/** The command lines of facebookresearch/dlrm's benchmarks run unchanged on small files. */
import assert from "node:assert/strict";
import { zipSync } from "fflate";
import { npy } from "../support/npy.ts";
import { slowTest } from "../support/series.ts";
import { jsonLines, Workplace } from "./support.ts";

const KAGGLE = "--arch-sparse-feature-size=16 --arch-mlp-bot=13-512-256-64-16 --arch-mlp-top=512-256-1 " +
  "--data-generation=dataset --data-set=kaggle --raw-data-file=./input/train.txt " +
  "--processed-data-file=./input/kaggleAdDisplayChallenge_processed.npz --loss-function=bce --round-targets=True " +
  "--learning-rate=0.1 --mini-batch-size=128 --print-freq=1024 --print-time --test-mini-batch-size=16384 " +
  "--test-num-workers=16";
const TERABYTE = "--arch-sparse-feature-size=64 --arch-mlp-bot=13-512-256-64 --arch-mlp-top=512-512-256-1 " +
  "--max-ind-range=10000000 --data-generation=dataset --data-set=terabyte --raw-data-file=./input/day " +
  "--processed-data-file=./input/terabyte_processed.npz --loss-function=bce --round-targets=True --learning-rate=0.1 " +
  "--mini-batch-size=2048 --print-freq=1024 --print-time --test-mini-batch-size=16384 --test-num-workers=16";
const MLPERF = "--arch-sparse-feature-size=128 --arch-mlp-bot=13-512-256-128 --arch-mlp-top=1024-1024-512-256-1 " +
  "--max-ind-range=40000000 --data-generation=dataset --data-set=terabyte --raw-data-file=./input/day " +
  "--processed-data-file=./input/terabyte_processed.npz --loss-function=bce --round-targets=True --learning-rate=1.0 " +
  "--mini-batch-size=2048 --print-freq=2048 --print-time --test-freq=102400 --test-mini-batch-size=16384 " +
  "--test-num-workers=16 --memory-map --mlperf-logging --mlperf-auc-threshold=0.8025 --mlperf-bin-loader " +
  "--mlperf-bin-shuffle";
const words = (line: string) => ["train", ...line.split(" ")];

/** A place with a folder for the input, and what a run in it was told and trained on. */
class Input extends Workplace {
  constructor() {
    super();
    Deno.mkdirSync(this.join("input"));
  }

  config(run: string) {
    return JSON.parse(Deno.readTextFileSync(this.join(run, "run.json"))).config;
  }

  /** Runs a line; its note and the event of its dataset with what that was made from. */
  async train(line: string, ...more: string[]) {
    const { code, stdout, stderr } = await this.run(...words(line), "--json", ...more);
    assert.equal(code, 0, stderr);
    const dataset = jsonLines(stdout).find(({ event }) => event === "dataset");
    const { source } = JSON.parse(Deno.readTextFileSync(`${dataset.directory}/manifest.json`)).body;
    const names = (files: { path: string }[] | null) => files?.map(({ path }) => path.slice(path.lastIndexOf("/") + 1));
    return {
      note: /^Without effect here: .*$/m.exec(stderr)?.[0],
      samples: dataset.samples,
      format: source.format,
      inputs: names(source.inputs),
      test: names(source.testInputs),
      maxIndRange: source.maxIndRange,
    };
  }
}

slowTest("dlrm's kaggle line trains on the raw file, then on the processed one where that is", async () => {
  using place = new Input();
  await place.log("input/train.txt", 1500);
  const raw = await place.train(KAGGLE);
  assert.deepEqual([raw.format, raw.inputs, raw.samples.train], ["criteo", ["train.txt"], 1275]);
  assert.equal(
    raw.note,
    "Without effect here: --data-generation, --loss-function, --round-targets, --print-time, --test-mini-batch-size, " +
      "--test-num-workers, --processed-data-file",
  );
  const { dim, batchSize, learningRate, optimizer, bottom, top, interaction, printFreq } = place.config("hotset/run-1");
  assert.deepEqual(
    { dim, batchSize, learningRate, optimizer, bottom, top, interaction, printFreq },
    {
      ...{ dim: 16, batchSize: 128, learningRate: 0.1, optimizer: "sgd", bottom: [512, 256, 64, 16] },
      ...{ top: [512, 256, 1], interaction: "dot", printFreq: 1024 },
    },
  );

  const rows = Array.from({ length: 1000 }, (_, i) => i);
  const processed = zipSync({
    "X_int.npy": npy(rows.map((i) => Array.from({ length: 13 }, (_, d) => i % (d + 3)))),
    "X_cat.npy": npy(rows.map((i) => Array.from({ length: 26 }, (_, t) => i * i % (t + 7))), {
      double: true,
      fortran: true,
    }),
    "y.npy": npy(rows.map((i) => [i % 3 === 0 ? 1 : 0]), { vector: true }),
    "counts.npy": npy(Array.from({ length: 26 }, (_, t) => [t + 7]), { vector: true }),
  });
  place.write("input/kaggleAdDisplayChallenge_processed.npz", processed);
  const again = await place.train(KAGGLE);
  assert.deepEqual(
    [again.format, again.inputs, again.samples.train],
    ["dlrm", ["kaggleAdDisplayChallenge_processed.npz"], 850],
  );
  assert.match(again.note!, /, --raw-data-file$/);
});

slowTest(
  "dlrm's terabyte line trains on the days in the order of their numbers and tests on the last",
  async () => {
    using place = new Input();
    for (const day of [0, 1, 2, 9, 10]) await place.log(`input/day_${day}`, 300 + day);
    place.write("input/day_fea_count.npz", "not a day");
    place.write("input/day_0_processed.npz", "not a day either");
    const days = await place.train(TERABYTE);
    assert.deepEqual(days.inputs, ["day_0", "day_1", "day_2", "day_9"]);
    assert.deepEqual(days.test, ["day_10"]);
    assert.deepEqual([days.format, days.maxIndRange, days.samples.test], ["criteo", 10_000_000, 310]);
    assert.deepEqual(place.config("hotset/run-1").bottom, [512, 256, 64]);
    // The last day is one of all if the command line says what to test on; MLPerf's line reads the same files.
    const line = `${MLPERF} --arch-mlp-bot=13-8 --arch-sparse-feature-size=8 --arch-mlp-top=8-1 --test-fraction=0.2`;
    const mlperf = await place.train(line);
    assert.deepEqual(mlperf.inputs, ["day_0", "day_1", "day_2", "day_9", "day_10"]);
    assert.deepEqual(mlperf.test ?? [], []);
    const { targetAuc, testFreq, learningRate } = place.config("hotset/run-2");
    assert.deepEqual({ targetAuc, testFreq, learningRate }, { targetAuc: 0.8025, testFreq: 102400, learningRate: 1 });
  },
);

slowTest(
  "with --load-model dlrm's line begins with that model, is only scored, or goes on",
  async () => {
    using place = new Input();
    await place.log("input/train.txt", 1500);
    const line = `${KAGGLE} --nepochs=2`;
    await place.train(line, "--save-model=first");
    await place.train(line, "--load-model=first", "--save-model", "second");
    const { from } = JSON.parse(Deno.readTextFileSync(place.join("second/run.json")));
    assert.equal(from.directory, "../first/best");
    assert.equal(place.config("second").epochs, 2);

    const scored = await place.run(...words(line), "--inference-only", "--load-model=first", "--json");
    assert.equal(scored.code, 0, scored.stderr);
    const metrics = jsonLines(scored.stdout);
    assert.deepEqual(metrics.map(({ event, split }) => [event, split]), [
      ["evaluation", "validation"],
      ["evaluation", "test"],
    ]);
    assert.deepEqual(jsonLines(await place.succeed("evaluate", "first", "--json")), metrics);
    assert.match(scored.stderr, /, --arch-sparse-feature-size=16 .*, data files \(the data of the run is scored\)$/m);
    assert.deepEqual(
      jsonLines(await place.succeed("train", "--load-model", "first", "--inference-only", "--json")),
      metrics,
    );

    const [result] = jsonLines(await place.succeed("train", "--load-model=first", "--json")).slice(-1);
    assert.deepEqual([result.event, result.run, result.steps], ["result", "first", 20]);
  },
);
