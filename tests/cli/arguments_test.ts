import assert from "node:assert/strict";
import { UsageError } from "../../src/errors.ts";
import { expandConfig, translateArguments } from "../../cli/arguments.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

/** A translation without the preset that dlrm's flags choose, which has a test of its own. */
const translation = (words: string[]) => {
  const { arguments: translated, ignored } = translateArguments(words);
  return {
    arguments: translated.filter((word, i) => word !== "--preset" && translated[i - 1] !== "--preset"),
    ignored,
  };
};
const translated = (...words: string[]) => translation(words).arguments;

Deno.test("flags of dlrm get Hotset's names; what is an input by chance stays", () => {
  assert.deepEqual(translated("train", "a", "--mini-batch-size=9", "--nepochs", "2", "--use-gpu"), [
    ...["train", "a", "--batch-size", "9", "--epochs", "2", "--device", "cuda"],
  ]);
  for (const name of ["toString", "constructor", "__proto__"]) {
    assert.deepEqual(translated("train", name, "b"), ["train", name, "b"]);
  }
  assert.deepEqual(translated(), []);
  assert.throws(() => translated("train", "--nepochs"), UsageError);
});

Deno.test("a training command with any flag that only dlrm or FAE has gets dlrm's defaults, unless it names a preset", () => {
  const preset = (...words: string[]) => {
    const { arguments: translated } = translateArguments(words);
    return translated.flatMap((word, i) => translated[i - 1] === "--preset" ? [word] : []);
  };
  for (const flags of [["--mini-batch-size=9"], ["--use-gpu"], ["--print-time"], ["--raw-data-file", "x"]]) {
    assert.deepEqual(preset("train", ...flags), ["kaggle"]);
    assert.deepEqual(preset("train", ...flags, "--preset", "default"), ["default"]);
    assert.deepEqual(preset("train", ...flags, "--data-set=terabyte"), ["terabyte"]);
  }
  assert.deepEqual(preset("train", "--load-model=run", "--nepochs=1"), ["kaggle"]);
  assert.deepEqual(preset("train", "--hot-emb-gpu-mem=1GiB"), ["kaggle"]);
  assert.deepEqual(preset("train", "--arch-mlp-bot=13-16", "--learning-rate=0.1", "--epochs=2"), []);
  assert.deepEqual(preset("train", "--load-model=run"), [], "a run goes on with what it has");
  assert.deepEqual(preset("prepare", "--numpy-rand-seed=1"), [], "it trains nothing");
});

Deno.test("an input that a flag names stands before all flags, where no list of files takes it", () => {
  assert.deepEqual(translated("train", "--test", "t.tsv", "--raw-data-file", "log.tsv"), [
    ...["train", "log.tsv", "--test", "t.tsv"],
  ]);
});

Deno.test("the processed file is read if it is there, the raw one otherwise", () => {
  using directory = new TemporaryDirectory();
  const [raw, processed] = [directory.join("train.txt"), directory.join("processed.npz")];
  const both = ["train", `--raw-data-file=${raw}`, `--processed-data-file=${processed}`];
  assert.deepEqual(translation(both), { arguments: ["train", raw], ignored: ["--processed-data-file"] });
  assert.deepEqual(translated("train", both[2]), ["train", "--format=dlrm", processed], "nothing else was named");
  Deno.writeTextFileSync(processed, "");
  assert.deepEqual(translation(both), {
    arguments: ["train", "--format=dlrm", processed],
    ignored: ["--raw-data-file"],
  });
  Deno.mkdirSync(directory.join("dataset"));
  Deno.writeTextFileSync(directory.join("dataset", "manifest.json"), "{}");
  assert.deepEqual(translated("train", `--processed-data-file=${directory.join("dataset")}`), [
    ...["train", directory.join("dataset")],
  ]);
});

Deno.test("a raw file that is not there stands for those of its days", () => {
  using directory = new TemporaryDirectory();
  const day = directory.join("day");
  const days = (...more: string[]) => translated("train", "--raw-data-file", day, ...more);
  assert.deepEqual(days(), ["train", day]);
  assert.deepEqual(translated("train", "--raw-data-file=none/day"), ["train", "none/day"]);
  for (const name of ["day_0.gz", "day_10", "day_9.zst", "day_9", "day_1_processed.npz", "day_x", "monday_1", "day_"]) {
    Deno.writeTextFileSync(directory.join(name), "");
  }
  assert.deepEqual(days(), ["train", `${day}_0.gz`, `${day}_9`, `--test=${day}_10`]);
  for (const test of [["--test", "t"], ["--test=t"], ["--test-fraction=0.1"]]) {
    assert.deepEqual(days(...test), ["train", `${day}_0.gz`, `${day}_9`, `${day}_10`, ...test]);
  }
  Deno.writeTextFileSync(day, "");
  assert.deepEqual(days(), ["train", day]);
  assert.deepEqual(translated("train", `--raw-data-file=${day}/day`), ["train", `${day}/day`], "day is no directory");
  Deno.mkdirSync(directory.join("one"));
  Deno.writeTextFileSync(directory.join("one", "day_3"), "");
  assert.deepEqual(translated("train", `--raw-data-file=${directory.join("one", "day")}`), [
    ...["train", `${directory.join("one", "day")}_3`],
  ]);
});

Deno.test("--load-model goes on alone, begins a run with anything to train, and is scored with --inference-only", () => {
  assert.deepEqual(translated("train", "--json", "--load-model", "run"), [
    ...["train", "--json", "--resume", "--out", "run"],
  ]);
  for (const what of [["clicks"], ["--raw-data-file=log.tsv"], ["--arch-mlp-top=8-1"]]) {
    assert.deepEqual(translated("train", ...what, "--load-model=run").slice(-2), ["--from", "run"]);
  }
  assert.deepEqual(
    translation(["train", "clicks", "--inference-only", "--nepochs", "2", "--json", "--load-model=run"]),
    { arguments: ["evaluate", "run", "clicks", "--json"], ignored: ["--epochs 2"] },
  );
  assert.throws(() => translated("train", "clicks", "--inference-only"), UsageError);
});

Deno.test("a configuration becomes flags: true and false, widths and files", () => {
  using directory = new TemporaryDirectory();
  const path = directory.join("config.json");
  const option = (name: string, takesValue: boolean, takesList = false) => ({
    ...{ name, takesValue, takesList, check: () => {} },
  });
  const known = [
    ...["arch-mlp-bot", "arch-mlp-top", "epochs"].map((name) => option(name, true)),
    ...["test", "item"].map((name) => option(name, true, true)),
    ...["quiet", "json", "no-save"].map((name) => option(name, false)),
  ];
  const flags = (content: unknown) => {
    Deno.writeTextFileSync(path, JSON.stringify(content));
    return expandConfig(["train", "--config", path, "--epochs", "3"], known);
  };
  assert.deepEqual(flags({ "arch-mlp-bot": [13, 16, 8], "arch-mlp-top": "16-1", test: ["a", "b"], epochs: 2 }), [
    ...["train", "--arch-mlp-bot=13-16-8", "--arch-mlp-top=16-1", "--test=a", "--test=b", "--epochs=2"],
    ...["--epochs", "3"],
  ]);
  assert.deepEqual(flags({ save: false, quiet: true, json: false }), [
    ...["train", "--no-save", "--quiet", "--epochs", "3"],
  ]);
  assert.deepEqual(flags({ save: true, "no-save": true }), ["train", "--no-save", "--epochs", "3"]);
  assert.deepEqual(flags({ item: ["a", "b"] }), ["train", "--item=a", "--item=b", "--epochs", "3"]);
  assert.throws(() => flags({ epochs: [1, 2] }), UsageError);
});

Deno.test("a configuration's unknown keys and wrong values are told with the file and what would be right", () => {
  using directory = new TemporaryDirectory();
  const path = directory.join("c.json");
  const known = [
    { name: "quiet", takesValue: false, takesList: false, check: () => {} },
    {
      name: "learning-rate",
      takesValue: true,
      takesList: false,
      check: (value: string) => {
        if (!(Number(value) > 0)) throw new Error("Expected a number above 0.");
      },
    },
    { name: "batch-size", takesValue: true, takesList: false, check: () => {} },
    { name: "no-save", takesValue: false, takesList: false, check: () => {} },
    { name: "arch-mlp-bot", takesValue: true, takesList: false, check: () => {} },
  ];
  const fault = (content: unknown) => {
    Deno.writeTextFileSync(path, JSON.stringify(content));
    try {
      expandConfig(["train", "--config", path], known);
      return undefined;
    } catch (error) {
      assert(error instanceof UsageError);
      const start = `Cannot read the configuration ${path}: `;
      assert(error.message.startsWith(start), error.message);
      return error.message.slice(start.length);
    }
  };
  assert.equal(fault({ learningRate: 0.01 }), 'unknown key "learningRate"; did you mean "learning-rate"?');
  assert.equal(fault({ "batch-sizes": 1 }), 'unknown key "batch-sizes"; did you mean "batch-size"?');
  assert.equal(fault({ zzz: 1 }), 'unknown key "zzz"');
  assert.equal(fault({ "learning-rate": 0 }), "learning-rate cannot be 0: expected a number above 0");
  assert.equal(fault({ "learning-rate": "x" }), 'learning-rate cannot be "x": expected a number above 0');
  assert.equal(fault({ "learning-rate": true }), "learning-rate needs a value");
  assert.equal(fault({ quiet: "yes" }), "quiet must be true or false");
  assert.equal(fault({ save: 1 }), "save must be true or false");
  for (
    const right of [
      { "learning-rate": 1, quiet: true, save: false },
      { "mini-batch-size": 8, "print-time": true, "use-gpu": true, "loss-function": "bce", "raw-data-file": "x" },
      { "no-save": true, "arch-mlp-bot": [8, 4], "batch-size": false },
    ]
  ) assert.equal(fault(right), undefined);
});
