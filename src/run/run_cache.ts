/**
 * The cache of runs: a directory with the datasets, profiles and layouts that training makes, each named by what it is
 * made from. Unless one is named it is the directory that contains the run.
 */
import { basename, dirname, join, resolve } from "node:path";
import { HotsetError, messageOf } from "../errors.ts";

/** In a cache that was named: the absolute paths of the runs that use it, one a line. */
const RUNS_FILE = ".runs";
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
    if (registeredRuns(cache).includes(run)) return;
    Deno.writeTextFileSync(join(cache, RUNS_FILE), `${run}\n`, { append: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    throw new HotsetError(`Cannot record run ${out} in the cache ${cache}: ${messageOf(error)}`, { cause: error });
  }
}

/** The runs that were recorded; some may have been moved or removed since. */
export function registeredRuns(cache: string): string[] {
  try {
    return Deno.readTextFileSync(join(cache, RUNS_FILE)).split("\n").filter((line) => line !== "");
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
