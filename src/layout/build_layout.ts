/** Makes a layout: classifies the train samples and packs them into hot and cold batches, in the order of the log. */
import { type ArtifactFile, ArtifactWriter } from "../artifact.ts";
import { type Dataset, type Lookups, type Samples, type Split, SPLITS } from "../dataset/dataset.ts";
import { HotsetError } from "../errors.ts";
import { HOT_ROWS_FILE, type Profile } from "../profile/profile.ts";
import { type Batch, type BatchShape, findShapeFault } from "./batch.ts";
import { BatchFiller } from "./batch_filler.ts";
import { HotMap } from "./hot_map.ts";
import { batchFiles, type BatchKind, Layout, type LayoutBody } from "./layout.ts";
import { PackRing } from "./pack_ring.ts";
import { SplitBatches } from "./split_batches.ts";

/** Samples read at a time. */
const RUN_SAMPLES = 4096;
/** From so many samples on a second thread is worth its start. */
const THREAD_SAMPLES = 100_000;

/** How to lay out. */
export interface LayoutOptions {
  /** Directory of the layout. */
  readonly out: string;
  /** Samples to a batch, hot or cold; only the last of each kind may have fewer. */
  readonly batchSize: number;
  /** Told after every run of samples that is packed. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Packs the train split. A sample is hot if all its lookups are hot (so one of only empty bags is), but none is where no
 * row is hot, as without a profile: there is no replica to train on then. Memory does not grow with the number of samples. Nothing is
 * drawn at random: equal inputs give equal bytes. Throws HotsetError if profile or dataset do not fit or are damaged.
 */
export function buildLayout(dataset: Dataset, profile: Profile | undefined, options: LayoutOptions): Layout {
  const { batchSize, out, onProgress = () => {} } = options;
  if (!Number.isInteger(batchSize) || batchSize < 1) {
    throw new HotsetError(
      `Cannot lay out ${dataset.directory}: the batch size ${batchSize} is not a positive whole number`,
    );
  }
  profile?.expectDataset(dataset);
  const hotRows = profile?.hotRows ?? new Uint32Array(0);
  const hotMap = hotRows.length === 0 ? undefined : new HotMap(dataset.firstRows, hotRows);
  const { tables, denseFeatures } = dataset;
  const { bags } = dataset.body;
  // The same block also takes the batches of an evaluation.
  const lookupCapacity = bags
    ? Math.max(
      mostLookups(dataset, hotMap, batchSize),
      ...SPLITS.map((split) => mostInOrder(dataset, split, batchSize)),
    )
    : batchSize * tables;
  const shape: BatchShape = { batchSize, denseFeatures, tables, bags, lookupCapacity };
  const fault = findShapeFault(shape);
  if (fault !== undefined) throw new HotsetError(`Cannot lay out ${dataset.directory}: ${fault}`);
  using writer = new ArtifactWriter("layout", out);
  const files = { hot: new BatchWriter(writer, "hot"), cold: new BatchWriter(writer, "cold") };
  const withThread = navigator.hardwareConcurrency > 1 && dataset.samples("train") >= THREAD_SAMPLES;
  using ring = new PackRing(shape, withThread, (batch, record) => {
    (batch.hot ? files.hot : files.cold).write(record, batch.distinct);
  });
  const hot = new Packer(ring, hotMap);
  const cold = new Packer(ring, undefined);
  using reader = dataset.reader("train", RUN_SAMPLES);
  for (let first = 0; first < reader.samples; first += RUN_SAMPLES) {
    const samples = reader.read(first, Math.min(RUN_SAMPLES, reader.samples - first));
    for (let i = 0; i < samples.count; i++) (hotMap?.allHot(samples, i) ? hot : cold).add(samples, i);
    onProgress(first + samples.count, reader.samples);
  }
  hot.finish();
  cold.finish();
  ring.finish();
  writer.file(HOT_ROWS_FILE).append(hotRows);
  const body: LayoutBody = {
    dataset: dataset.id,
    profile: profile?.id ?? null,
    shape,
    rows: dataset.rows,
    hotRows: hotRows.length,
    samples: reader.samples,
    hotSamples: hot.samples,
    hotSampleShare: reader.samples === 0 ? 0 : hot.samples / reader.samples,
    hotBatches: files.hot.batches,
    coldBatches: files.cold.batches,
    mostDistinct: { hot: files.hot.mostDistinct, cold: files.cold.mostDistinct },
    bytes: files.hot.bytes + files.cold.bytes,
  };
  writer.commit(body);
  return Layout.open(out);
}

/** Packs the samples of one kind into batches. */
class Packer {
  samples = 0;
  readonly #ring: PackRing;
  readonly #hotMap: HotMap | undefined;
  #batch: Batch;
  #filler: BatchFiller;

  /** With a hot map packs hot batches, else cold ones. */
  constructor(ring: PackRing, hotMap: HotMap | undefined) {
    this.#ring = ring;
    this.#hotMap = hotMap;
    this.#batch = ring.take();
    this.#filler = new BatchFiller(this.#batch, hotMap);
  }

  add(samples: Samples, i: number): void {
    if (this.#filler.full) {
      this.#submit();
      this.#batch = this.#ring.take();
      this.#filler = new BatchFiller(this.#batch, this.#hotMap);
    }
    this.#filler.add(samples, i);
    this.samples++;
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

/** Appends the records of one kind of batches, and where each begins. */
class BatchWriter {
  batches = 0;
  mostDistinct = 0;
  readonly #records: ArtifactFile;
  readonly #positions: ArtifactFile;
  readonly #position = new Float64Array(1);

  constructor(writer: ArtifactWriter, kind: BatchKind) {
    this.#records = writer.file(batchFiles(kind).batches);
    this.#positions = writer.file(batchFiles(kind).positions);
    this.#positions.append(this.#position);
  }

  get bytes(): number {
    return this.#records.bytes;
  }

  /** Appends the record of a batch with so many distinct rows. */
  write(record: Uint8Array, distinct: number): void {
    this.#records.append(record);
    this.mostDistinct = Math.max(this.mostDistinct, distinct);
    this.batches++;
    this.#position[0] = this.bytes;
    this.#positions.append(this.#position);
  }
}

/** The most lookups that a batch of consecutive samples of a split will have. */
function mostInOrder(dataset: Dataset, split: Split, batchSize: number): number {
  using batches = new SplitBatches(dataset, split, batchSize);
  return batches.shape.lookupCapacity;
}

/** The most lookups that a batch of either kind will have: a pass over the samples ahead of the packing. */
function mostLookups(dataset: Dataset, hotMap: HotMap | undefined, batchSize: number): number {
  const { tables } = dataset;
  const open = { hot: { samples: 0, lookups: 0 }, cold: { samples: 0, lookups: 0 } };
  let most = 0;
  using reader = dataset.reader("train", RUN_SAMPLES);
  for (let first = 0; first < reader.samples; first += RUN_SAMPLES) {
    const run = reader.readLookups(first, Math.min(RUN_SAMPLES, reader.samples - first));
    for (let i = 0; i < run.count; i++) {
      const batch = hotMap?.allHot(run, i) ? open.hot : open.cold;
      if (batch.samples === batchSize) batch.samples = batch.lookups = 0;
      batch.samples++;
      batch.lookups += run.offsets![(i + 1) * tables] - run.offsets![i * tables];
      most = Math.max(most, batch.lookups);
    }
  }
  return most;
}
