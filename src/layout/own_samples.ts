/** The samples that a rank packs: those of the batches that begin in its part of the train split. */
import type { Lookups } from "../dataset/dataset.ts";
import { ownPart, type ProcessGroup, together } from "../parallel/process_group.ts";
import type { HotMap } from "./hot_map.ts";
import { RUN_SAMPLES, type SampleSource } from "./sample_shuffle.ts";

/** Numbers of the samples of one kind: the next one, and the range of this rank. */
interface Kind {
  next: number;
  readonly first: number;
  readonly end: number;
}

/** The train split in the order of packing. */
export interface OrderedSplit {
  /** Number of samples. */
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
  readonly #runs: { readonly first: number; readonly end: number };
  /** Number of hot samples of each range; undefined for a group of one, which does not need it. */
  readonly #hotOfRun: Uint32Array | undefined;

  /** Without a hot map all samples are cold. Collective: the ranks classify the split together. */
  constructor(split: OrderedSplit, hotMap: HotMap | undefined, batchSize: number, group: ProcessGroup) {
    this.#split = split;
    this.#hotMap = hotMap;
    this.#batchSize = batchSize;
    const runs = Math.ceil(split.samples / RUN_SAMPLES);
    this.#runs = ownPart(group, runs);
    if (group.size === 1) return;
    const own = together(group, () => this.#countHot());
    this.#hotOfRun = Uint32Array.from(group.gather([...own]).flat());
  }

  /**
   * Calls `visit` with each sample and whether it is hot. `read` gets samples from the reader: complete, or only their
   * lookups. `onProgress` receives the number of samples of this rank's part that were passed.
   */
  visit<L extends Lookups>(
    read: (reader: SampleSource, first: number, count: number) => L,
    visit: (samples: L, i: number, hot: boolean) => void,
    onProgress: (done: number, total: number) => void = () => {},
  ): void {
    using reader = this.#split.open(RUN_SAMPLES);
    const { first, end } = this.#runs;
    const [firstSample, lastSample] = [first, end].map((run) => Math.min(run * RUN_SAMPLES, reader.samples));
    const [hot, cold] = this.#kinds();
    for (let run = first; run * RUN_SAMPLES < reader.samples; run++) {
      const begin = run * RUN_SAMPLES;
      const count = Math.min(RUN_SAMPLES, reader.samples - begin);
      if (run >= end) {
        const hotCount = this.#hotOfRun![run];
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
        if (number >= kind.first && number < kind.end) visit(samples, i, isHot);
      }
      onProgress(Math.min(begin + count, lastSample) - firstSample, lastSample - firstSample);
    }
  }

  #countHot(): Uint32Array {
    const { first, end } = this.#runs;
    const counts = new Uint32Array(end - first);
    using reader = this.#split.open(RUN_SAMPLES);
    for (let run = first; run < end; run++) {
      const begin = run * RUN_SAMPLES;
      const lookups = reader.readLookups(begin, Math.min(RUN_SAMPLES, reader.samples - begin));
      for (let i = 0; i < lookups.count; i++) if (this.#hotMap?.allHot(lookups, i)) counts[run - first]++;
    }
    return counts;
  }

  /** Number of hot and cold samples. */
  #kinds(): [Kind, Kind] {
    const hotOfRun = this.#hotOfRun;
    if (hotOfRun === undefined) return [{ next: 0, first: 0, end: Infinity }, { next: 0, first: 0, end: Infinity }];
    const batchSize = this.#batchSize;
    const { samples } = this.#split;
    const hotBefore = (run: number) => hotOfRun.subarray(0, run).reduce((sum, hot) => sum + hot, 0);
    const kind = (before: (run: number) => number): Kind => {
      const [first, end] = [before(this.#runs.first), before(this.#runs.end)];
      // A batch begins where the number of a sample is a multiple of its size.
      const beginOf = (number: number) => Math.ceil(number / batchSize) * batchSize;
      return { next: first, first: beginOf(first), end: beginOf(end) };
    };
    return [kind(hotBefore), kind((run) => Math.min(run * RUN_SAMPLES, samples) - hotBefore(run))];
  }
}
