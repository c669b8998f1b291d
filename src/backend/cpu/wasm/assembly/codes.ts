// Codes that kernels.ts passes for activations, and src/optimizer/ for optimizers.
export const RELU: i32 = 1;
export const SIGMOID: i32 = 2;

export const SGD: i32 = 0;
export const ADAGRAD: i32 = 1;
export const ROW_WISE_ADAGRAD: i32 = 2;
export const ADAM: i32 = 3;

/** Added to the square root of Adagrad's state. */
export const ADAGRAD_EPSILON: f32 = 1e-10;

// Byte offsets of words in the header of a batch (src/batch_header.ts).
export const HEADER_SAMPLES: usize = 0;
export const HEADER_LOOKUPS: usize = 4;
export const HEADER_DISTINCT: usize = 8;
export const HEADER_LEARNING_RATE: usize = 16;
export const HEADER_STEP: usize = 20;
export const HEADER_OPTIMIZER: usize = 24;
export const HEADER_POSITIVE_WEIGHT: usize = 52;
export const HEADER_LABEL_SMOOTHING: usize = 56;
export const HEADER_ROW_L2: usize = 60;
