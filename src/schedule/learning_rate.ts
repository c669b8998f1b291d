/** The learning rate over the steps of a run: linear warm-up, constant, polynomial decay, constant. */

/** How the learning rate moves; the same three numbers as facebookresearch/dlrm. */
export interface LearningRatePlan {
  readonly learningRate: number;
  /** Steps over which the rate rises from 0. */
  readonly warmupSteps: number;
  /** Step at which decay begins. */
  readonly decayStartStep: number;
  /** Steps the decay takes; 0 for none. */
  readonly decaySteps: number;
}

const DECAY_POWER = 2;
const LEAST_RATE = 1e-7;

/**
 * The rate of a step (counted from 1): `rate * step / warmup` while warming up, then
 * `rate * ((decaySteps - done) / decaySteps)^2` but at least 1e-7 while decaying, and the last decayed rate afterwards.
 */
export function learningRateAt(plan: LearningRatePlan, step: number): number {
  const { learningRate, warmupSteps, decayStartStep, decaySteps } = plan;
  if (step < warmupSteps) return learningRate * step / warmupSteps;
  if (decaySteps === 0 || step < decayStartStep) return learningRate;
  const done = Math.min(step - decayStartStep, decaySteps - 1);
  return Math.max(learningRate * ((decaySteps - done) / decaySteps) ** DECAY_POWER, LEAST_RATE);
}
