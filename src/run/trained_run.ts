/** A run that is used: its best checkpoint, and the dataset whose ids its rows stand for. */
import { Dataset } from "../dataset/dataset.ts";
import { HotsetError } from "../errors.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { openBest } from "./beginning.ts";
import { readRun } from "./run_record.ts";

/** How often a checkpoint that is replaced is begun again with the next one. */
const MAX_TRIES = 10;

/** Opens the run's dataset. Throws HotsetError if it is not as it was; `doing` says what for: "export". */
export function openTrainedOn(run: string, doing: string): Dataset {
  const dataset = Dataset.open(readRun(run).dataset);
  if (withBest(run, ({ body }) => body.dataset) === dataset.id) return dataset;
  throw new HotsetError(`Cannot ${doing} ${run}: its dataset ${dataset.directory} has changed since it was trained`);
}

/**
 * Reads a run's best checkpoint by `read`: another one, from its beginning, where training has put it in the place of the
 * first meanwhile.
 */
export function withBest<T>(run: string, read: (checkpoint: Checkpoint) => T): T {
  for (let tries = 1;; tries++) {
    let id: string | undefined;
    try {
      const checkpoint = openBest(run);
      id = checkpoint.id;
      return read(checkpoint);
    } catch (error) {
      if (!(error instanceof HotsetError) || tries === MAX_TRIES || bestId(run) === id) throw error;
    }
  }
}

/** Names the best checkpoint; undefined if there is no whole one. */
function bestId(run: string): string | undefined {
  try {
    return openBest(run).id;
  } catch (error) {
    if (error instanceof HotsetError) return undefined;
    throw error;
  }
}
