/** Which libraries of matrix products this machine has. */
import { openOnnxRuntime } from "../../ffi/onnxruntime.ts";
import { openOpenBlas } from "../../ffi/openblas.ts";

/** Why tests with a library are skipped here, or undefined. */
export function absent(blas: "openblas" | "ort"): string | undefined {
  try {
    if (blas === "openblas") openOpenBlas();
    else openOnnxRuntime();
    return undefined;
  } catch {
    return blas === "openblas" ? "OpenBLAS is not found" : "ONNX Runtime is not in Deno's cache: deno install";
  }
}
