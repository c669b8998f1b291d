/** Whether a disk has room for the checkpoints of a run, asked before training. */
import { join } from "node:path";
import { HotsetError } from "../errors.ts";
import { freeBytes } from "../storage/disk.ts";
import { isDirectory } from "../storage/artifact.ts";
import { bytes } from "../format.ts";
import type { TrainConfig } from "../config/config.ts";
import { resumePoints } from "./checkpoint_store.ts";

/** What decides how many checkpoints of a run lie side by side. */
export type CheckpointPlan = Pick<
  TrainConfig,
  "epochs" | "testFreq" | "checkpointSteps" | "checkpointMinutes" | "keep"
>;

/** How many of the checkpoints by steps and minutes are kept, and what to tell if they are fewer than asked for. */
export interface CheckpointRoom {
  readonly keep: number;
  readonly note: string | undefined;
}

/** What a refusal says takes the room, and another way out. */
export interface RoomWords {
  readonly what: string;
  readonly wayOut: string;
}
const CHECKPOINT_WORDS: RoomWords = { what: "checkpoints", wayOut: "save nothing with --no-save" };

/**
 * How many checkpoints by steps and minutes the disk of a run has room for, beside those that it must have. Throws
 * HotsetError if it has no room for these.
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

/** The same of a disk with so many bytes free, beside bytes of checkpoints of the run that are there and will be replaced. */
export function shareRoom(
  run: string,
  { epochs, testFreq, checkpointSteps, checkpointMinutes, keep }: CheckpointPlan,
  checkpointBytes: number,
  free: number,
  held: number,
  { what, wayOut }: RoomWords = CHECKPOINT_WORDS,
): CheckpointRoom {
  // `best`, `last` and the one that is being written may be of three steps; a single evaluation writes one for all names.
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
        `free some space, choose an --out on another disk, or ${wayOut}`,
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

/** Bytes of the checkpoints that a run has, of which several names may share files. */
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
