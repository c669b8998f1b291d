/** Options that several commands have, with the flags they become. */
import { dirname } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { type Format, FORMATS } from "../src/dataset/formats.ts";
import { parseWidths } from "../src/model/shape.ts";
import { OPTIMIZER_NAMES, OPTIMIZERS } from "../src/optimizer/optimizers.ts";
import { bytes, parseBytes } from "../src/format.ts";
import { resolveConfig, type TrainConfig } from "../src/config/config.ts";
import type { Interrupt } from "./interrupt.ts";
import type { Place } from "../src/run/stages.ts";

/** Where `train` keeps its runs and looks for profiles and layouts, unless told. */
export const HOME = "hotset";
export const PRESET = "default";
export const DEFAULTS = resolveConfig(PRESET);
/** Defaults as `--help` shows them. */
export const standard = (key: keyof TrainConfig) => `(default: ${DEFAULTS[key]})`;
export const binary = (value: number) => bytes(value).replace(" ", "");

/** Flags that every command has. */
export interface Common {
  json?: boolean;
  quiet?: boolean;
  verbose?: boolean;
  collective?: string;
}

export const number = (check: (value: number) => boolean, expected: string) => (text: string) => {
  const value = Number(text);
  if (text.trim() === "" || !check(value)) throw new InvalidArgumentError(`Expected ${expected}.`);
  return value;
};
export const positive = number((value) => Number.isSafeInteger(value) && value > 0, "a whole number from 1");
export const natural = number((value) => Number.isSafeInteger(value) && value >= 0, "a whole number from 0");
export const share = number((value) => value >= 0 && value < 1, "a number from 0 to below 1");
export const real = number((value) => Number.isFinite(value) && value > 0, "a number above 0");
export const memory = (text: string) => {
  const value = parseBytes(text);
  if (value === undefined) throw new InvalidArgumentError("Expected bytes, as in 512MiB.");
  return value;
};
export const widths = (text: string) => {
  try {
    return parseWidths(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
};

export const withCommon = (command: Command) =>
  command
    .option("--json", "print one JSON object a line to stdout")
    .option("--quiet", "no progress on stderr")
    .option("--verbose", "stack traces with errors");

/** For commands that draw something at random. */
export const withSeed = (command: Command) =>
  withCommon(command).option("--seed <n>", "seed of everything random", natural, 123);

export interface Seeded extends Common {
  seed: number;
}

/** How the stages before training are divided. */
export interface GroupFlags {
  collective: "shared" | "mpi";
}

export const withGroup = (command: Command) =>
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

export const withRaw = (command: Command) =>
  command
    .addOption(new Option("--format <name>", "format of raw files").choices(FORMATS).default("criteo"))
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

export const withUnknown = (command: Command) =>
  command.option(
    "--max-unknown <share>",
    "fail where more of one table's lookups meet values the dictionary does not know (default: a note from 0.5 on)",
    number((value) => value >= 0 && value <= 1, "a number from 0 to 1"),
  );

export interface UnknownFlags {
  maxUnknown?: number;
}

export interface RawFlags extends UnknownFlags {
  format: Format;
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
export function given<T extends object>(record: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as never;
}

export function rawOptions({ test, memory, ...flags }: RawFlags, { signal }: Interrupt) {
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

export const HOT_MEMORY = "budget of the hot rows with their optimizer state";
export const SAMPLE_RATE = "percent of the samples to profile (default: none, exact counts are used)";

export const withProfile = (command: Command) =>
  command
    .addOption(memoryOption("--hot-memory <bytes>", HOT_MEMORY, DEFAULTS.hotMemory))
    .option("--sample-rate <percent>", SAMPLE_RATE, real)
    .option("--arch-sparse-feature-size <dim>", "length of an embedding row", positive, DEFAULTS.dim)
    .addOption(optimizerOption().default(DEFAULTS.optimizer));

export const learningRates = OPTIMIZER_NAMES
  .map((name) => `${name} ${OPTIMIZERS[name].learningRate}`).join(", ");
export const optimizerOption = (standard = "") =>
  new Option("--optimizer <name>", `how gradients change parameters${standard}`).choices(OPTIMIZER_NAMES);

export const shuffleOption = (standard = "") =>
  new Option(
    "--shuffle <what>",
    `what is put in random order: samples when laid out and batches in epochs; batches; none${standard}`,
  )
    .choices(["samples", "batches", "none"]);

export interface ProfileFlags extends Seeded {
  hotMemory: number;
  sampleRate?: number;
  archSparseFeatureSize: number;
  optimizer: TrainConfig["optimizer"];
  out?: string;
}

export function profileConfig({ hotMemory, sampleRate, archSparseFeatureSize: dim, optimizer, seed }: ProfileFlags) {
  return { hotMemory, sampleRate: sampleRate ?? null, dim, optimizer, seed };
}

export function placeOf({ out }: { out?: string }): Place {
  return out === undefined ? { cache: HOME } : { out };
}

/** The folder that it goes to. */
export function folderOf({ out }: { out?: string }): string {
  return out === undefined ? HOME : dirname(out);
}
