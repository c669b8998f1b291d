/**
 * The shard of a host, of which some rows are on disk. All hosts have the same batches, so each plans the moves of its own
 * rows alone, and no ids or positions are sent. The exchange of rows between hosts finds a row of the shard by the
 * position that replaces an index of the batch: hosts look up among the rows that they have fetched, not by the indices.
 */
import type { Batch } from "../layout/batch.ts";
import { SegmentSorter } from "../layout/segment_sorter.ts";
import { type CachedContext, CachedTables, type RowCache } from "./cached.ts";
import { holds, type Shard } from "./shard.ts";
import type { RowMatrix } from "./tables.ts";

/** The cached rows of one host. Its positions of a batch are those of the own distinct rows, `indices[s]` of row s. */
export class CachedShard extends CachedTables {
  readonly #shard: Shard;
  /** Finds the distinct rows of batches that are only scored. */
  readonly #sorter: SegmentSorter;
  /** The own rows of a batch, and then their positions. */
  readonly #own: Uint32Array;

  constructor(context: CachedContext, matrix: RowMatrix, cache: RowCache, shard: Shard) {
    super(context, matrix, cache);
    this.#shard = shard;
    this.#sorter = new SegmentSorter(context.batchShape);
    this.#own = new Uint32Array(context.batchShape.lookupCapacity);
  }

  override holds(row: number): boolean {
    return holds(this.#shard, row);
  }

  override announce(batch: Batch): void {
    this.announceGroup(this.#own, this.#listOwn(batch), 0);
  }

  override prepareToTrain(batch: Batch): void {
    if (this.isIdle) this.announce(batch);
    const count = this.#listOwn(batch);
    this.locateGroup(this.#own, count);
    this.#setPositions(batch, this.#own);
    this.counts.rows += count;
  }

  override prepareToScore(batch: Batch): void {
    this.#sorter.write(batch);
    this.locateToRead(this.#own, 0, this.#listOwn(batch));
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
