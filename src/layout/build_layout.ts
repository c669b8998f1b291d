/**
 * Builds a layout: classifies the train samples and packs them into hot and cold batches, in the order of the log or
 * shuffled.
 */
import { breaks } from "../breaks.ts";
import type { ArtifactFile } from "../storage/artifact_writer.ts";
import { type Dataset, type Samples, SPLITS } from "../dataset/dataset.ts";
import { createFile as createDirectFile } from "../storage/direct_file.ts";
import { expectRoom } from "../storage/disk.ts";
import { cannot } from "../errors.ts";
import { HOT_ROWS_FILE, type Profile } from "../profile/profile.ts";
import { ALONE } from "../parallel/host_group.ts";
import { expectSame, type ProcessGroup, together, togetherAsync } from "../parallel/process_group.ts";
import { GroupWriter } from "../storage/group_writer.ts";
import { type Batch, type BatchShape, findShapeFault } from "./batch.ts";
import { BatchFiller } from "./batch_filler.ts";
import { HotMap } from "./hot_map.ts";
import { BATCH_KINDS, batchFiles, type BatchKind, Layout, type LayoutBody } from "./layout.ts";
import { type OrderedSplit, OwnSamples } from "./own_samples.ts";
import { PackRing } from "./pack_ring.ts";
import { SampleShuffle, type ShuffleOptions } from "./sample_shuffle.ts";
import { SplitBatches } from "./split_batches.ts";

/** From this number of samples on, a second thread pays off. */
const THREAD_SAMPLES = 100_000;
/** Larger layouts bypass the page cache (direct I/O): they would evict themselves before training reads them. */
const DIRECT_BYTES = 1 << 30;

/** Options of a layout. */
export interface LayoutOptions {
  /** Directory of the layout. */
  readonly out: string;
  /** Samples per batch, hot or cold; only the last batch of each kind may have fewer. */
  readonly batchSize: number;
  /** How to shuffle the train samples; undefined for the order of the log. */
  readonly shuffle?: ShuffleOptions | undefined;
  /** True for direct I/O; by default if the layout will take about a GiB or more. */
  readonly direct?: boolean | undefined;
  /** The process group that builds it together, each rank with the same arguments; default this process alone. */
  readonly group?: ProcessGroup | undefined;
  /** Called after every range of samples that is shuffled or packed. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Packs the train split. A sample is hot if all its lookups are hot (also without lookups); without hot rows, as
 * without a profile, none is, because there is no replica to train on. Memory does not grow with the number of samples,
 * except by 8 bytes per batch and by the buffers of a shuffle of more than 16 GiB. Equal inputs, including the seed,
 * give equal bytes, whatever the group. Throws HotsetError if profile and dataset do not match or are damaged.
 */
export async function buildLayout(
  dataset: Dataset,
  profile: Profile | undefined,
  options: LayoutOptions,
): Promise<Layout> {
  const { batchSize, out, shuffle, group = ALONE, direct = estimateBytes(dataset) >= DIRECT_BYTES } = options;
  const fail = cannot(`lay out ${dataset.directory}`);
  expectSame(group, "lay out", "the dataset", dataset.id);
  expectSame(group, "lay out", "the profile", profile?.id ?? null);
  together(group, () => {
    if (!Number.isInteger(batchSize) || batchSize < 1) {
      fail(`the batch size ${batchSize} is not a positive whole number`);
    }
    profile?.expectDataset(dataset);
  });
  const hotRows = profile?.hotRows ?? new Uint32Array(0);
  const hotMap = hotRows.length === 0 ? undefined : new HotMap(dataset.firstRows, hotRows, dataset.steps);
  const create = direct ? createDirectFile : undefined;
  together(group, () => expectRoom(out, estimateBytes(dataset), `lay out ${dataset.directory}`));
  using writer = new GroupWriter(group, "layout", out, create);
  const onProgress = passes(shuffle === undefined ? 1 : 2, options.onProgress);
  const shuffled = shuffle && await SampleShuffle.create(dataset, shuffle, {
    group,
    pathOf: (rank) => writer.path(`shuffle.${rank}`),
    create,
    onProgress: onProgress(0),
  });
  const samples = dataset.samples("train");
  const split: OrderedSplit = {
    samples,
    open: (capacity) => shuffled?.reader(capacity) ?? dataset.reader("train", capacity),
  };
  const own = await OwnSamples.create(split, hotMap, batchSize, group);
  const { bagsOfSample: tables, denseOfSample: denseFeatures } = dataset;
  const { bags, weight } = dataset.body;
  const lookupCapacity = bags ? await maxLookups(dataset, own, batchSize, group) : batchSize * tables;
  const shape: BatchShape = {
    batchSize,
    denseFeatures,
    tables,
    bags,
    ...(weight === undefined ? {} : { weighted: true }),
    ...(dataset.weightedLookups ? { weightedLookups: true } : {}),
    lookupCapacity,
  };
  together(group, () => {
    const fault = findShapeFault(shape);
    if (fault !== undefined) fail(fault);
  });
  const files = together(group, () => ({ hot: new BatchWriter(writer, "hot"), cold: new BatchWriter(writer, "cold") }));
  // Threads sort and pack only if the ranks of this machine leave cores free.
  const withThread = navigator.hardwareConcurrency > group.localSize && samples >= THREAD_SAMPLES;
  const packed = await togetherAsync(
    group,
    () => pack(own, hotMap, shape, files, withThread, onProgress(shuffle ? 1 : 0)),
  );
  together(group, () => shuffled?.remove());
  const parts = group.gather(packed);
  const sum = (kind: BatchKind, figure: keyof Packed, ranks = group.size) =>
    parts.slice(0, ranks).reduce((sum, part) => sum + part[kind][figure], 0);
  const most = (kind: BatchKind) => Math.max(...parts.map((part) => part[kind].mostDistinct));
  const bytes = { hot: sum("hot", "bytes"), cold: sum("cold", "bytes") };
  together(group, () => {
    for (const kind of BATCH_KINDS) {
      files[kind].writePositions(sum(kind, "bytes", group.rank));
      if (group.rank === group.size - 1) writer.file(batchFiles(kind).positions).append(Float64Array.of(bytes[kind]));
    }
    if (group.rank === 0) writer.file(HOT_ROWS_FILE).append(hotRows);
  });
  const hotSamples = sum("hot", "samples");
  const body: LayoutBody = {
    dataset: dataset.id,
    profile: profile?.id ?? null,
    shuffleSeed: shuffle?.seed,
    shape,
    rows: dataset.rows,
    hotRows: hotRows.length,
    samples,
    hotSamples,
    hotSampleShare: samples === 0 ? 0 : hotSamples / samples,
    hotBatches: sum("hot", "batches"),
    coldBatches: sum("cold", "batches"),
    mostDistinct: { hot: most("hot"), cold: most("cold") },
    bytes: bytes.hot + bytes.cold,
  };
  writer.commit(body);
  // The checksums of files that were just written are known.
  return together(group, () => Layout.open(out, "lengths"));
}

/** Progress over several passes over the samples. */
function passes(count: number, tell: LayoutOptions["onProgress"]) {
  return (pass: number) => (done: number, total: number): void => tell?.(pass * total + done, count * total);
}

/** Approximate bytes of a layout: dense features and weights uncompressed, and about three bytes per lookup. */
function estimateBytes({ denseOfSample, bagsOfSample, weightedLookups, body: { splits: { train } } }: Dataset): number {
  const weights = weightedLookups ? 4 * train.lookups : 0;
  return train.samples * (4 * denseOfSample + 3 * bagsOfSample) + weights;
}

async function pack(
  own: OwnSamples,
  hotMap: HotMap | undefined,
  shape: BatchShape,
  files: Record<BatchKind, BatchWriter>,
  withThread: boolean,
  onProgress: (done: number, total: number) => void,
): Promise<Record<BatchKind, Packed>> {
  using ring = new PackRing(shape, withThread, (batch, record) => {
    (batch.hot ? files.hot : files.cold).write(record, batch.distinct);
  });
  if (breaks.due) await breaks.take();
  const hot = new Packer(ring, await ring.take(), hotMap);
  const cold = new Packer(ring, await ring.take(), undefined);
  await own.visit(
    (reader, first, count) => reader.read(first, count),
    (samples, i, isHot) => (isHot ? hot : cold).add(samples, i),
    onProgress,
  );
  hot.finish();
  cold.finish();
  await ring.finish();
  return {
    hot: { samples: hot.samples, ...files.hot.figures },
    cold: { samples: cold.samples, ...files.cold.figures },
  };
}

/** Packs the samples of one kind into batches. */
class Packer {
  samples = 0;
  readonly #ring: PackRing;
  readonly #hotMap: HotMap | undefined;
  #batch: Batch;
  #filler: BatchFiller;

  /** With a hot map packs hot batches, otherwise cold ones. */
  constructor(ring: PackRing, batch: Batch, hotMap: HotMap | undefined) {
    this.#ring = ring;
    this.#hotMap = hotMap;
    this.#batch = batch;
    this.#filler = new BatchFiller(this.#batch, hotMap);
  }

  /** Adds a sample. Returns a promise if the batch was full and another one must be waited for. */
  add(samples: Samples, i: number): Promise<void> | undefined {
    if (this.#filler.full) return this.#addToNext(samples, i);
    this.#filler.add(samples, i);
    this.samples++;
    return undefined;
  }

  async #addToNext(samples: Samples, i: number): Promise<void> {
    this.#submit();
    this.#batch = await this.#ring.take();
    this.#filler = new BatchFiller(this.#batch, this.#hotMap);
    await this.add(samples, i);
  }

  /** Submits the last batch, which may be partial. */
  finish(): void {
    if (this.#filler.samples > 0) this.#submit();
  }

  #submit(): void {
    this.#filler.close();
    this.#ring.submit(this.#batch);
  }
}

/** Result of packing one kind on a rank. */
interface Packed {
  readonly samples: number;
  readonly batches: number;
  readonly bytes: number;
  readonly mostDistinct: number;
}

/** Appends the records of batches of one kind, and their positions. */
class BatchWriter {
  readonly #records: ArtifactFile;
  readonly #positionsFile: ArtifactFile;
  readonly #positions: number[] = [];
  #mostDistinct = 0;

  constructor(writer: GroupWriter, kind: BatchKind) {
    this.#records = writer.file(batchFiles(kind).batches);
    this.#positionsFile = writer.file(batchFiles(kind).positions);
  }

  get figures(): Omit<Packed, "samples"> {
    return { batches: this.#positions.length, bytes: this.#records.bytes, mostDistinct: this.#mostDistinct };
  }

  /** Appends the record of a batch with this number of distinct rows. */
  write(record: Uint8Array, distinct: number): void {
    this.#positions.push(this.#records.bytes);
    this.#records.append(record);
    this.#mostDistinct = Math.max(this.#mostDistinct, distinct);
  }

  /** Writes the positions of the batches, after `bytesBefore` bytes of other ranks. */
  writePositions(before: number): void {
    this.#positionsFile.append(Float64Array.from(this.#positions, (position) => before + position));
  }
}

/** Maximum number of lookups of a batch of the layout or of an evaluation: a pass over the samples before packing. */
async function maxLookups(
  dataset: Dataset,
  own: OwnSamples,
  batchSize: number,
  group: ProcessGroup,
): Promise<number> {
  const { bagsOfSample } = dataset;
  const open = { hot: { samples: 0, lookups: 0 }, cold: { samples: 0, lookups: 0 } };
  const most = await togetherAsync(group, async () => {
    let most = 0;
    for (const split of SPLITS) { // evaluations use the same blocks
      using batches = new SplitBatches(dataset, split, batchSize);
      most = Math.max(most, batches.shape.lookupCapacity);
    }
    await own.visit((reader, first, count) => reader.readLookups(first, count), ({ offsets }, i, hot) => {
      const batch = hot ? open.hot : open.cold;
      if (batch.samples === batchSize) batch.samples = batch.lookups = 0;
      batch.samples++;
      batch.lookups += offsets![(i + 1) * bagsOfSample] - offsets![i * bagsOfSample];
      most = Math.max(most, batch.lookups);
    });
    return most;
  });
  return Math.max(...group.gather(most));
}
