// Every export is a plain function over 64-bit byte addresses in the one imported, shared memory. No state is kept
// between calls, so any number of threads may run these functions over the same memory at addresses of their own.
export { linear, linearInputGradient, linearWeightGradient, gemmScratchBytes } from "./gemm";
export { activationBackward, biasActivation } from "./activation";
export { roundToBf16 } from "./bf16";
export { interactCat, interactCatBackward, interactDot, interactDotBackward, interactScratchBytes } from "./interaction";
export { loss } from "./loss";
export { add, scale, squares, updateDense } from "./dense";
export { gatherRows, pool, rowSquares, scatterRows, updateRows } from "./embedding";
