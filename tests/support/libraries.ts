/** Libraries of matrix products that this machine has. */
import { LibraryError } from "../../ffi/library.ts";
import { openOneDnn, openOneDnnBf16 } from "../../ffi/onednn.ts";
import { openOnnxRuntime } from "../../ffi/onnxruntime.ts";
import { openOpenBlas } from "../../ffi/openblas.ts";

const OPEN = { openblas: openOpenBlas, onednn: openOneDnn, bf16: openOneDnnBf16, ort: openOnnxRuntime };
const REASONS = {
  openblas: "OpenBLAS is not found",
  onednn: "oneDNN is not found",
  bf16: "no oneDNN, or no processor, that multiplies in bf16",
  ort: "ONNX Runtime is not in Deno's cache: deno install",
};

/** Why tests with a library are skipped; undefined if they can run. `bf16` is oneDNN with bf16 products. */
export function absent(blas: keyof typeof OPEN): string | undefined {
  try {
    OPEN[blas]();
    return undefined;
  } catch (error) {
    if (error instanceof LibraryError) return REASONS[blas];
    throw error;
  }
}
