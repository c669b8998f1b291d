/** The access log: how often a growing random sample of the train split looks up each row. */
import type { Dataset } from "../dataset/dataset.ts";
import { Random } from "../random.ts";

/** Samples read at a time; also the strata of the sample. */
const BLOCK_SAMPLES = 8192;

/**
 * Counts lookups over a random share of the samples. Every block of 8,192 consecutive samples gives the same share,
 * drawn without replacement: each sample is as likely as any other, and the sample covers the log evenly in time. A
 * larger share contains the smaller one, so growing reads only what is new.
 */
export class AccessLog {
  /** Logged accesses of every global row, (rows). */
  readonly counts: Uint32Array;
  readonly #dataset: Dataset;
  readonly #seed: number;
  #rate = 0;

  constructor(dataset: Dataset, seed: number) {
    this.#dataset = dataset;
    this.#seed = seed;
    this.counts = new Uint32Array(dataset.rows);
  }

  /** Percent of the samples that are logged. */
  get rate(): number {
    return this.#rate;
  }

  /** Grows the sample to `rate` percent. */
  growTo(rate: number, onProgress: (done: number, total: number) => void): void {
    using reader = this.#dataset.reader("train", BLOCK_SAMPLES);
    const { tables } = this.#dataset;
    const order = new Uint32Array(BLOCK_SAMPLES);
    for (let first = 0; first < reader.samples; first += BLOCK_SAMPLES) {
      const count = Math.min(BLOCK_SAMPLES, reader.samples - first);
      const begin = share(count, this.#rate);
      const end = share(count, rate);
      const { indices, offsets } = reader.readLookups(first, count);
      drawFirst(order.subarray(0, count), end, new Random(this.#seed, first / BLOCK_SAMPLES));
      for (let i = begin; i < end; i++) {
        const bag = order[i] * tables;
        const from = offsets === undefined ? bag : offsets[bag];
        const to = offsets === undefined ? bag + tables : offsets[bag + tables];
        for (let k = from; k < to; k++) this.counts[indices[k]]++;
      }
      onProgress(first + count, reader.samples);
    }
    this.#rate = rate;
  }
}

function share(count: number, rate: number): number {
  return Math.ceil(count * rate / 100);
}

/** Fills `order` with a permutation of which the first `drawn` places are random: a prefix of one fixed shuffle. */
function drawFirst(order: Uint32Array, drawn: number, random: Random): void {
  for (let i = 0; i < order.length; i++) order[i] = i;
  for (let i = 0; i < drawn; i++) {
    const j = i + random.below(order.length - i);
    const kept = order[i];
    order[i] = order[j];
    order[j] = kept;
  }
}
