/** The checkpoints in the directory of a run: `last`, `best`, and `step-N` for the latest periodic ones. */
import { join } from "node:path";
import { isDirectory } from "../storage/artifact.ts";
import { ArtifactWriter } from "../storage/artifact_writer.ts";
import { removeWhole } from "../storage/atomic_directory.ts";
import { createFile } from "../storage/direct_file.ts";
import { measure } from "../storage/file_entry.ts";
import { removeAllLeftovers } from "../storage/partial.ts";
import { planModel } from "../model/shape.ts";
import type { CheckpointBody } from "./checkpoint.ts";
import type { WordNames } from "./weights.ts";

/** The checkpoint from which a run is resumed. */
export const LAST_CHECKPOINT = "last";
/** The checkpoint with the best AUC of the selection split. */
export const BEST_CHECKPOINT = "best";
const STEP_CHECKPOINT = /^step-(\d+)$/;

/** Locations at which a checkpoint is stored, in addition to `last`. */
export interface CheckpointPlaces {
  readonly run: string;
  readonly best: boolean;
  /** True to store it under the name of its step too. */
  readonly step: boolean;
  /** How many of those are kept. */
  readonly keep: number;
  /** Names of the tables, for errors about non-finite values. */
  readonly tables: readonly string[];
}

/**
 * Writes a checkpoint once, by `write` (which returns the names of files that others wrote), and gives it all its
 * names, which share files if the file system has hard links. `last` is renamed at the end: a run that is killed before
 * resumes from the previous one and does all of this again.
 */
export function storeCheckpoint(
  { run, best, step, keep, tables }: CheckpointPlaces,
  body: CheckpointBody,
  write: (writer: ArtifactWriter, names: WordNames) => string[] | void,
): void {
  const keeps = step && keep > 0;
  const names = [
    ...(best ? [BEST_CHECKPOINT] : []),
    ...(keeps ? [`step-${body.state.step}`] : []),
    LAST_CHECKPOINT,
  ];
  const [first, ...others] = names.map((name) => join(run, name));
  {
    using writer = new ArtifactWriter("checkpoint", first, createFile);
    const written = write(writer, { plan: planModel(body.model), tables }) ?? [];
    for (const name of written) writer.adopt(name, measure(writer.path(name)));
    writer.commit(body);
  }
  for (const other of others) {
    using writer = new ArtifactWriter("checkpoint", other);
    writer.commitLinks(first);
  }
  if (keeps) prune(run, keep);
}

/** Removes the oldest step checkpoints. */
function prune(run: string, keep: number): void {
  for (const name of stepCheckpoints(run).slice(keep)) removeWhole(join(run, name));
}

/** Names of the periodic checkpoints, the latest first. */
function stepCheckpoints(run: string): string[] {
  const stepOf = (name: string) => Number(STEP_CHECKPOINT.exec(name)![1]);
  return [...Deno.readDirSync(run)].map(({ name }) => name)
    .filter((name) => STEP_CHECKPOINT.test(name))
    .sort((a, b) => stepOf(b) - stepOf(a));
}

/**
 * The checkpoints from which a run can be resumed: `last`, periodic ones, `best`. Includes one that has lost its
 * manifest: damage must be reported, not hidden by resuming from another one.
 */
export function resumePoints(run: string): string[] {
  return [LAST_CHECKPOINT, ...stepCheckpoints(run), BEST_CHECKPOINT].map((name) => join(run, name)).filter(isDirectory);
}

/**
 * Removes partial checkpoints and superfluous ones that a killed run left; restores an old one whose replacement is
 * partial.
 */
export function cleanCheckpoints(run: string, keep: number): void {
  removeAllLeftovers(run);
  prune(run, keep);
}
