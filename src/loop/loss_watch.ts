/** The mean loss of the latest steps, and the detection of divergence. */

/**
 * A mean loss above this, in nats, is an explosion: the model gives the labels a probability of e^-20. Always
 * predicting one half costs 0.69. The first steps of a run may exceed it and recover. Weights of samples and of positives
 * multiply the loss, so they multiply the limit too.
 */
const EXPLODED_LOSS = 20;
/** Steps above that loss after which training ends. */
const EXPLOSION_STEPS = 100;

/** Sums losses from one progress event to the next. */
export class LossWatch {
  #sum = 0;
  #samples = 0;
  /** The loss of these samples at one nat each, with their weights. */
  #weight = 0;
  /** The step at whose progress event the loss had exploded, if it has not recovered. */
  #explodedAt: number | undefined;

  /** Samples of the steps since the last progress event. */
  get samples(): number {
    return this.#samples;
  }

  /** Mean loss of the samples whose loss has been added. */
  get mean(): number {
    return this.#sum / this.#samples;
  }

  /** Counts the samples of a step and the sum of their weights in the loss; their loss is added later. */
  count(samples: number, weight: number): void {
    this.#samples += samples;
    this.#weight += weight;
  }

  get #hasExploded(): boolean {
    return this.#sum > EXPLODED_LOSS * this.#weight;
  }

  /** Adds the losses of all steps until `step`. Returns what is wrong with their mean, as a predicate, or undefined. */
  add(loss: number, step: number): string | undefined {
    this.#sum += loss;
    if (this.#samples === 0) return undefined;
    if (!Number.isFinite(this.mean)) return "is not a number";
    const steps = step - (this.#explodedAt ?? step);
    return this.#hasExploded && steps >= EXPLOSION_STEPS ? `is ${this.mean.toPrecision(3)}` : undefined;
  }

  /** Restarts after the progress event of a step. */
  restart(step: number): void {
    this.#explodedAt = this.#hasExploded ? this.#explodedAt ?? step : undefined;
    this.#sum = this.#samples = this.#weight = 0;
  }
}
