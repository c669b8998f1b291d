/** The mean loss of the latest steps, and when it is not that of a model that learns. */

/**
 * A mean loss above this, in nats, is an explosion: the model gives the labels a probability of e^-20. Always predicting
 * one half costs 0.69. The first steps of a run may go that far and come back.
 */
const EXPLODED_LOSS = 20;
/** Training ends when the loss has stayed above that for so many steps. */
const EXPLOSION_STEPS = 100;

/** Adds up losses from one progress event to the next. */
export class LossWatch {
  #sum = 0;
  #samples = 0;
  /** The step at whose progress event the loss had exploded, if it has not come back since. */
  #explodedAt: number | undefined;

  /** Samples of the steps since the last progress event. */
  get samples(): number {
    return this.#samples;
  }

  /** Their mean loss, as far as it was added. */
  get mean(): number {
    return this.#sum / this.#samples;
  }

  /** Counts the samples of a step, whose loss is added later. */
  count(samples: number): void {
    this.#samples += samples;
  }

  /** Adds the losses of all steps until `step`. Returns what is wrong with their mean, as a predicate; undefined for nothing. */
  add(loss: number, step: number): string | undefined {
    this.#sum += loss;
    if (this.#samples === 0) return undefined;
    if (!Number.isFinite(this.mean)) return "is not a number";
    const steps = step - (this.#explodedAt ?? step);
    return this.mean > EXPLODED_LOSS && steps >= EXPLOSION_STEPS ? `is ${this.mean.toPrecision(3)}` : undefined;
  }

  /** Begins anew after the progress event of a step. */
  restart(step: number): void {
    this.#explodedAt = this.mean > EXPLODED_LOSS ? this.#explodedAt ?? step : undefined;
    this.#sum = this.#samples = 0;
  }
}
