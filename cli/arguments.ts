/** Translates command lines of facebookresearch/dlrm and of the FAE release. */

import { existsSync } from "node:fs";
import { basename, dirname } from "node:path";
import { z } from "zod";
import { firstIssue, isArtifact } from "../src/storage/artifact.ts";
import { messageOf, UsageError } from "../src/errors.ts";
import { didYouMean } from "../src/similar.ts";
import { ALIASED } from "./train_options.ts";

const value = z.union([z.string(), z.number(), z.boolean()]);
const configFile = z.record(z.string(), z.union([value, z.array(value)]));

/** Hotset's options by another tool's flag. */
const RENAMED = new Map(
  ALIASED.flatMap(({ long, aliases }) => aliases.map(({ flag, values }) => [flag, { long: long!, values }] as const)),
);
/** Flags with a value that are ignored, because Hotset always does what they select. */
const IGNORED_VALUES = [
  "--test-mini-batch-size",
  "--loss-function",
  "--round-targets",
  "--data-generation",
  "--num-workers",
  "--test-num-workers",
  "--print-precision",
  "--num-indices-per-lookup",
  "--num-indices-per-lookup-fixed",
  "--tensor-board-filename",
];
/** Flags without a value that are ignored. */
const IGNORED_FLAGS = [
  "--print-time",
  "--print-wall-time",
  "--memory-map",
  "--mlperf-logging",
  "--mlperf-bin-loader",
  "--mlperf-bin-shuffle",
  "--dataset-multiprocessing",
];

/** Flags without a value that translate to several options of Hotset. */
const DLRM_FLAGS = ["--use-gpu", "--inference-only"];

/** The preset whose defaults a command line of dlrm has. */
const DLRM_PRESET = "kaggle";

/** Flags that remain when a training command becomes `evaluate`, and that do not describe a new run. */
const OUTPUT_FLAGS = ["--json", "--quiet", "--verbose"];

/** A translated command line. */
export interface Translation {
  /** Command and flags. */
  readonly arguments: string[];
  /** Flags that were recognised and left out. */
  readonly ignored: string[];
}

/** Flags of dlrm whose meaning depends on other flags. */
interface Pasted {
  raw?: string;
  processed?: string;
  loaded?: string;
  inferenceOnly?: boolean;
  /** True if a flag that only dlrm has was given. */
  dlrm?: boolean;
}
const PASTED: Readonly<Record<string, "raw" | "processed" | "loaded">> = {
  "--raw-data-file": "raw",
  "--processed-data-file": "processed",
  "--load-model": "loaded",
};

/**
 * Replaces flags of facebookresearch/dlrm with Hotset's and keeps all others.
 *
 * A training command with a flag that only dlrm or the FAE release has is taken as one of theirs: without `--data-set` or
 * `--preset` it uses the defaults of preset kaggle (SGD), not those of preset default.
 *
 * `--processed-data-file` is read if it exists (a dataset, or format dlrm), otherwise `--raw-data-file`. If a raw file
 * does not exist, PREFIX_0, PREFIX_1, ... are read; the last of them becomes the test split unless another one is given.
 * `--load-model RUN` resumes the run; together with training data it starts a new run from its model; with
 * `--inference-only` the command becomes `evaluate`.
 *
 * Throws UsageError for a flag without its value, and for `--inference-only` without a model.
 */
export function translateArguments(given: readonly string[]): Translation {
  const words: string[] = [];
  const ignored: string[] = [];
  const pasted: Pasted = {};
  for (let i = 0; i < given.length; i++) {
    const [flag, attached] = splitFlag(given[i]);
    const value = () => {
      const word = attached ?? given[++i];
      if (word === undefined) throw new UsageError(`Cannot use ${flag}: it needs a value`);
      return word;
    };
    if (flag === "--use-gpu") words.push("--device", "cuda");
    else if (flag === "--inference-only") pasted.inferenceOnly = true;
    else if (Object.hasOwn(PASTED, flag)) pasted[PASTED[flag]] = value();
    else if (IGNORED_FLAGS.includes(flag)) ignored.push(flag);
    else if (IGNORED_VALUES.includes(flag)) {
      value();
      ignored.push(flag);
    } else if (RENAMED.has(flag)) words.push(RENAMED.get(flag)!.long, renamedValue(flag, value()));
    else {
      words.push(given[i]);
      continue;
    }
    pasted.dlrm = true;
  }
  return pasted.inferenceOnly ? evaluation(words, pasted, ignored) : training(words, pasted, ignored);
}

/** Hotset's value for another tool's flag. Throws UsageError if there is none. */
function renamedValue(flag: string, value: string): string {
  const values = RENAMED.get(flag)?.values;
  if (values === undefined) return value;
  if (Object.hasOwn(values, value)) return values[value];
  throw new UsageError(`Cannot use ${flag} ${value}: choose ${Object.keys(values).join(" or ")}`);
}

/** `evaluate`, with the inputs before all flags. Data in dlrm's flags is not a test split, so it is not scored. */
function evaluation([, ...words]: string[], { raw, processed, loaded }: Pasted, ignored: string[]): Translation {
  if (loaded === undefined) {
    throw new UsageError("Cannot evaluate with --inference-only: name the run to score with --load-model RUN");
  }
  const firstFlag = words.findIndex((word) => word.startsWith("-"));
  const inputs = firstFlag < 0 ? words : words.slice(0, firstFlag);
  const flags = words.slice(inputs.length);
  const dropped = flags.filter((word) => !OUTPUT_FLAGS.includes(word));
  if (dropped.length > 0) ignored.push(dropped.join(" "));
  if (raw !== undefined || processed !== undefined) ignored.push("data files (the data of the run is scored)");
  const kept = flags.filter((word) => OUTPUT_FLAGS.includes(word));
  return { arguments: ["evaluate", loaded, ...inputs, ...kept], ignored };
}

function training(
  [command, ...words]: string[],
  { raw, processed, loaded, dlrm }: Pasted,
  ignored: string[],
): Translation {
  if (command === undefined) return { arguments: [], ignored };
  const usesProcessed = Boolean(processed) && (!raw || existsSync(processed!));
  if (raw && processed) ignored.push(usesProcessed ? "--raw-data-file" : "--processed-data-file");
  const testGiven = words.some((word) => /^--test(-fraction)?(=|$)/.test(word));
  const inputs = usesProcessed ? processedInput(processed!) : raw ? rawInputs(raw, testGiven) : [];
  const result = [command, ...inputs, ...words];
  if (loaded !== undefined && result.slice(1).every((word) => OUTPUT_FLAGS.includes(word))) {
    return { arguments: [...result, "--resume", "--out", loaded], ignored };
  }
  if (loaded !== undefined) result.push("--from", loaded);
  if (dlrm && command === "train" && !words.some((word) => splitFlag(word)[0] === "--preset")) {
    result.push("--preset", DLRM_PRESET);
  }
  return { arguments: result, ignored };
}

function processedInput(path: string): string[] {
  return isArtifact(path) ? [path] : ["--format=dlrm", path];
}

/** A raw file, or those of its days. */
function rawInputs(path: string, testGiven: boolean): string[] {
  const days = existsSync(path) ? [] : daysOf(path);
  if (days.length === 0) return [path];
  return testGiven || days.length === 1 ? days : [...days.slice(0, -1), `--test=${days.at(-1)}`];
}

/** The files PREFIX_0, PREFIX_1, ... in the order of their numbers, compressed or not. */
function daysOf(prefix: string): string[] {
  const start = `${basename(prefix)}_`;
  const days = namesIn(dirname(prefix)).flatMap((name) => {
    const number = name.startsWith(start) ? /^(\d+)(\.gz|\.zst)?$/.exec(name.slice(start.length)) : null;
    return number === null ? [] : [{ day: Number(number[1]), path: `${prefix}_${number[0]}` }];
  });
  return days.sort((a, b) => a.day - b.day || a.path.length - b.path.length)
    .filter(({ day }, i, sorted) => day !== sorted[i - 1]?.day) // of day_0 and day_0.gz the first
    .map(({ path }) => path);
}

/** Empty if the directory does not exist; the error is reported when the file is read. */
function namesIn(directory: string): string[] {
  try {
    return [...Deno.readDirSync(directory)].map(({ name }) => name);
  } catch {
    return [];
  }
}

/** An option that a configuration file may set. */
export interface KnownOption {
  /** Its name, without leading dashes. */
  readonly name: string;
  /** False for a flag, which is true or false. */
  readonly takesValue: boolean;
  /** True if it takes several values. */
  readonly takesList: boolean;
  /** Throws an error that states the valid values, as in "Expected a whole number from 1." */
  check(value: string): void;
}

/**
 * Replaces `--config FILE` with the flags in the file. They precede all others, which therefore override them. The file
 * is a JSON object of flag names without dashes. Numbers and strings are values; true is a flag without a value; false
 * omits a flag (`save: false` is --no-save). Lists are widths of layers, or the values of an option that takes several.
 * Throws UsageError for anything else and, if the command's options are known, for unknown keys and invalid values.
 */
export function expandConfig(given: readonly string[], known?: readonly KnownOption[]): string[] {
  const at = given.findIndex((word) => splitFlag(word)[0] === "--config");
  if (at < 0) return [...given];
  const [, attached] = splitFlag(given[at]);
  const path = attached ?? given[at + 1];
  if (path === undefined) throw new UsageError("Cannot read the configuration: --config needs a file");
  let content: unknown;
  try {
    content = JSON.parse(Deno.readTextFileSync(path));
  } catch (error) {
    const reason = error instanceof Deno.errors.NotFound ? "no such file" : messageOf(error);
    throw new UsageError(`Cannot read the configuration ${path}: ${reason}`);
  }
  const parsed = configFile.safeParse(content);
  if (!parsed.success) {
    throw new UsageError(`Cannot read the configuration ${path}: ${firstIssue(parsed.error)}`);
  }
  const flags = Object.entries(parsed.data).flatMap(([name, value]) => {
    const fault = known && faultOf(name, value, known);
    if (fault !== undefined) throw new UsageError(`Cannot read the configuration ${path}: ${fault}`);
    if (name === "save" && typeof value === "boolean") return value ? [] : ["--no-save"];
    if (typeof value === "boolean") return value ? [`--${name}`] : [];
    if (!Array.isArray(value)) return [`--${name}=${value}`];
    if (known?.find((option) => option.name === name)?.takesList) return value.map((each) => `--${name}=${each}`);
    if (name.startsWith("arch-mlp-")) return [`--${name}=${value.join("-")}`];
    throw new UsageError(`Cannot read the configuration ${path}: ${name} takes one value, not a list`);
  });
  const rest = given.filter((_, i) => i !== at && !(attached === undefined && i === at + 1));
  return [...rest.slice(0, 1), ...flags, ...rest.slice(1)];
}

/** What is wrong with a key of a configuration file, or with its value; undefined if nothing is. */
function faultOf(name: string, value: unknown, known: readonly KnownOption[]): string | undefined {
  const flag = `--${name}`;
  if (Object.hasOwn(PASTED, flag) || [...DLRM_FLAGS, ...IGNORED_FLAGS, ...IGNORED_VALUES].includes(flag)) {
    return undefined;
  }
  const renamed = RENAMED.get(flag)?.long.slice("--".length) ?? name;
  if (name === "save") return typeof value === "boolean" ? undefined : "save must be true or false";
  const option = known.find((option) => option.name === renamed);
  if (option === undefined) return `unknown key "${name}"${didYouMean(name, known.map(({ name }) => name))}`;
  if (!option.takesValue) return typeof value === "boolean" ? undefined : `${name} must be true or false`;
  if (typeof value === "boolean") return value ? `${name} needs a value` : undefined;
  if (Array.isArray(value)) return undefined;
  try {
    option.check(renamedValue(flag, `${value}`));
    return undefined;
  } catch (error) {
    const [first, ...rest] = messageOf(error).replace(/\.$/, "");
    return `${name} cannot be ${JSON.stringify(value)}: ${first.toLowerCase()}${rest.join("")}`;
  }
}

function splitFlag(word: string): [flag: string, value: string | undefined] {
  const equals = word.indexOf("=");
  return word.startsWith("--") && equals > 0 ? [word.slice(0, equals), word.slice(equals + 1)] : [word, undefined];
}
