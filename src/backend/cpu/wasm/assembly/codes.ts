// Numbers that the wrapper passes for the names of the contract.
export const RELU: i32 = 1;
export const SIGMOID: i32 = 2;

export const SGD: i32 = 0;
export const ADAGRAD: i32 = 1;
export const ROW_WISE_ADAGRAD: i32 = 2;
export const ADAM: i32 = 3;

/** Added to the root of Adagrad's accumulated squares. */
export const ADAGRAD_EPSILON: f32 = 1e-10;

// Byte offsets of the words of a batch's header.
export const HEADER_SAMPLES: usize = 0;
export const HEADER_LOOKUPS: usize = 4;
export const HEADER_DISTINCT: usize = 8;
export const HEADER_LEARNING_RATE: usize = 16;
export const HEADER_OPTIMIZER: usize = 24;
export const HEADER_POSITIVE_WEIGHT: usize = 52;
export const HEADER_LABEL_SMOOTHING: usize = 56;
