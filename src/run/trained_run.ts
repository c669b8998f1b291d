/** Uses a trained run: its best checkpoint, and the encoding that gives the ids of its rows their meaning. */
import type { DatasetEncoding } from "../dataset/dataset_encoding.ts";
import { HotsetError } from "../errors.ts";
import type { ArtifactCheck } from "../storage/artifact.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { findBest } from "./beginning.ts";
import { openEncoding } from "./run_data.ts";

/** How often reading restarts because training has replaced the checkpoint. */
const MAX_TRIES = 10;

/** Opens the encoding of a run's model. Throws HotsetError if it has changed; `doing` is the purpose: "export". */
export async function openTrainedOn(run: string, doing: string): Promise<DatasetEncoding> {
  const encoding = await openEncoding(run);
  if (await restarting(run, "lengths", ({ body }) => body.dataset) === encoding.id) return encoding;
  throw new HotsetError(`Cannot ${doing} ${run}: its dataset ${encoding.directory} has changed since it was trained`);
}

/**
 * Reads a run's best checkpoint with `read`; restarts with the new one if training has replaced it in the meantime. Throws
 * HotsetError if its rows do not belong to the encoding, because another run has the name now. Its checksums
 * are checked before unless `check` is "lengths", which is enough for its manifest.
 */
export async function withBest<T>(
  run: string,
  encoding: DatasetEncoding,
  read: (checkpoint: Checkpoint) => T | Promise<T>,
  check: ArtifactCheck = "checksums",
): Promise<T> {
  return await restarting(run, check, (checkpoint) => {
    if (checkpoint.body.dataset === encoding.id) return read(checkpoint);
    throw new HotsetError(`Cannot use ${run}: another run has taken its place; begin again`);
  });
}

async function restarting<T>(
  run: string,
  check: ArtifactCheck,
  read: (checkpoint: Checkpoint) => T | Promise<T>,
): Promise<T> {
  for (let tries = 1;; tries++) {
    let id: string | undefined;
    try {
      const checkpoint = findBest(run);
      id = checkpoint.id;
      return await read(check === "lengths" ? checkpoint : await checkpoint.verified());
    } catch (error) {
      if (!(error instanceof HotsetError) || tries === MAX_TRIES || bestId(run) === id) throw error;
    }
  }
}

/** Id of the best checkpoint; undefined if there is no complete one. */
function bestId(run: string): string | undefined {
  try {
    return findBest(run).id;
  } catch (error) {
    if (error instanceof HotsetError) return undefined;
    throw error;
  }
}
