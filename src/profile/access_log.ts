/** The access log: number of lookups of each row in a growing random sample of the train split. */
import { breaks } from "../breaks.ts";
import type { Dataset } from "../dataset/dataset.ts";
import { Random } from "../random.ts";
import { ALONE } from "../parallel/host_group.ts";
import { ownPart, type ProcessGroup, togetherAsync } from "../parallel/process_group.ts";

/**
 * Samples are drawn in ranges of consecutive samples, so that long logs are read with few long reads: the maximum
 * length,
 */
const MAX_CHUNK_SAMPLES = 256;
/** And the number of ranges that a log must have: then a few percent of them still cover it evenly. */
const MIN_CHUNKS = 1 << 18;

/**
 * Counts lookups of a random share of the samples, drawn without replacement in ranges of consecutive samples (of one
 * sample in logs of up to 524,287). All samples have the same probability, and nothing else is read. A larger share
 * contains the smaller one, so growing it reads only new samples. A group divides the reading; all its ranks have all
 * counts.
 */
export class AccessLog {
  /** Logged accesses of every global row, (rows). */
  readonly counts: Uint32Array;
  readonly #group: ProcessGroup;
  /** The part that this rank has counted. */
  readonly #own: Uint32Array;
  readonly #dataset: Dataset;
  readonly #chunkSamples: number;
  /** All ranges in random order; the first ones have been counted. */
  readonly #chunks: Uint32Array;
  #logged = 0;

  constructor(dataset: Dataset, seed: number, group = ALONE) {
    this.#dataset = dataset;
    this.#group = group;
    const samples = dataset.samples("train");
    this.#chunkSamples = Math.min(MAX_CHUNK_SAMPLES, Math.max(1, Math.floor(samples / MIN_CHUNKS)));
    const chunks = Uint32Array.from({ length: Math.ceil(samples / this.#chunkSamples) }, (_, i) => i);
    this.#chunks = new Random(seed).shuffle(chunks);
    this.counts = new Uint32Array(dataset.rows);
    this.#own = group.size === 1 ? this.counts : new Uint32Array(dataset.rows);
  }

  /** Grows the sample to `rate` percent, rounded up to whole ranges. Reports how many of the new ranges are done. */
  async growTo(rate: number, onProgress: (done: number, total: number) => void): Promise<void> {
    // A disk is fastest in the order of the log.
    const drawn = this.#chunks.slice(this.#logged, Math.ceil(this.#chunks.length * rate / 100)).sort();
    const { first, end } = ownPart(this.#group, drawn.length);
    await togetherAsync(this.#group, () => this.#log(drawn.subarray(first, end), onProgress));
    if (this.counts !== this.#own) {
      this.counts.set(this.#own);
      this.#group.allReduce(this.counts);
    }
    this.#logged += drawn.length;
  }

  /** Counts some ranges. */
  async #log(chunks: Uint32Array, onProgress: (done: number, total: number) => void): Promise<void> {
    const counts = this.#own;
    const length = this.#chunkSamples;
    using reader = this.#dataset.reader("train", length);
    const step = Math.ceil(chunks.length / 100);
    for (let i = 0; i < chunks.length; i++) {
      const first = chunks[i] * length;
      const { indices } = reader.readLookups(first, Math.min(length, reader.samples - first));
      for (let k = 0; k < indices.length; k++) counts[indices[k]]++;
      if ((i + 1) % step === 0 || i + 1 === chunks.length) onProgress(i + 1, chunks.length);
      if (breaks.due) await breaks.take();
    }
  }
}
