/** Fills the sections of a batch, sample by sample. */
import { Header } from "../backend/backend.ts";
import type { Samples } from "../dataset/dataset.ts";
import { type Batch, SEGMENTS_END } from "./batch.ts";
import type { HotMap } from "./hot_map.ts";

/** Collects the samples of one batch: add samples until `full`, then `close`. */
export class BatchFiller {
  readonly #batch: Batch;
  readonly #hotMap: HotMap | undefined;
  #samples = 0;
  #lookups = 0;

  /** With a hot map rows are converted to hot-row ids, and all added rows must be hot. */
  constructor(batch: Batch, hotMap?: HotMap) {
    this.#batch = batch;
    this.#hotMap = hotMap;
  }

  get samples(): number {
    return this.#samples;
  }
  get full(): boolean {
    return this.#samples === this.#batch.shape.batchSize;
  }

  add({ labels, weights, dense, indices, lookupWeights, offsets }: Samples, i: number): void {
    const { words, floats, sections, shape } = this.#batch;
    const { tables, denseFeatures } = shape;
    const n = this.#samples++;
    floats[sections.labels + n] = weights === undefined ? labels[i] : labels[i] === 1 ? weights[i] : -weights[i];
    const denseAt = sections.dense + n * denseFeatures;
    for (let d = 0; d < denseFeatures; d++) floats[denseAt + d] = dense[i * denseFeatures + d];
    let from = i * tables;
    let to = from + tables;
    if (offsets !== undefined) {
      const bag = from;
      from = offsets[bag];
      to = offsets[bag + tables];
      const shift = this.#lookups - from;
      const offsetsAt = sections.offsets + n * tables;
      for (let t = 0; t <= tables; t++) words[offsetsAt + t] = offsets[bag + t] + shift;
    }
    const at = sections.indices + this.#lookups - from;
    const hotMap = this.#hotMap;
    if (hotMap === undefined) { for (let k = from; k < to; k++) words[at + k] = indices[k]; }
    else for (let k = from; k < to; k++) words[at + k] = hotMap.id(indices[k]);
    if (lookupWeights !== undefined) {
      const weightsAt = at - sections.indices + sections.lookupWeights;
      for (let k = from; k < to; k++) floats[weightsAt + k] = lookupWeights[k];
    }
    this.#lookups += to - from;
  }

  /** Adds all samples at once, with their global rows: they have the order of the batch already. */
  addAll({ count, labels, weights, dense, indices, lookupWeights, offsets }: Samples): void {
    const { words, floats, sections, shape: { tables, denseFeatures } } = this.#batch;
    const samples = this.#samples, lookups = this.#lookups;
    const at = sections.labels + samples;
    if (weights === undefined) floats.set(labels, at);
    else for (let i = 0; i < count; i++) floats[at + i] = labels[i] === 1 ? weights[i] : -weights[i];
    floats.set(dense, sections.dense + samples * denseFeatures);
    words.set(indices, sections.indices + lookups);
    if (lookupWeights !== undefined) floats.set(lookupWeights, sections.lookupWeights + lookups);
    if (offsets !== undefined) {
      const offsetsAt = sections.offsets + samples * tables;
      for (let bag = 0; bag < offsets.length; bag++) words[offsetsAt + bag] = offsets[bag] + lookups;
    }
    this.#samples += count;
    this.#lookups += indices.length;
  }

  /** Completes the batch without its segments: header, and zeros in unused words. */
  close(): void {
    const { words, sections, shape } = this.#batch;
    const samples = this.#samples;
    const lookups = this.#lookups;
    words.fill(0, 0, sections.labels);
    words[Header.samples] = samples;
    words[Header.lookups] = lookups;
    words[Header.hot] = this.#hotMap === undefined ? 0 : 1;
    words.fill(0, sections.labels + samples, sections.dense);
    words.fill(0, sections.dense + samples * shape.denseFeatures, sections.offsets);
    words.fill(0, sections.indices + lookups, sections.lookupWeights);
    if (shape.bags) {
      if (samples === 0) words[sections.offsets] = 0;
      words.fill(0, sections.offsets + samples * shape.tables + 1, sections.indices);
    }
    if (shape.weightedLookups) words.fill(0, sections.lookupWeights + lookups, sections.segmentBags);
    words.fill(0, sections.segmentBags, sections.segments);
    words[sections.segments] = SEGMENTS_END;
    words[sections.segments + 1] = lookups;
  }
}
