/** Batches of consecutive samples directly from a dataset, for evaluation. */
import { atOnce, type Parts } from "../breaks.ts";
import type { Dataset, SampleReader, Split } from "../dataset/dataset.ts";
import type { Batch, BatchShape } from "./batch.ts";
import { BatchFiller } from "./batch_filler.ts";

/** Samples that are read between breaks. */
const SAMPLES_AT_ONCE = 8192;

/** Maximum number of lookups of `batchSize` consecutive samples, counted in whole batches from the first sample. */
function maxLookups(reader: SampleReader, batchSize: number): number {
  let most = 0;
  for (let begin = 0, first = 0; first < reader.samples; first += batchSize) {
    const end = reader.firstLookup(Math.min(first + batchSize, reader.samples));
    most = Math.max(most, end - begin);
    begin = end;
  }
  return most;
}

/** Reads a split in order, with global rows and without segments: sufficient for a forward pass, not for an update. */
export class SplitBatches implements Disposable {
  /** Shape of the batches to read into. */
  readonly shape: BatchShape;
  /** Number of batches; the last may be partial. */
  readonly count: number;
  readonly #reader: SampleReader;

  constructor(dataset: Dataset, split: Split, batchSize: number) {
    const { bagsOfSample: tables, denseOfSample: denseFeatures, weightedLookups, body: { bags } } = dataset;
    this.#reader = dataset.reader(split, Math.min(batchSize, SAMPLES_AT_ONCE));
    this.count = Math.ceil(this.#reader.samples / batchSize);
    const lookupCapacity = bags ? maxLookups(this.#reader, batchSize) : batchSize * tables;
    this.shape = {
      batchSize,
      denseFeatures,
      tables,
      bags,
      ...(weightedLookups && { weightedLookups }),
      lookupCapacity,
    };
  }

  /** Fills `batch`, which has this shape, with batch `index`. Throws HotsetError if the dataset is damaged. */
  read(index: number, batch: Batch): void {
    atOnce(this.readInParts(index, batch));
  }

  /** The same in parts. */
  *readInParts(index: number, batch: Batch): Parts<void> {
    const { batchSize } = this.shape;
    const end = Math.min((index + 1) * batchSize, this.#reader.samples);
    const filler = new BatchFiller(batch);
    for (let first = index * batchSize; first < end; first += SAMPLES_AT_ONCE) {
      const samples = this.#reader.read(first, Math.min(SAMPLES_AT_ONCE, end - first));
      filler.addAll(samples);
      yield;
    }
    filler.close();
  }

  [Symbol.dispose](): void {
    this.#reader[Symbol.dispose]();
  }
}
