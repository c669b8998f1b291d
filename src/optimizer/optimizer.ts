/**
 * What an optimizer is: one file beside this one describes each, `optimizers.ts` lists them all. Everything that depends on
 * the choice of optimizer (state in tables, checkpoints and plans, defaults, kernels) asks its description.
 */

/**
 * The arithmetic of a step on `count` weights from `weights[at]`, which belong together: an embedding row, or dense
 * parameters. `gradient[gradientAt]` is the gradient of the first, `state[stateAt]` its first word of state. `header` are
 * the floats of a batch's header.
 */
export type UpdateWeights = (
  header: Float32Array,
  count: number,
  weights: Float32Array,
  at: number,
  gradient: Float32Array | Float64Array,
  gradientAt: number,
  state: Float32Array,
  stateAt: number,
) => void;

/** An optimizer. */
export interface Optimizer {
  /** Names its kernels on a device: `update_rows_NAME_4`. */
  readonly kernel: string;
  /** The number by which kernels that serve several optimizers know it. */
  readonly code: number;
  /** The learning rate where nothing else says one. */
  readonly learningRate: number;
  /** The weight decay where nothing else says one; undefined for an optimizer that has none. */
  readonly weightDecay?: number;
  /** Words of state of an embedding row of `dim` weights. */
  rowStateWords(dim: number): number;
  /** Words of state of so many dense parameters; those of weight i begin at word i times the words of one. */
  denseStateWords(weights: number): number;
  /** True if state can be below 0; sums of squares cannot. */
  readonly signedState: boolean;
  /**
   * Writes what kernels read of a step besides the learning rate into the floats of a batch's header. `step` counts the
   * steps that made the optimizer's state, this one included; `weightDecay` is 0 for none.
   */
  writeHeader?(header: Float32Array, learningRate: number, step: number, weightDecay: number): void;
  /** The reference arithmetic of an embedding row: what every backend is tested against. */
  readonly updateRow: UpdateWeights;
  /** The same of dense parameters. */
  readonly updateDense: UpdateWeights;
}
