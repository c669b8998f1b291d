/**
 * The descriptor of an optimizer; one file each in this folder, listed in `optimizers.ts`. Everything that depends on
 * the optimizer (state in tables, checkpoints and plans, defaults, kernels) asks its descriptor.
 *
 * The arithmetic in these files is the reference, which also updates tables outside the kernels' memory. Training runs the
 * kernels: `src/backend/cpu/wasm/assembly/dense.ts` for weights and rows (`embedding.ts` sums a row's gradients), and
 * `src/backend/cuda/kernels/update_*.cu`.
 */

/**
 * One step on `count` weights from `weights[at]`, which belong together: an embedding row, or dense parameters.
 * `gradient[gradientAt]` is the gradient of the first weight, `state[stateAt]` its first state word. `header` are the
 * floats of a batch's header.
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
  /** Part of the names of its kernels on a device: `update_rows_NAME_4`. */
  readonly kernel: string;
  /** Its number in kernels that implement several optimizers. */
  readonly code: number;
  /** The default learning rate. */
  readonly learningRate: number;
  /** The default weight decay; undefined if it has none. */
  readonly weightDecay?: number;
  /** Words of state of an embedding row of `dim` weights. */
  rowStateWords(dim: number): number;
  /** Words of state of `weights` dense parameters; those of weight i begin at i times the words per weight. */
  denseStateWords(weights: number): number;
  /** True if state can be negative; sums of squares cannot. */
  readonly signedState: boolean;
  /**
   * Writes the values that kernels need in addition to the learning rate to the header of a batch. `step` counts the
   * steps that updated the optimizer's state, including this one; `weightDecay` is 0 for none.
   */
  writeHeader?(header: Float32Array, learningRate: number, step: number, weightDecay: number): void;
  /** Reference arithmetic for an embedding row, which every backend is tested against. */
  readonly updateRow: UpdateWeights;
  /** Reference arithmetic for dense parameters. */
  readonly updateDense: UpdateWeights;
}
