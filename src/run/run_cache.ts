/**
 * The cache of runs: a directory with the datasets, profiles and layouts that training makes, each named by what it is
 * made from. Unless one is named it is the directory that contains the run.
 */
import { existsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { HotsetError, messageOf } from "../errors.ts";
import { hostName } from "../storage/writer.ts";

/** In a cache that was named: the absolute paths of the runs that use it, one a line, each with the host that wrote it. */
const RUNS_FILE = ".runs";
/** Between path and host. */
const SEPARATOR = "\t";
const DATASETS = "datasets";

/** The cache of a run, if none is named. */
export function cacheOf(out: string): string {
  return dirname(resolve(out));
}

/** The cache of a run that exists: the one that holds its dataset, if it is in one. */
export function cacheWith(dataset: string, out: string): string {
  const folder = dirname(resolve(dataset));
  return basename(folder) === DATASETS ? dirname(folder) : cacheOf(out);
}

/**
 * Records that a run uses a cache, so that `clean` knows of it wherever it is. Throws HotsetError if the cache cannot be
 * written.
 */
export function registerRun(cache: string, out: string): void {
  const run = resolve(out);
  try {
    Deno.mkdirSync(cache, { recursive: true });
    const line = [run, hostName()].join(SEPARATOR);
    if (linesOf(cache).includes(line)) return;
    Deno.writeTextFileSync(join(cache, RUNS_FILE), `${line}\n`, { append: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    throw new HotsetError(`Cannot record run ${out} in the cache ${cache}: ${messageOf(error)}`, { cause: error });
  }
}

/** The runs that were recorded; some may have been moved or removed since. */
export function registeredRuns(cache: string): string[] {
  return [...new Set(linesOf(cache).map((line) => line.split(SEPARATOR)[0]))];
}

/** Those of them that only other hosts recorded and that do not exist here: they may be on a disk of that host. */
export function runsElsewhere(cache: string): { run: string; host: string }[] {
  const lines = linesOf(cache).map((line) => line.split(SEPARATOR));
  const here = new Set(lines.flatMap(([run, host = ""]) => host === "" || host === hostName() ? run : []));
  return lines.filter(([run]) => !here.has(run) && !existsSync(run)).map(([run, host]) => ({ run, host }));
}

function linesOf(cache: string): string[] {
  try {
    return Deno.readTextFileSync(join(cache, RUNS_FILE)).split("\n").filter((line) => line !== "");
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
