/**
 * The device that tests of the CUDA path run on: the emulated one, or with HOTSET_TEST_DEVICE=cuda a GPU. Tests of what only
 * the emulated device can do, such as to run out of a little memory, stay on it.
 */
import type { CudaDeviceKind } from "../../src/backend/cuda/libraries.ts";

export const testDevice: CudaDeviceKind = Deno.env.get("HOTSET_TEST_DEVICE") === "cuda" ? "cuda" : "emulated";
