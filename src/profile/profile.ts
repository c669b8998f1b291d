/** The Profile artifact: which rows of a dataset are hot within a memory budget, and what that covers. */
import { z } from "zod";
import { Artifact } from "../artifact.ts";
import type { Dataset } from "../dataset/dataset.ts";
import { HotsetError } from "../errors.ts";

const count = z.number().int().nonnegative();
const share = z.number().min(0).max(1);
const interval = z.object({ low: z.number(), value: z.number(), high: z.number() });

/** What a profile's manifest says. */
export const profileBody = z.object({
  /** Id of the dataset. */
  dataset: z.string(),
  dim: z.number().int().positive(),
  optimizer: z.enum(["sgd", "adagrad", "rwsadagrad"]),
  /** The budget and what a hot row takes of it, optimizer state included, in bytes. */
  hotMemory: count,
  bytesPerRow: z.number().int().positive(),
  seed: z.number(),
  /** Percent of the train samples whose accesses were logged; 100 where exact counts were used. */
  sampleRate: z.number().positive().max(100),
  /** Share of its table's accesses from which on a row is hot; null where all rows are hot, or none. */
  threshold: z.number().positive().nullable(),
  /** True if some cut-off is 1 logged access: a lower threshold would call unseen rows hot. */
  floorReached: z.boolean(),
  /** Rows of all tables, and the hot ones among them. */
  rows: count,
  hotRows: count,
  hotBytes: count,
  /** Bytes of the rows at the threshold: estimated from the log, and by exact counts. */
  hotBytesEstimate: interval,
  hotBytesExact: count,
  /** Share of the train split's lookups that go to hot rows. */
  hotLookupShare: share,
  tables: z.array(z.object({
    name: z.string(),
    rows: count,
    hotRows: count,
    /** True if every row is hot, used or not. */
    whole: z.boolean(),
    /** Lookups in the train split. */
    accesses: count,
    /** Logged accesses from which on a row is hot; null where all rows of the table are hot, or none. */
    cutoff: z.number().int().positive().nullable(),
    /** Rows at the threshold: estimated from the log, and by exact counts. */
    estimate: interval,
    exact: count,
    lookupShare: share,
  })),
  /** What each doubling of the budget buys. */
  coverage: z.array(z.object({ budget: count, hotBytes: count, lookupShare: share, sampleShare: share })),
});
/** What a profile's manifest says. */
export type ProfileBody = z.infer<typeof profileBody>;

/** u32 (hot rows): global rows, ascending. */
export const HOT_ROWS_FILE = "hot_rows.u32";

/** A profile on disk. */
export class Profile {
  readonly directory: string;
  readonly id: string;
  readonly body: ProfileBody;
  /** Global rows that are hot, ascending. */
  readonly hotRows: Uint32Array;

  private constructor(artifact: Artifact<ProfileBody>, hotRows: Uint32Array) {
    this.directory = artifact.directory;
    this.id = artifact.id;
    this.body = artifact.body;
    this.hotRows = hotRows;
  }

  /** Opens and validates a profile. Throws HotsetError that names what is wrong. */
  static open(directory: string): Profile {
    const artifact = Artifact.open("profile", directory, profileBody);
    const { rows, hotRows } = artifact.body;
    return new Profile(artifact, readHotRows(artifact, hotRows, rows));
  }

  /** Throws HotsetError unless this profile was made from the dataset. */
  expectDataset(dataset: Dataset): void {
    const { dataset: id, rows } = this.body;
    if (id === dataset.id && rows === dataset.rows) return;
    throw new HotsetError(
      `Cannot use profile ${this.directory}: it was not made from dataset ${dataset.directory}; make it again`,
    );
  }
}

/** Reads `count` hot rows of an artifact and checks that they ascend and lie below `rows`. */
export function readHotRows(artifact: Artifact<unknown>, count: number, rows: number): Uint32Array {
  artifact.expectBytes(HOT_ROWS_FILE, 4 * count);
  const hotRows = artifact.readInto(HOT_ROWS_FILE, new Uint32Array(count));
  for (let i = 0, least = 0; i < count; i++) {
    if (hotRows[i] < least || hotRows[i] >= rows) {
      throw new HotsetError(
        `Cannot open ${artifact.directory}: ${HOT_ROWS_FILE} is not an ascending list of rows below ${rows}`,
      );
    }
    least = hotRows[i] + 1;
  }
  return hotRows;
}
