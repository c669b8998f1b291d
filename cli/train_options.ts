/** Options about training, for all commands that accept some of them, and the configuration that they give. */
import type { Command } from "commander";
import { z } from "zod";
import { impliedMode, type Preset, PRESETS, resolveConfig, type TrainConfig } from "../src/config/config.ts";
import { type DataShape, presetFor } from "../src/config/config_by_data.ts";
import { TRAIN_OPTION_LIST, TRAIN_OPTIONS, type TrainOption } from "../src/config/options.ts";
import { needsDevice } from "../src/config/placement_options.ts";
import type { ConfigKey } from "../src/config/train_config.ts";
import type { CommandLine } from "../src/config/option_types.ts";
import type { Report } from "../src/events/events.ts";
import { addGroup, Flag } from "./flag.ts";
import {
  cacheFlag,
  type CacheFlags,
  type Common,
  positive,
  raw,
  type RawFlags,
  reading,
  withRaw,
  withUnknown,
} from "./common_options.ts";

const PRESET = "default";
const DEFAULTS = resolveConfig(PRESET);
/** Commands that take an option which names none. */
const COMMANDS = ["train", "import"];

/** Flags that become a configuration, by their names here: `batchSize` of `--batch-size`. */
export type ConfigFlags = Readonly<Record<string, unknown>>;

export interface TrainFlags extends RawFlags, Common, CacheFlags {
  demo?: boolean;
  out?: string;
  report?: string;
  tensorboard?: string;
  from?: string;
  expire?: number;
  bestOf?: number;
  resume?: boolean;
  data?: string;
  config?: string;
  preset: Preset;
  collective: "shared" | "mpi" | "nccl";
  scaling: "strong" | "weak";
}

/** The option of a command line that sets a key. */
function flagOf(key: ConfigKey, option: TrainOption): Flag {
  const { flag, type, help, shown = `${DEFAULTS[key]}`, group, rules = [], aliases = [], resumes = false } = option;
  const inner = type instanceof z.ZodNullable ? type.unwrap() : type;
  const standard = inner instanceof z.ZodBoolean ? "" : ` (default: ${shown})`;
  const made = new Flag(flag!, `${help}${standard}`).helpGroup(group!);
  if (inner instanceof z.ZodEnum) made.choices(inner.options.map(String));
  else if (!(inner instanceof z.ZodBoolean)) made.argParser(reading((text) => valueOf(text, option)));
  return Object.assign(made, { rules, aliases, resumes });
}

function textReader(type: TrainOption["type"]): (text: string) => unknown {
  const inner = type instanceof z.ZodNullable ? type.unwrap() : type;
  return inner instanceof z.ZodEnum ? (text) => text : (text) => Number(text.trim() || NaN);
}

/** Parses the text of an option. Throws an error that states the permitted values. */
function valueOf(text: string, { type, read = textReader(type) }: TrainOption): unknown {
  const parsed = type.safeParse(read(text));
  if (parsed.success) return parsed.data;
  throw new Error(parsed.error.issues[0].message);
}

/** The options that set keys, by key. */
const FLAGS = new Map(
  TRAIN_OPTION_LIST.flatMap(([key, option]) => option.flag === undefined ? [] : [[key, flagOf(key, option)]]),
);

/** The keys of a configuration that flags set. A flag for one key overrides a flag that sets several. */
export function trainLayer(flags: ConfigFlags): Partial<TrainConfig> {
  const [several, one]: Record<string, unknown>[] = [{}, {}];
  for (const [key, flag] of FLAGS) {
    const value = flags[flag.attributeName()];
    const { sets }: TrainOption = TRAIN_OPTIONS[key];
    if (value === undefined) continue;
    if (sets === undefined) one[key] = value;
    else Object.assign(several, sets(value));
  }
  return { ...several, ...one };
}

/**
 * Flags over the preset's values and all defaults, for the rules of options; the result need not be a valid
 * configuration for training.
 */
export function configOf(flags: ConfigFlags): TrainConfig {
  const layer = trainLayer(flags);
  const preset = `${flags.preset}`;
  const shape = Object.hasOwn(PRESETS, preset) ? PRESETS[preset as Preset] : {};
  return { ...DEFAULTS, ...shape, ...impliedMode([layer]), ...layer };
}

/** The same for data that train would find with the preset for it; with a note if that is another one. */
export function configOn(flags: ConfigFlags, data: DataShape, report: Report): TrainConfig {
  const preset = presetFor(PRESET, trainLayer(flags), data);
  const config = configOf({ ...flags, preset });
  if (preset === PRESET) return config;
  const { dim, optimizer, batchSize } = config;
  const text =
    `The data is two sparse features alone, so the preset is ${preset}, as train chooses it (rows of ${dim}, ` +
    `${optimizer}, batches of ${batchSize})`;
  report({ event: "note", text });
  return config;
}

/** Adds the options about training that a command accepts. */
export function withTraining(command: Command): Command {
  for (const [key, flag] of FLAGS) {
    const { commands = COMMANDS }: TrainOption = TRAIN_OPTIONS[key];
    if (commands.includes(command.name())) command.addOption(flag);
  }
  return command;
}

/** Maximum number of values of a range. */
const MAX_RANGE = 1000;

/** The values of an option of a sweep: `0.01,0.02`, or `1..3` of whole numbers. Throws an error that states the syntax. */
function valuesOf(text: string, option: TrainOption): unknown[] {
  return text.split(",").flatMap((part) => {
    const range = /^(\d+)\.\.(\d+)$/.exec(part);
    if (range === null) return [valueOf(part, option)];
    const [from, to] = [Number(range[1]), Number(range[2])];
    if (to < from || to - from >= MAX_RANGE) throw new Error(`must be a rising range of at most ${MAX_RANGE} values`);
    return Array.from({ length: to - from + 1 }, (_, i) => valueOf(String(from + i), option));
  });
}

/** Adds the options of training, each of which takes several values. */
export function withGrid(command: Command): Command {
  for (const [key, { flags, description, required, helpGroupHeading }] of FLAGS) {
    const option: TrainOption = TRAIN_OPTIONS[key];
    if (!(option.commands ?? COMMANDS).includes("train")) continue;
    const flag = new Flag(flags, description).helpGroup(helpGroupHeading!);
    if (required) flag.argParser(reading((text) => valuesOf(text, option)));
    command.addOption(flag);
  }
  return command;
}

/** The values of the options of a sweep that were given, by the names of their flags here: `batchSize`. */
export function gridOf(flags: ConfigFlags): Record<string, readonly unknown[]> {
  const names = [...FLAGS.values()].map((flag) => flag.attributeName());
  return Object.fromEntries(
    names.filter((name) => flags[name] !== undefined)
      .map((name) => [name, Array.isArray(flags[name]) ? flags[name] : [flags[name]]]),
  );
}

const collective = (line: CommandLine) => {
  const { mode, device } = configOf(line.values);
  const { collective } = line.values;
  const which = "mpi is for ranks on the CPU, nccl for ranks on GPUs";
  if (line.given.has("--resume")) return undefined;
  if (collective === "nccl" && device === "cpu") return `nccl with --device cpu: ${which}`;
  if (collective === "nccl" && mode === "cpu") return `nccl with --mode cpu: ${which}`;
  if (collective === "mpi" && (device === "cuda" || device === "emulated")) {
    return `mpi with --device ${device}: ${which}`;
  }
  return collective === "mpi" && needsDevice(mode) ? `mpi with --mode ${mode}: ${which}` : undefined;
};

const scaling = ({ values: { collective } }: CommandLine) =>
  collective === "shared" ? "without several processes: choose --collective mpi or nccl, or leave it out" : undefined;

/** Seeds are compared by new runs of this process. */
const choosing = ({ given, values: { collective } }: CommandLine) =>
  given.has("--demo")
    ? "with --demo: it has one seed; leave out one of them"
    : given.has("--from")
    ? "with --from: the model is not new, so a seed does not decide it; leave out one of them"
    : collective === "shared"
    ? undefined
    : "with several processes: choose --collective shared";

/** The preset, which has the model and the training options for everything that is not set. */
export const presetFlag = (): Flag =>
  new Flag("--preset <name>", "default, or a published model with its optimizer").choices(Object.keys(PRESETS))
    .default(PRESET).helpGroup("Model:").alsoNamed("--data-set");

/** Options of train alone. */
const RUN_FLAGS = [
  new Flag("--demo", "train on generated data, and compare rows in memory with rows on disk or, given --mode, modes"),
  new Flag("--out <run>", "directory of the run (default: the first free of hotset/run-1, run-2, ...)")
    .withResume().alsoNamed("--save-model"),
  cacheFlag("the directory that contains the run").withResume(),
  new Flag("--report <file>", "HTML report to write: loss, AUC, batches, phases of a step, and the profile")
    .withResume(),
  new Flag(
    "--tensorboard <dir>",
    "directory of TensorBoard event files to write: losses and metrics, in a folder a run",
  )
    .withResume(),
  new Flag("--from <run>", "start from the model of that run's best checkpoint, or of a checkpoint directory"),
  new Flag("--expire <n>", "with --from: drop rows of values that the last n train splits, this one included, lack")
    .argParser(positive)
    .unless((line) =>
      line.given.has("--from") ? raw(line) : "without --from: only a model that grows drops rows; leave it out"
    ),
  new Flag(
    "--best-of <n>",
    "train 5 % of an epoch with each of this number of seeds from --seed on, and then a run with the best of them",
  ).argParser(positive).unless(choosing),
  new Flag("--resume", "continue the run in --out from its last checkpoint").withResume(),
  new Flag("--data <dataset>", "with --resume: the run's dataset, if it is not where it was, relative to the run")
    .unless(({ given }) =>
      given.has("--resume") ? undefined : "without --resume: name the dataset as the input, or leave it out"
    )
    .withResume(),
  new Flag(
    "--config <file>",
    "JSON file with flags (without dashes); lists are widths or files; flags on the command line override it",
  ),
];
const RANK_FLAGS = [
  new Flag(
    "--collective <name>",
    "how ranks communicate: threads of one process (shared), or processes started by mpirun, on cores (mpi) or one GPU each (nccl)",
  ).choices(["shared", "mpi", "nccl"]).default("shared").unless(collective).withResume(),
  new Flag(
    "--scaling <kind>",
    "strong divides a batch over the ranks of MPI, weak gives each rank --batch-size samples",
  )
    .choices(["strong", "weak"]).default("strong").unless(scaling),
];

/** Adds all options of train. */
export function withAllOfTraining(command: Command): Command {
  addGroup(command, "The run:", RUN_FLAGS);
  withTraining(command.addOption(presetFlag()));
  addGroup(command, TRAIN_OPTIONS.mode.group!, RANK_FLAGS);
  return withUnknown(withRaw(command));
}

/** Flags that have other tools' names too. */
export const ALIASED: readonly Flag[] = [...FLAGS.values(), ...RUN_FLAGS, presetFlag()];
