/** The command line: parses, calls mod.ts and prints. */
import { dirname, relative } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { expectEffect } from "./cli/effects.ts";
import * as hotset from "./mod.ts";
import config from "./deno.json" with { type: "json" };

/** Where `train` keeps its runs and looks for profiles and layouts, unless told. */
const HOME = "hotset";
const PRESET = "default";
const DEFAULTS = hotset.resolveConfig(PRESET);
/** Defaults as `--help` shows them. */
const standard = (key: keyof hotset.TrainConfig) => `(default: ${DEFAULTS[key]})`;
const binary = (value: number) => hotset.bytes(value).replace(" ", "");

/** Flags that every command has. */
interface Common {
  json?: boolean;
  quiet?: boolean;
  verbose?: boolean;
  collective?: string;
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
async function run(
  common: Common,
  work: (report: hotset.Report, atEnd: DisposableStack, interrupt: hotset.Interrupt) => Promise<void> | void,
): Promise<void> {
  using atEnd = new DisposableStack();
  using terminal = new hotset.Terminal();
  using interrupt = new hotset.Interrupt();
  // Processes that mpirun started are ended by it, until they train.
  if ((common.collective ?? "shared") === "shared") interrupt.watch();
  const report: hotset.Report = (event) => {
    if (event.event === "stage") interrupt.check();
    if (common.json && event.event !== "stage" && event.event !== "note") console.log(JSON.stringify(event));
    if (!common.quiet) terminal.report(event);
  };
  try {
    await work(report, atEnd, interrupt);
  } catch (error) {
    terminal.clear();
    fail(error, common, interrupt.exitCode);
  }
}

/**
 * Joins the processes that mpirun started; the first one reports. What fails on one ends all. They leave `atEnd`, when the
 * one that failed has said why: the launcher ends all as soon as one has ended with an error.
 */
async function inCluster(
  common: Common,
  report: hotset.Report,
  atEnd: DisposableStack,
  work: (report: hotset.Report, cluster: hotset.Cluster) => Promise<void>,
): Promise<void> {
  const cluster = atEnd.use(hotset.Cluster.open());
  try {
    await work(cluster.first ? report : () => {}, cluster);
  } catch (error) {
    process.exitCode = 1;
    if (error instanceof hotset.PeerFailed) return;
    if (cluster.knows(error)) throw error;
    fail(error, common, 1, `rank ${cluster.rank}: `);
    cluster.abort(1);
  }
}

/** Throws where mpirun started several processes that would get in each other's way. */
function expectOneProcess(): void {
  const processes = hotset.mpirunProcesses();
  if (processes === 1) return;
  throw new hotset.UsageError(
    `Cannot work as one of ${processes} processes that would all do the same: add --collective mpi, or start one`,
  );
}

/** Runs work that makes files in some directories: here, or divided over the processes that mpirun started. */
async function runAsTeam(
  flags: TeamFlags & Common,
  directories: readonly string[],
  work: (report: hotset.Report, team: hotset.Team, interrupt: hotset.Interrupt) => Promise<void> | void,
): Promise<void> {
  await run(flags, async (report, atEnd, interrupt) => {
    if (flags.collective === "shared") {
      expectOneProcess();
      return await work(report, hotset.ALONE, interrupt);
    }
    await inCluster(
      flags,
      report,
      atEnd,
      (report, cluster) => cluster.asTeam(directories, (team) => work(report, team, interrupt)),
    );
  });
}

/** Tells of an error in one line, the rest of a long message below it, and with --json as an object on stdout too. */
function fail(error: unknown, { json, verbose }: Partial<Common>, signalled = 1, who = ""): void {
  const code = hotset.codeOf(error);
  const hint = error instanceof Deno.errors.NotCapable ? "; SECURITY.md lists what each command needs" : "";
  const message = `${who}${error instanceof Error ? error.message : error}${hint}`;
  console.error(`${code === "interrupted" ? "" : "error: "}${message}`);
  if (json) console.log(JSON.stringify({ event: "error", code, message }));
  if (verbose) console.error(error);
  else if (code === "defect") {
    console.error("This is a defect of Hotset; run again with --verbose for where it happened.");
  }
  process.exitCode = code === "usage" ? 2 : code === "interrupted" ? signalled : 1;
}

const withCommon = (command: Command) =>
  command
    .option("--json", "print one JSON object a line to stdout")
    .option("--quiet", "no progress on stderr")
    .option("--verbose", "stack traces with errors");

/** For commands that draw something at random. */
const withSeed = (command: Command) =>
  withCommon(command).option("--seed <n>", "seed of everything random", natural, 123);

interface Seeded extends Common {
  seed: number;
}

/** How the stages before training are divided. */
interface TeamFlags {
  collective: "shared" | "mpi";
}

const withTeam = (command: Command) =>
  command.addOption(
    new Option(
      "--collective <name>",
      "who works: this process, or those that mpirun started, on a disk that they share",
    )
      .choices(["shared", "mpi"]).default("shared"),
  );

/** An option of bytes with a default, shown as people write it. */
const memoryOption = (flags: string, description: string, value: number) =>
  new Option(flags, description).argParser(memory).default(value, binary(value));

const withRaw = (command: Command) =>
  command
    .addOption(new Option("--format <name>", "format of raw files").choices(hotset.FORMATS).default("criteo"))
    .option("--schema <file>", "JSON file that describes the columns of csv and parquet input")
    .option("--test <files...>", "raw files that become the test split")
    .option("--min-frequency <n>", "values seen less often than this share one row", positive, 1)
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
    .addOption(memoryOption("--memory <bytes>", "memory that reading raw files may use", 4 * 2 ** 30));

const withUnknown = (command: Command) =>
  command.option(
    "--max-unknown <share>",
    "fail where more of one table's lookups meet values the dictionary does not know (default: a note from 0.5 on)",
    number((value) => value >= 0 && value <= 1, "a number from 0 to 1"),
  );

interface UnknownFlags {
  maxUnknown?: number;
}

interface RawFlags extends UnknownFlags {
  format: hotset.Format;
  schema?: string;
  test?: string[];
  minFrequency: number;
  maxIndRange?: number;
  validationFraction: number;
  testFraction?: number;
  onBadRow: "fail" | "skip";
  memory: number;
}

interface GenerateFlags extends Seeded {
  preset: hotset.Shape;
  samples: number;
  out: string;
  raw?: boolean;
  scale: number;
  drift: number;
  validationFraction: number;
  testFraction: number;
}

/** Leaves out what was not given: optional properties are absent, not undefined. */
function given<T extends object>(record: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as never;
}

function rawOptions({ test, memory, ...flags }: RawFlags, { signal }: hotset.Interrupt) {
  const { format, schema, minFrequency, maxIndRange, validationFraction, testFraction, onBadRow, maxUnknown } = flags;
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
    maxUnknown,
    signal,
  });
}

const HOT_MEMORY = "budget of the hot rows with their optimizer state";
const SAMPLE_RATE = "percent of the samples to profile (default: none, exact counts are used)";

const withProfile = (command: Command) =>
  command
    .addOption(memoryOption("--hot-memory <bytes>", HOT_MEMORY, DEFAULTS.hotMemory))
    .option("--sample-rate <percent>", SAMPLE_RATE, real)
    .option("--arch-sparse-feature-size <dim>", "length of an embedding row", positive, DEFAULTS.dim)
    .addOption(optimizerOption().default(DEFAULTS.optimizer));

const learningRates = hotset.OPTIMIZER_NAMES.map((name) => `${name} ${hotset.OPTIMIZERS[name].learningRate}`).join(
  ", ",
);
const optimizerOption = (standard = "") =>
  new Option("--optimizer <name>", `how gradients change parameters${standard}`).choices(hotset.OPTIMIZER_NAMES);

const shuffleOption = (standard = "") =>
  new Option(
    "--shuffle <what>",
    `what is put in random order: samples when laid out and batches in epochs; batches; none${standard}`,
  )
    .choices(["samples", "batches", "none"]);

interface ProfileFlags extends Seeded {
  hotMemory: number;
  sampleRate?: number;
  archSparseFeatureSize: number;
  optimizer: hotset.TrainConfig["optimizer"];
  out?: string;
}

function profileConfig({ hotMemory, sampleRate, archSparseFeatureSize: dim, optimizer, seed }: ProfileFlags) {
  return { hotMemory, sampleRate: sampleRate ?? null, dim, optimizer, seed };
}

/** All commands. */
export const program = new Command("hotset")
  .description("Trains recommendation models fast by keeping their popular rows where the compute is.")
  .version(config.version)
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(`${text.trimEnd().replaceAll("\n", " ")}\n`) });

withTeam(withUnknown(withRaw(withCommon(program.command("prepare")))))
  .description("Turn raw logs into a dataset.")
  .argument("<input...>", "files or patterns in the order of time; gzip, zstd and Parquet work")
  .option("--out <dir>", "directory of the dataset")
  .option("--infer", "print a schema proposed for the input, to be edited, instead")
  .addHelpText("after", "\nExample: hotset prepare 'day_*.tsv.gz' --min-frequency 2 --out criteo")
  .action((inputs: string[], flags: RawFlags & TeamFlags & Common & { out?: string; infer?: boolean }) =>
    runAsTeam(flags, [folderOf(flags)], async (report, team, interrupt) => {
      const { out, infer, json } = flags;
      if (infer) {
        const onProgress = (fraction: number) => report({ event: "stage", stage: "infer", fraction });
        if (inputs.length > 1) report({ event: "note", text: `The schema is that of ${inputs[0]} alone` });
        const onNote = (text: string) => report({ event: "note", text });
        if (team.rank > 0) return;
        console.log(JSON.stringify(await hotset.inferSchema(inputs[0], onProgress, onNote), null, 2));
        return;
      }
      if (out === undefined) return team.agree(new hotset.UsageError("Cannot prepare: name the dataset with --out"));
      await hotset.prepareTo({ ...rawOptions(flags, interrupt), inputs, out, team }, report);
      if (!json && team.rank === 0) console.log(out);
    })
  );

withSeed(program.command("generate"))
  .description("Generate a dataset in the shape of a published log, with a model planted in it.")
  .addOption(new Option("--preset <name>", "shape of the tables").choices(hotset.SHAPES).default("kaggle"))
  .requiredOption("--samples <n>", "samples of all splits", positive)
  .requiredOption("--out <dir>", "directory of the dataset, or with --raw a new file")
  .option("--raw", "write a raw log in the Criteo format instead")
  .option("--scale <factor>", "make tables smaller by this factor", real, 1)
  .option("--drift <share>", "share of the popular rows that others replace over time", share, 0)
  .option("--validation-fraction <share>", "share of the validation split", share, 0.05)
  .option("--test-fraction <share>", "share of the test split", share, 0.1)
  .addHelpText("after", "\nExample: hotset generate --preset kaggle --samples 1000000 --out clicks")
  .action((flags: GenerateFlags) =>
    run(flags, (report) => {
      const { preset: shape, samples, out, raw, scale, drift, seed } = flags;
      const fractions = { validation: flags.validationFraction, test: flags.testFraction };
      const onProgress = (fraction: number) => report({ event: "stage", stage: "generate", fraction });
      const options = { shape, samples, scale, drift, seed, fractions, onProgress };
      if (hotset.isArtifact(out)) report({ event: "note", text: `What is in ${out} will be replaced` });
      const bestAuc = raw
        ? hotset.writeCriteoLog(out, options)
        : hotset.generateDataset(out, options).body.generated!.bestAuc;
      console.log(flags.json ? JSON.stringify({ event: "generated", out, samples, bestAuc }) : out);
    })
  );

withTeam(withProfile(withSeed(program.command("profile"))))
  .description("Find a dataset's popular rows within a memory budget.")
  .argument("<dataset>", "directory made by prepare")
  .option(
    "--out <dir>",
    "directory of the profile (default: in hotset/, where train looks for it unless its --out lies elsewhere)",
  )
  .option("--report <file>", "HTML file to write: popularity, coverage and what another budget would buy")
  .addHelpText("after", "\nExample: hotset profile criteo --hot-memory 256MiB")
  .action((directory: string, flags: ProfileFlags & TeamFlags & { report?: string }) =>
    runAsTeam(flags, [folderOf(flags)], (report, team) => {
      const dataset = hotset.openTogether(directory, team);
      const profile = hotset.ensureProfile(dataset, profileConfig(flags), placeOf(flags), report, team);
      if (team.rank > 0) return;
      if (flags.report !== undefined) hotset.writeProfileReport(profile, dataset, flags.report);
      if (!flags.json) console.log(hotset.profileTables(profile.body));
    })
  );

withTeam(withProfile(withSeed(program.command("layout"))))
  .description("Pack a dataset into hot and cold batches.")
  .argument("<dataset>", "directory made by prepare")
  .option("--batch-size <n>", "samples to a batch", positive, DEFAULTS.batchSize)
  .addOption(shuffleOption().default(DEFAULTS.shuffle))
  .option(
    "--out <dir>",
    "directory of the layout (default: in hotset/, where train looks for it unless its --out lies elsewhere)",
  )
  .addHelpText("after", "\nExample: hotset layout criteo --hot-memory 256MiB --batch-size 2048")
  .action((directory: string, flags: ProfileFlags & TeamFlags & hotset.LayoutConfig) =>
    runAsTeam(flags, [HOME, folderOf(flags)], (report, team) => {
      const dataset = hotset.openTogether(directory, team);
      const profile = hotset.ensureProfile(dataset, profileConfig(flags), { cache: HOME }, report, team);
      using layout = hotset.ensureLayout(dataset, profile, flags, placeOf(flags), report, team);
      if (!flags.json && team.rank === 0) console.log(layout.directory);
    })
  );

interface TrainFlags extends RawFlags, Seeded {
  demo?: boolean;
  out?: string;
  report?: string;
  from?: string;
  resume?: boolean;
  config?: string;
  mode?: hotset.TrainConfig["mode"];
  device?: hotset.TrainConfig["device"];
  precision?: hotset.TrainConfig["precision"];
  activations?: hotset.TrainConfig["activations"];
  preset: hotset.Preset;
  archSparseFeatureSize?: number;
  archMlpBot?: number[];
  archMlpTop?: number[];
  archInteractionOp?: hotset.TrainConfig["interaction"];
  optimizer?: hotset.TrainConfig["optimizer"];
  batchSize?: number;
  shuffle?: hotset.TrainConfig["shuffle"];
  epochs?: number;
  learningRate?: number;
  weightDecay?: number;
  lrNumWarmupSteps?: number;
  lrDecayStartStep?: number;
  lrNumDecaySteps?: number;
  ranks?: number;
  collective: "shared" | "mpi" | "nccl";
  scaling: "strong" | "weak";
  hotMemory?: number;
  schedulerRate?: number;
  firstTurn?: hotset.TrainConfig["firstTurn"];
  sampleRate?: number;
  printFreq?: number;
  testFreq?: number;
  checkpointSteps?: number;
  checkpointMinutes?: number;
  keep?: number;
  targetAuc?: number;
  patience?: number;
  save: boolean;
}

/** What the flags of train say of a configuration. */
export function trainLayer(flags: TrainFlags): Partial<hotset.TrainConfig> {
  const [denseFeatures, ...bottom] = flags.archMlpBot ?? [];
  return given({
    mode: flags.mode,
    device: flags.device,
    precision: flags.precision,
    activations: flags.activations,
    dim: flags.archSparseFeatureSize ?? bottom.at(-1),
    denseFeatures,
    bottom: flags.archMlpBot && bottom,
    top: flags.archMlpTop,
    interaction: flags.archInteractionOp,
    optimizer: flags.optimizer,
    batchSize: flags.batchSize,
    shuffle: flags.shuffle,
    epochs: flags.epochs,
    learningRate: flags.learningRate,
    weightDecay: flags.weightDecay,
    warmupSteps: flags.lrNumWarmupSteps,
    decayStartStep: flags.lrDecayStartStep,
    decaySteps: flags.lrNumDecaySteps,
    ranks: flags.ranks,
    hotMemory: flags.hotMemory,
    schedulerRate: flags.schedulerRate,
    firstTurn: flags.firstTurn,
    sampleRate: flags.sampleRate,
    printFreq: flags.printFreq,
    testFreq: flags.testFreq,
    checkpointSteps: flags.checkpointSteps,
    checkpointMinutes: flags.checkpointMinutes,
    keep: flags.keep,
    targetAuc: flags.targetAuc,
    patience: flags.patience,
    save: flags.save,
    seed: flags.seed,
  }) as Partial<hotset.TrainConfig>;
}

withUnknown(withRaw(withSeed(program.command("train"))))
  .description("Train a model on a dataset or on raw logs; prepares, profiles and lays out first if needed.")
  .argument("[input...]", "a dataset, or raw files in the order of time")
  .option("--demo", "train on generated data and compare modes")
  .option("--out <run>", "directory of the run (default: the first free of hotset/run-1, run-2, ...)")
  .option("--report <file>", "HTML file to write: losses, AUC, batches, phases of a step, and the profile")
  .option("--from <run>", "begin with the model of that run's best checkpoint, or of a checkpoint's directory")
  .option("--resume", "continue the run in --out from its last checkpoint")
  .option(
    "--config <file>",
    "JSON object of flags without dashes; lists are widths or files; flags given here override it",
  )
  .addOption(
    new Option("--preset <name>", "default, or a published model with its optimizer").choices(
      Object.keys(hotset.PRESETS),
    ).default(PRESET),
  )
  .addOption(
    new Option("--mode <name>", `where rows and MLPs live ${standard("mode")}`).choices([
      "cpu",
      "hybrid",
      "gpu",
      "fae",
    ]),
  )
  .addOption(
    new Option("--device <name>", `what computes ${standard("device")}`).choices(["auto", "cpu", "cuda", "emulated"]),
  )
  .addOption(
    new Option("--precision <name>", `precision of a device's products ${standard("precision")}`)
      .choices(["fp32", "tf32", "bf16"]),
  )
  .addOption(
    new Option("--activations <name>", `what runs a device's activations ${standard("activations")}`)
      .choices(["ptx", "cudnn"]),
  )
  .option("--arch-sparse-feature-size <dim>", `length of an embedding row ${standard("dim")}`, positive)
  .option(
    "--arch-mlp-bot <widths>",
    "bottom MLP from the dense features to dim (default: 512-256-64-16 after them)",
    widths,
  )
  .option("--arch-mlp-top <widths>", "top MLP without its input (default: 512-256-1)", widths)
  .addOption(
    new Option("--arch-interaction-op <op>", `interaction of the features ${standard("interaction")}`)
      .choices(["dot", "cat"]),
  )
  .addOption(optimizerOption(` ${standard("optimizer")}`))
  .option("--batch-size <n>", `samples to a batch ${standard("batchSize")}`, positive)
  .addOption(shuffleOption(` ${standard("shuffle")}`))
  .option("--epochs <n>", `passes over the train split ${standard("epochs")}`, positive)
  .option(
    "--learning-rate <rate>",
    `learning rate (default: the preset's with its optimizer; else ${learningRates})`,
    real,
  )
  .option(
    "--weight-decay <share>",
    "adam adds this share of weights to gradients, adamw takes it off weights (default: adam 0, adamw 0.01)",
    number((value) => value >= 0, "a number from 0"),
  )
  .option("--lr-num-warmup-steps <n>", `steps over which the rate rises ${standard("warmupSteps")}`, natural)
  .option("--lr-decay-start-step <n>", `step at which decay begins ${standard("decayStartStep")}`, natural)
  .option("--lr-num-decay-steps <n>", `steps that the decay takes ${standard("decaySteps")}`, natural)
  .option("--ranks <n>", "ranks: workers on the CPU (default: one a core) or GPUs (default: one)", positive)
  .addOption(
    new Option(
      "--collective <name>",
      "how ranks meet: workers of one process, or processes that mpirun started, on cores (mpi) or a GPU each (nccl)",
    ).choices(["shared", "mpi", "nccl"]).default("shared"),
  )
  .addOption(
    new Option("--scaling <kind>", "whether ranks over MPI split the batch, or take --batch-size samples each")
      .choices(["strong", "weak"]).default("strong"),
  )
  .option("--hot-memory <bytes>", `${HOT_MEMORY} (default: ${binary(DEFAULTS.hotMemory)})`, memory)
  .option(
    "--scheduler-rate <percent>",
    `percent of each kind of batch to run before switching (hot/cold); adapts during training ${
      standard("schedulerRate")
    }`,
    number((value) => value >= 1 && value <= 100, "a number from 1 to 100"),
  )
  .addOption(
    new Option("--first-turn <kind>", `batches that each turn of mode fae begins with ${standard("firstTurn")}`)
      .choices(["hot", "cold"]),
  )
  .option("--sample-rate <percent>", SAMPLE_RATE, real)
  .option("--print-freq <steps>", `steps between progress events ${standard("printFreq")}`, positive)
  .option("--test-freq <steps>", "steps between evaluations (default: at the end of epochs)", natural)
  .option(
    "--checkpoint-steps <n>",
    `steps between checkpoints, beside those of evaluations; 0 for none by steps ${standard("checkpointSteps")}`,
    natural,
  )
  .option(
    "--checkpoint-minutes <n>",
    `minutes between them; 0 for none by time ${standard("checkpointMinutes")}`,
    number((value) => value >= 0, "a number from 0"),
  )
  .option("--keep <n>", `how many of those are kept under their steps' names ${standard("keep")}`, natural)
  .option("--target-auc <auc>", "stop at this AUC of the validation split (default: none)", share)
  .option("--patience <n>", "stop after so many evaluations without a better AUC (default: never)", positive)
  .option("--no-save", "write no checkpoints")
  .addHelpText("after", "\nExample: hotset train day_0.gz day_1.gz --test day_2.gz --min-frequency 2 --out run")
  .action((inputs: string[], flags: TrainFlags) =>
    run(flags, (report, atEnd, interrupt) => train(inputs, flags, { report, interrupt }, atEnd))
  );

/** Throws UsageError where an option was given that would do nothing. */
function expectOptions(command: Command): void {
  const given = command.options
    .filter((option) => command.getOptionValueSource(option.attributeName()) === "cli")
    .map(({ long }) => long!);
  expectEffect({ command: command.name(), inputs: command.args, given: new Set(given), values: command.opts() });
}
program.hook("preAction", (_, command) => expectOptions(command));

/** What training tells, and what it is told. */
interface Told {
  readonly report: hotset.Report;
  readonly interrupt: hotset.Interrupt;
}

async function train(
  inputs: string[],
  flags: TrainFlags,
  told: Told,
  atEnd: DisposableStack,
): Promise<void> {
  const { collective, device = "auto" } = flags;
  if (collective === "shared") {
    expectOneProcess();
    return await trainHere(inputs, flags, told);
  }
  if (collective === "nccl" && device === "auto") flags = { ...flags, device: "cuda" };
  const { interrupt } = told;
  await inCluster(
    flags,
    told.report,
    atEnd,
    (report, cluster) => trainHere(inputs, flags, { report, interrupt }, cluster),
  );
}

async function trainHere(
  inputs: string[],
  flags: TrainFlags,
  { report, interrupt }: Told,
  cluster?: hotset.Cluster,
): Promise<void> {
  const first = cluster?.first ?? true;
  using claim = flags.out === undefined && first ? new hotset.ClaimedRun(HOME) : undefined;
  const named = flags.out ?? claim?.out ?? "";
  const out = cluster === undefined ? named : cluster.broadcastText(named);
  const signal = () => interrupt.listen(cluster !== undefined);
  const options = {
    out,
    claimed: flags.out === undefined,
    report,
    from: flags.from,
    signal,
    phases: flags.report !== undefined,
    cluster,
  };
  const results = (of: readonly hotset.ResultEvent[]) => first && print(of, flags);
  const resolve = (...layers: Partial<hotset.TrainConfig>[]) => {
    const config = hotset.resolveConfig(flags.preset, ...layers);
    return { ...config, batchSize: config.batchSize * (flags.scaling === "weak" ? cluster?.ranks ?? 1 : 1) };
  };
  const again = `${commandOf(cluster)} train --resume${cluster ? ` --collective ${flags.collective}` : ""} --out`;
  if (cluster !== undefined && flags.save) {
    report({ event: "note", text: `If a rank is lost, continue with: ${again} ${out}` });
  }
  try {
    if (flags.resume) {
      results([await hotset.resumeRun(options, flags.ranks)]);
    } else if (flags.demo) {
      const demo = await hotset.runDemo(resolve(hotset.DEMO_CONFIG, trainLayer(flags)), options);
      results(demo.results);
      if (first && flags.report !== undefined) hotset.writeRunReport(demo.results.at(-1)!.run, flags.report);
      if (first && !flags.json) console.log(`\n${hotset.demoText(demo)}`);
    } else {
      results([await hotset.trainOn(inputs, rawOptions(flags, interrupt), resolve(trainLayer(flags)), options)]);
    }
    if (first && flags.report !== undefined && !flags.demo) hotset.writeRunReport(out, flags.report);
  } catch (error) {
    if (!(error instanceof hotset.Interrupted)) {
      if (cluster?.knows(error) === false && flags.save) console.error(`Continue with: ${again} ${out}`);
      throw error;
    }
    const advice = error.run === undefined ? "" : `. Continue with: ${again} ${error.run}`;
    if (first) fail(new hotset.Interrupted(`${error.message}${advice}`), flags);
    process.exitCode = interrupt.exitCode;
  }
}

/** How this program is started from where the user is. */
function commandOf(cluster: hotset.Cluster | undefined): string {
  const path = fileURLToPath(import.meta.url);
  const near = relative(Deno.cwd(), path);
  const command = `deno run -A ${near.startsWith("..") ? path : near}`;
  return cluster === undefined ? command : `mpirun -n ${cluster.ranks} ${command}`;
}

function print(results: readonly hotset.ResultEvent[], { json }: Common): void {
  if (!json) console.log(`${hotset.resultTable(results)}\n\nRuns: ${results.map((result) => result.run).join(", ")}`);
}

/** Flags of train that decide what a plan says. */
const PLANNED = /^--(preset|arch-.*|optimizer|batch-size|ranks|hot-memory)$/;
const plan = withSeed(program.command("plan"))
  .description("What training would need and a budget would cover, without training.")
  .argument("[dataset]", "directory made by prepare (default: the published data of the preset)")
  .addHelpText("after", "\nExample: hotset plan --preset terabyte --hot-memory 1GiB --optimizer rwsadagrad")
  .action((directory: string | undefined, flags: TrainFlags) =>
    run(flags, () => {
      const config = hotset.resolveConfig(flags.preset, trainLayer(flags));
      const machine = hotset.thisMachine();
      const planned = directory === undefined
        ? hotset.planPublished(hotset.publishedData(flags.preset), config, machine)
        : hotset.planDataset(hotset.Dataset.open(directory, "lengths"), config, machine);
      console.log(flags.json ? JSON.stringify(planned) : hotset.planText(planned));
    })
  );
for (const option of program.commands.find((command) => command.name() === "train")!.options) {
  if (PLANNED.test(option.long ?? "")) plan.addOption(option);
}

withUnknown(withCommon(program.command("evaluate")))
  .description("Metrics of a run's best checkpoint.")
  .argument("<run>", "directory made by train")
  .argument("[input...]", "raw files with labels, or another dataset with the same dictionary (default: the run's own)")
  .addHelpText("after", "\nExample: hotset evaluate hotset/run-1 day_2.tsv")
  .action((directory: string, inputs: string[], flags: Common & UnknownFlags) =>
    run(flags, async (report) => {
      const events = await hotset.evaluateRun(directory, inputs, report, flags);
      if (!flags.json) console.log(hotset.evaluationTable(events));
    })
  );

withUnknown(withCommon(program.command("predict")))
  .description("Click probabilities of raw rows, as CSV (or JSON lines with --json).")
  .argument("<run>", "directory made by train")
  .argument("<input...>", "raw files; the label column may be missing")
  .option("--out <file>", "file to write (default: stdout)")
  .addHelpText("after", "\nExample: hotset predict hotset/run-1 new.tsv --out scores.csv")
  .action((directory: string, inputs: string[], flags: Common & UnknownFlags & { out?: string }) =>
    run(flags, async (report, _, { signal }) => {
      hotset.writeScores(
        await hotset.predictRun(directory, inputs, { signal, maxUnknown: flags.maxUnknown }, report),
        flags.out,
        flags.json ? "json" : "csv",
      );
    })
  );

withCommon(program.command("reproduce"))
  .description("Run a run again and compare the bits of the two last checkpoints.")
  .argument("<run>", "directory made by train")
  .addHelpText("after", "\nExample: hotset reproduce hotset/run-1")
  .action((directory: string, flags: Common) =>
    run(flags, async (report) => {
      // What the second run reports is not asked for.
      const result = await hotset.reproduceRun(directory, (event) => event.event === "stage" && report(event));
      if (flags.json) console.log(JSON.stringify(result));
      else if (result.equal) console.log(`${directory}: ${result.steps} steps again, every bit the same`);
      if (result.equal) return;
      const changes = result.changes.length === 0 ? "" : `; not as it was: ${result.changes.join("; ")}`;
      throw new hotset.HotsetError(`Cannot reproduce ${directory}: ${result.difference}${changes}`);
    })
  );

withCommon(program.command("export"))
  .description("Write a run's best model in a format that others read.")
  .argument("<run>", "directory made by train")
  .addOption(
    new Option("--format <name>", "format of the file").choices(hotset.EXPORT_FORMATS).makeOptionMandatory(),
  )
  .requiredOption("--out <file>", "file to write; the raw values of its rows and an ONNX model's weights lie beside it")
  .addHelpText("after", "\nExample: hotset export hotset/run-1 --format onnx --out clicks.onnx")
  .action((directory: string, flags: Common & { format: hotset.ExportFormat; out: string }) =>
    run(flags, (report) => {
      const files = hotset.exportRun(directory, flags.format, flags.out, report);
      console.log(flags.json ? JSON.stringify({ event: "exported", files }) : files.join("\n"));
    })
  );

/** Flags of train that decide how an imported model trains on; its shape comes from the file. */
const IMPORTED =
  /^--(mode|device|precision|activations|optimizer|batch-size|epochs|learning-rate|weight-decay|lr-.*|ranks|hot-.*|scheduler-.*)$/;
const importing = withSeed(program.command("import"))
  .description("Make a run of a facebookresearch/dlrm model that was saved as safetensors.")
  .argument("<file>", "the state dict")
  .requiredOption("--data <dataset>", "directory made by prepare")
  .requiredOption("--out <run>", "directory of the run")
  .addOption(
    new Option("--ids <what>", "how rows are numbered in the file: dataset ids or raw values (default: as exported)")
      .choices(hotset.ROW_NUMBERS),
  )
  .addHelpText("after", "\nExample: hotset import dlrm.safetensors --data criteo --ids values --out hotset/imported")
  .action((file: string, flags: TrainFlags & { data: string; out: string; ids?: hotset.ImportOptions["ids"] }) =>
    run(flags, (report) => {
      const { data, out, ids } = flags;
      hotset.importRun(file, { data, out, ids, config: trainLayer(flags) }, report);
      console.log(flags.json ? JSON.stringify({ event: "imported", run: out }) : out);
    })
  );
for (const option of program.commands.find((command) => command.name() === "train")!.options) {
  if (IMPORTED.test(option.long ?? "")) importing.addOption(option);
}

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

function placeOf({ out }: { out?: string }): hotset.Place {
  return out === undefined ? { cache: HOME } : { out };
}

/** The folder that it goes to. */
function folderOf({ out }: { out?: string }): string {
  return out === undefined ? HOME : dirname(out);
}

// Who reads the output may have seen enough: `hotset -h | head`.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});

/** What a configuration file may hold for a command; nothing is known of one that there is not. */
function knownOptions(name: string | undefined): hotset.KnownOption[] | undefined {
  const command = program.commands.find((command) => command.name() === name);
  return command?.options.filter(({ long }) => long !== "--config").map((option) => ({
    name: option.long!.slice("--".length),
    takesValue: option.required || option.optional,
    check: (value) => option.parseArg?.(value, undefined),
  }));
}

/** Runs one command line; the exit code goes to process.exitCode. */
async function execute(given: string[]): Promise<void> {
  let words = given;
  try {
    const { arguments: translated, ignored } = hotset.translateArguments(
      hotset.expandConfig(given, knownOptions(given[0])),
    );
    words = translated;
    if (ignored.length > 0 && !words.includes("--quiet")) {
      console.error(`Without effect here: ${ignored.join(", ")}`);
    }
    await program.parseAsync(words, { from: "user" });
  } catch (error) {
    const json = words.includes("--json");
    if (!(error instanceof CommanderError)) return fail(error, { json });
    if (error.exitCode === 0) return;
    process.exitCode = 2;
    if (!json) return; // the library has told of it on stderr
    const message = error.message.replace(/^error: /, "").replaceAll("\n", " ");
    console.log(JSON.stringify({ event: "error", code: "usage", message }));
  }
}

/** Runs one command line and, if that failed, ends the process. */
export async function main(given: string[]): Promise<void> {
  await execute(given);
  // A rank that waits in a foreign call for one that failed holds its thread for ever; the process must not wait for it.
  if (process.exitCode) process.exit();
}

if (import.meta.main) {
  hotset.outliveTerminal();
  await main(Deno.args);
}
