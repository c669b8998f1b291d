/** Decides whether ranks have threads of their own. */
import type { BatchShape } from "../layout/batch.ts";
import { flopsOf, type ModelPlan } from "../model/shape.ts";

/** Floating-point operations and lookups of a step that takes one core a few milliseconds. */
const SHORT_STEP = { operations: 1e8, lookups: 1 << 15 } as const;

/**
 * Number of threads of the ranks of a process that compute on the CPU, beside the thread that queues their steps: one
 * each, but none for a single rank whose steps take no more than a few milliseconds.
 */
export function rankThreads(ranks: number, plan: ModelPlan, { batchSize, lookupCapacity }: BatchShape): number {
  const isLong = flopsOf(plan) * batchSize > SHORT_STEP.operations || lookupCapacity > SHORT_STEP.lookups;
  return ranks > 1 || isLong ? ranks : 0;
}
