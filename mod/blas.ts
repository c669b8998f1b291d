/**
 * OpenBLAS through foreign calls: single-precision matrix products. Needs `--allow-ffi`, and nothing else of Hotset.
 *
 * @example Multiply two matrices, if this machine has OpenBLAS
 * ```ts
 * import assert from "node:assert/strict";
 * import { LibraryError, openOpenBlas } from "@hotset/hotset/blas";
 *
 * try {
 *   const blas = openOpenBlas();
 *   const a = Float32Array.of(1, 2, 3, 4, 5, 6); // (2, 3)
 *   const b = Float32Array.of(1, 0, 0, 1, 1, 1); // (3, 2)
 *   const c = new Float32Array(4); // (2, 2)
 *   blas.gemm(false, false, 2, 2, 3, a, b, c);
 *   assert.deepEqual([...c], [4, 5, 10, 11]);
 * } catch (error) {
 *   if (!(error instanceof LibraryError)) throw error;
 *   console.log(error.message); // how to install it
 * }
 * ```
 *
 * @module
 */
export { type OpenBlas, openOpenBlas } from "../ffi/openblas.ts";
export { LibraryError } from "../ffi/library.ts";
export type { Gemm, PackedWeights } from "../ffi/gemm.ts";
