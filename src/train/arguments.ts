/** Command lines of facebookresearch/dlrm and of the FAE release, put into Hotset's own words. */

import { z } from "zod";
import { firstIssue } from "../artifact.ts";
import { messageOf, UsageError } from "../errors.ts";

const value = z.union([z.string(), z.number(), z.boolean()]);
const configFile = z.record(z.string(), z.union([value, z.array(value)]));

/** Flags with another name here. */
const RENAMED: Readonly<Record<string, string>> = {
  "--mini-batch-size": "--batch-size",
  "--nepochs": "--epochs",
  "--numpy-rand-seed": "--seed",
  "--data-set": "--preset",
  "--raw-data-file": "",
  "--processed-data-file": "",
  "--save-model": "--out",
  "--mlperf-auc-threshold": "--target-auc",
  "--hot-emb-gpu-mem": "--hot-memory",
  "--ip-sampling-rate": "--sample-rate",
};
/** Flags that take a value and change nothing here, because what they choose is how Hotset always works. */
const IGNORED_VALUES = [
  "--test-mini-batch-size",
  "--loss-function",
  "--round-targets",
  "--data-generation",
  "--data-randomize",
  "--num-workers",
  "--test-num-workers",
  "--print-precision",
  "--num-indices-per-lookup",
  "--num-indices-per-lookup-fixed",
  "--tensor-board-filename",
];
/** Flags without a value that change nothing here. */
const IGNORED_FLAGS = [
  "--print-time",
  "--print-wall-time",
  "--memory-map",
  "--mlperf-logging",
  "--mlperf-bin-loader",
  "--mlperf-bin-shuffle",
  "--dataset-multiprocessing",
];

/** Flags that stay when a training command becomes `evaluate`. */
const OUTPUT_FLAGS = ["--json", "--quiet", "--verbose"];

/** A command line in Hotset's words. */
export interface Translation {
  /** Command and flags. */
  readonly arguments: string[];
  /** Flags that were understood and left out. */
  readonly ignored: string[];
}

/**
 * Replaces the flags of facebookresearch/dlrm by Hotset's; all others stay. With `--inference-only` a training command
 * becomes `evaluate`; `--load-model RUN` alone resumes the run.
 */
export function translateArguments(given: readonly string[]): Translation {
  const result: string[] = [];
  const ignored: string[] = [];
  let loaded: string | undefined;
  let inferenceOnly = false;
  for (let i = 0; i < given.length; i++) {
    const [flag, attached] = splitFlag(given[i]);
    const value = () => attached ?? given[++i] ?? "";
    if (flag === "--use-gpu") result.push("--device", "cuda");
    else if (flag === "--load-model") loaded = value();
    else if (flag === "--inference-only") inferenceOnly = true;
    else if (IGNORED_FLAGS.includes(flag)) ignored.push(flag);
    else if (IGNORED_VALUES.includes(flag)) {
      value();
      ignored.push(flag);
    } else if (flag in RENAMED) result.push(...[RENAMED[flag], value()].filter((word) => word !== ""));
    else result.push(given[i]);
  }
  if (loaded === undefined) return { arguments: result, ignored };
  return inferenceOnly
    ? { arguments: ["evaluate", loaded, ...result.filter((word) => OUTPUT_FLAGS.includes(word))], ignored }
    : { arguments: [...result, "--resume", "--out", loaded], ignored };
}

/**
 * Replaces `--config FILE` by the flags in the file, ahead of all others so that those override it. The file holds a JSON
 * object of flag names without dashes: numbers and strings are values, true is a flag without one, lists are several.
 * Throws UsageError if it is anything else.
 */
export function expandConfig(given: readonly string[]): string[] {
  const at = given.findIndex((word) => splitFlag(word)[0] === "--config");
  if (at < 0) return [...given];
  const [, attached] = splitFlag(given[at]);
  const path = attached ?? given[at + 1];
  if (path === undefined) throw new UsageError("Cannot read the configuration: --config needs a file");
  let content: unknown;
  try {
    content = JSON.parse(Deno.readTextFileSync(path));
  } catch (error) {
    const reason = error instanceof Deno.errors.NotFound ? "there is no such file" : messageOf(error);
    throw new UsageError(`Cannot read the configuration ${path}: ${reason}`);
  }
  const parsed = configFile.safeParse(content);
  if (!parsed.success) {
    throw new UsageError(`Cannot read the configuration ${path}: ${firstIssue(parsed.error)}`);
  }
  const flags = Object.entries(parsed.data).flatMap(([name, value]) =>
    value === true ? [`--${name}`] : value === false ? [] : [value].flat().map((one) => `--${name}=${one}`)
  );
  const rest = given.filter((_, i) => i !== at && !(attached === undefined && i === at + 1));
  return [...rest.slice(0, 1), ...flags, ...rest.slice(1)];
}

function splitFlag(word: string): [flag: string, value: string | undefined] {
  const equals = word.indexOf("=");
  return word.startsWith("--") && equals > 0 ? [word.slice(0, equals), word.slice(equals + 1)] : [word, undefined];
}
