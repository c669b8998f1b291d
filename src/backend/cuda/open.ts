import type { EmulatedOptions } from "../../../emulator/device.ts";
import { CudaBackend } from "./backend.ts";
import { CudaDevice } from "./device.ts";
import type { ActivationLibrary } from "./fused_linear.ts";
import type { CudaDeviceKind } from "./libraries.ts";
import type { Precision } from "./gemm.ts";

/** How a CUDA backend is to compute. */
export interface CudaOptions {
  /** A GPU, or the emulated device that runs the same kernels and calls on the host. */
  readonly device: CudaDeviceKind;
  /** fp32 unless given. */
  readonly precision?: Precision;
  /** auto unless given. */
  readonly activations?: ActivationLibrary;
  /** Number of the GPU; 0 unless given. */
  readonly ordinal?: number;
  /** Only for the emulated device. */
  readonly emulated?: EmulatedOptions;
}

/**
 * Opens a CUDA backend; everything it makes stays on the calling thread. Throws HotsetError that says which library,
 * driver or device is missing and what to do.
 */
export function openCuda(options: CudaOptions): CudaBackend {
  const { ordinal = 0 } = options;
  const device = new CudaDevice(options.device, { devices: ordinal + 1, ...options.emulated }, ordinal);
  return new CudaBackend(device, options.precision ?? "fp32", options.activations ?? "auto");
}
