/** The data of a run: the encoding of its dataset, which is in the run, and the dataset itself, which is elsewhere. */
import { join } from "node:path";
import { Dataset } from "../dataset/dataset.ts";
import { type DatasetEncoding, SavedEncoding } from "../dataset/dataset_encoding.ts";
import { HotsetError } from "../errors.ts";
import { isArtifact, isDirectory } from "../storage/artifact.ts";
import { ENCODING, readRun } from "./run_record.ts";

/** Opens the encoding of a run's dataset. Runs of version 0.1 have none and need their dataset. */
export async function openEncoding(run: string): Promise<DatasetEncoding> {
  const kept = join(run, ENCODING);
  if (!isArtifact(kept)) return Dataset.open(readRun(run).dataset, "lengths");
  return await SavedEncoding.open(kept, "lengths").verified();
}

/**
 * Opens the dataset that a run was trained on: at `data`, or at its recorded location relative to the run. Throws
 * HotsetError if it is missing or another one. `doing` is the purpose ("evaluate"), `remedy` the advice if it is
 * missing.
 */
export async function openData(
  run: string,
  doing: string,
  data: string | undefined,
  remedy = "name its directory with --data",
): Promise<Dataset> {
  const { dataset: recorded, datasetId } = readRun(run);
  const directory = data ?? recorded;
  if (data === undefined && !isDirectory(directory)) {
    throw new HotsetError(`Cannot ${doing} ${run}: its dataset is not at ${directory}; ${remedy}`, {
      code: "not-found",
    });
  }
  const dataset = Dataset.open(directory, "lengths");
  if (dataset.id === datasetId) return await dataset.verified();
  const reason = data === undefined
    ? `its dataset ${directory} has changed since`
    : `it was trained on another dataset than ${data}`;
  throw new HotsetError(`Cannot ${doing} ${run}: ${reason}`);
}
