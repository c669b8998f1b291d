/** Builds a profile: chooses the hot rows, and measures their coverage by the dataset's exact counts. */
import { ArtifactWriter } from "../storage/artifact_writer.ts";
import { type OptimizerName, rowWords } from "../optimizer/optimizers.ts";
import type { Dataset } from "../dataset/dataset.ts";
import { cannot } from "../errors.ts";
import { ALONE } from "../parallel/host_group.ts";
import { expectSame, type ProcessGroup, together, togetherAsync } from "../parallel/process_group.ts";
import { allHotSampleShare, coverageCurve, drawSamples } from "./coverage.ts";
import { addIntervals } from "./estimate.ts";
import { planHotRows } from "./plan_hot_rows.ts";
import { HOT_ROWS_FILE, Profile, type ProfileBody } from "./profile.ts";
import { RowCounts } from "./tally.ts";
import { cutoffsAt } from "./threshold.ts";

/** Options of a profile. */
export interface ProfileOptions {
  /** Directory of the profile. */
  readonly out: string;
  /** Length of an embedding row. */
  readonly dim: number;
  /** Optimizer whose state counts towards the budget. */
  readonly optimizer: OptimizerName;
  /** The budget in bytes; 0 for no hot rows. */
  readonly hotMemory: number;
  /**
   * Percent of the samples to log, up to four times as many if necessary; undefined to use the dataset's exact counts.
   */
  readonly sampleRate?: number | undefined;
  /** Seed of the sample. */
  readonly seed: number;
  /** The process group that logs samples together, each rank with the same arguments; default this process alone. */
  readonly group?: ProcessGroup | undefined;
  /** Called in every pass over the samples with the completed and the total amount of work. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Chooses the hot rows of a dataset within a budget and writes them as a profile. Throws HotsetError if the dataset is
 * damaged.
 */
export async function profileDataset(dataset: Dataset, options: ProfileOptions): Promise<Profile> {
  const { dim, optimizer, hotMemory, sampleRate, seed, group = ALONE, onProgress = () => {} } = options;
  const fail = cannot(`profile ${dataset.directory}`);
  expectSame(group, "profile", "the dataset", dataset.id);
  together(group, () => {
    if (dataset.tables === 0) fail("it has no sparse features, so there are no rows to be hot");
    if (!(Number.isInteger(dim) && dim > 0)) fail(`the embedding dimension ${dim} is not a positive whole number`);
    if (!(Number.isSafeInteger(hotMemory) && hotMemory >= 0)) {
      fail(`the hot memory ${hotMemory} is not a number of bytes`);
    }
    if (sampleRate !== undefined && !(sampleRate > 0 && sampleRate <= 100)) {
      fail(`the sample rate ${sampleRate} is not above 0 and at most 100 percent`);
    }
  });
  const bytesPerRow = 4 * rowWords({ dim, optimizer });
  const plan = await planHotRows(dataset, { dim, bytesPerRow, hotMemory, sampleRate, seed, group, onProgress });
  const hotRows = await plan.rule.select();

  const exact = sampleRate === undefined ? plan.log : await RowCounts.ofTrainSplit(dataset);
  const hot = await exact.ofRows(hotRows);
  const tables = plan.tables.map(({ whole, cutoff, estimate }, t): ProfileBody["tables"][number] => {
    const { accesses } = exact.tallies[t];
    const hotRows = hot.rows[t];
    const searched = plan.threshold !== undefined && cutoff !== undefined;
    return {
      ...dataset.body.tables[t],
      hotRows,
      whole,
      accesses,
      cutoff: cutoff ?? null,
      estimate: estimate ?? { low: hotRows, value: hotRows, high: hotRows },
      exact: searched ? exact.tallies[t].rowsAtLeast(cutoffsAt(plan.threshold, [{ accesses }])[0]) : hotRows,
      lookupShare: accesses === 0 ? 0 : hot.lookups[t] / accesses,
    };
  });
  const estimate = addIntervals(tables.map(({ estimate }) => estimate));
  const accesses = tables.reduce((sum, { accesses }) => sum + accesses, 0);
  const drawn = await drawSamples(dataset, seed);
  const body: ProfileBody = {
    dataset: dataset.id,
    dim,
    optimizer,
    hotMemory,
    bytesPerRow,
    seed,
    sampleRate: plan.sampleRate,
    settled: plan.settled,
    threshold: plan.threshold ?? null,
    floorReached: plan.floorReached,
    rows: dataset.rows,
    hotRows: hotRows.length,
    hotBytes: hotRows.length * bytesPerRow,
    hotBytesEstimate: {
      low: estimate.low * bytesPerRow,
      value: estimate.value * bytesPerRow,
      high: estimate.high * bytesPerRow,
    },
    hotBytesExact: tables.reduce((sum, { exact }) => sum + exact, 0) * bytesPerRow,
    hotLookupShare: accesses === 0 ? 0 : hot.lookups.reduce((sum, lookups) => sum + lookups, 0) / accesses,
    hotSampleShare: allHotSampleShare(drawn, plan.rule),
    tables,
    coverage: await coverageCurve(dataset, exact, dim, bytesPerRow, hotMemory, drawn),
  };
  await togetherAsync(group, async () => {
    if (group.rank > 0) return;
    using writer = new ArtifactWriter("profile", options.out);
    await writer.file(HOT_ROWS_FILE).appendInParts(hotRows);
    writer.commit(body);
  });
  return together(group, () => Profile.open(options.out));
}
