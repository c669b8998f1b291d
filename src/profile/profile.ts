/** The Profile artifact: which rows of a dataset are hot within a memory budget, and what that covers. */
import { z } from "zod";
import { Artifact } from "../storage/artifact.ts";
import { OPTIMIZER_NAMES, type OptimizerName } from "../optimizer/optimizers.ts";
import type { Dataset } from "../dataset/dataset.ts";
import { HotsetError } from "../errors.ts";
import type { Interval } from "./estimate.ts";

/** A profile's figures about one embedding table. */
export interface ProfiledTable {
  /** Name of the feature. */
  name: string;
  /** Number of its rows. */
  rows: number;
  /** Number of its hot rows. */
  hotRows: number;
  /** True if every row is hot, used or not. */
  whole: boolean;
  /** Lookups in the train split. */
  accesses: number;
  /** Logged accesses that make a row hot; null if all rows of the table are hot, or none. */
  cutoff: number | null;
  /** Rows at the threshold, estimated from the log. */
  estimate: Interval;
  /** Rows at the threshold by exact counts. */
  exact: number;
  /** Share of the table's lookups that are of hot rows. */
  lookupShare: number;
}

/** Content of a profile's manifest. */
export interface ProfileBody {
  /** Id of the dataset. */
  dataset: string;
  /** Length of an embedding row. */
  dim: number;
  /** Optimizer whose state counts towards the budget. */
  optimizer: OptimizerName;
  /** The budget in bytes. */
  hotMemory: number;
  /** Bytes of a hot row, including optimizer state. */
  bytesPerRow: number;
  /** Seed of the sample. */
  seed: number;
  /** Percent of the train samples whose accesses were logged; 100 if exact counts were used. */
  sampleRate: number;
  /** False if the sample was too small to determine how many rows reach the threshold. */
  settled: boolean;
  /** Minimum share of its table's accesses that makes a row hot; null if all rows are hot, or none. */
  threshold: number | null;
  /** True if some cut-off is 1 logged access: a lower threshold would make unseen rows hot. */
  floorReached: boolean;
  /** Number of rows of all tables. */
  rows: number;
  /** Number of hot rows. */
  hotRows: number;
  /** Bytes of the hot rows. */
  hotBytes: number;
  /** Bytes of the rows at the threshold, estimated from the log. */
  hotBytesEstimate: Interval;
  /** The same by exact counts. */
  hotBytesExact: number;
  /** Share of the train split's lookups that are of hot rows. */
  hotLookupShare: number;
  /** Share of its samples whose lookups are all hot, measured on a random sample. */
  hotSampleShare: number;
  /** All embedding tables. */
  tables: ProfiledTable[];
  /** The coverage for each doubling of the budget. */
  coverage: { budget: number; hotBytes: number; lookupShare: number; sampleShare: number }[];
}

const count = z.number().int().nonnegative();
const share = z.number().min(0).max(1);
const interval = z.object({ low: z.number(), value: z.number(), high: z.number() });

export const profileBody: z.ZodType<ProfileBody> = z.object({
  dataset: z.string(),
  dim: z.number().int().positive(),
  optimizer: z.enum(OPTIMIZER_NAMES),
  hotMemory: count,
  bytesPerRow: z.number().int().positive(),
  seed: z.number(),
  sampleRate: z.number().positive().max(100),
  settled: z.boolean(),
  threshold: z.number().positive().nullable(),
  floorReached: z.boolean(),
  rows: count,
  hotRows: count,
  hotBytes: count,
  hotBytesEstimate: interval,
  hotBytesExact: count,
  hotLookupShare: share,
  hotSampleShare: share,
  tables: z.array(z.object({
    name: z.string(),
    rows: count,
    hotRows: count,
    whole: z.boolean(),
    accesses: count,
    cutoff: z.number().int().positive().nullable(),
    estimate: interval,
    exact: count,
    lookupShare: share,
  })),
  coverage: z.array(z.object({ budget: count, hotBytes: count, lookupShare: share, sampleShare: share })),
});

/** u32 (hot rows): global rows, ascending. */
export const HOT_ROWS_FILE = "hot_rows.u32";

/** A profile on disk. */
export class Profile {
  /** Its directory. */
  readonly directory: string;
  /** Identifies its content: equal contents have equal ids. */
  readonly id: string;
  /** Its manifest. */
  readonly body: ProfileBody;
  /** Global rows that are hot, ascending. */
  readonly hotRows: Uint32Array;

  private constructor(artifact: Artifact<ProfileBody>, hotRows: Uint32Array) {
    this.directory = artifact.directory;
    this.id = artifact.id;
    this.body = artifact.body;
    this.hotRows = hotRows;
  }

  /** Opens and validates a profile. Throws HotsetError with what is wrong. */
  static open(directory: string): Profile {
    const artifact = Artifact.open("profile", directory, profileBody);
    const { rows, hotRows } = artifact.body;
    return new Profile(artifact, readHotRows(artifact, hotRows, rows));
  }

  /** Throws HotsetError unless this profile was built from the dataset. */
  expectDataset(dataset: Dataset): void {
    expectBuiltFrom(dataset, "profile", this);
  }
}

/** Throws HotsetError unless a profile or a layout was built from the dataset. */
export function expectBuiltFrom(
  dataset: Dataset,
  kind: "profile" | "layout",
  { directory, body }: { readonly directory: string; readonly body: Pick<ProfileBody, "dataset" | "rows"> },
): void {
  if (body.dataset === dataset.id && body.rows === dataset.rows) return;
  throw new HotsetError(
    `Cannot use ${kind} ${directory}: it was not made from dataset ${dataset.directory}; build it again`,
  );
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
