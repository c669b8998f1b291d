/** The Dataset artifact: encoded samples in their original order, split into train, validation and test. */
import { z } from "zod";
import { Artifact, type ArtifactCheck, type FileReader } from "../storage/artifact.ts";
import { breaks } from "../breaks.ts";
import { HotsetError, UsageError } from "../errors.ts";
import { type ProcessGroup, togetherAsync } from "../parallel/process_group.ts";
import { checkTables, DatasetEncoding, type EncodingBody, encodingFields } from "./dataset_encoding.ts";
import { type FileAccount, fileAccounts } from "./read_account.ts";

/** A part of a dataset. */
export type Split = "train" | "validation" | "test";
/** The parts of a dataset, in the order of the log. */
export const SPLITS = ["train", "validation", "test"] as const satisfies readonly Split[];

/** The content of a dataset's manifest. */
export interface DatasetBody extends EncodingBody {
  /** Column by which metrics group the samples; absent where there is none. */
  group?: string | undefined;
  /** Column of the weights of samples; absent where there is none and all weights are 1. */
  weight?: string | undefined;
  /** Sizes of the splits. */
  splits: Record<Split, { samples: number; lookups: number }>;
  /** Negatives that were drawn, and those that could not be since their users chose all items; absent without any. */
  negatives?: { drawn: number; missing: number } | undefined;
  /** Malformed input rows that were skipped. */
  skippedRows: number;
  /** What became of the files: of those that were split, then of those of validation and of test; not of generated data. */
  read?: FileAccount[][] | undefined;
  /** For generated data, the AUC of the planted model on each split: no model can beat it on average. */
  generated: { bestAuc: Record<string, number> } | null;
}

const count = z.number().int().nonnegative();
const splitSize = z.object({ samples: count, lookups: count });

export const datasetBody: z.ZodType<DatasetBody> = z.object({
  ...encodingFields,
  group: z.string().optional(),
  weight: z.string().optional(),
  splits: z.object({ train: splitSize, validation: splitSize, test: splitSize }),
  negatives: z.object({ drawn: count, missing: count }).optional(),
  skippedRows: count,
  read: fileAccounts.optional(),
  generated: z.object({ bestAuc: z.record(z.string(), z.number()) }).nullable(),
}).superRefine(checkTables);

/** Names of a split's files. Offsets exist only with bags. */
export function splitFiles(split: Split) {
  return {
    /** u8 (samples): 0 or 1. */
    labels: `${split}.labels.u8`,
    /** f32 (samples, steps, dense features), transformed. */
    dense: `${split}.dense.f32`,
    /** u32 (lookups): global rows, by (sample, step, table). */
    indices: `${split}.indices.u32`,
    /** u64 (samples): names the group of each sample; only with a column of groups. */
    groups: `${split}.groups.u64`,
    /** f32 (samples): weight of each sample; only with a column of weights. */
    weights: `${split}.weights.f32`,
    /** f32 (lookups): weight of each lookup, parallel to the indices; only if the lookups of a table have weights. */
    lookupWeights: `${split}.lookup_weights.f32`,
    /** u32 (samples, steps, tables): lookups of each bag; only with bags. */
    bagLengths: `${split}.bag_lengths.u32`,
    /** f64 (samples + 1): position of each sample's first lookup; only with bags. */
    firstLookups: `${split}.first_lookups.f64`,
  };
}

/** U32 (rows of all tables): lookups of each row in the train split (saturated at 2^32 - 1). */
export const COUNTS_FILE = "counts.u32";
const COUNTS_AT_ONCE = 1 << 18;

/** Lookups of consecutive samples in memory. Indices are global rows; bag b begins at lookup `offsets[b]`. */
export interface Lookups {
  /** Samples. */
  readonly count: number;
  /** Global rows. */
  readonly indices: Uint32Array;
  /** (count * bags of a sample + 1), only with bags. */
  readonly offsets: Uint32Array | undefined;
}

/** Consecutive samples in memory. */
export interface Samples extends Lookups {
  /** 0 or 1 each. */
  readonly labels: Uint8Array;
  /** Above 0 each; undefined where the dataset has none and all are 1. */
  readonly weights?: Float32Array | undefined;
  /** Weight of each lookup, parallel to the indices, finite; undefined where the dataset has none and all are 1. */
  readonly lookupWeights?: Float32Array | undefined;
  /** (count, steps, dense features), transformed. */
  readonly dense: Float32Array;
}

/** A dataset on disk. */
export class Dataset extends DatasetEncoding<DatasetBody> {
  readonly #artifact: Artifact<DatasetBody>;

  private constructor(artifact: Artifact<DatasetBody>) {
    super(artifact, artifact.id);
    this.#artifact = artifact;
  }

  /**
   * Opens and validates a dataset, which blocks until all of it has been read. With `check` "lengths" its samples are not
   * read at once: `verified` reads them while the event loop turns; every value is validated when it is read in any case,
   * and the checksum of a split that is read in order at its end. Throws HotsetError with what is wrong.
   */
  static open(directory: string, check: ArtifactCheck = "checksums"): Dataset {
    const artifact = Artifact.open("dataset", directory, datasetBody, check);
    const dataset = new Dataset(artifact);
    const { bagsOfSample, denseOfSample, weightedLookups, body: { splits, bags, group, weight } } = dataset;
    for (const split of SPLITS) {
      const files = splitFiles(split);
      const { samples, lookups } = splits[split];
      artifact.expectBytes(files.labels, samples);
      artifact.expectBytes(files.dense, 4 * samples * denseOfSample);
      artifact.expectBytes(files.indices, 4 * lookups);
      if (group !== undefined) artifact.expectBytes(files.groups, 8 * samples);
      if (weight !== undefined) artifact.expectBytes(files.weights, 4 * samples);
      if (weightedLookups) artifact.expectBytes(files.lookupWeights, 4 * lookups);
      if (bags) {
        artifact.expectBytes(files.bagLengths, 4 * samples * bagsOfSample);
        artifact.expectBytes(files.firstLookups, 8 * (samples + 1));
      } else if (lookups !== samples * bagsOfSample) {
        throw new HotsetError(
          `Cannot open dataset ${directory}: ${split} has ${lookups} lookups for ${samples} samples`,
        );
      }
    }
    artifact.expectBytes(COUNTS_FILE, 4 * dataset.rows);
    return dataset;
  }

  /** Number of samples of a split. */
  samples(split: Split): number {
    return this.body.splits[split].samples;
  }

  /** Exact number of lookups of every row in the train split, (rows). The event loop turns between parts of them. */
  async readCounts(): Promise<Uint32Array> {
    using file = this.#artifact.open(COUNTS_FILE);
    const counts = new Uint32Array(this.rows);
    for (let row = 0; row < this.rows; row += COUNTS_AT_ONCE) {
      file.read(4 * row, counts.subarray(row, row + COUNTS_AT_ONCE));
      if (breaks.due) await breaks.take();
    }
    return counts;
  }

  /** The same for one table, a part of its rows at a time; each part is valid until the next one. */
  *countsOf(table: number): Generator<Uint32Array> {
    using file = this.#artifact.open(COUNTS_FILE);
    const [first, end] = [this.firstRows[table], this.firstRows[table + 1]];
    const buffer = new Uint32Array(Math.min(COUNTS_AT_ONCE, end - first));
    for (let row = first; row < end; row += buffer.length) {
      const part = buffer.subarray(0, end - row);
      file.read(4 * row, part);
      yield part;
    }
  }

  /** The groups of the first `count` samples of a split, two words each; undefined where the dataset has none. */
  readGroups(split: Split, count: number): Uint32Array | undefined {
    if (this.body.group === undefined) return undefined;
    using file = this.#artifact.open(splitFiles(split).groups);
    const groups = new Uint32Array(2 * count);
    file.read(0, groups);
    return groups;
  }

  /** Share of the train split's lookups with a value too rare for its own row, by table. */
  async rareShares(): Promise<readonly number[]> {
    if (this.steps > 1) return this.body.tables.map(() => 0); // row 0 is that of steps before a short session
    const counts = await this.readCounts();
    const shares: number[] = [];
    for (let t = 0, row = 0; t < this.tables; t++) {
      const rare = counts[row];
      let lookups = 0;
      while (row < this.firstRows[t + 1]) {
        const end = Math.min(row + COUNTS_AT_ONCE, this.firstRows[t + 1]);
        for (; row < end; row++) lookups += counts[row];
        if (breaks.due) await breaks.take();
      }
      shares.push(lookups === 0 ? 0 : rare / lookups);
    }
    return shares;
  }

  /**
   * Reads all samples of a split in order, `batchSize` at a time and the rest at the end, each batch into arrays of its
   * own. To reuse memory, use `reader`. Throws like `SampleReader.read`, and UsageError for a size below 1.
   */
  *iterate(split: Split, batchSize: number): Generator<Samples> {
    if (!(Number.isInteger(batchSize) && batchSize >= 1)) {
      throw new UsageError(`Cannot read batches of ${batchSize} samples: their size must be a whole number from 1`);
    }
    using reader = this.reader(split, Math.min(batchSize, this.samples(split)));
    for (let first = 0; first < this.samples(split); first += batchSize) {
      const { count, labels, weights, dense, indices, lookupWeights, offsets } = reader.read(
        first,
        Math.min(batchSize, this.samples(split) - first),
      );
      yield {
        ...{ count, labels: labels.slice(), weights: weights?.slice(), dense: dense.slice() },
        ...{ indices: indices.slice(), lookupWeights: lookupWeights?.slice(), offsets: offsets?.slice() },
      };
    }
  }

  /** A reader of one split, at most `capacity` samples at a time. */
  reader(split: Split, capacity: number): SampleReader {
    return new SampleReader(this, split, capacity, (name) => this.#artifact.open(name));
  }
}

/** Opens a dataset that has just been made, by all ranks of a group; the first one checks all of it. */
export async function openMade(directory: string, group: ProcessGroup): Promise<Dataset> {
  return await togetherAsync(group, async () => {
    const dataset = Dataset.open(directory, "lengths");
    return group.rank === 0 ? await dataset.verified() : dataset;
  });
}

/** Opens the files of a split. */
function openFiles(
  { body: { bags, weight }, weightedLookups }: Dataset,
  split: Split,
  open: (name: string) => FileReader,
) {
  const files = splitFiles(split);
  return {
    labels: open(files.labels),
    dense: open(files.dense),
    indices: open(files.indices),
    weights: weight === undefined ? undefined : open(files.weights),
    lookupWeights: weightedLookups ? open(files.lookupWeights) : undefined,
    bagLengths: bags ? open(files.bagLengths) : undefined,
    firstLookups: bags ? open(files.firstLookups) : undefined,
  };
}

/** Reads consecutive samples of a split into memory that is reused. */
export class SampleReader implements Disposable {
  /** Number of samples of the split. */
  readonly samples: number;
  readonly #dataset: Dataset;
  readonly #split: Split;
  readonly #readers: ReturnType<typeof openFiles>;
  readonly #labels: Uint8Array;
  readonly #weights: Float32Array | undefined;
  readonly #dense: Float32Array;
  #indices: Uint32Array;
  #lookupWeights = new Float32Array(0);
  readonly #offsets: Uint32Array | undefined;
  readonly #first = new Float64Array(1);
  /** Comparing 32-bit numbers is faster than comparing those of the dataset */
  readonly #firstRows: Uint32Array;
  readonly #tableRows: Uint32Array;

  /** Use `dataset.reader`. @internal */
  constructor(dataset: Dataset, split: Split, capacity: number, open: (name: string) => FileReader) {
    this.samples = dataset.samples(split);
    this.#dataset = dataset;
    this.#split = split;
    this.#readers = openFiles(dataset, split, open);
    const { bagsOfSample, denseOfSample } = dataset;
    this.#labels = new Uint8Array(capacity);
    this.#weights = dataset.body.weight === undefined ? undefined : new Float32Array(capacity);
    this.#dense = new Float32Array(capacity * denseOfSample);
    this.#indices = new Uint32Array(capacity * bagsOfSample);
    this.#offsets = dataset.body.bags ? new Uint32Array(capacity * bagsOfSample + 1) : undefined;
    this.#firstRows = Uint32Array.from(dataset.firstRows);
    this.#tableRows = Uint32Array.from(dataset.body.tables, ({ rows }) => rows);
  }

  /**
   * Samples `[first, first + count)`. The arrays are overwritten by the next call. Throws HotsetError if a label is
   * neither 0 nor 1, a weight is not a number above 0, a dense value or the weight of a lookup is not finite or an index
   * lies outside its table.
   */
  read(first: number, count: number): Samples {
    const { denseOfSample } = this.#dataset;
    const labels = this.#labels.subarray(0, count);
    const dense = this.#dense.subarray(0, count * denseOfSample);
    this.#readers.labels.read(first, labels);
    this.#readers.dense.read(4 * first * denseOfSample, dense);
    for (let i = 0; i < count; i++) if (labels[i] > 1) this.#fail(first + i, `label ${labels[i]} is neither 0 nor 1`);
    for (let i = 0; i < dense.length; i++) {
      if (!Number.isFinite(dense[i])) this.#fail(first + Math.floor(i / denseOfSample), `dense value ${dense[i]}`);
    }
    const weights = this.#weights?.subarray(0, count);
    if (weights !== undefined) {
      this.#readers.weights!.read(4 * first, weights);
      const wrong = weights.findIndex((weight) => !(weight > 0 && weight < Infinity));
      if (wrong >= 0) this.#fail(first + wrong, `weight ${weights[wrong]} is not a number above 0`);
    }
    const { indices, offsets } = this.readLookups(first, count);
    const lookupWeights = this.#readers.lookupWeights && this.#readLookupWeights(first, offsets!);
    return { count, labels, weights, dense, indices, lookupWeights, offsets };
  }

  /** The weights of the lookups of samples from `first` on, whose bags have these offsets. */
  #readLookupWeights(first: number, offsets: Uint32Array): Float32Array {
    const lookups = offsets[offsets.length - 1];
    if (lookups > this.#lookupWeights.length) this.#lookupWeights = new Float32Array(2 * lookups);
    const weights = this.#lookupWeights.subarray(0, lookups);
    this.#readers.lookupWeights!.read(4 * this.firstLookup(first), weights);
    const wrong = weights.findIndex((weight) => !Number.isFinite(weight));
    if (wrong >= 0) {
      const bag = offsets.findIndex((end) => end > wrong) - 1;
      const sample = first + Math.floor(bag / this.#dataset.bagsOfSample);
      this.#fail(sample, `the weight ${weights[wrong]} of a lookup is not a finite number`);
    }
    return weights;
  }

  /** Only the lookups of samples `[first, first + count)`; otherwise like `read`. */
  readLookups(first: number, count: number): Lookups {
    const { bagsOfSample } = this.#dataset;
    const firstLookup = this.firstLookup(first);
    const lookups = this.firstLookup(first + count) - firstLookup;
    if (lookups < 0) this.#fail(first, "the positions of lookups decrease");
    const offsets = this.#offsets?.subarray(0, count * bagsOfSample + 1);
    if (offsets !== undefined) {
      this.#readers.bagLengths!.read(4 * first * bagsOfSample, offsets.subarray(1));
      offsets[0] = 0;
      let total = 0;
      for (let b = 1; b < offsets.length; b++) total = offsets[b] = total + offsets[b];
      if (total !== lookups) this.#fail(first, "bag lengths do not add up to the number of lookups");
      if (lookups > this.#indices.length) this.#indices = new Uint32Array(lookups);
    }
    const indices = this.#indices.subarray(0, lookups);
    this.#readers.indices.read(4 * firstLookup, indices);
    this.#checkIndices(first, count, indices, offsets);
    return { count, indices, offsets };
  }

  /** Position of a sample's first lookup among the lookups of the split; for `samples`, the number of all lookups. */
  firstLookup(sample: number): number {
    if (this.#readers.firstLookups === undefined) return sample * this.#dataset.bagsOfSample;
    this.#readers.firstLookups.read(8 * sample, this.#first);
    const [lookup] = this.#first;
    const most = this.#dataset.body.splits[this.#split].lookups;
    if (!Number.isInteger(lookup) || lookup < 0 || lookup > most) {
      this.#fail(sample, `lookup ${lookup} is beyond the ${most} of the split`);
    }
    return lookup;
  }

  #checkIndices(first: number, count: number, indices: Uint32Array, offsets: Uint32Array | undefined): void {
    const { tables, bagsOfSample } = this.#dataset;
    const begins = this.#firstRows;
    const sizes = this.#tableRows;
    if (offsets === undefined) return this.#checkSingles(first, indices, begins, sizes);
    for (let bag = 0, table = 0, k = 0; bag < count * bagsOfSample; bag++) {
      const begin = begins[table];
      const size = sizes[table];
      const lastLookup = offsets[bag + 1];
      // One comparison for both bounds: below the table the difference wraps around.
      for (; k < lastLookup; k++) if ((indices[k] - begin) >>> 0 >= size) this.#failIndex(first, bag, indices[k]);
      if (++table === tables) table = 0;
    }
  }

  /** The same where each bag has one lookup, in a third of the time. */
  #checkSingles(first: number, indices: Uint32Array, begins: Uint32Array, sizes: Uint32Array): void {
    for (let k = 0; k < indices.length;) {
      for (let table = 0; table < sizes.length; table++, k++) {
        if ((indices[k] - begins[table]) >>> 0 >= sizes[table]) this.#failIndex(first, k, indices[k]);
      }
    }
  }

  #failIndex(first: number, bag: number, row: number): never {
    const { tables, bagsOfSample, body } = this.#dataset;
    const table = bag % tables;
    const { name, rows } = body.tables[table];
    const index = row - this.#firstRows[table];
    this.#fail(first + Math.floor(bag / bagsOfSample), `index ${index} is outside table ${name} of ${rows} rows`);
  }

  #fail(sample: number, reason: string): never {
    throw new HotsetError(`Cannot read dataset ${this.#dataset.directory}: ${this.#split} sample ${sample}: ${reason}`);
  }

  /** Closes the files. */
  [Symbol.dispose](): void {
    for (const reader of Object.values(this.#readers)) reader?.[Symbol.dispose]();
  }
}
