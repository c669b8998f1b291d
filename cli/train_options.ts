/** Options of train, some of which plan and import have too, and the configuration they make. */
import { Command, Option } from "commander";
import { type Preset, PRESETS, type TrainConfig } from "../src/config/config.ts";
import {
  binary,
  DEFAULTS,
  given,
  HOT_MEMORY,
  learningRates,
  memory,
  natural,
  number,
  optimizerOption,
  positive,
  PRESET,
  type RawFlags,
  real,
  SAMPLE_RATE,
  type Seeded,
  share,
  shuffleOption,
  standard,
  widths,
  withRaw,
  withSeed,
  withUnknown,
} from "./options.ts";

export interface TrainFlags extends RawFlags, Seeded {
  demo?: boolean;
  out?: string;
  report?: string;
  from?: string;
  resume?: boolean;
  config?: string;
  mode?: TrainConfig["mode"];
  device?: TrainConfig["device"];
  blas?: TrainConfig["blas"];
  precision?: TrainConfig["precision"];
  activations?: TrainConfig["activations"];
  preset: Preset;
  archSparseFeatureSize?: number;
  archMlpBot?: number[];
  archMlpTop?: number[];
  archInteractionOp?: TrainConfig["interaction"];
  optimizer?: TrainConfig["optimizer"];
  batchSize?: number;
  shuffle?: TrainConfig["shuffle"];
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
  firstTurn?: TrainConfig["firstTurn"];
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
export function trainLayer(flags: TrainFlags): Partial<TrainConfig> {
  const [denseFeatures, ...bottom] = flags.archMlpBot ?? [];
  return given({
    mode: flags.mode,
    device: flags.device,
    blas: flags.blas,
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
  }) as Partial<TrainConfig>;
}

/** Adds the options of train. */
export const withTraining = (command: Command) =>
  withUnknown(withRaw(withSeed(command)))
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
        Object.keys(PRESETS),
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
      new Option("--blas <name>", `what multiplies matrices on a CPU; ort is ONNX Runtime ${standard("blas")}`)
        .choices(["auto", "openblas", "onednn", "ort", "wasm"]),
    )
    .addOption(
      new Option("--precision <name>", `precision of matrix products; tf32 on devices only ${standard("precision")}`)
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
    .option("--no-save", "write no checkpoints");

/** Adds those options of train whose long names match. */
export function withSomeOfTraining(command: Command, names: RegExp): Command {
  for (const option of withTraining(new Command()).options) {
    if (names.test(option.long ?? "")) command.addOption(option);
  }
  return command;
}
