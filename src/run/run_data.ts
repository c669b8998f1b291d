/** The data of a run: the encoding of its dataset, which the run contains, and the dataset itself, which lies elsewhere. */
import { join } from "node:path";
import { Dataset } from "../dataset/dataset.ts";
import { type DatasetEncoding, SavedEncoding } from "../dataset/dataset_encoding.ts";
import { HotsetError } from "../errors.ts";
import { isArtifact, isDirectory } from "../storage/artifact.ts";
import { ENCODING, readRun } from "./run_record.ts";

/** Opens the encoding of a run's dataset. Runs of version 0.1 contain none, and need their dataset. */
export function openEncoding(run: string): DatasetEncoding {
  const kept = join(run, ENCODING);
  return isArtifact(kept) ? SavedEncoding.open(kept) : Dataset.open(readRun(run).dataset, "lengths");
}

/**
 * Opens the dataset on which a run was trained: at `data`, or where it was then, relative to the run. Throws HotsetError
 * if it is not there or is another one; `doing` is the purpose ("evaluate"), `remedy` the advice if it is not there.
 */
export function openData(
  run: string,
  doing: string,
  data: string | undefined,
  remedy = "name its directory with --data",
): Dataset {
  const { dataset: recorded, datasetId } = readRun(run);
  const directory = data ?? recorded;
  if (data === undefined && !isDirectory(directory)) {
    throw new HotsetError(`Cannot ${doing} ${run}: its dataset is not at ${directory}; ${remedy}`, {
      code: "not-found",
    });
  }
  const dataset = Dataset.open(directory);
  if (dataset.id === datasetId) return dataset;
  const reason = data === undefined
    ? `its dataset ${directory} has changed since`
    : `it was trained on another dataset than ${data}`;
  throw new HotsetError(`Cannot ${doing} ${run}: ${reason}`);
}
