/** libcudart, the runtime API: device memory, pinned memory, copies, streams, events and graphs. */
import { type CheckedCalls, checkedCalls, CudaError, type Failure, textAt, throwCudaError } from "./cuda_error.ts";
import { cudaFolders } from "./cuda_folders.ts";
import { declare, type Definitions } from "./declare.ts";
import { openLibrary } from "./library.ts";

const functions = {
  cudaGetErrorName: ["pointer", "i32 error"],
  cudaGetErrorString: ["pointer", "i32 error"],
  cudaRuntimeGetVersion: ["i32", "buffer runtimeVersion"],
  cudaDriverGetVersion: ["i32", "buffer driverVersion"],
  cudaGetDeviceCount: ["i32", "buffer count"],
  cudaSetDevice: ["i32", "i32 device"],
  cudaDeviceGetAttribute: ["i32", "buffer value", "i32 attr", "i32 device"],
  cudaMemGetInfo: ["i32", "buffer free", "buffer total"],
  cudaMalloc: ["i32", "buffer devPtr", "usize size"],
  cudaFree: ["i32", "u64 devPtr"],
  cudaHostAlloc: ["i32", "buffer pHost", "usize size", "u32 flags"],
  cudaFreeHost: ["i32", "u64 ptr"],
  cudaHostRegister: ["i32", "u64 ptr", "usize size", "u32 flags"],
  cudaHostUnregister: ["i32", "u64 ptr"],
  cudaMemcpyAsync: ["i32", "u64 dst", "u64 src", "usize count", "i32 kind", "pointer stream"],
  cudaMemcpy2DAsync: [
    "i32",
    "u64 dst",
    "usize dpitch",
    "u64 src",
    "usize spitch",
    "usize width",
    "usize height",
    "i32 kind",
    "pointer stream",
  ],
  cudaMemsetAsync: ["i32", "u64 devPtr", "i32 value", "usize count", "pointer stream"],
  cudaStreamCreateWithFlags: ["i32", "buffer pStream", "u32 flags"],
  cudaStreamDestroy: ["i32", "pointer stream"],
  cudaStreamSynchronize: ["i32", "pointer stream"],
  cudaStreamQuery: ["i32", "pointer stream"],
  cudaStreamWaitEvent: ["i32", "pointer stream", "pointer event", "u32 flags"],
  cudaEventCreateWithFlags: ["i32", "buffer event", "u32 flags"],
  cudaEventDestroy: ["i32", "pointer event"],
  cudaEventRecord: ["i32", "pointer event", "pointer stream"],
  cudaEventSynchronize: ["i32", "pointer event"],
  cudaEventElapsedTime: ["i32", "buffer ms", "pointer start", "pointer end"],
  cudaStreamBeginCapture: ["i32", "pointer stream", "i32 mode"],
  cudaStreamEndCapture: ["i32", "pointer stream", "buffer pGraph"],
  // cudaGraphInstantiate changed its parameters in CUDA 12; this one is the same from 11.4 on.
  cudaGraphInstantiateWithFlags: ["i32", "buffer pGraphExec", "pointer graph", "u64 flags"],
  cudaGraphLaunch: ["i32", "pointer graphExec", "pointer stream"],
  cudaGraphExecDestroy: ["i32", "pointer graphExec"],
  cudaGraphDestroy: ["i32", "pointer graph"],
} as const;

/** The functions used, with C parameter names. Device and pinned addresses are u64; opaque handles are pointers. */
export const cudartSymbols: Definitions<typeof functions> = declare(functions);

/** The raw functions, real or emulated. */
export type CudartSymbols = Deno.StaticForeignLibraryInterface<typeof cudartSymbols>;
/** The same functions, which throw CudaError instead of returning a status. */
export type Cudart = CheckedCalls<typeof cudartSymbols>;

/** C enumerators. */
export const Cuda = {
  memcpyHostToDevice: 1,
  memcpyDeviceToHost: 2,
  memcpyDeviceToDevice: 3,
  hostAllocDefault: 0,
  hostRegisterDefault: 0,
  streamNonBlocking: 1,
  eventDefault: 0,
  eventDisableTiming: 2,
  streamCaptureModeThreadLocal: 1,
  deviceAttributeMultiProcessorCount: 16,
  deviceAttributeComputeCapabilityMajor: 75,
  deviceAttributeComputeCapabilityMinor: 76,
  errorMemoryAllocation: 2,
  errorNotReady: 600,
} as const;

/** Wraps the functions so that they throw CudaError with the library's own name and text of the status. */
export function checkedCudart(symbols: CudartSymbols, fail: Failure = throwCudaError): Cudart {
  return checkedCalls(cudartSymbols, symbols, (code) => ({
    name: textAt(symbols.cudaGetErrorName(code)),
    text: textAt(symbols.cudaGetErrorString(code)),
  }), fail);
}

/** Lowest compute capability that the kernels are compiled for: 7.0, Volta. */
const MIN_CAPABILITY = 70;
/** Lowest compute capability that the libraries of CUDA 13 support: 7.5, Turing. Volta (7.0) needs CUDA 11 or 12. */
const MIN_CAPABILITY_OF_13 = 75;

/** Major version of a runtime, such as 13 for 13.0. */
export function cudaMajor(symbols: CudartSymbols): number {
  const version = new Int32Array(1);
  checkedCudart(symbols).cudaRuntimeGetVersion(version);
  return Math.floor(version[0] / 1000);
}

/** Why this runtime cannot compute on this machine, in the library's words, and what to do; undefined if it can. */
export function cudartFault(symbols: CudartSymbols): string | undefined {
  const runtime = checkedCudart(symbols), major = cudaMajor(symbols);
  try {
    return capabilityFault(runtime, major);
  } catch (error) {
    if (!(error instanceof CudaError)) throw error;
    return `${error.message}. ${driverAdvice(runtime, major)}`;
  }
}

/** Which GPU has a compute capability that these libraries or the kernels do not support; undefined if none. */
function capabilityFault(runtime: Cudart, major: number): string | undefined {
  const value = new Int32Array(1);
  runtime.cudaGetDeviceCount(value);
  for (let ordinal = 0, devices = value[0]; ordinal < devices; ordinal++) {
    const [high, low] = [Cuda.deviceAttributeComputeCapabilityMajor, Cuda.deviceAttributeComputeCapabilityMinor]
      .map((attribute) => {
        runtime.cudaDeviceGetAttribute(value, attribute, ordinal);
        return value[0];
      });
    const capability = 10 * high + low, has = `GPU ${ordinal} has compute capability ${high}.${low}`;
    if (capability < MIN_CAPABILITY) {
      return `${has}, but Hotset needs 7.0 (V100) or newer. Leave it out: set CUDA_VISIBLE_DEVICES to the newer GPUs, if any`;
    }
    if (major < 13 || capability >= MIN_CAPABILITY_OF_13) continue;
    return `${has}, but the libraries of CUDA ${major} have code for 7.5 and newer. Install ${LIBRARIES[12]}`;
  }
  return undefined;
}

/** The libraries of a CUDA version, and how to install them. */
const LIBRARIES: Readonly<Record<number, string>> = {
  11: "a toolkit of CUDA 11, from 11.4 update 2 on",
  12: "the libraries of CUDA 12: " +
    "pip install nvidia-cuda-runtime-cu12 nvidia-cublas-cu12 nvidia-cudnn-cu12 nvidia-nccl-cu12",
};

/** Advice for a runtime that finds no device. */
function driverAdvice(runtime: Cudart, major: number): string {
  const version = new Int32Array(1);
  runtime.cudaDriverGetVersion(version);
  const serves = Math.floor(version[0] / 1000);
  if (serves === 0 || serves >= major) return "Install or update NVIDIA's driver until nvidia-smi lists the GPU";
  const older = LIBRARIES[serves];
  return `The driver supports CUDA ${serves}, but this is the runtime of CUDA ${major}: update the driver (CUDA 13 needs 580 ` +
    `or newer, CUDA 12 needs 525)${older === undefined ? "" : `, or install ${older}`}`;
}

/**
 * Finds and opens libcudart: the newest that works with the driver and the devices, or the newest if none does. Throws
 * LibraryError.
 */
export function openCudart(): { path: string; symbols: CudartSymbols } {
  return openLibrary({
    name: "the CUDA runtime (libcudart)",
    environment: "HOTSET_CUDART",
    names: ["libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so"],
    folders: cudaFolders(["cuda_runtime"]),
    symbols: cudartSymbols,
    unfit: cudartFault,
    install: "pip install nvidia-cuda-runtime",
  });
}
