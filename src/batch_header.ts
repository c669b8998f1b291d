/** The header of a batch: everything that changes from step to step, where kernels can read it. */

/** Words of the header. Operations read what depends on the batch from a buffer, not from an argument. */
export const HEADER_WORDS = 16;
/** Words of the header that belong to the optimizer. */
export const OPTIMIZER_WORDS = 7;
/** Position (in words) of each field of a batch's header. */
export const Header = {
  /** u32: samples in the batch, at most the batch size. */
  samples: 0,
  /** u32: lookups of all samples in all tables. */
  lookups: 1,
  /** u32: distinct rows among the lookups, which is the number of segments. */
  distinct: 2,
  /** u32: 1 if rows are hot-row ids, 0 if they are global rows of the full tables. */
  hot: 3,
  /** f32: learning rate of the step, written by the trainer before the batch is uploaded. */
  learningRate: 4,
  /** u32: number of the step, from 1, for messages and dropout; 0 in a batch that is only scored. */
  step: 5,
  /** f32: OPTIMIZER_WORDS words that the optimizer writes and its kernels read. */
  optimizer: 6,
  /** f32: weight of positives in the loss, minus 1. */
  positiveWeight: 13,
  /** f32: share of each label that the loss replaces by one half. */
  labelSmoothing: 14,
  /** f32: L2 factor of embedding rows: weights times this are added to the gradient of a row, before the optimizer. */
  rowL2: 15,
} as const;
