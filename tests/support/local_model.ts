/** A model of one rank on the calling thread: the real training step on given batches, without a run. */
import { writeStep } from "../../src/optimizer/optimizers.ts";
import { type LossSettings, writeLoss } from "../../src/model/loss.ts";
import type { HostBackend } from "../../src/backend/backend.ts";
import type { Batch, BatchShape } from "../../src/layout/batch.ts";
import { type ModelPlan, type ModelShape, planModel } from "../../src/model/shape.ts";
import { LocalRank } from "../../src/ranks/rank_group.ts";
import { allocateTrainState, type TrainStateOptions } from "../../src/ranks/train_state.ts";

/** Creates a rank on `host` with its memory; all parameters are zero. */
export function localModel(
  host: HostBackend,
  shape: ModelShape,
  batchShape: BatchShape,
  options: Pick<TrainStateOptions, "hotRows" | "clipNorm" | "scoring"> = {},
): LocalRank {
  const plan = planModel(shape);
  return new LocalRank(allocateTrainState({ plan, batchShape, ...options, ranks: 1, device: host, host }));
}

/** Position of a tensor in the dense parameters. */
export function firstWordOf({ layers }: ModelPlan, tensor: string): number {
  return layers.flatMap(({ parameters }) => parameters).find((parameter) => parameter.tensor === tensor)!.first;
}

/** Trains on a batch, which is copied to a slot, and returns the mean loss. `step` counts from 1. */
export function trainOn(
  group: LocalRank,
  batch: Batch,
  learningRate: number,
  step = 1,
  weightDecay = 0,
  loss: LossSettings = { positiveWeight: 1, labelSmoothing: 0 },
  rowL2 = 0,
): number {
  const slot = group.acquire();
  group.batches[slot].bytes.set(batch.bytes.subarray(0, 4 * batch.usedWords));
  writeStep(group.memory.plan.shape.optimizer, group.batches[slot].floats, learningRate, step, weightDecay, rowL2);
  writeLoss(group.batches[slot].floats, loss);
  group.train(slot);
  return group.takeLoss() / batch.samples;
}
