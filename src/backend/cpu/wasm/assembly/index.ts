// Every export is a function over 64-bit byte addresses in the imported shared memory. Functions keep no state between
// calls, so any number of threads can call them on disjoint memory at the same time.
export { linear, linearInputGradient, linearWeightGradient, gemmScratchBytes } from "./gemm";
export { linearPacked, packedScratchBytes, packedWords, packWeight } from "./packed";
export { activationBackward, biasActivation } from "./activation";
export { roundToBf16 } from "./bf16";
export { dropout } from "./dropout";
export { factorise, factoriseBackward } from "./factorise";
export { interactCat, interactCatBackward, interactDot, interactDotBackward, interactScratchBytes } from "./interaction";
export { packGradients, packVectors, unpackGradients, unpackProducts } from "./interaction_matrices";
export { loss } from "./loss";
export { multiplyAdd, multiplyAddBackward } from "./multiply_add";
export { add, scale, squares, updateWeights } from "./dense";
export { gatherRows, meanOfBags, pool, rowSquares, scatterRows, updateRows } from "./embedding";
