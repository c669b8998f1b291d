/** The samples that a rank packs: those of the batches that begin in its part of the train split. */
import { breaks } from "../breaks.ts";
import type { Lookups } from "../dataset/dataset.ts";
import { ownPart, type ProcessGroup, togetherAsync } from "../parallel/process_group.ts";
import type { HotMap } from "./hot_map.ts";
import { CHUNK_SAMPLES, type SampleSource } from "./sample_shuffle.ts";

/** Samples between looks whether a break is due: visiting them takes a few milliseconds before that code is compiled. */
const PART_SAMPLES = 512;

/** Numbers of the samples of one kind: the next one, and the range of this rank. */
interface Kind {
  next: number;
  readonly first: number;
  readonly end: number;
}

/** The train split in the order of packing. */
export interface OrderedSplit {
  readonly samples: number;
  /** A reader of at most this number of samples at a time. */
  readonly open: (capacity: number) => SampleSource;
}

/** Visits a rank's samples in order, any number of times. */
export class OwnSamples {
  readonly #split: OrderedSplit;
  readonly #hotMap: HotMap | undefined;
  readonly #batchSize: number;
  /** This rank's ranges of the split. A batch that begins in them may end after them. */
  readonly #chunks: { readonly first: number; readonly end: number };
  /** Number of hot samples of each range; undefined for a group of one, which does not need it. */
  #hotOfChunk: Uint32Array | undefined;

  private constructor(split: OrderedSplit, hotMap: HotMap | undefined, batchSize: number, group: ProcessGroup) {
    this.#split = split;
    this.#hotMap = hotMap;
    this.#batchSize = batchSize;
    const chunks = Math.ceil(split.samples / CHUNK_SAMPLES);
    this.#chunks = ownPart(group, chunks);
  }

  /** Without a hot map all samples are cold. Collective: the ranks classify the split together. */
  static async create(
    split: OrderedSplit,
    hotMap: HotMap | undefined,
    batchSize: number,
    group: ProcessGroup,
  ): Promise<OwnSamples> {
    const samples = new OwnSamples(split, hotMap, batchSize, group);
    if (group.size === 1) return samples;
    const own = await togetherAsync(group, () => samples.#countHot());
    samples.#hotOfChunk = Uint32Array.from(group.gather([...own]).flat());
    return samples;
  }

  /**
   * Calls `visit` with each sample and whether it is hot, and waits for it if it returns a promise. `read` gets samples from the reader: complete, or only their
   * lookups. `onProgress` receives the number of samples of this rank's part that were passed.
   */
  async visit<L extends Lookups>(
    read: (reader: SampleSource, first: number, count: number) => L,
    visit: (samples: L, i: number, hot: boolean) => Promise<void> | undefined | void,
    onProgress: (done: number, total: number) => void = () => {},
  ): Promise<void> {
    using reader = this.#split.open(CHUNK_SAMPLES);
    const { first, end } = this.#chunks;
    const [firstSample, lastSample] = [first, end].map((chunk) => Math.min(chunk * CHUNK_SAMPLES, reader.samples));
    const [hot, cold] = this.#kinds();
    for (let chunk = first; chunk * CHUNK_SAMPLES < reader.samples; chunk++) {
      const begin = chunk * CHUNK_SAMPLES;
      const count = Math.min(CHUNK_SAMPLES, reader.samples - begin);
      if (chunk >= end) {
        const hotCount = this.#hotOfChunk![chunk];
        if (hot.next >= hot.end && cold.next >= cold.end) break;
        if ((hot.next >= hot.end || hotCount === 0) && (cold.next >= cold.end || hotCount === count)) {
          hot.next += hotCount;
          cold.next += count - hotCount;
          continue;
        }
      }
      const samples = read(reader, begin, count);
      for (let i = 0; i < samples.count; i++) {
        const isHot = this.#hotMap !== undefined && this.#hotMap.allHot(samples, i);
        const kind = isHot ? hot : cold;
        const number = kind.next++;
        const waits = number >= kind.first && number < kind.end ? visit(samples, i, isHot) : undefined;
        if (waits !== undefined) await waits;
        if (i % PART_SAMPLES === 0 && breaks.due) await breaks.take();
      }
      if (breaks.due) await breaks.take();
      onProgress(Math.min(begin + count, lastSample) - firstSample, lastSample - firstSample);
    }
  }

  async #countHot(): Promise<Uint32Array> {
    const { first, end } = this.#chunks;
    const counts = new Uint32Array(end - first);
    using reader = this.#split.open(CHUNK_SAMPLES);
    for (let chunk = first; chunk < end; chunk++) {
      const begin = chunk * CHUNK_SAMPLES;
      if (breaks.due) await breaks.take();
      const lookups = reader.readLookups(begin, Math.min(CHUNK_SAMPLES, reader.samples - begin));
      for (let i = 0; i < lookups.count; i++) if (this.#hotMap?.allHot(lookups, i)) counts[chunk - first]++;
    }
    return counts;
  }

  /** Number of hot and cold samples. */
  #kinds(): [Kind, Kind] {
    const hotOfChunk = this.#hotOfChunk;
    if (hotOfChunk === undefined) return [{ next: 0, first: 0, end: Infinity }, { next: 0, first: 0, end: Infinity }];
    const batchSize = this.#batchSize;
    const { samples } = this.#split;
    const hotBefore = (chunk: number) => hotOfChunk.subarray(0, chunk).reduce((sum, hot) => sum + hot, 0);
    const kind = (before: (chunk: number) => number): Kind => {
      const [first, end] = [before(this.#chunks.first), before(this.#chunks.end)];
      // A batch begins where the number of a sample is a multiple of its size.
      const beginOf = (number: number) => Math.ceil(number / batchSize) * batchSize;
      return { next: first, first: beginOf(first), end: beginOf(end) };
    };
    return [kind(hotBefore), kind((chunk) => Math.min(chunk * CHUNK_SAMPLES, samples) - hotBefore(chunk))];
  }
}
