/**
 * The train split in random order, in bounded memory whatever its size. One pass over the split appends every sample to a
 * random bucket of one file; then each bucket is read and shuffled in memory. Uniform draws give a uniform permutation:
 * all orders are equally likely. Draws depend only on the seed and the position of a sample in the log, so the order does
 * not depend on the number of processes.
 *
 * A sample is a record of words: its label, its weight if the dataset has weights, dense values, with bags the length of
 * each, indices, and their weights if lookups have weights.
 */
import { breaks } from "../breaks.ts";
import type { CreateFile } from "../storage/output_file.ts";
import type { Dataset, Lookups, SampleReader, Samples } from "../dataset/dataset.ts";
import { Random } from "../random.ts";
import { ownPart, type ProcessGroup, togetherAsync } from "../parallel/process_group.ts";
import { BucketFileReader, BucketFileWriter, type StreamPlace } from "./bucket_file.ts";

/** Samples read at a time, whose buckets are drawn from one sequence. */
export const CHUNK_SAMPLES = 4096;
/** Bytes of a bucket: few, so that its records are gathered from the processor's cache. */
const BUCKET_BYTES = 8 << 20;
/** Buckets of a file, each with a chunk of memory (128 MiB in all); from 16 GiB of samples on they grow instead. */
const MAX_BUCKETS = 2048;
const SHUFFLE_STREAM = 4;
/** Random streams: the buckets of a chunk's samples, and the order within a bucket. */
const CHUNK_STREAM = 0, BUCKET_STREAM = 1;

/** Samples of a split in some order, read in chunks. */
export interface SampleSource extends Disposable {
  /** Samples of the split. */
  readonly samples: number;
  /** Samples `[first, first + count)` of that order, in memory that the next call overwrites. */
  read(first: number, count: number): Samples;
  /** Lookups of these samples. */
  readLookups(first: number, count: number): Lookups;
}

/** Options of a shuffle. */
export interface ShuffleOptions {
  /** Determines the order, together with `bucketBytes`. */
  readonly seed: number;
  /** Bytes of a bucket; default 8 MiB. */
  readonly bucketBytes?: number | undefined;
}

/** How the files of a shuffle are created. */
interface Making {
  readonly group: ProcessGroup;
  /** Path of each rank's file. All ranks must be able to read all files. */
  readonly pathOf: (rank: number) => string;
  /** Opens new files; undefined for ordinary ones. */
  readonly create: CreateFile | undefined;
  /** Called after every chunk of samples. */
  readonly onProgress: (done: number, total: number) => void;
}

/** Where the shuffled samples are. */
interface Buckets {
  readonly dataset: Dataset;
  readonly seed: number;
  /** The file of each rank. */
  readonly paths: readonly string[];
  /** Position of each bucket in the file of each rank. */
  readonly places: readonly (readonly StreamPlace[])[];
  /** Number of the first sample of each bucket, then of all. */
  readonly firsts: Float64Array;
}

/** The shuffled train split of a dataset, in files of its own until it is removed. */
export class SampleShuffle {
  readonly #buckets: Buckets;
  readonly #ownPath: string;

  private constructor(buckets: Buckets, ownPath: string) {
    this.#buckets = buckets;
    this.#ownPath = ownPath;
  }

  /** Collective: each rank deals out its part of the log. */
  static async create(
    dataset: Dataset,
    { seed, bucketBytes = BUCKET_BYTES }: ShuffleOptions,
    { group, pathOf, create, onProgress }: Making,
  ): Promise<SampleShuffle> {
    const paths = Array.from({ length: group.size }, (_, rank) => pathOf(rank));
    const buckets = Math.min(MAX_BUCKETS, Math.max(1, Math.ceil(bytesOfRecords(dataset) / bucketBytes)));
    const dealt = await togetherAsync(group, async () => {
      using writer = new BucketFileWriter(paths[group.rank], buckets, create);
      const samples = await deal(dataset, seed, buckets, group, writer, onProgress);
      return { samples, places: writer.finish() };
    });
    const all = group.gather(dealt);
    const firsts = new Float64Array(buckets + 1);
    for (let b = 0; b < buckets; b++) firsts[b + 1] = all.reduce((sum, { samples }) => sum + samples[b], firsts[b]);
    const places = all.map(({ places }) => places);
    return new SampleShuffle({ dataset, seed, paths, places, firsts }, paths[group.rank]);
  }

  /** Reads the samples in their new order, fastest from the first to the last. */
  reader(capacity: number): SampleSource {
    return new ShuffledSamples(this.#buckets, capacity);
  }

  /** Removes the files, when all ranks have read what they need. */
  remove(): void {
    Deno.removeSync(this.#ownPath);
  }
}

function bytesOfRecords(dataset: Dataset): number {
  const { samples, lookups } = dataset.body.splits.train;
  return 4 * (samples * headWords(dataset) + lookups * lookupWords(dataset));
}

/** Words of a record for each lookup. */
function lookupWords({ weightedLookups }: Dataset): 1 | 2 {
  return weightedLookups ? 2 : 1;
}

/** Words of a record before its indices. */
function headWords({ denseOfSample, bagsOfSample, body: { bags, weight } }: Dataset): number {
  return 1 + Number(weight !== undefined) + denseOfSample + (bags ? bagsOfSample : 0);
}

/** Deals a rank's part of the log out to the buckets. Returns the samples of each. */
async function deal(
  dataset: Dataset,
  seed: number,
  buckets: number,
  group: ProcessGroup,
  writer: BucketFileWriter,
  onProgress: Making["onProgress"],
): Promise<number[]> {
  const counts = new Array<number>(buckets).fill(0);
  const { bagsOfSample, denseOfSample } = dataset;
  const head = headWords(dataset);
  using reader: SampleReader = dataset.reader("train", CHUNK_SAMPLES);
  const { first, end } = ownPart(group, Math.ceil(reader.samples / CHUNK_SAMPLES));
  const total = Math.min(end * CHUNK_SAMPLES, reader.samples) - first * CHUNK_SAMPLES;
  const wordsOfLookup = lookupWords(dataset);
  let record = new Uint32Array(head + wordsOfLookup * bagsOfSample);
  for (let chunk = first; chunk < end; chunk++) {
    const begin = chunk * CHUNK_SAMPLES;
    const { count, labels, weights, dense, indices, lookupWeights, offsets } = reader.read(
      begin,
      Math.min(CHUNK_SAMPLES, reader.samples - begin),
    );
    const denseWords = wordsOf(dense);
    const weightWords = weights && wordsOf(weights);
    const lookupWeightWords = lookupWeights && wordsOf(lookupWeights);
    const random = new Random(seed, SHUFFLE_STREAM, CHUNK_STREAM, chunk);
    for (let i = 0; i < count; i++) {
      const bag = i * bagsOfSample;
      const from = offsets === undefined ? bag : offsets[bag];
      const to = offsets === undefined ? bag + bagsOfSample : offsets[bag + bagsOfSample];
      const length = head + wordsOfLookup * (to - from);
      if (length > record.length) record = new Uint32Array(2 * length);
      let at = 0;
      record[at++] = labels[i];
      if (weightWords !== undefined) record[at++] = weightWords[i];
      for (let d = i * denseOfSample, last = d + denseOfSample; d < last; d++) record[at++] = denseWords[d];
      if (offsets !== undefined) {
        for (let b = bag; b < bag + bagsOfSample; b++) record[at++] = offsets[b + 1] - offsets[b];
      }
      for (let k = from; k < to; k++) record[at++] = indices[k];
      if (lookupWeightWords !== undefined) { for (let k = from; k < to; k++) record[at++] = lookupWeightWords[k]; }
      const bucket = random.below(buckets);
      writer.append(bucket, record, 0, length);
      counts[bucket]++;
    }
    if (breaks.due) await breaks.take();
    onProgress(begin + count - first * CHUNK_SAMPLES, total);
  }
  return counts;
}

/** The same memory as words. */
function wordsOf({ buffer, byteOffset, length }: Float32Array): Uint32Array {
  return new Uint32Array(buffer, byteOffset, length);
}

/** Reads shuffled samples, with one bucket in memory at a time. */
class ShuffledSamples implements SampleSource {
  readonly samples: number;
  readonly #buckets: Buckets;
  readonly #files: readonly BucketFileReader[];
  /** The bucket in memory, and where its records begin in their new order. */
  #bucket = -1;
  #words = new Uint32Array(0);
  #starts: Uint32Array = new Uint32Array(0);
  readonly #labels: Uint8Array;
  readonly #weights: Float32Array | undefined;
  readonly #weightWords: Uint32Array | undefined;
  readonly #dense: Float32Array;
  readonly #denseWords: Uint32Array;
  #indices: Uint32Array;
  #lookupWeightWords: Uint32Array | undefined;
  readonly #offsets: Uint32Array | undefined;

  constructor(buckets: Buckets, capacity: number) {
    const { dataset, paths } = buckets;
    this.samples = dataset.samples("train");
    this.#buckets = buckets;
    this.#files = paths.map((path) => new BucketFileReader(path));
    const { bagsOfSample, denseOfSample } = dataset;
    this.#labels = new Uint8Array(capacity);
    this.#weights = dataset.body.weight === undefined ? undefined : new Float32Array(capacity);
    this.#weightWords = this.#weights && wordsOf(this.#weights);
    this.#dense = new Float32Array(capacity * denseOfSample);
    this.#denseWords = wordsOf(this.#dense);
    this.#indices = new Uint32Array(capacity * bagsOfSample);
    this.#lookupWeightWords = dataset.weightedLookups ? new Uint32Array(this.#indices.length) : undefined;
    this.#offsets = dataset.body.bags ? new Uint32Array(capacity * bagsOfSample + 1) : undefined;
  }

  read(first: number, count: number): Samples {
    const { dataset, firsts } = this.#buckets;
    const { bagsOfSample, denseOfSample } = dataset;
    const head = headWords(dataset);
    const offsets = this.#offsets?.subarray(0, count * bagsOfSample + 1);
    let lookups = 0;
    for (let i = 0, bag = 0; i < count; i++) {
      this.#load(first + i);
      const words = this.#words;
      let at = this.#starts[first + i - firsts[this.#bucket]];
      const indicesAt = at + head;
      this.#labels[i] = words[at++];
      if (this.#weightWords !== undefined) this.#weightWords[i] = words[at++];
      for (let d = i * denseOfSample, last = d + denseOfSample; d < last; d++) this.#denseWords[d] = words[at++];
      let end = lookups + bagsOfSample;
      if (offsets !== undefined) {
        end = lookups;
        while (at < indicesAt) offsets[++bag] = end += words[at++];
      }
      if (end > this.#indices.length) this.#growLookups(end);
      const indices = this.#indices;
      const lookupWeightWords = this.#lookupWeightWords;
      const firstLookup = lookups;
      while (lookups < end) indices[lookups++] = words[at++];
      if (lookupWeightWords !== undefined) {
        for (let k = firstLookup; k < end; k++) lookupWeightWords[k] = words[at++];
      }
    }
    const lookupWeights = this.#lookupWeightWords?.subarray(0, lookups);
    return {
      count,
      labels: this.#labels.subarray(0, count),
      weights: this.#weights?.subarray(0, count),
      dense: this.#dense.subarray(0, count * denseOfSample),
      indices: this.#indices.subarray(0, lookups),
      lookupWeights: lookupWeights && new Float32Array(lookupWeights.buffer, lookupWeights.byteOffset, lookups),
      offsets,
    };
  }

  readLookups(first: number, count: number): Lookups {
    return this.read(first, count);
  }

  /** Has the bucket of a sample in memory. */
  #load(sample: number): void {
    const { firsts } = this.#buckets;
    let bucket = this.#bucket;
    if (bucket >= 0 && sample >= firsts[bucket] && sample < firsts[bucket + 1]) return;
    if (bucket < 0 || sample < firsts[bucket]) bucket = 0;
    while (sample >= firsts[bucket + 1]) bucket++;
    const { places, seed } = this.#buckets;
    const own = places.map((ofRank) => ofRank[bucket]);
    const length = own.reduce((sum, { words }) => sum + words, 0);
    if (length > this.#words.length) this.#words = new Uint32Array(length);
    let at = 0;
    for (const [rank, file] of this.#files.entries()) {
      file.read(own[rank], this.#words, at);
      at += own[rank].words;
    }
    const starts = this.#findRecords(firsts[bucket + 1] - firsts[bucket]);
    this.#starts = new Random(seed, SHUFFLE_STREAM, BUCKET_STREAM, bucket).shuffle(starts);
    this.#bucket = bucket;
  }

  /** Where the records of the bucket in memory begin, in the order of the log. */
  #findRecords(count: number): Uint32Array {
    const { dataset } = this.#buckets;
    const { bagsOfSample } = dataset;
    const head = headWords(dataset);
    const wordsOfLookup = lookupWords(dataset);
    const starts = new Uint32Array(count);
    const words = this.#words;
    for (let i = 0, at = 0; i < count; i++) {
      starts[i] = at;
      let lookups = bagsOfSample;
      if (this.#offsets !== undefined) {
        lookups = 0;
        for (let length = at + head - bagsOfSample; length < at + head; length++) lookups += words[length];
      }
      at += head + wordsOfLookup * lookups;
    }
    return starts;
  }

  #growLookups(lookups: number): void {
    const grow = (words: Uint32Array) => {
      const grown = new Uint32Array(2 * lookups);
      grown.set(words);
      return grown;
    };
    this.#indices = grow(this.#indices);
    this.#lookupWeightWords = this.#lookupWeightWords && grow(this.#lookupWeightWords);
  }

  [Symbol.dispose](): void {
    for (const file of this.#files) file[Symbol.dispose]();
  }
}
