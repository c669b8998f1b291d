/** The command line: parses, calls mod.ts and prints. */
import process from "node:process";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import * as hotset from "./mod.ts";
import config from "./deno.json" with { type: "json" };

/** Flags that every command has. */
interface Common {
  seed: number;
  json?: boolean;
  quiet?: boolean;
  verbose?: boolean;
}

const number = (check: (value: number) => boolean, expected: string) => (text: string) => {
  const value = Number(text);
  if (text.trim() === "" || !check(value)) throw new InvalidArgumentError(`Expected ${expected}.`);
  return value;
};
const positive = number((value) => Number.isSafeInteger(value) && value > 0, "a whole number from 1");
const natural = number((value) => Number.isSafeInteger(value) && value >= 0, "a whole number from 0");
const share = number((value) => value >= 0 && value < 1, "a number from 0 to below 1");
const real = number((value) => Number.isFinite(value) && value > 0, "a number above 0");
const memory = (text: string) => {
  const value = hotset.parseBytes(text);
  if (value === undefined) throw new InvalidArgumentError("Expected bytes, as in 512MiB.");
  return value;
};
const widths = (text: string) => {
  try {
    return hotset.parseWidths(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
};

/** Runs a command's work with its reporter, and prints errors as one line. */
async function run(common: Common, work: (report: hotset.Report) => Promise<void> | void): Promise<void> {
  using terminal = new hotset.Terminal();
  const report: hotset.Report = (event) => {
    if (common.json && event.event !== "stage" && event.event !== "note") console.log(JSON.stringify(event));
    if (!common.quiet) terminal.report(event);
  };
  try {
    await work(report);
  } catch (error) {
    terminal.clear();
    fail(error, common.verbose ?? false);
  }
}

function fail(error: unknown, verbose: boolean): void {
  const known = error instanceof hotset.HotsetError;
  console.error(`error: ${error instanceof Error ? error.message : error}`);
  if (verbose) console.error(error);
  else if (!known) console.error("This is a defect of Hotset; run again with --verbose for where it happened.");
  process.exitCode = known ? error.exitCode : 1;
}

/** Aborts at SIGINT or SIGTERM, so that a run can save itself; a second signal ends the process at once. */
function interruptible(): { signal: AbortSignal; exitCode: () => number | undefined; [Symbol.dispose](): void } {
  const controller = new AbortController();
  let code: number | undefined;
  const on = (name: Deno.Signal, exit: number) => {
    const listener = () => {
      if (controller.signal.aborted) Deno.exit(exit);
      code = exit;
      controller.abort();
    };
    Deno.addSignalListener(name, listener);
    return () => Deno.removeSignalListener(name, listener);
  };
  const remove = [on("SIGINT", 130), on("SIGTERM", 143)];
  return { signal: controller.signal, exitCode: () => code, [Symbol.dispose]: () => remove.forEach((off) => off()) };
}

const withCommon = (command: Command) =>
  command
    .option("--seed <n>", "seed of everything random", natural, 123)
    .option("--json", "print one JSON object a line to stdout")
    .option("--quiet", "no progress on stderr")
    .option("--verbose", "stack traces with errors")
    .showHelpAfterError("(run with --help for the flags)");

const withRaw = (command: Command) =>
  command
    .addOption(new Option("--format <name>", "format of raw files").choices(["criteo", "csv"]).default("criteo"))
    .option("--schema <file>", "JSON file that describes the columns of csv input")
    .option("--test <files...>", "raw files that become the test split")
    .option("--min-frequency <n>", "values seen fewer times share one row", positive, 1)
    .option("--max-ind-range <n>", "hash values into this range first", positive)
    .option("--validation-fraction <share>", "share split off for validation, by order", share, 0.05)
    .option(
      "--test-fraction <share>",
      "share split off for testing, the last part (default: 0.1, or 0 with --test)",
      share,
    )
    .addOption(
      new Option("--on-bad-row <what>", "what a malformed row does").choices(["fail", "skip"] as const).default("fail"),
    )
    .option("--memory <bytes>", "memory that reading raw files may use", memory, 4 * 2 ** 30);

interface RawFlags {
  format: "criteo" | "csv";
  schema?: string;
  test?: string[];
  minFrequency: number;
  maxIndRange?: number;
  validationFraction: number;
  testFraction?: number;
  onBadRow: "fail" | "skip";
  memory: number;
}

/** Leaves out what was not given: optional properties are absent, not undefined. */
function given<T extends object>(record: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as never;
}

function rawOptions({ test, memory, ...flags }: RawFlags) {
  const { format, schema, minFrequency, maxIndRange, validationFraction, testFraction, onBadRow } = flags;
  return given({
    format,
    schema,
    testInputs: test,
    minFrequency,
    maxIndRange,
    validationFraction,
    testFraction,
    onBadRow,
    memoryBytes: memory,
  });
}

const withProfile = (command: Command) =>
  command
    .option("--hot-memory <bytes>", "budget of the hot rows with their optimizer state", memory, 512 * 2 ** 20)
    .option("--sample-rate <percent>", "profile a sample instead of using exact counts", real)
    .option("--arch-sparse-feature-size <dim>", "length of an embedding row", positive, 16)
    .addOption(optimizerOption().default("sgd"));

const optimizerOption = () =>
  new Option("--optimizer <name>", "how gradients change parameters").choices(["sgd", "adagrad", "rwsadagrad"]);

interface ProfileFlags extends Common {
  hotMemory: number;
  sampleRate?: number;
  archSparseFeatureSize: number;
  optimizer: hotset.TrainConfig["optimizer"];
  out?: string;
}

function profileConfig({ hotMemory, sampleRate, archSparseFeatureSize: dim, optimizer, seed }: ProfileFlags) {
  return { hotMemory, sampleRate: sampleRate ?? null, dim, optimizer, seed };
}

const program = new Command("hotset")
  .description("Trains recommendation models fast by keeping their popular rows where the compute is.")
  .version(config.version)
  .exitOverride()
  .showSuggestionAfterError();

withRaw(withCommon(program.command("prepare")))
  .description("Turn raw logs into a dataset.")
  .argument("<input...>", "files or globs in the order of time; .gz, .zst and .parquet work")
  .requiredOption("--out <dir>", "directory of the dataset")
  .addHelpText("after", "\nExample: hotset prepare 'day_*.tsv.gz' --min-frequency 2 --out criteo")
  .action((inputs: string[], flags: RawFlags & Common & { out: string }) =>
    run(flags, async (report) => {
      await hotset.prepareTo({ ...rawOptions(flags), inputs, out: flags.out }, report);
    })
  );

withProfile(withCommon(program.command("profile")))
  .description("Find a dataset's popular rows within a memory budget.")
  .argument("<dataset>", "directory made by prepare")
  .option("--out <dir>", "directory of the profile (default: DATASET-profile)")
  .addHelpText("after", "\nExample: hotset profile criteo --hot-memory 256MiB")
  .action((directory: string, flags: ProfileFlags) =>
    run(flags, (report) => {
      const dataset = hotset.Dataset.open(directory);
      const out = flags.out ?? `${stripSlash(directory)}-profile`;
      const profile = hotset.ensureProfile(dataset, profileConfig(flags), { out }, report);
      if (!flags.json) console.log(hotset.profileTables(profile.body));
    })
  );

withProfile(withCommon(program.command("layout")))
  .description("Pack a dataset into hot and cold batches.")
  .argument("<dataset>", "directory made by prepare")
  .option("--batch-size <n>", "samples to a batch", positive, 128)
  .option("--out <dir>", "directory of the layout (default: DATASET-layout)")
  .addHelpText("after", "\nExample: hotset layout criteo --hot-memory 256MiB --batch-size 2048")
  .action((directory: string, flags: ProfileFlags & { batchSize: number }) =>
    run(flags, (report) => {
      const dataset = hotset.Dataset.open(directory);
      const out = flags.out ?? `${stripSlash(directory)}-layout`;
      const profile = hotset.ensureProfile(dataset, profileConfig(flags), { out: `${out}-profile` }, report);
      using _layout = hotset.ensureLayout(dataset, profile, flags.batchSize, { out }, report);
    })
  );

interface TrainFlags extends RawFlags, Common {
  demo?: boolean;
  out?: string;
  resume?: boolean;
  config?: string;
  mode?: hotset.TrainConfig["mode"];
  device?: hotset.TrainConfig["device"];
  preset: hotset.Preset;
  archSparseFeatureSize?: number;
  archMlpBot?: number[];
  archMlpTop?: number[];
  archInteractionOp?: hotset.TrainConfig["interaction"];
  optimizer?: hotset.TrainConfig["optimizer"];
  batchSize?: number;
  epochs?: number;
  learningRate?: number;
  lrNumWarmupSteps?: number;
  lrDecayStartStep?: number;
  lrNumDecaySteps?: number;
  ranks?: number;
  hotMemory?: number;
  sampleRate?: number;
  printFreq?: number;
  testFreq?: number;
  targetAuc?: number;
  patience?: number;
  save: boolean;
}

function trainLayer(flags: TrainFlags): Partial<hotset.TrainConfig> {
  const [denseFeatures, ...bottom] = flags.archMlpBot ?? [];
  return given({
    mode: flags.mode,
    device: flags.device,
    dim: flags.archSparseFeatureSize ?? bottom.at(-1),
    denseFeatures,
    bottom: flags.archMlpBot && bottom,
    top: flags.archMlpTop,
    interaction: flags.archInteractionOp,
    optimizer: flags.optimizer,
    batchSize: flags.batchSize,
    epochs: flags.epochs,
    learningRate: flags.learningRate,
    warmupSteps: flags.lrNumWarmupSteps,
    decayStartStep: flags.lrDecayStartStep,
    decaySteps: flags.lrNumDecaySteps,
    ranks: flags.ranks,
    hotMemory: flags.hotMemory,
    sampleRate: flags.sampleRate,
    printFreq: flags.printFreq,
    testFreq: flags.testFreq,
    targetAuc: flags.targetAuc,
    patience: flags.patience,
    save: flags.save,
    seed: flags.seed,
  }) as Partial<hotset.TrainConfig>;
}

withRaw(withCommon(program.command("train")))
  .description("Train a model on a dataset or on raw logs; stages that are missing are run.")
  .argument("[input...]", "a dataset, or raw files in the order of time")
  .option("--demo", "train on generated data and compare modes")
  .option("--out <run>", "directory of the run (default: the first free of hotset/run-1, run-2, ...)")
  .option("--resume", "continue the run in --out from its last checkpoint")
  .option("--config <file>", "JSON object of flags without dashes in front; flags given here override it")
  .addOption(new Option("--preset <name>", "a published model").choices(Object.keys(hotset.PRESETS)).default("kaggle"))
  .addOption(
    new Option("--mode <name>", "where rows and MLPs live (default: fae)").choices(["cpu", "hybrid", "gpu", "fae"]),
  )
  .addOption(
    new Option("--device <name>", "what computes (default: auto)").choices(["auto", "cpu", "cuda", "emulated"]),
  )
  .option("--arch-sparse-feature-size <dim>", "length of an embedding row", positive)
  .option("--arch-mlp-bot <widths>", "bottom MLP from the dense features to dim, as in 13-512-256-64-16", widths)
  .option("--arch-mlp-top <widths>", "top MLP without its input, as in 512-256-1", widths)
  .addOption(
    new Option("--arch-interaction-op <op>", "interaction of the features (default: dot)").choices(["dot", "cat"]),
  )
  .addOption(optimizerOption())
  .option("--batch-size <n>", "samples to a batch", positive)
  .option("--epochs <n>", "passes over the train split", positive)
  .option("--learning-rate <rate>", "learning rate", real)
  .option("--lr-num-warmup-steps <n>", "steps over which the rate rises", natural)
  .option("--lr-decay-start-step <n>", "step at which decay begins", natural)
  .option("--lr-num-decay-steps <n>", "steps that the decay takes", natural)
  .option("--ranks <n>", "workers (default: one a core)", positive)
  .option("--hot-memory <bytes>", "budget of the hot rows with their optimizer state (default: 512MiB)", memory)
  .option("--sample-rate <percent>", "profile a sample instead of using exact counts", real)
  .option("--print-freq <steps>", "steps between progress events", positive)
  .option("--test-freq <steps>", "steps between evaluations (default: at the end of epochs)", natural)
  .option("--target-auc <auc>", "stop at this AUC of the validation split", share)
  .option("--patience <n>", "stop after so many evaluations without a better AUC", positive)
  .option("--no-save", "write no checkpoints")
  .addHelpText("after", "\nExample: hotset train day_0.gz day_1.gz --test day_2.gz --min-frequency 2 --out run")
  .action((inputs: string[], flags: TrainFlags) => run(flags, (report) => train(inputs, flags, report)));

async function train(inputs: string[], flags: TrainFlags, report: hotset.Report): Promise<void> {
  using interrupt = interruptible();
  const out = flags.out ?? freeRun();
  const options = { out, report, signal: interrupt.signal };
  try {
    if (flags.resume) {
      print([await hotset.resumeRun(options)], flags);
    } else if (flags.demo) {
      const resolved = hotset.resolveConfig(flags.preset, hotset.DEMO_CONFIG, trainLayer(flags));
      const { results, bestAuc } = await hotset.runDemo(resolved, options);
      print(results, flags);
      if (!flags.json) {
        console.log(`\nThe model that drew the labels reaches AUC ${bestAuc.toFixed(4)} on this test split.`);
      }
    } else {
      const resolved = hotset.resolveConfig(flags.preset, trainLayer(flags));
      const dataset = await hotset.ensureDataset(inputs, rawOptions(flags), hotset.cacheOf(out), report);
      print([await hotset.startRun(resolved, dataset, options)], flags);
    }
  } catch (error) {
    if (!(error instanceof hotset.Interrupted)) throw error;
    console.error(`${error.message}. Continue with: deno run -A cli.ts train --resume --out ${error.run}`);
    process.exitCode = interrupt.exitCode() ?? 1;
  }
}

function print(results: readonly hotset.ResultEvent[], { json }: Common): void {
  if (!json) console.log(`${hotset.resultTable(results)}\n\nRuns: ${results.map((result) => result.run).join(", ")}`);
}

withCommon(program.command("evaluate"))
  .description("Metrics of a run's best checkpoint.")
  .argument("<run>", "directory made by train")
  .argument("[dataset]", "another dataset with the same dictionary")
  .addHelpText("after", "\nExample: hotset evaluate hotset/run-1")
  .action((directory: string, dataset: string | undefined, flags: Common) =>
    run(flags, async (report) => {
      const events = await hotset.evaluateRun(directory, dataset, report);
      if (!flags.json) console.log(hotset.evaluationTable(events));
    })
  );

withCommon(program.command("predict"))
  .description("Click probabilities of raw rows, as CSV.")
  .argument("<run>", "directory made by train")
  .argument("<input...>", "raw files; the label column may be missing")
  .option("--out <file>", "CSV file to write (default: stdout)")
  .addHelpText("after", "\nExample: hotset predict hotset/run-1 new.tsv --out scores.csv")
  .action((directory: string, inputs: string[], flags: Common & { out?: string }) =>
    run(flags, async (report) => {
      hotset.writeScores(await hotset.predictRun(directory, inputs, {}, report), flags.out);
    })
  );

withCommon(program.command("doctor"))
  .description("What this machine offers, what is missing, and how to get it.")
  .addHelpText("after", "\nExample: hotset doctor")
  .action((flags: Common) =>
    run(flags, async () => {
      const diagnosis = await hotset.diagnose();
      if (flags.json) return console.log(JSON.stringify({ event: "doctor", ...diagnosis }));
      console.log(hotset.diagnosisText(diagnosis));
    })
  );

function stripSlash(path: string): string {
  return path.replace(/\/+$/, "");
}

function freeRun(): string {
  for (let n = 1;; n++) {
    try {
      Deno.statSync(`hotset/run-${n}`);
    } catch {
      return `hotset/run-${n}`;
    }
  }
}

/** Runs one command line; the exit code goes to process.exitCode. */
async function main(given: string[]): Promise<void> {
  try {
    const { arguments: words, ignored } = hotset.translateArguments(hotset.expandConfig(given));
    if (ignored.length > 0) console.error(`note: ${ignored.join(", ")} changes nothing here`);
    await program.parseAsync(words, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) fail(error, false);
    else if (error.exitCode !== 0) process.exitCode = 2;
  }
}

if (import.meta.main) await main(Deno.args);
