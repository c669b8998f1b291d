/** Checks before training whether the disk has space for the checkpoints of a run. */
import { join } from "node:path";
import { HotsetError } from "../errors.ts";
import { freeBytes } from "../storage/disk.ts";
import { isDirectory } from "../storage/artifact.ts";
import { bytes } from "../format.ts";
import type { TrainConfig } from "../config/config.ts";
import { resumePoints } from "./checkpoint_store.ts";

/** What determines how many checkpoints of a run exist at the same time. */
export type CheckpointPlan = Pick<
  TrainConfig,
  "epochs" | "testFreq" | "checkpointSteps" | "checkpointMinutes" | "keep"
>;

/** How many periodic checkpoints are kept, and a note for the user if they are fewer than --keep. */
export interface CheckpointRoom {
  readonly keep: number;
  readonly note: string | undefined;
}

/** Words of the error when the disk is too small: what needs the space, and what else the user can do. */
export interface RoomWords {
  readonly what: string;
  readonly remedy: string;
}
const CHECKPOINT_WORDS: RoomWords = { what: "checkpoints", remedy: "save nothing with --no-save" };

/**
 * How many periodic checkpoints fit on the disk of a run besides the required ones (last, best, the one in progress).
 * Throws HotsetError if the required ones do not fit.
 */
export function roomForCheckpoints(
  run: string,
  plan: CheckpointPlan,
  checkpointBytes: number,
  words: RoomWords = CHECKPOINT_WORDS,
): CheckpointRoom {
  const free = freeBytes(run);
  if (free === undefined) return { keep: plan.keep, note: undefined };
  return shareRoom(run, plan, checkpointBytes, free, heldBytes(run), words);
}

/** The same for `free` bytes on the disk and `held` bytes of the run's earlier checkpoints, which will be replaced. */
export function shareRoom(
  run: string,
  { epochs, testFreq, checkpointSteps, checkpointMinutes, keep }: CheckpointPlan,
  checkpointBytes: number,
  free: number,
  held: number,
  { what, remedy }: RoomWords = CHECKPOINT_WORDS,
): CheckpointRoom {
  // `best`, `last` and the one in progress may be of three steps; with a single evaluation one checkpoint has all
  // names.
  const evaluatesOften = epochs > 1 || testFreq > 0;
  const must = evaluatesOften ? 3 : checkpointSteps > 0 ? 2 : 1;
  const fit = Math.floor((free + held) / checkpointBytes);
  const size = bytes(checkpointBytes);
  if (fit < must) {
    const which = must === 3 ? " (the last, the best, and one that is being written)" : "";
    throw new HotsetError(
      `Cannot train run ${run}: its disk has ${
        bytes(free)
      } free, and its ${what} take ${must} times ${size}${which}; ` +
        `free some space, choose an --out on another disk, or ${remedy}`,
      { code: "no-space" },
    );
  }
  if (checkpointSteps === 0 && checkpointMinutes === 0 || fit >= must + keep) return { keep, note: undefined };
  return {
    keep: fit - must,
    note: `The disk of ${run} has ${bytes(free)} free, so of the periodic checkpoints, ${size} each, ` +
      `${fit - must} are kept instead of ${keep} (--keep)`,
  };
}

/** Bytes of a run's present checkpoints; several names may share files. */
function heldBytes(run: string): number {
  if (!isDirectory(run)) return 0;
  const sizes = new Map<number | null, number>();
  for (const point of resumePoints(run)) {
    for (const { name } of Deno.readDirSync(point)) {
      const { ino, size } = Deno.statSync(join(point, name));
      sizes.set(ino, size);
    }
  }
  return [...sizes.values()].reduce((sum, size) => sum + size, 0);
}
