/** A checkpoint of rows on disk: instead of one file with all rows it has segments of a log, and perhaps numbers of rows. */
import { z } from "zod";
import { type SavedRows, segmentFile } from "../embedding/stores/log_segments.ts";
import { type RowGrowth, RowNumbers } from "../embedding/stores/row_numbers.ts";
import type { Artifact } from "../storage/artifact.ts";

/** Name of the file with the numbers of rows. */
export const ROW_NUMBERS_FILE = "row_numbers.u32";

/** What a manifest has of the log. */
export interface SavedLog {
  /**
   * Seed of the initial values of rows that are in no segment. Absent if tables have grown with rows on disk: the file
   * with the numbers of rows has the seeds then.
   */
  seed?: number | undefined;
  /** Numbers of the segments, in the order of the log. */
  segments: number[];
}

export const savedLog: z.ZodType<SavedLog> = z.object({
  seed: z.number().int().optional(),
  segments: z.array(z.number().int().positive()),
});

/** The part of a manifest that is about rows. */
interface RowsBody {
  readonly model: { readonly tableRows: readonly number[] };
  readonly seed: number;
  readonly rowLog?: SavedLog | undefined;
}

/**
 * The segments of a checkpoint, for tables of these rows, which have grown from its own if there is a growth. Undefined
 * if it has none. Throws HotsetError.
 */
export function savedRowsOf(
  artifact: Artifact<RowsBody>,
  growth: RowGrowth | undefined,
  tableRows: readonly number[],
): SavedRows | undefined {
  const { directory, body: { rowLog, seed, model } } = artifact;
  if (rowLog === undefined) return undefined;
  const segments = rowLog.segments.map((number) => {
    const name = segmentFile(number);
    return { number, bytes: artifact.bytes(name), crc32: artifact.crc32(name) };
  });
  const saved = { directory, seed: rowLog.seed ?? seed, segments };
  const numbers = rowLog.seed === undefined ? readNumbers(artifact) : undefined;
  if (growth === undefined) return { ...saved, numbers };
  const before = numbers ?? RowNumbers.first(saved.seed, model.tableRows);
  return { ...saved, numbers: before.grown(growth, tableRows, seed) };
}

function readNumbers(artifact: Artifact<RowsBody>): RowNumbers {
  const words = new Uint32Array(artifact.bytes(ROW_NUMBERS_FILE) >>> 2);
  artifact.readInto(ROW_NUMBERS_FILE, words);
  return RowNumbers.from(words, artifact.body.model.tableRows, artifact.path(ROW_NUMBERS_FILE));
}
