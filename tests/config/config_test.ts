import assert from "node:assert/strict";
import { readWidths } from "../../src/config/option_types.ts";
import { UsageError } from "../../src/errors.ts";
import { checkConfig, type Preset, PRESETS, resolveConfig, type TrainConfig } from "../../src/config/config.ts";

const trained = (preset: Preset, ...layers: Partial<TrainConfig>[]) => {
  const { optimizer, learningRate } = resolveConfig(preset, ...layers);
  return [optimizer, learningRate];
};

Deno.test("every optimizer has a learning rate of its own; a preset's belongs to the preset's optimizer", () => {
  assert.deepEqual(trained("default"), ["adagrad", 0.01]);
  assert.deepEqual(trained("kaggle"), ["sgd", 0.1]);
  assert.deepEqual(trained("mlperf"), ["sgd", 1]);
  assert.deepEqual(trained("taobao"), ["adagrad", 0.05]);
  assert.deepEqual(trained("pairs"), ["adam", 0.01]);
  assert.equal(resolveConfig("pairs").weightDecay, 1e-5);
  assert.equal(resolveConfig("pairs", { optimizer: "adagrad" }).weightDecay, 0);
  assert.equal(resolveConfig("pairs", { optimizer: "adagrad" }, { optimizer: "adamw" }).weightDecay, 0.01);
  assert.equal(resolveConfig("kaggle", { optimizer: "adam", weightDecay: 0.5 }, { epochs: 2 }).weightDecay, 0.5);
  for (const preset of Object.keys(PRESETS) as Preset[]) {
    const own = resolveConfig(preset);
    for (const [optimizer, rate] of [["sgd", 0.1], ["adagrad", 0.01], ["rwsadagrad", 0.03]] as const) {
      const expected = optimizer === own.optimizer ? own.learningRate : rate;
      assert.deepEqual(trained(preset, { optimizer }), [optimizer, expected], preset);
    }
  }
});

Deno.test("the preset default begins with hot batches, the published models with cold ones, as they were published", () => {
  const turns = Object.keys(PRESETS).map((preset) => [preset, resolveConfig(preset as Preset).firstTurn]);
  assert.deepEqual(Object.fromEntries(turns), {
    ...{
      default: "hot",
      pairs: "hot",
      kaggle: "cold",
      avazu: "cold",
      terabyte: "cold",
      mlperf: "cold",
      "mlperf-dcnv2": "cold",
      taobao: "cold",
    },
  });
  for (const preset of Object.keys(PRESETS) as Preset[]) {
    const { firstTurn, turns } = resolveConfig(preset);
    assert.equal(turns, firstTurn === "hot" ? "shrinking" : "equal", preset);
  }
  assert.equal(resolveConfig("kaggle", { firstTurn: "hot" }).firstTurn, "hot");
  assert.throws(() => resolveConfig("kaggle", { firstTurn: "warm" } as never), /firstTurn must be hot or cold$/);
});

Deno.test("a learning rate that is given wins, with or without an optimizer, unless a later layer chooses another", () => {
  assert.deepEqual(trained("kaggle", { optimizer: "adagrad", learningRate: 0.5 }), ["adagrad", 0.5]);
  assert.deepEqual(trained("kaggle", { learningRate: 0.5 }, { optimizer: "adagrad" }), ["adagrad", 0.5]);
  assert.deepEqual(trained("kaggle", { optimizer: "adagrad" }, { learningRate: 0.5 }), ["adagrad", 0.5]);
  assert.deepEqual(trained("kaggle", { optimizer: "adagrad", learningRate: 0.5 }, { optimizer: "sgd" }), ["sgd", 0.1]);
  assert.deepEqual(trained("kaggle", { optimizer: "adagrad", learningRate: 0.5 }, { epochs: 2 }), ["adagrad", 0.5]);
});

Deno.test("what is no preset, no key or no value is refused in words that say what would be", () => {
  const refused = (work: () => unknown, message: string) =>
    assert.throws(work, (error) => error instanceof UsageError && assert.equal(error.message, message) === undefined);
  const start = "Cannot use the configuration: ";
  refused(() => resolveConfig("kagle" as never), `${start}unknown preset "kagle"; did you mean "kaggle"?`);
  refused(
    () => resolveConfig("toString" as never),
    `${start}unknown preset "toString"; there are default, pairs, kaggle, avazu, terabyte, mlperf, mlperf-dcnv2, taobao`,
  );
  refused(
    () => resolveConfig({ bottom: [16] } as never), /* an object in place of the preset */
    `${start}unknown preset "[object Object]"; there are default, pairs, kaggle, avazu, terabyte, mlperf, mlperf-dcnv2, taobao`,
  );
  refused(
    () => resolveConfig("kaggle", { "learning-rate": 1 } as never),
    `${start}unknown key "learning-rate"; did you mean "learningRate"?`,
  );
  refused(() => resolveConfig("kaggle", { xyz: 1 } as never), `${start}unknown key "xyz"`);
  for (
    const [key, values, expected] of [
      ["batchSize", [0, -1, 1.5, NaN, "8", null, undefined, 2 ** 60], "a whole number from 1"],
      ["ranks", [0, 257, 1.5, "2"], "a whole number from 1 to 256"],
      ["seed", [-1, 2 ** 32, 0.5], "a whole number from 0 to 4294967295"],
      ["learningRate", [0, -1, NaN, "1"], "a number above 0"],
      ["schedulerRate", [0.5, 101, "a"], "a number from 1 to 100"],
      ["sampleRate", [0, 101], "a number above 0, at most 100"],
      ["targetAuc", [-1, 2, "x"], "a number from 0 to 1"],
      ["checkpointMinutes", [-1, null], "a number from 0"],
      ["optimizer", ["lion", 1], "sgd, adagrad, rwsadagrad, adam or adamw"],
      ["interaction", ["sum"], "dot or cat"],
      ["save", [1, "yes"], "true or false"],
      ["bottom", [[], 16, ["16"]], "a list of whole numbers from 1"],
    ] as const
  ) {
    for (const value of values) {
      refused(() => resolveConfig("kaggle", { [key]: value }), `${start}${key} must be ${expected}`);
    }
  }
  refused(
    () => checkConfig({ ...resolveConfig("kaggle"), top: [8, 0.5] }),
    `${start}top must be a list of whole numbers from 1`,
  );
});

Deno.test("the length of rows alone decides in what a preset's bottom MLP ends", () => {
  assert.deepEqual(resolveConfig("kaggle", { dim: 8 }).bottom, [512, 256, 64, 8]);
  assert.deepEqual(resolveConfig("kaggle", { dim: 8, bottom: [32, 16] }).bottom, [32, 16]);
});

Deno.test("what the last layer says must act; what layers before it prefer need not", () => {
  const refused = (layer: Partial<TrainConfig>, message: RegExp) =>
    assert.throws(
      () => resolveConfig("default", layer),
      (error) => error instanceof UsageError && message.test(error.message),
    );
  const onlyFae =
    /: only (mode fae has hot rows and batches|modes fae and cached have a budget of rows); choose --mode fae$/;
  refused({ mode: "cpu", firstTurn: "cold" }, /^Cannot use --first-turn with --mode cpu/);
  resolveConfig("kaggle", { ...resolveConfig("default"), mode: "cpu", save: false }); // a whole configuration
  for (
    const layer of [{ firstTurn: "cold" }, { turns: "equal" }, { hotMemory: 9 }, { schedulerRate: 9 }, {
      sampleRate: 9,
    }] as const
  ) {
    for (const mode of ["cpu", "gpu", "hybrid"] as const) refused({ ...layer, mode }, onlyFae);
    assert.equal(resolveConfig("default", layer, { mode: "cpu" }).mode, "cpu");
    resolveConfig("default", { ...layer, mode: "fae" });
  }
  refused({ decayStartStep: 5 }, /^Cannot use --lr-decay-start-step without a decay: set --lr-num-decay-steps$/);
  refused(
    { shuffle: "none", mode: "fae" },
    /^Cannot use --shuffle none with --mode fae: only modes cpu, gpu and cached keep the order/,
  );
  refused(
    { optimizer: "sgd", weightDecay: 0.1 },
    /^Cannot use --weight-decay with --optimizer sgd: .*choose --optimizer/,
  );
  refused({ keep: 3, save: false }, /^Cannot use --keep with --no-save/);
});

Deno.test("layer widths are read from dashes", () => {
  assert.deepEqual(readWidths("13-512-256-64-16"), [13, 512, 256, 64, 16]);
  assert.deepEqual(readWidths("1"), [1]);
  for (const text of ["", "-", "1-", "-1", "a", "1-b", "1--2", "0", "4-0-1", "1.5", "1e3", " 1", "1,2"]) {
    assert.throws(() => readWidths(text), /^Error: must be whole numbers from 1 with dashes, as in 512-256-1$/);
  }
});
