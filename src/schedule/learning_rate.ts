/** The learning rate over the steps of a run: linear warm-up, constant, decay, constant. */
import { UsageError } from "../errors.ts";

/** Parameters of the learning-rate schedule; the same three step counts as facebookresearch/dlrm. */
export interface LearningRatePlan {
  /** The maximum rate. */
  readonly learningRate: number;
  /** Steps of linear warm-up from 0. */
  readonly warmupSteps: number;
  /** Step at which decay begins. */
  readonly decayStartStep: number;
  /** Steps of the decay; 0 for none. */
  readonly decaySteps: number;
  /** Shape of the decay. */
  readonly decay: "polynomial" | "cosine";
}

/** Decays by name: the remaining share of the rate as a function of the remaining share of the decay's steps. */
const DECAYS = {
  /** Of degree 2, as facebookresearch/dlrm. */
  polynomial: (left: number) => left ** 2,
  /** Half a cosine, as `torch.optim.lr_scheduler.CosineAnnealingLR`. */
  cosine: (left: number) => (1 - Math.cos(Math.PI * left)) / 2,
};
/** Names of the decays. */
export const DECAY_NAMES = ["polynomial", "cosine"] as const satisfies readonly (keyof typeof DECAYS)[];

const MIN_RATE = 1e-7;

/**
 * A function from the step of a run, counted from 1, to its learning rate. It must be pure: a resumed run calls it
 * again.
 */
export type LearningRateSchedule = (step: number) => number;

/**
 * The schedule of a configuration: for training, or as a part of a custom schedule. The rate of a step (counted from 1) is
 * `rate * step / warmup` while warming up, then `rate * decay((decaySteps - done) / decaySteps)` but at least 1e-7 while
 * decaying, and the last decayed rate afterwards.
 */
export function scheduleOf(plan: LearningRatePlan): LearningRateSchedule {
  const { learningRate, warmupSteps, decayStartStep, decaySteps, decay } = plan;
  return (step) => {
    if (step < warmupSteps) return learningRate * step / warmupSteps;
    if (decaySteps === 0 || step < decayStartStep) return learningRate;
    const done = Math.min(step - decayStartStep, decaySteps - 1);
    return Math.max(learningRate * DECAYS[decay]((decaySteps - done) / decaySteps), MIN_RATE);
  };
}

/** A custom schedule whose values are checked: throws UsageError if one is negative or not finite. */
export function checkedSchedule(own: LearningRateSchedule): LearningRateSchedule {
  return (step) => {
    const rate: unknown = own(step);
    if (typeof rate === "number" && rate >= 0 && rate < Infinity) return rate;
    throw new UsageError(
      `Cannot train: the schedule returned ${rate} for step ${step}; it must return a number of at least 0`,
    );
  };
}
