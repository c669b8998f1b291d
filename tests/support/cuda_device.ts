/**
 * The device of CUDA tests: the emulated one, or a GPU with HOTSET_TEST_DEVICE=cuda. Tests of features that only the
 * emulated device has, such as a small memory, always use it.
 */
import type { CudaDeviceKind } from "../../src/backend/cuda/libraries.ts";

export const testDevice: CudaDeviceKind = Deno.env.get("HOTSET_TEST_DEVICE") === "cuda" ? "cuda" : "emulated";
