/** A run that is used: its best checkpoint, and the dataset whose ids its rows stand for. */
import { Dataset } from "../dataset/dataset.ts";
import { HotsetError } from "../errors.ts";
import type { Checkpoint } from "./checkpoint/checkpoint.ts";
import { openBest } from "./run.ts";
import { readRun } from "./run_record.ts";

/** Opens both. Throws HotsetError if the dataset is not as it was; `doing` says what for: "export". */
export function openTrained(run: string, doing: string): { checkpoint: Checkpoint; dataset: Dataset } {
  const dataset = Dataset.open(readRun(run).dataset);
  const checkpoint = openBest(run);
  if (checkpoint.body.dataset !== dataset.id) {
    throw new HotsetError(`Cannot ${doing} ${run}: its dataset ${dataset.directory} has changed since it was trained`);
  }
  return { checkpoint, dataset };
}
