/** The stages before training. Each produces an artifact named by its inputs, and reuses an existing one. */
import { join } from "node:path";
import { type ArtifactKind, cacheName, isArtifact, isCached } from "../storage/artifact.ts";
import { Dataset } from "../dataset/dataset.ts";
import { prepareDataset, prepareFrom, type PrepareOptions, sourceOf } from "../dataset/prepare.ts";
import { sharedUsersNote } from "../dataset/prepare_sessions.ts";
import { allLines, readNotes } from "../dataset/read_account.ts";
import { grownSizes } from "../dataset/encoding.ts";
import { growthOf, type TableGrowth } from "../dataset/growth.ts";
import { unknownShare } from "../dataset/unknown_values.ts";
import { HotsetError, UsageError } from "../errors.ts";
import { buildLayout } from "../layout/build_layout.ts";
import { Layout } from "../layout/layout.ts";
import { Profile, type ProfileBody } from "../profile/profile.ts";
import { profileDataset } from "../profile/profile_dataset.ts";
import { OutputLock } from "../storage/output_lock.ts";
import type { TrainConfig } from "../config/config.ts";
import { bytesBefore } from "../config/memory_budget.ts";
import { DEFAULT_MEMORY_BYTES } from "../dataset/prepare_job.ts";
import type { Report } from "../events/events.ts";
import { ALONE } from "../parallel/host_group.ts";
import { expectSame, type ProcessGroup, together, togetherAsync } from "../parallel/process_group.ts";
import { noteUnknown, type UnknownLimit } from "../events/unknown_notes.ts";

/** Maximum number of features that a note names. */
const SHOWN_FEATURES = 8;

/** How raw logs are read: the options of prepare except its paths. */
export type RawOptions = Omit<PrepareOptions, "inputs" | "out" | "onProgress" | "group"> & UnknownLimit;

/** Options of reading whose memory is also within the budget of a configuration, if that is in bytes. */
export function withinMemory<R extends Pick<RawOptions, "memoryBytes">>(
  { memory }: { readonly memory?: TrainConfig["memory"] | undefined },
  raw: R,
): R & { readonly memoryBytes: number } {
  return { ...raw, memoryBytes: bytesBefore(memory, raw.memoryBytes ?? DEFAULT_MEMORY_BYTES) };
}

/**
 * Opens the dataset that `inputs` name, or prepares one from raw logs in a directory of `cache`, unless it exists.
 * Collective.
 */
export async function ensureDataset(
  inputs: readonly string[],
  raw: RawOptions,
  cache: string,
  report: Report,
  group = ALONE,
): Promise<Dataset> {
  const begin = performance.now();
  const made = together(group, () => {
    const [first] = inputs;
    if (first === undefined) throw new UsageError("Cannot train: name a dataset or raw files, or use --demo");
    if (!isArtifact(first)) return undefined;
    if (inputs.length > 1) throw new UsageError(`Cannot train: ${first} is a dataset, so it must be the only input`);
    return Dataset.open(first, "lengths");
  });
  expectSame(group, "train", `the input ${inputs[0]} (a dataset or not)`, `${made !== undefined}`);
  if (made !== undefined) {
    const dataset = await togetherAsync(group, () => made.verified());
    return await togetherAsync(group, () => announce(dataset, raw, report, begin));
  }
  const options = { ...raw, inputs, group, ...progressTo(report) };
  const source = await sourceOf(options);
  const placeOf = (body: Dataset["body"]["source"]) => join(cache, "datasets", cacheName("dataset", body));
  const { known: _, ...alone } = source.body;
  // The data of the model itself need not be encoded again.
  const isOwn = raw.known !== undefined && raw.expire === undefined &&
    together(group, () => isDataset(placeOf(alone), raw.known!.id));
  const out = placeOf(isOwn ? alone : source.body);
  const cached = await togetherAsync(
    group,
    async () => isCached("dataset", out) ? await Dataset.open(out, "lengths").verified() : undefined,
  );
  const missing = group.gather(cached === undefined).includes(true);
  const dataset = missing ? await prepareFrom({ ...options, out }, source) : cached!;
  return await togetherAsync(group, () => announce(dataset, raw, report, begin));
}

/** True if the dataset exists and has this id. */
function isDataset(directory: string, id: string): boolean {
  return isCached("dataset", directory) && Dataset.open(directory, "lengths").id === id;
}

/**
 * Opens and checks a dataset. In a group each rank reads only a part, so one rank on each machine checks all of it now.
 */
export async function openTogether(directory: string, group: ProcessGroup): Promise<Dataset> {
  return await togetherAsync(group, async () => {
    const dataset = Dataset.open(directory, "lengths");
    return group.size > 1 && group.localRank === 0 ? await dataset.verified() : dataset;
  });
}

/** Prepares a dataset and reports it. */
export async function prepareTo(options: PrepareOptions & UnknownLimit, report: Report): Promise<Dataset> {
  const begin = performance.now();
  if (isArtifact(options.out)) {
    report({ event: "note", text: `The dataset in ${options.out} will be replaced` });
  }
  const dataset = await prepareDataset({ ...options, ...progressTo(report) });
  return await togetherAsync(options.group ?? ALONE, () => announce(dataset, options, report, begin));
}

function progressTo(report: Report): Pick<PrepareOptions, "onProgress"> {
  const wait = waiting(report, "dataset");
  return {
    onProgress: (stage, fraction) =>
      stage === "wait" ? wait() : report({ event: "stage", stage: `prepare: ${stage}`, fraction }),
  };
}

async function announce(dataset: Dataset, limit: UnknownLimit, report: Report, begin: number): Promise<Dataset> {
  const { splits, skippedRows, missing, negatives } = dataset.body;
  const unknown = await unknownShare(dataset, "test");
  const validationUnknown = await unknownShare(dataset, "validation");
  const growth = await growthOf(dataset);
  report({
    event: "dataset",
    directory: dataset.directory,
    samples: { train: splits.train.samples, validation: splits.validation.samples, test: splits.test.samples },
    tables: dataset.tables,
    rows: dataset.rows,
    skippedRows,
    negatives: negatives ?? null,
    unknownShare: unknown,
    validationUnknownShare: validationUnknown,
    growth: growth ?? null,
    lines: allLines(dataset.body),
    seconds: (performance.now() - begin) / 1000,
  });
  for (const text of readNotes(dataset.body)) report({ event: "note", text });
  const shared = sharedUsersNote(dataset);
  if (shared !== undefined) report({ event: "note", text: shared });
  if (negatives !== undefined) report({ event: "note", text: negativesNote(negatives) });
  if (missing !== undefined) report({ event: "note", text: missingNote(missing) });
  if (growth !== undefined) report({ event: "note", text: grownNote(growth) });
  if (growth?.some(({ droppedRows }) => droppedRows > 0)) report({ event: "note", text: droppedNote(growth, dataset) });
  expectTrainSamples(dataset);
  await noteUnknown(`the validation split of ${dataset.directory}`, validationUnknown, dataset, limit, report);
  await noteUnknown(`the test split of ${dataset.directory}`, unknown, dataset, limit, report);
  return dataset;
}

/** Throws HotsetError if a dataset has nothing to train on, such as rows that were encoded to be scored. */
export function expectTrainSamples(dataset: Dataset): void {
  if (dataset.samples("train") > 0) return;
  throw new HotsetError(`Cannot use dataset ${dataset.directory}: it has no train samples`);
}

/** Note about negatives: the number drawn, and the number that could not be. */
function negativesNote({ drawn, missing }: NonNullable<Dataset["body"]["negatives"]>): string {
  const left = missing === 0
    ? ""
    : `; ${missing.toLocaleString("en")} are missing because their users chose all items that can be drawn`;
  return `${drawn.toLocaleString("en")} negatives were drawn${left}`;
}

/** Note about values that an earlier dictionary does not have: their number by table. */
function grownNote(growth: readonly TableGrowth[]): string {
  const found = byTable(growth, ({ newRows }) => newRows);
  if (found.all === "0") return "All rows are those of the model's dictionary: there are no new values";
  return `New values got ${found.all} new rows: ${found.text}`;
}

/** Note about rows that have expired: their number by table. */
function droppedNote(growth: readonly TableGrowth[], dataset: Dataset): string {
  const { all, text } = byTable(growth, ({ droppedRows }) => droppedRows);
  const { expire } = grownSizes(dataset)!;
  const when = expire === 1 ? "this train split does not contain" : `were in none of the last ${expire} train splits`;
  return `${all} rows were dropped, whose values ${when}: ${text}`;
}

/** The sum of a number of rows over all tables, and the largest ones by table. */
function byTable(growth: readonly TableGrowth[], rowsOf: (of: TableGrowth) => number): { all: string; text: string } {
  const counted = growth.filter((of) => rowsOf(of) > 0).sort((a, b) => rowsOf(b) - rowsOf(a));
  const named = counted.slice(0, SHOWN_FEATURES).map((of) => `${rowsOf(of).toLocaleString("en")} of ${of.table}`);
  if (counted.length > SHOWN_FEATURES) named.push(`and ${counted.length - SHOWN_FEATURES} more tables`);
  return { all: counted.reduce((sum, of) => sum + rowsOf(of), 0).toLocaleString("en"), text: named.join(", ") };
}

/** Note about missing values: their number by feature, and their replacement. */
function missingNote(missing: NonNullable<Dataset["body"]["missing"]>): string {
  const features = missing.slice(0, SHOWN_FEATURES).map(({ feature, rows, value }) =>
    `${rows.toLocaleString("en")} of ${feature} (${Number(value.toPrecision(4))})`
  );
  if (missing.length > SHOWN_FEATURES) features.push(`and ${missing.length - SHOWN_FEATURES} more features`);
  const named = features.join(", ");
  return `Missing values, with their replacement after the transform: ${named}. "missing" in the schema changes it`;
}

/** Everything a profile depends on besides the dataset. */
export type ProfileConfig = Pick<TrainConfig, "dim" | "optimizer" | "hotMemory" | "sampleRate" | "seed">;

/** Profiles the dataset into `out`, by default a directory of `cache`, unless the same profile exists. Collective. */
export async function ensureProfile(
  dataset: Dataset,
  config: ProfileConfig,
  place: Place,
  report: Report,
  group = ALONE,
): Promise<Profile> {
  const begin = performance.now();
  const { dim, optimizer, hotMemory, sampleRate, seed } = config;
  const name = cacheName("profile", [dataset.id, dim, optimizer, hotMemory, sampleRate, seed]);
  const out = directoryOf(place, "profiles", name);
  const profile = await openOrMake(
    { kind: "profile", place, out, group, report },
    (directory) => Promise.resolve(Profile.open(directory)),
    () =>
      profileDataset(dataset, {
        out,
        group,
        dim,
        optimizer,
        hotMemory,
        sampleRate: sampleRate ?? undefined,
        seed,
        onProgress: (done, total) => report({ event: "stage", stage: "profile", fraction: done / total }),
      }),
  );
  const { body } = profile;
  report({
    event: "profile",
    sampleRate: body.sampleRate,
    threshold: body.threshold,
    hotRows: body.hotRows,
    hotBytes: body.hotBytes,
    hotBytesExact: body.hotBytesExact,
    hotBytesEstimate: body.hotBytesEstimate,
    hotLookupShare: body.hotLookupShare,
    tables: body.tables.map(({ name, rows, hotRows, whole }) => ({ name, rows, hotRows, whole })),
    seconds: (performance.now() - begin) / 1000,
  });
  for (const text of profileNotes(body)) report({ event: "note", text });
  return profile;
}

/** Notes about a profile whose sample is too small. */
function profileNotes({ floorReached, settled, sampleRate, hotMemory, bytesPerRow }: ProfileBody): string[] {
  const notes = [];
  if (hotMemory > 0 && hotMemory < bytesPerRow) {
    notes.push(`A budget of ${hotMemory} bytes is too small for a row of ${bytesPerRow}: nothing is hot`);
  }
  if (!settled) {
    notes.push(
      `${sampleRate} % of the samples are too few to tell which rows are popular; without --sample-rate all are counted`,
    );
  }
  if (floorReached) {
    const seen = sampleRate < 100 ? "that the sample has seen" : "that was ever looked up";
    notes.push(`In some tables every row ${seen} is hot: the budget is not used up`);
  }
  return notes;
}

/** Everything a layout depends on besides the dataset and the profile. */
export type LayoutConfig = Pick<TrainConfig, "batchSize" | "shuffle" | "seed">;

/**
 * Packs the dataset into batches in `out`, by default a directory of `cache`, unless the same layout exists.
 * Collective.
 */
export async function ensureLayout(
  dataset: Dataset,
  profile: Profile | undefined,
  { batchSize, shuffle, seed }: LayoutConfig,
  place: Place,
  report: Report,
  group = ALONE,
): Promise<Layout> {
  const begin = performance.now();
  const shuffled = shuffle === "samples" ? { seed } : undefined;
  const madeFrom = [dataset.id, profile?.id ?? null, batchSize, shuffled];
  const out = directoryOf(place, "layouts", cacheName("layout", madeFrom));
  const layout = await openOrMake(
    { kind: "layout", place, out, group, report },
    (directory) => openLayout(directory, dataset),
    () =>
      buildLayout(dataset, profile, {
        out,
        batchSize,
        shuffle: shuffled,
        group,
        onProgress: (done, total) => report({ event: "stage", stage: "layout", fraction: done / total }),
      }),
  );
  const { samples, hotSamples, hotSampleShare, hotBatches, coldBatches, bytes } = layout.body;
  const seconds = (performance.now() - begin) / 1000;
  report({ event: "layout", samples, hotSamples, hotSampleShare, hotBatches, coldBatches, bytes, seconds });
  return layout;
}

async function openLayout(directory: string, dataset: Dataset): Promise<Layout> {
  using opening = new DisposableStack();
  const layout = opening.use(Layout.open(directory, "lengths"));
  layout.expectDataset(dataset);
  await layout.verified();
  opening.move();
  return layout;
}

/** Location of an artifact: a given directory, or one in a cache, named by its inputs. */
export type Place = { readonly out: string } | { readonly cache: string };

function directoryOf(place: Place, folder: string, name: string): string {
  return "out" in place ? place.out : join(place.cache, folder, name);
}

/** Returns a function to call while waiting. It reports once, then progress, so that a callback can end the wait. */
export function waiting(report: Report, kind: ArtifactKind): () => void {
  let isReported = false;
  return () => {
    if (!isReported) report({ event: "note", text: `Waiting for another process that builds the same ${kind}` });
    isReported = true;
    report({ event: "stage", stage: "wait", fraction: 0 });
  };
}

/**
 * Opens an artifact of a cache, or builds it; one process at a time, so that processes which need the same one build it
 * once. If `place` is not in a cache the artifact is always built.
 */
async function openOrMake<T>(
  { kind, place, out, group, report }: {
    readonly kind: ArtifactKind;
    readonly place: Place;
    readonly out: string;
    readonly group: ProcessGroup;
    readonly report: Report;
  },
  open: (directory: string) => Promise<T>,
  make: () => Promise<T>,
): Promise<T> {
  /** The artifact of a cache, if all ranks of the group see it. */
  const cached = async () => {
    if (group.gather("cache" in place && isCached(kind, out)).includes(false)) return undefined;
    return await togetherAsync(group, () => open(out));
  };
  const found = await cached();
  if (found !== undefined) {
    if (group.rank === 0) OutputLock.removeLeft(out);
    return found;
  }
  using _lock = await togetherAsync(
    group,
    async () =>
      group.rank === 0 ? await OutputLock.wait(out, `write ${kind} ${out}`, waiting(report, kind)) : undefined,
  );
  return await cached() ?? await make();
}
