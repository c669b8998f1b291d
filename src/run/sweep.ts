/** Trains a run for each combination of values of options, one after the other, on data that is prepared once. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { TrainConfig } from "../config/config.ts";
import { UsageError } from "../errors.ts";
import { differingOptions, type RunSummary, summarizeRun } from "./run_list.ts";
import { RUN_FILE } from "./run_record.ts";
import { resumeRun, trainOn } from "./run.ts";
import type { RunOptions } from "./run_options.ts";
import type { RawOptions } from "./stages.ts";

/** Values of options, by key: a run is trained for each combination. */
export type Grid = Readonly<Record<string, readonly unknown[]>>;

/** The combinations of a grid's values, those of its last option in turn first. */
export function combinations(grid: Grid): Record<string, unknown>[] {
  return Object.entries(grid).reduce<Record<string, unknown>[]>(
    (all, [key, values]) => all.flatMap((one) => values.map((value) => ({ ...one, [key]: value }))),
    [{}],
  );
}

/** The name of a run by the options that vary: `learningRate=0.01,seed=2`; of a budget it has the bytes or the share. */
export function nameOf(varied: Readonly<Record<string, unknown>>): string {
  const text = (value: unknown) =>
    typeof value === "object" && value !== null ? Object.values(value).join("-") : String(value);
  const name = Object.entries(varied).map(([key, value]) => `${key}=${text(value)}`).join(",");
  return name.replaceAll(/[^\w=,.+-]/g, "_") || "run";
}

/** A run of a sweep. */
export interface SweepRun {
  /** Its name. */
  readonly name: string;
  /** Its configuration. */
  readonly config: TrainConfig;
}

/**
 * Trains runs in a folder, which is also their cache unless one is named; those that have ended are left as they are, and those that were
 * interrupted are resumed. Returns their summaries, in the same order. Throws UsageError if a run of that name has
 * another configuration, and otherwise like `trainOn`.
 */
export async function sweep(
  inputs: readonly string[],
  raw: RawOptions,
  runs: readonly SweepRun[],
  folder: string,
  options: Omit<RunOptions, "out">,
): Promise<RunSummary[]> {
  const outOf = ({ name }: SweepRun) => join(folder, name);
  const found = new Map<SweepRun, RunSummary>();
  for (const run of runs.filter((each) => existsSync(join(outOf(each), RUN_FILE)))) {
    const summary = summarizeRun(outOf(run));
    const [other] = differingOptions([summary.config, run.config]).filter((key) => key !== "mode");
    if (other !== undefined) {
      throw new UsageError(
        `Cannot sweep in ${folder}: ${summary.run} has another ${other}; choose another --out, or remove that run`,
      );
    }
    found.set(run, summary);
  }
  for (const [i, run] of runs.entries()) {
    const out = outOf(run);
    const before = found.get(run);
    const what = before === undefined ? "trained" : before.state === "ended" ? "there already" : "resumed";
    options.report({ event: "note", text: `Run ${i + 1} of ${runs.length}: ${out}, ${what}` });
    if (before === undefined) await trainOn(inputs, raw, run.config, { ...options, out });
    else if (before.state !== "ended") await resumeRun({ ...options, out });
  }
  return runs.map((run) => summarizeRun(outOf(run)));
}
