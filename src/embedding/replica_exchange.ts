/**
 * How replicas of embedding rows, one on the device of every rank, get the same update. Each rank has the gradients of
 * its own samples' pooled rows. All ranks have the whole batch and its list of distinct rows, so there are two ways:
 *
 * - `pooled`: an all-gather of the gradients of pooled rows, from which every rank computes all updates;
 *   each rank receives `(ranks - 1) / ranks * batchSize * tables * dim` words.
 * - `rows`: every rank sums its gradients of each distinct row, and an all-reduce adds these sums; each rank receives
 *   `2 (ranks - 1) / ranks * mostDistinct * dim` words, where mostDistinct is the maximum number of distinct rows of any
 *   batch of the layout, so that the exchange can be recorded once.
 *
 * An all-reduce over whole tables would never be smaller: a batch has at most as many distinct rows as the tables.
 */
import type { Buffer, RowUpdateShape } from "../backend/backend.ts";
import { type Batch, type BatchShape, SEGMENTS_END } from "../layout/batch.ts";
import { consecutive, type ProcessGroup, type RankParts } from "../parallel/process_group.ts";
import { samplesOfRank } from "../parallel/shares.ts";
import type { LookupViews, RowMatrix, TableContext } from "./tables.ts";

/** What ranks exchange: gradients of pooled rows, or sums of gradients of distinct rows. */
export type ExchangeKind = "pooled" | "rows";

/** Words of the gradients of pooled rows, with room for as many samples on every rank as on the first. */
export function pooledGradientWords({ batchSize, tables }: BatchShape, dim: number, ranks: number): number {
  return ranks * samplesOfRank(batchSize, 0, ranks).count * tables * dim;
}

/** The kind of exchange that moves fewer bytes. */
export function exchangeKind(shape: BatchShape, mostDistinct: number, ranks: number): ExchangeKind {
  return 2 * mostDistinct < pooledGradientWords(shape, 1, ranks) ? "rows" : "pooled";
}

/** For kind `rows`, on the device: the first bag of each distinct row of a batch, and the segments of its sums. */
export interface ReplicaLists {
  readonly block: Buffer;
  readonly offsets: Buffer;
  readonly segments: Buffer;
}

export class ReplicaExchange {
  readonly kind: ExchangeKind;
  readonly #context: TableContext;
  readonly #devices: ProcessGroup<Buffer>;
  readonly #update: RowUpdateShape;
  readonly #mostDistinct: number;
  /** This rank's part of the gradients of pooled rows, and the parts of all. */
  readonly #ownPooledGradients: Buffer;
  readonly #parts: RankParts;
  readonly #sums: Buffer;
  /** 0, 1, 2, ...: the sum of each distinct row. */
  readonly #counting: Buffer;
  readonly #lists: Uint32Array;

  /** The gradients of pooled rows are all zero but for this rank's samples. */
  constructor(context: TableContext, devices: ProcessGroup<Buffer>, mostDistinct: number) {
    const { device, batchShape, shape: { dim, optimizer }, pooledGradients } = context;
    const { rank, size } = devices;
    this.kind = exchangeKind(batchShape, mostDistinct, size);
    this.#context = context;
    this.#devices = devices;
    this.#update = { optimizer, dim, rank: 0, ranks: 1 };
    this.#mostDistinct = mostDistinct;
    const words = pooledGradientWords(batchShape, dim, size) / size;
    this.#ownPooledGradients = device.view(pooledGradients, rank * words, words);
    this.#parts = consecutive(new Array(size).fill(words));
    const rows = this.kind === "rows" ? mostDistinct : 0;
    this.#sums = device.allocate(rows * dim, "sums of row gradients");
    this.#counting = device.allocate(rows, "lists of distinct rows");
    device.upload(Uint32Array.from({ length: rows }, (_, row) => row), this.#counting);
    this.#lists = new Uint32Array(rows + 1 + 2 * (rows + 1));
  }

  /**
   * Allocates device memory for the segments of a batch; undefined if gradients of pooled rows are exchanged instead.
   */
  newLists(): ReplicaLists | undefined {
    if (this.kind === "pooled") return undefined;
    const { device } = this.#context;
    const block = device.allocate(this.#lists.length, "lists of distinct rows");
    const offsets = this.#mostDistinct + 1;
    return {
      block,
      offsets: device.view(block, 0, offsets),
      segments: device.view(block, offsets, this.#lists.length - offsets),
    };
  }

  /** Uploads the segments of a batch. Entries beyond its rows have no bags. */
  load(batch: Batch, { block }: ReplicaLists): void {
    const { words, distinct, lookups, sections: { segments } } = batch;
    const lists = this.#lists, first = this.#mostDistinct + 1;
    for (let s = 0; s < distinct; s++) {
      lists[s] = words[segments + 2 * s + 1];
      lists[first + 2 * s] = words[segments + 2 * s];
      lists[first + 2 * s + 1] = s;
    }
    lists.fill(lookups, distinct, first);
    lists[first + 2 * distinct] = SEGMENTS_END;
    lists[first + 2 * distinct + 1] = distinct;
    this.#context.device.upload(lists.subarray(0, first + 2 * (distinct + 1)), block);
  }

  /** Exchanges what ranks computed for the loaded batch and updates this rank's replica. */
  update(views: LookupViews, lists: ReplicaLists | undefined, { weights, state }: RowMatrix): void {
    const { header, segments, segmentBags, segmentWeights } = views;
    const { device, pooledGradients } = this.#context;
    const update = this.#update;
    if (lists === undefined) {
      this.#devices.allGather(this.#ownPooledGradients, pooledGradients, this.#parts);
      device.updateRows(update, header, segments, segmentBags, pooledGradients, weights, state, segmentWeights);
      return;
    }
    const rows = this.#mostDistinct;
    device.pool(rows, update.dim, pooledGradients, segmentBags, lists.offsets, this.#sums, segmentWeights);
    this.#devices.allReduce(this.#sums);
    device.updateRows(update, header, lists.segments, this.#counting, this.#sums, weights, state);
  }
}
