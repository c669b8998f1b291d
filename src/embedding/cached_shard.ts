/**
 * The shard of a host, of which some rows are on disk. All hosts have the same batches, so each plans the moves of its own
 * rows alone, and no ids or positions are sent. The exchange of rows between hosts finds a row of the shard by the
 * position that replaces an index of the batch: hosts look up among the rows that they have fetched, not by the indices.
 */
import type { Batch, BatchShape } from "../layout/batch.ts";
import { SegmentSorter } from "../layout/segment_sorter.ts";
import type { CacheCounts, CachedTables, StoredRows } from "./cached.ts";
import { holds, type Shard } from "./shard.ts";
import type { SavedRows } from "./stores/log_segments.ts";
import type { RowBlock } from "./tables.ts";

/** The cached rows of one host. Its positions of a batch are those of the own distinct rows, `indices[s]` of row s. */
export class CachedShard implements StoredRows {
  readonly #cached: CachedTables;
  readonly #shard: Shard;
  /** Finds the distinct rows of batches that are only scored. */
  readonly #sorter: SegmentSorter;
  /** The own rows of a batch, and then their positions. */
  readonly #own: Uint32Array;
  #announced = 0;
  #finished = 0;
  /** Distinct own rows of the batches in training. */
  #rows = 0;

  /** The cache has space for batches of this shape. */
  constructor(cached: CachedTables, batchShape: BatchShape, shard: Shard) {
    this.#cached = cached;
    this.#shard = shard;
    this.#sorter = new SegmentSorter(batchShape);
    this.#own = new Uint32Array(batchShape.lookupCapacity);
  }

  get counts(): CacheCounts {
    return { ...this.#cached.counts, rows: this.#rows };
  }

  initialise(seed: number): void {
    this.#cached.initialise(seed);
  }

  adopt(saved: SavedRows): void {
    this.#cached.adopt(saved);
  }

  seal(): SavedRows | undefined {
    return this.#cached.seal();
  }

  holds(row: number): boolean {
    return holds(this.#shard, row);
  }

  write(rows: Uint32Array, block: RowBlock): void {
    this.#cached.write(rows, block);
  }

  rowAt(position: number): number {
    return this.#cached.rowAt(position);
  }

  flush(): void {
    this.#cached.flush();
  }

  announce(batch: Batch): void {
    this.#announced++;
    this.#cached.announceGroup(this.#own, this.#listOwn(batch), 0);
  }

  prepareToTrain(batch: Batch): void {
    if (this.#announced === this.#finished) this.announce(batch);
    const count = this.#listOwn(batch);
    this.#cached.locateGroup(this.#own, count);
    this.#setPositions(batch, this.#own);
    this.#rows += count;
  }

  finish(): void {
    this.#finished++;
    this.#cached.finish();
  }

  prepareToScore(batch: Batch): void {
    this.#sorter.write(batch);
    this.#cached.locateToRead(this.#own, 0, this.#listOwn(batch));
    this.#setPositions(batch, this.#own);
  }

  /** Lists the own distinct rows of a batch and returns their number. */
  #listOwn({ words, distinct, sections: { segments } }: Batch): number {
    let count = 0;
    for (let s = 0, at = segments; s < distinct; s++, at += 2) {
      if (this.holds(words[at])) this.#own[count++] = words[at];
    }
    return count;
  }

  #setPositions({ words, distinct, sections: { indices, segments } }: Batch, positions: Uint32Array): void {
    for (let s = 0, next = 0; s < distinct; s++) {
      if (this.holds(words[segments + 2 * s])) words[indices + s] = positions[next++];
    }
  }
}
