/** The record in a run's directory: everything needed to resume the run and to repeat it. */
import { existsSync } from "node:fs";
import { cpus } from "node:os";
import { basename, join, relative, resolve } from "node:path";
import { z } from "zod";
import project from "../../deno.json" with { type: "json" };
import { firstIssue, isArtifact, isDirectory, isIntact, withChecksum } from "../storage/artifact.ts";
import type { Dataset } from "../dataset/dataset.ts";
import { HotsetError, messageOf } from "../errors.ts";
import { AtomicFile } from "../storage/atomic_file.ts";
import { throughLinks } from "../storage/links.ts";
import { type TrainConfig, trainConfig } from "../config/config.ts";
import { LIBRARIES } from "../config/placement_options.ts";

/** Name of the record in a run's directory. */
export const RUN_FILE = "run.json";
/** What a run keeps of its dataset, in its directory. */
export const ENCODING = "encoding";
const VERSION = 4;
/** The oldest version that is read: that of 0.1, whose paths are absolute. */
const OLDEST = 3;

/** The record of a run. */
export interface RunRecord {
  /** Kind of file. */
  hotset: "run";
  /** Version of the file's format. */
  version: 3 | 4;
  /** The configuration, including the seed. */
  config: TrainConfig;
  /** When it began to train, in ISO 8601; null in runs of version 0.1. */
  started: string | null;
  /** What the user calls its data: the files of the log, or the directory of the dataset; null in runs of version 0.1. */
  data: string | null;
  /** Directory of the dataset: relative to the run where it is recorded, absolute where it has been read. */
  dataset: string;
  /** Id of the dataset: a checksum over the lengths and checksums of its files. */
  datasetId: string;
  /** Id of the layout that it trains on, in the same way; null if its model was imported. */
  layoutId: string | null;
  /** The checkpoint that it began with: its directory, like `dataset`, and id; null if it began with a new model. */
  from: { directory: string; id: string } | null;
  /** What computes, with versions; null before it trains. */
  device: string | null;
  /** Matrix library on the CPU; null before it trains, if devices compute, and in runs of version 0.1. */
  blas: Exclude<TrainConfig["blas"], "auto"> | null;
  /** Number of ranks, which determines the order of sums; null before it trains. */
  ranks: number | null;
  /** What determines the learning rate: the configuration, or a function of the program that began the run. */
  schedule: "config" | "function";
  /** Versions of Hotset and Deno. */
  versions: { hotset: string; deno: string; v8: string };
  /** The machine; null for what this process was not permitted to read. */
  machine: { target: string; cores: number; processor: string | null; memoryBytes: number | null };
}
const runRecord: z.ZodType<RunRecord> = z.object({
  hotset: z.literal("run"),
  version: z.union([z.literal(OLDEST), z.literal(VERSION)]),
  config: trainConfig,
  started: z.iso.datetime().nullable().default(null),
  data: z.string().nullable().default(null),
  dataset: z.string(),
  datasetId: z.string(),
  layoutId: z.string().nullable(),
  from: z.object({ directory: z.string(), id: z.string() }).nullable(),
  device: z.string().nullable(),
  blas: z.enum(LIBRARIES).nullable().default(null),
  ranks: z.number().int().positive().nullable(),
  schedule: z.enum(["config", "function"]).default("config"), // absent from runs of version 0.1
  versions: z.object({ hotset: z.string(), deno: z.string(), v8: z.string() }),
  machine: z.object({
    target: z.string(),
    cores: z.number().int().positive(),
    processor: z.string().nullable(),
    memoryBytes: z.number().nonnegative().nullable(),
  }),
});

/** Reads the record of a run. Throws HotsetError if the directory is not a run. */
export function readRun(directory: string): RunRecord {
  try {
    const json = JSON.parse(Deno.readTextFileSync(join(directory, RUN_FILE)));
    if (json?.hotset === "run" && !(json.version >= OLDEST && json.version <= VERSION)) {
      throw new Error(
        `its format is version ${json.version} and this Hotset reads versions ${OLDEST} to ${VERSION}`,
      );
    }
    const parsed = runRecord.safeParse(json);
    if (!parsed.success) throw new HotsetError(`${RUN_FILE} has ${firstIssue(parsed.error)}`, { code: "damaged" });
    if (!isIntact(json)) {
      throw new HotsetError(`${RUN_FILE} is damaged (checksum does not match)`, { code: "damaged" });
    }
    const { dataset, from, ...record } = parsed.data;
    const absolute = (path: string) => resolve(throughLinks(directory), path);
    return {
      ...record,
      dataset: absolute(dataset),
      from: from === null ? null : { ...from, directory: absolute(from.directory) },
    };
  } catch (error) {
    const reason = error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory
      ? whatIsThere(directory)
      : error instanceof SyntaxError
      ? `${RUN_FILE} is not JSON`
      : messageOf(error);
    throw new HotsetError(`Cannot open run ${directory}: ${reason}`, { cause: error });
  }
}

/** What the directory is instead of a run. */
function whatIsThere(directory: string): string {
  if (!isDirectory(directory)) {
    return existsSync(directory)
      ? "it is a file, not the directory of a run; unzip makes one of a packed run"
      : "no such directory";
  }
  return isArtifact(directory)
    ? "it is a dataset, profile, layout or checkpoint, not a run"
    : `it contains no ${RUN_FILE}`;
}

/**
 * The configuration of a run with defaults resolved as at its beginning: the number of ranks, and the matrix library on
 * the CPU, which implies that a CPU computes.
 */
export function configAsBegun({ config, ranks, blas }: RunRecord): TrainConfig {
  return { ...config, ranks: ranks ?? config.ranks, ...(blas === null ? {} : onCpu(config, blas)) };
}

/** What the configuration needs for a matrix library: if `auto` could be a GPU, the device becomes cpu. */
export function onCpu({ mode, device }: TrainConfig, blas: TrainConfig["blas"]): Pick<TrainConfig, "blas" | "device"> {
  const mayBeGpu = device === "auto" && (mode === "auto" || mode === "fae") && blas !== "auto";
  return { blas, device: mayBeGpu ? "cpu" : device };
}

/** The configuration with which a run trains, from its record. */
export type TrainedWith = Pick<RunRecord, "layoutId" | "from" | "device" | "blas" | "ranks" | "schedule">;

/**
 * Writes the record of a run and the encoding of its dataset into its directory, which it creates. Throws HotsetError if
 * that fails.
 */
export async function recordRun(
  out: string,
  config: TrainConfig,
  dataset: Dataset,
  trainedWith: TrainedWith,
): Promise<void> {
  // A run may be moved together with the directory that contains it and its data.
  const fromRun = (directory: string) => relative(throughLinks(out), throughLinks(directory));
  const { from } = trainedWith;
  const record: RunRecord = {
    hotset: "run",
    version: VERSION,
    config,
    started: new Date().toISOString(),
    data: nameOf(dataset),
    dataset: fromRun(dataset.directory),
    datasetId: dataset.id,
    ...trainedWith,
    from: from === null ? null : { ...from, directory: fromRun(from.directory) },
    versions: { hotset: project.version, deno: Deno.version.deno, v8: Deno.version.v8 },
    machine: {
      target: Deno.build.target,
      cores: navigator.hardwareConcurrency,
      processor: ifPermitted(() => cpus()[0].model),
      memoryBytes: ifPermitted(() => Deno.systemMemoryInfo().total),
    },
  };
  const text = new TextEncoder().encode(JSON.stringify(withChecksum(record), null, 1) + "\n");
  AtomicFile.write(join(out, RUN_FILE), [text], `start a run in ${out}`);
  if (config.save) await dataset.save(join(out, ENCODING));
}

const inputs = z.object({ inputs: z.array(z.object({ path: z.string() })).min(1) });

/** What a user calls a dataset: the first file of its log and the number of the others, or its own name. */
function nameOf({ directory, body: { source } }: Dataset): string {
  const read = inputs.safeParse(source);
  if (!read.success) return basename(directory);
  const [first, ...others] = read.data.inputs;
  return basename(first.path) + (others.length === 0 ? "" : ` and ${others.length} more`);
}

/** The result of `ask`; null without the required permission (--allow-sys). */
export function ifPermitted<T>(ask: () => T): T | null {
  try {
    return ask();
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) return null;
    throw error;
  }
}
