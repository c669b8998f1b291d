/** The access log: how often a growing random sample of the train split looks up each row. */
import type { Dataset } from "../dataset/dataset.ts";
import { Random } from "../random.ts";
import { ALONE } from "../parallel/host_group.ts";
import { ownPart, type ProcessGroup, together } from "../parallel/process_group.ts";

/** A sample is drawn in runs of consecutive samples, so that long logs are read in few and long pieces: at most so long, */
const MAX_RUN_SAMPLES = 256;
/** and only so long that the log has this many runs: then a few percent of them still cover it evenly. */
const MIN_RUNS = 1 << 18;

/**
 * Counts lookups over a random share of the samples, drawn without replacement in runs of consecutive ones (a run is one
 * sample in logs of up to 524,287). Each sample is as likely as any other, and nothing else is read. A larger share
 * contains the smaller one, so growing reads only what is new. A group divides the reading; all its ranks have all counts.
 */
export class AccessLog {
  /** Logged accesses of every global row, (rows). */
  readonly counts: Uint32Array;
  readonly #group: ProcessGroup;
  /** What this rank has logged of them. */
  readonly #own: Uint32Array;
  readonly #dataset: Dataset;
  readonly #runSamples: number;
  /** All runs in random order; the first ones are logged. */
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

  /** Percent of the samples that are logged. */
  get rate(): number {
    return this.#rate;
  }

  /** Grows the sample to `rate` percent, rounded up to whole runs. Tells how many of the new runs have been logged. */
  growTo(rate: number, onProgress: (done: number, total: number) => void): void {
    // In the order of the log a disk reads fastest.
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

  /** Logs some runs. */
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
