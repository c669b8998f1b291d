/** Batches of consecutive samples straight from a dataset, for evaluation. */
import type { Dataset, SampleReader, Split } from "../dataset/dataset.ts";
import type { Batch, BatchShape } from "./batch.ts";
import { BatchFiller } from "./batch_filler.ts";

/** Reads a split in order, with global rows and without segments: good for a forward pass, not for an update. */
export class SplitBatches implements Disposable {
  /** Shape of the batches to read into. */
  readonly shape: BatchShape;
  /** Number of batches; the last may be partial. */
  readonly count: number;
  readonly #reader: SampleReader;

  /** `batchSize`: samples to a batch. */
  constructor(dataset: Dataset, split: Split, batchSize: number) {
    const { tables, denseFeatures } = dataset;
    const { bags } = dataset.body;
    this.#reader = dataset.reader(split, batchSize);
    this.count = Math.ceil(this.#reader.samples / batchSize);
    let lookupCapacity = batchSize * tables;
    if (bags) {
      lookupCapacity = 0;
      for (let begin = 0, first = 0; first < this.#reader.samples; first += batchSize) {
        const end = this.#reader.firstLookup(Math.min(first + batchSize, this.#reader.samples));
        lookupCapacity = Math.max(lookupCapacity, end - begin);
        begin = end;
      }
    }
    this.shape = { batchSize, denseFeatures, tables, bags, lookupCapacity };
  }

  /** Fills `batch`, which has this shape, with batch `index`. Throws HotsetError if the dataset is damaged. */
  read(index: number, batch: Batch): void {
    const { batchSize } = this.shape;
    const first = index * batchSize;
    const samples = this.#reader.read(first, Math.min(batchSize, this.#reader.samples - first));
    const filler = new BatchFiller(batch);
    for (let i = 0; i < samples.count; i++) filler.add(samples, i);
    filler.close();
  }

  [Symbol.dispose](): void {
    this.#reader[Symbol.dispose]();
  }
}
