/** Checks before training whether the disk has space for the rows of a run and for its checkpoints. */
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { type CheckpointRoom, roomForCheckpoints } from "../checkpoint/checkpoint_room.ts";
import type { TrainConfig } from "../config/config.ts";
import type { Dataset } from "../dataset/dataset.ts";
import { maxLogBytes } from "../embedding/stores/log_sizes.ts";
import { codeOf } from "../errors.ts";
import type { ModelPlan } from "../model/shape.ts";
import { denseStateWords, rowWords } from "../optimizer/optimizers.ts";

const CHUNK_SAMPLES = 65_536;
/** Without checkpoints, space is needed for the rows alone. */
const NO_CHECKPOINTS = { epochs: 1, testFreq: 0, checkpointSteps: 0, checkpointMinutes: 0, keep: 0 };

/** The available space, and the maximum bytes of the rows. */
export interface RowRoom extends CheckpointRoom {
  readonly bytes: number;
}

/**
 * The same as `roomForCheckpoints` for a run with rows on disk, which needs space only for rows that it trains or
 * begins with. They are counted exactly only if an upper bound does not fit. Throws HotsetError if the disk has too
 * little space.
 */
export function roomForRows(
  out: string,
  config: TrainConfig,
  plan: ModelPlan,
  dataset: Dataset,
  from: Checkpoint | undefined,
  hosts = 1,
): RowRoom {
  const sizeOf = (rows: number) => bytesOf(plan, rows, from, hosts);
  const room = (bytes: number): RowRoom => ({
    ...(config.save
      ? roomForCheckpoints(out, config, bytes, { what: "rows and checkpoints", remedy: "save nothing with --no-save" })
      : roomForCheckpoints(out, NO_CHECKPOINTS, bytes, { what: "rows", remedy: "choose a smaller --dim" })),
    bytes,
  });
  try {
    const bound = room(sizeOf(maxTouchedRows(dataset)));
    if (bound.note === undefined) return bound;
  } catch (error) {
    if (codeOf(error) !== "no-space") throw error;
  }
  return room(sizeOf(touchedRows(dataset)));
}

/** Bytes of the logs of all hosts with this number of rows, in addition to those of the model that a run begins with. */
function bytesOf(
  { rows, denseWords, shape }: ModelPlan,
  touched: number,
  from: Checkpoint | undefined,
  hosts: number,
): number {
  const dense = 4 * (denseWords + denseStateWords(shape.optimizer, denseWords));
  const begun = from?.savedRows;
  const segments = begun?.segments.reduce((sum, { bytes }) => sum + bytes, 0) ?? 0;
  const written = from !== undefined && begun === undefined ? rows : touched;
  const created = begun?.numbers?.next ?? rows;
  return dense + segments + hosts * maxLogBytes(written / hosts, created, rowWords(shape));
}

/** Maximum number of rows that samples of the train split can look up. */
function maxTouchedRows(dataset: Dataset): number {
  const { body: { tables, bags } } = dataset;
  const samples = bags ? Infinity : dataset.samples("train");
  return tables.reduce((sum, { rows }) => sum + Math.min(rows, samples), 0);
}

/** Number of rows that the train split looks up. */
export function touchedRows(dataset: Dataset): number {
  const samples = dataset.samples("train");
  const seen = new Uint32Array(Math.ceil(dataset.rows / 32));
  using reader = dataset.reader("train", Math.min(CHUNK_SAMPLES, Math.max(1, samples)));
  let count = 0;
  for (let first = 0; first < samples; first += CHUNK_SAMPLES) {
    const { indices, offsets, count: read } = reader.read(first, Math.min(CHUNK_SAMPLES, samples - first));
    const lookups = offsets === undefined ? read * dataset.bagsOfSample : offsets[read * dataset.bagsOfSample];
    for (let i = 0; i < lookups; i++) {
      const row = indices[i];
      const bit = 1 << (row & 31);
      if ((seen[row >>> 5] & bit) !== 0) continue;
      seen[row >>> 5] |= bit;
      count++;
    }
  }
  return count;
}
