/** The learning rate over the steps of a run: linear warm-up, constant, decay, constant. */
import { UsageError } from "../errors.ts";

/** How the learning rate moves; the same three numbers of steps as facebookresearch/dlrm. */
export interface LearningRatePlan {
  /** The full rate. */
  readonly learningRate: number;
  /** Steps over which the rate rises from 0. */
  readonly warmupSteps: number;
  /** Step at which decay begins. */
  readonly decayStartStep: number;
  /** Steps the decay takes; 0 for none. */
  readonly decaySteps: number;
  /** How the decay falls. */
  readonly decay: "polynomial" | "cosine";
}

/** Decays by name: the share of the rate that is left, by the share of the decay's steps that are left. */
const DECAYS = {
  /** Of degree 2, as facebookresearch/dlrm. */
  polynomial: (left: number) => left ** 2,
  /** Half a cosine, as `torch.optim.lr_scheduler.CosineAnnealingLR`. */
  cosine: (left: number) => (1 - Math.cos(Math.PI * left)) / 2,
};
/** Names of the decays. */
export const DECAY_NAMES = ["polynomial", "cosine"] as const satisfies readonly (keyof typeof DECAYS)[];

const MIN_RATE = 1e-7;

/** The learning rate of a step of a run, which count from 1. The same step always has the same rate. */
export type LearningRateSchedule = (step: number) => number;

/** The schedule of a configuration: to train with, or to make one's own of. */
export function scheduleOf(plan: LearningRatePlan): LearningRateSchedule {
  return (step) => learningRateAt(plan, step);
}

/** A program's own schedule, which throws UsageError where it gives no rate. */
export function checkedSchedule(own: LearningRateSchedule): LearningRateSchedule {
  return (step) => {
    const rate: unknown = own(step);
    if (typeof rate === "number" && rate >= 0 && rate < Infinity) return rate;
    throw new UsageError(
      `Cannot train: the schedule returned ${rate} for step ${step}; it must return a number of at least 0`,
    );
  };
}

/**
 * The rate of a step (counted from 1): `rate * step / warmup` while warming up, then
 * `rate * decay((decaySteps - done) / decaySteps)` but at least 1e-7 while decaying, and the last decayed rate afterwards.
 */
export function learningRateAt(plan: LearningRatePlan, step: number): number {
  const { learningRate, warmupSteps, decayStartStep, decaySteps, decay } = plan;
  if (step < warmupSteps) return learningRate * step / warmupSteps;
  if (decaySteps === 0 || step < decayStartStep) return learningRate;
  const done = Math.min(step - decayStartStep, decaySteps - 1);
  return Math.max(learningRate * DECAYS[decay]((decaySteps - done) / decaySteps), MIN_RATE);
}
