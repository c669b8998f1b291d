/** Which options act: one table of all, so that none is ignored in silence. */
import { isArtifact } from "../src/storage/artifact.ts";
import { UsageError } from "../src/errors.ts";
import { resolveConfig } from "../src/config/config.ts";

/** What a command line says. */
export interface CommandLine {
  /** The command. */
  readonly command: string;
  /** Its arguments. */
  readonly inputs: readonly string[];
  /** Options that were given on the command line or in a configuration file, by their long names. */
  readonly given: ReadonlySet<string>;
  /** Values of the options, defaults included. */
  readonly values: Readonly<Record<string, unknown>>;
}

/**
 * Says why an option would do nothing, and the way out, as the rest of "Cannot use --x ..." (which may begin with its
 * value: "mpi with ..."); undefined where it acts.
 */
type Rule = (line: CommandLine) => string | undefined;

const { mode: MODE, device: DEVICE, epochs: EPOCHS } = resolveConfig("default");
const modeOf = ({ values }: CommandLine) => `${values.mode ?? MODE}`;
const deviceOf = ({ values }: CommandLine) => `${values.device ?? DEVICE}`;
const isOnGpus = (line: CommandLine) => ["cuda", "emulated"].includes(deviceOf(line));

/** It would change what a run goes on with. */
const notResumed: Rule = ({ command, given, values }) =>
  command === "train" && given.has("--resume")
    ? `with --resume: a run goes on as it began; begin a new one from its model with --from ${values.out ?? "RUN"}`
    : undefined;

/** It says something of data that a user names. */
const data: Rule = ({ command, given }) => {
  if (given.has("--infer")) return "with --infer: that only proposes a schema; leave out one of them";
  return command === "train" && given.has("--demo")
    ? "with --demo: it trains on generated data; leave out one of them"
    : undefined;
};

/** It says how raw files are read. */
const raw: Rule = (line) => {
  const { command, inputs } = line;
  const reason = data(line);
  if (reason !== undefined || command !== "train") return reason;
  return inputs.length > 0 && isArtifact(inputs[0])
    ? `with the dataset ${inputs[0]}: it is prepared already`
    : undefined;
};

/** It says which rows are hot, or in what order hot and cold batches come. */
const hot: Rule = (line) =>
  ["train", "import"].includes(line.command) && modeOf(line) !== "fae"
    ? `with --mode ${modeOf(line)}: only mode fae has hot rows and batches; choose --mode fae`
    : undefined;

/** Hot and cold batches are an order of their own; of training the configuration itself says so. */
const shuffle: Rule = ({ command, values: { shuffle, hotMemory } }) =>
  command === "layout" && shuffle === "none" && hotMemory !== 0
    ? "none with hot batches: leave it out, or choose --hot-memory 0"
    : undefined;

/** It says how a device computes. */
const onDevice: Rule = (line) => {
  const why = "it says how a GPU computes";
  if (modeOf(line) === "cpu") return `with --mode cpu: ${why}; choose --mode fae, hybrid or gpu on --device cuda`;
  if (deviceOf(line) === "cpu") return `with --device cpu: ${why}; choose --device cuda`;
  return line.values.collective === "mpi" ? `with --collective mpi: ${why}; choose --collective nccl` : undefined;
};

/** It says how a CPU computes. */
const blas: Rule = (line) => {
  if (line.given.has("--resume")) return undefined; // where the run computes decides
  const { blas, collective } = line.values;
  const [mode, device] = [modeOf(line), deviceOf(line)];
  if (blas === "auto" || mode === "cpu" || device === "cpu") return undefined; // auto is as without the option
  if (device === "auto" && collective === "mpi") return undefined;
  const why = "it says how a CPU computes";
  if (mode === "gpu" || mode === "hybrid") return `with --mode ${mode}: ${why}; leave it out`;
  return device === "auto"
    ? "with --device auto: that may be a GPU, where it says nothing; choose --device cpu"
    : `with --device ${device}: ${why}; choose --device cpu`;
};

const precision: Rule = (line) => line.values.precision === "tf32" ? onDevice(line) : undefined;

const activations: Rule = (line) =>
  onDevice(line) ??
    (deviceOf(line) === "auto" && line.values.collective !== "nccl"
      ? "with --device auto: that may be the CPU, where it says nothing; choose --device cuda"
      : undefined);

const ranks: Rule = ({ command, values: { collective } }) =>
  command === "train" && (collective === "mpi" || collective === "nccl")
    ? `with --collective ${collective}: mpirun says how many there are`
    : undefined;

const collective: Rule = (line) => {
  const { collective } = line.values;
  const which = "mpi is for ranks on the CPU, nccl for ranks on GPUs";
  if (line.command !== "train" || line.given.has("--resume")) return undefined;
  if (collective === "nccl" && deviceOf(line) === "cpu") return `nccl with --device cpu: ${which}`;
  if (collective === "nccl" && modeOf(line) === "cpu") return `nccl with --mode cpu: ${which}`;
  if (collective === "mpi" && isOnGpus(line)) return `mpi with --device ${deviceOf(line)}: ${which}`;
  if (collective === "mpi" && (modeOf(line) === "gpu" || modeOf(line) === "hybrid")) {
    return `mpi with --mode ${modeOf(line)}: ${which}`;
  }
  return undefined;
};

const scaling: Rule = ({ values: { collective } }) =>
  collective === "shared"
    ? "without processes that could each have a batch: choose --collective mpi or nccl, or leave it out"
    : undefined;

const saving: Rule = ({ values: { save } }) =>
  save === false ? "with --no-save: no checkpoint is written; leave out one of them" : undefined;

const keep: Rule = ({ values: { checkpointSteps = 0, checkpointMinutes } }) =>
  checkpointSteps === 0 && checkpointMinutes === 0
    ? "without checkpoints by steps or minutes: give --checkpoint-steps or --checkpoint-minutes"
    : undefined;

const decayStart: Rule = ({ values: { lrNumDecaySteps = 0 } }) =>
  lrNumDecaySteps === 0 ? "without a decay: give --lr-num-decay-steps" : undefined;

const patience: Rule = ({ values: { patience, epochs = EPOCHS, testFreq = 0 } }) =>
  testFreq === 0 && Number(patience) >= Number(epochs)
    ? `with ${epochs} evaluation${epochs === 1 ? "" : "s"}, one an epoch: give --test-freq or more --epochs`
    : undefined;

const seed: Rule = ({ command, inputs }) =>
  command === "plan" && inputs.length === 0
    ? "without a dataset: published figures are not sampled; name a dataset or leave it out"
    : undefined;

const always: Rule[] = [];
const ofRun = [notResumed];

/** Every option of every command, with what may keep it from acting. */
export const EFFECTS: Readonly<Record<string, readonly Rule[]>> = {
  "--json": always,
  "--quiet": always,
  "--verbose": always,
  "--version": always,
  "--help": always,
  "--seed": [notResumed, seed],
  "--collective": [collective],
  // prepare, and train on raw files
  "--infer": always,
  "--format": [notResumed, raw],
  "--schema": [notResumed, raw],
  "--test": [notResumed, raw],
  "--min-frequency": [notResumed, raw],
  "--max-ind-range": [notResumed, raw],
  "--validation-fraction": [notResumed, raw],
  "--test-fraction": [notResumed, raw],
  "--on-bad-row": [notResumed, raw],
  "--memory": [notResumed, raw],
  // prepare, train, evaluate, predict
  "--max-unknown": [notResumed, data],
  // generate
  "--samples": always,
  "--raw": always,
  "--scale": always,
  "--drift": always,
  // profile, layout, train
  "--out": [(line) => line.given.has("--infer") ? raw(line) : undefined],
  "--report": always,
  "--hot-memory": [notResumed, hot],
  "--sample-rate": [notResumed, hot],
  "--scheduler-rate": [notResumed, hot],
  "--first-turn": [notResumed, hot],
  "--shuffle": [notResumed, shuffle],
  // what is trained, and how
  "--demo": ofRun,
  "--from": ofRun,
  "--resume": always,
  "--config": ofRun,
  "--preset": ofRun,
  "--mode": ofRun,
  "--device": ofRun,
  "--blas": [blas],
  "--precision": [notResumed, precision],
  "--activations": [notResumed, activations],
  "--arch-sparse-feature-size": ofRun,
  "--arch-mlp-bot": ofRun,
  "--arch-mlp-top": ofRun,
  "--arch-interaction-op": ofRun,
  "--optimizer": ofRun,
  "--batch-size": ofRun,
  "--epochs": ofRun,
  "--learning-rate": ofRun,
  "--weight-decay": ofRun,
  "--lr-num-warmup-steps": ofRun,
  "--lr-decay-start-step": [notResumed, decayStart],
  "--lr-num-decay-steps": ofRun,
  "--ranks": [ranks],
  "--scaling": [notResumed, scaling],
  "--print-freq": ofRun,
  "--test-freq": ofRun,
  "--checkpoint-steps": [notResumed, saving],
  "--checkpoint-minutes": [notResumed, saving],
  "--keep": [notResumed, saving, keep],
  "--target-auc": ofRun,
  "--patience": [notResumed, patience],
  "--no-save": ofRun,
  // export, import
  "--data": always,
  "--ids": always,
};

/** Throws UsageError that names an option which was given and would do nothing. */
export function expectEffect(line: CommandLine): void {
  const { command, inputs, given, values } = line;
  if (command === "train" && given.has("--resume")) {
    if (values.out === undefined) throw new UsageError("Cannot resume: name the run with --out");
    if (inputs.length > 0) throw new UsageError(`Cannot use ${inputs[0]} ${notResumed(line)}`);
  }
  if (given.has("--demo") && inputs.length > 0) throw new UsageError(`Cannot use ${inputs[0]} ${raw(line)}`);
  for (const option of given) {
    for (const rule of EFFECTS[option] ?? []) {
      const reason = rule(line);
      if (reason !== undefined) throw new UsageError(`Cannot use ${option} ${reason}`);
    }
  }
}
