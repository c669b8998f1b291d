/** The CUDA libraries that a device calls: NVIDIA's or the emulated ones. */
import { checkedCublas, type Cublas, type CublasSymbols, openCublas } from "../../../ffi/cublas.ts";
import { checkedCublasLt, type CublasLt, type CublasLtSymbols, openCublasLt } from "../../../ffi/cublas_lt.ts";
import { checkedCuda, type CudaDriver, type CudaSymbols, openCuda } from "../../../ffi/cuda.ts";
import {
  checkedCudart,
  Cuda,
  cudaMajor,
  type Cudart,
  cudartFault,
  type CudartSymbols,
  openCudart,
} from "../../../ffi/cudart.ts";
import { checkedCudnn, type Cudnn, type CudnnSymbols, openCudnn } from "../../../ffi/cudnn.ts";
import { checkedNccl, type Nccl, type NcclSymbols, openNccl } from "../../../ffi/nccl.ts";
import type { CudaError } from "../../../ffi/cuda_error.ts";
import { EmulatedDevice, type EmulatedOptions } from "../../../emulator/device.ts";
import { LibraryError } from "../../../ffi/library.ts";
import { HotsetError } from "../../errors.ts";

/** Kind of device. */
export type CudaDeviceKind = "cuda" | "emulated";

/** Wrapped functions of all libraries. cuBLASLt, cuDNN and NCCL are opened at their first use. */
export interface CudaLibraries {
  readonly runtime: Cudart;
  /** True if everything on a stream is over, or an operation has failed. */
  isOver(stream: Deno.PointerValue): boolean;
  readonly driver: CudaDriver;
  readonly blas: Cublas;
  /** Throws LibraryError if it is not installed. */
  blasLt(): CublasLt;
  dnn(): Cudnn;
  nccl(): Nccl;
  /** The emulated device behind the functions; undefined for a GPU. */
  readonly emulated: EmulatedDevice | undefined;
}

/** Advice for machines without a usable GPU; ends all messages about a missing one. */
const WITHOUT_GPU =
  "Without an NVIDIA GPU, train with --mode fae --device cpu, or with --device emulated to run the same kernels slowly";

/** Opens the libraries. Throws HotsetError that says what is missing and how to get it. */
export function openLibraries(kind: CudaDeviceKind, emulated: EmulatedOptions): CudaLibraries {
  if (kind === "emulated") {
    const device = new EmulatedDevice(emulated);
    const { cudart, cuda, cublas, cublasLt, cudnn, nccl } = device;
    return checkedLibraries(cudart, cuda, cublas, () => cublasLt, () => cudnn, () => nccl, device);
  }
  const opened = <T>(open: () => { symbols: T }): T => {
    try {
      return open().symbols;
    } catch (error) {
      if (!(error instanceof LibraryError)) throw error;
      throw new HotsetError(`Cannot use CUDA: ${error.message}\n${WITHOUT_GPU}`, { cause: error });
    }
  };
  const runtime = opened(openCudart);
  // The runtime's message about a missing device is the clearest, so it is asked before other libraries are opened.
  const fault = cudartFault(runtime);
  if (fault !== undefined) throw new HotsetError(`Cannot use CUDA: ${fault}\n${WITHOUT_GPU}`);
  const major = cudaMajor(runtime);
  const [driver, blas] = [opened(openCuda), opened(() => openCublas(major))];
  const [dnn, nccl] = [() => opened(openCudnn), () => opened(openNccl)];
  return checkedLibraries(runtime, driver, blas, () => openCublasLt(major).symbols, dnn, nccl, undefined);
}

function checkedLibraries(
  runtime: CudartSymbols,
  driver: CudaSymbols,
  blas: CublasSymbols,
  blasLt: () => CublasLtSymbols,
  dnn: () => CudnnSymbols,
  nccl: () => NcclSymbols,
  emulated: EmulatedDevice | undefined,
): CudaLibraries {
  const device = emulated === undefined ? "the GPU" : "the emulated device";
  const fail = (error: CudaError): never => {
    throw new HotsetError(`Cannot run on ${device}: ${error.message}`, { cause: error });
  };
  let openedLt: CublasLt | undefined;
  let openedDnn: Cudnn | undefined;
  let openedNccl: Nccl | undefined;
  return {
    runtime: checkedCudart(runtime, fail),
    isOver: (stream) => runtime.cudaStreamQuery(stream) !== Cuda.errorNotReady,
    driver: checkedCuda(driver, fail),
    blas: checkedCublas(blas, fail),
    blasLt: () => openedLt ??= checkedCublasLt(blasLt(), fail),
    dnn: () => openedDnn ??= checkedCudnn(dnn(), fail),
    nccl: () => openedNccl ??= checkedNccl(nccl(), fail),
    emulated,
  };
}
