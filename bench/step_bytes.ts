/** Bytes that hosts send each other in a training step, computed from the batch: the formula in docs/cluster.md. */
import type { Batch } from "../src/layout/batch.ts";
import type { ModelPlan } from "../src/model/shape.ts";

/** Bytes that all hosts together send in a step. */
export interface WireBytes {
  /** Sums of dense gradients. */
  readonly dense: number;
  /** Rows of the sharded tables; none for a hot batch. */
  readonly rows: number;
  /** Gradients of rows. */
  readonly gradients: number;
}

/**
 * Bytes of the step over a batch between hosts with the same number of ranks, of which each computes an equal part of it. With P words of dense
 * parameters, dim D, U distinct rows and W pairs of a distinct row and a host that touches but does not own it:
 *
 * ```
 * dense      2 (hosts - 1) P words: every piece goes to its host and its sum to all others
 * cold rows  W D words, and as many for their gradients
 * hot        the fewer of (hosts - 1) batchSize tables D and W D + (hosts - 1) U D words, of gradients
 * ```
 */
export function wireBytes(
  batch: Batch,
  { denseWords, shape: { dim } }: ModelPlan,
  hosts: number,
  ranksOfHost = 1,
): WireBytes {
  const { batchSize, tables } = batch.shape;
  const { words, distinct, sections: { segments, segmentBags } } = batch;
  const bagsOfHost = tables * ranksOfHost * Math.ceil(batchSize / (hosts * ranksOfHost));
  const hostOf = (bag: number) => Math.floor(bag / bagsOfHost);
  let pairs = 0;
  for (let s = 0; s < distinct; s++) {
    const touching = new Set<number>();
    for (let k = words[segments + 2 * s + 1]; k < words[segments + 2 * s + 3]; k++) {
      touching.add(hostOf(words[segmentBags + k]));
    }
    touching.delete(batch.row(s) % hosts);
    pairs += touching.size;
  }
  const dense = 8 * (hosts - 1) * denseWords;
  if (!batch.hot) return { dense, rows: 4 * pairs * dim, gradients: 4 * pairs * dim };
  const pooled = (hosts - 1) * batchSize * tables;
  return { dense, rows: 0, gradients: 4 * dim * Math.min(pooled, pairs + (hosts - 1) * distinct) };
}
