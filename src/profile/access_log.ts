/** The access log: number of lookups of each row in a growing random sample of the train split. */
import type { Dataset } from "../dataset/dataset.ts";
import { Random } from "../random.ts";
import { ALONE } from "../parallel/host_group.ts";
import { ownPart, type ProcessGroup, together } from "../parallel/process_group.ts";

/**
 * Samples are drawn in ranges of consecutive samples, so that long logs are read with few long reads: the maximum
 * length,
 */
const MAX_RUN_SAMPLES = 256;
/** And the number of ranges that a log must have: then a few percent of them still cover it evenly. */
const MIN_RUNS = 1 << 18;

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
  readonly #runSamples: number;
  /** All ranges in random order; the first ones have been counted. */
  readonly #runs: Uint32Array;
  #logged = 0;
  #rate = 0;

  constructor(dataset: Dataset, seed: number, group = ALONE) {
    this.#dataset = dataset;
    this.#group = group;
    const samples = dataset.samples("train");
    this.#runSamples = Math.min(MAX_RUN_SAMPLES, Math.max(1, Math.floor(samples / MIN_RUNS)));
    const runs = Uint32Array.from({ length: Math.ceil(samples / this.#runSamples) }, (_, i) => i);
    this.#runs = new Random(seed).shuffle(runs);
    this.counts = new Uint32Array(dataset.rows);
    this.#own = group.size === 1 ? this.counts : new Uint32Array(dataset.rows);
  }

  /** Percent of the samples that have been counted. */
  get rate(): number {
    return this.#rate;
  }

  /** Grows the sample to `rate` percent, rounded up to whole ranges. Reports how many of the new ranges are done. */
  growTo(rate: number, onProgress: (done: number, total: number) => void): void {
    // A disk is fastest in the order of the log.
    const drawn = this.#runs.slice(this.#logged, Math.ceil(this.#runs.length * rate / 100)).sort();
    const { first, end } = ownPart(this.#group, drawn.length);
    together(this.#group, () => this.#log(drawn.subarray(first, end), onProgress));
    if (this.counts !== this.#own) {
      this.counts.set(this.#own);
      this.#group.allReduce(this.counts);
    }
    this.#logged += drawn.length;
    this.#rate = rate;
  }

  /** Counts some ranges. */
  #log(runs: Uint32Array, onProgress: (done: number, total: number) => void): void {
    const counts = this.#own;
    const length = this.#runSamples;
    using reader = this.#dataset.reader("train", length);
    const step = Math.ceil(runs.length / 100);
    for (let i = 0; i < runs.length; i++) {
      const first = runs[i] * length;
      const { indices } = reader.readLookups(first, Math.min(length, reader.samples - first));
      for (let k = 0; k < indices.length; k++) counts[indices[k]]++;
      if ((i + 1) % step === 0 || i + 1 === runs.length) onProgress(i + 1, runs.length);
    }
  }
}
