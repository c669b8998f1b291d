/** The stages before training. Each leaves an artifact named by its inputs; one that is there is not made again. */
import { join } from "node:path";
import { cacheName, isArtifact } from "../artifact.ts";
import { Dataset } from "../dataset/dataset.ts";
import { prepareDataset, type PrepareOptions, sourceOf } from "../dataset/prepare.ts";
import { HotsetError, UsageError } from "../errors.ts";
import { buildLayout } from "../layout/build_layout.ts";
import { Layout } from "../layout/layout.ts";
import { Profile, type ProfileBody } from "../profile/profile.ts";
import { profileDataset } from "../profile/profile_dataset.ts";
import type { TrainConfig } from "./config.ts";
import type { Report } from "./events.ts";

/** How raw logs are read: everything prepare takes but the places. */
export type RawOptions = Omit<PrepareOptions, "inputs" | "out" | "onProgress">;

/** Opens the dataset that `inputs` name, or prepares one from raw logs in a folder of `cache`, unless it is there. */
export async function ensureDataset(
  inputs: readonly string[],
  raw: RawOptions,
  cache: string,
  report: Report,
): Promise<Dataset> {
  const begin = performance.now();
  const [first] = inputs;
  if (first === undefined) throw new UsageError("Cannot train: name a dataset or raw files, or use --demo");
  if (isArtifact(first)) {
    if (inputs.length > 1) throw new UsageError(`Cannot train: ${first} is a dataset, so it must be the only input`);
    return announce(Dataset.open(first), report, begin);
  }
  const options = { ...raw, inputs };
  const out = join(cache, "datasets", cacheName("dataset", sourceOf({ ...options, out: "" })));
  return isArtifact(out) ? announce(Dataset.open(out), report, begin) : await prepareTo({ ...options, out }, report);
}

/** Prepares a dataset and reports on it. */
export async function prepareTo(options: PrepareOptions, report: Report): Promise<Dataset> {
  const begin = performance.now();
  const onProgress = (stage: string, fraction: number) =>
    report({ event: "stage", stage: `prepare: ${stage}`, fraction });
  return announce(await prepareDataset({ ...options, onProgress }), report, begin);
}

function announce(dataset: Dataset, report: Report, begin: number): Dataset {
  const { splits, skippedRows } = dataset.body;
  report({
    event: "dataset",
    directory: dataset.directory,
    samples: { train: splits.train.samples, validation: splits.validation.samples, test: splits.test.samples },
    tables: dataset.tables,
    rows: dataset.rows,
    skippedRows,
    seconds: (performance.now() - begin) / 1000,
  });
  if (skippedRows > 0) report({ event: "note", text: `${skippedRows} malformed rows were skipped` });
  if (splits.train.samples === 0) {
    throw new HotsetError(`Cannot use dataset ${dataset.directory}: it has no train samples`);
  }
  return dataset;
}

/** What a profile depends on besides the dataset. */
export type ProfileConfig = Pick<TrainConfig, "dim" | "optimizer" | "hotMemory" | "sampleRate" | "seed">;

/** Profiles the dataset into `out`, by default a folder of `cache`, unless the same profile is there. */
export function ensureProfile(dataset: Dataset, config: ProfileConfig, place: Place, report: Report): Profile {
  const begin = performance.now();
  const { dim, optimizer, hotMemory, sampleRate, seed } = config;
  const name = cacheName("profile", [dataset.id, dim, optimizer, hotMemory, sampleRate, seed]);
  const out = directoryOf(place, "profiles", name);
  const profile = isArtifact(out) && "cache" in place ? Profile.open(out) : profileDataset(dataset, {
    out,
    dim,
    optimizer,
    hotMemory,
    sampleRate: sampleRate ?? undefined,
    seed,
    onProgress: (done, total) => report({ event: "stage", stage: "profile", fraction: done / total }),
  });
  const { body } = profile;
  report({
    event: "profile",
    sampleRate: body.sampleRate,
    threshold: body.threshold,
    hotRows: body.hotRows,
    hotBytes: body.hotBytes,
    hotBytesEstimate: body.hotBytesEstimate,
    hotLookupShare: body.hotLookupShare,
    tables: body.tables.map(({ name, rows, hotRows, whole }) => ({ name, rows, hotRows, whole })),
    seconds: (performance.now() - begin) / 1000,
  });
  for (const text of profileNotes(body)) report({ event: "note", text });
  return profile;
}

/** What a user should know of a profile: where its sample says less than one would think. */
function profileNotes({ floorReached, settled, sampleRate }: ProfileBody): string[] {
  const notes = [];
  if (!settled) {
    notes.push(
      `${sampleRate} % of the samples are too few to tell how many rows are popular; without --sample-rate all are counted`,
    );
  }
  if (floorReached) {
    const seen = sampleRate < 100 ? "that the sample has seen" : "that was ever looked up";
    notes.push(`In some tables every row ${seen} is hot: the budget could hold more`);
  }
  return notes;
}

/** Packs the dataset into batches in `out`, by default a folder of `cache`, unless the same layout is there. */
export function ensureLayout(
  dataset: Dataset,
  profile: Profile | undefined,
  batchSize: number,
  place: Place,
  report: Report,
): Layout {
  const begin = performance.now();
  const out = directoryOf(place, "layouts", cacheName("layout", [dataset.id, profile?.id ?? null, batchSize]));
  const layout = isArtifact(out) && "cache" in place ? Layout.open(out) : buildLayout(dataset, profile, {
    out,
    batchSize,
    onProgress: (done, total) => report({ event: "stage", stage: "layout", fraction: done / total }),
  });
  const { samples, hotSamples, hotSampleShare, hotBatches, coldBatches, bytes } = layout.body;
  const seconds = (performance.now() - begin) / 1000;
  report({ event: "layout", samples, hotSamples, hotSampleShare, hotBatches, coldBatches, bytes, seconds });
  return layout;
}

/** Where an artifact goes: a directory of that name, or a folder named by its inputs that serves as a cache. */
export type Place = { readonly out: string } | { readonly cache: string };

function directoryOf(place: Place, folder: string, name: string): string {
  return "out" in place ? place.out : join(place.cache, folder, name);
}
