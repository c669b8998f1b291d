/** libcuda, the driver API: loads PTX and launches kernels. */
import { type CheckedCalls, checkedCalls, type Failure, textAt, throwCudaError } from "./cuda_error.ts";
import { declare, type Definitions } from "./declare.ts";
import { openLibrary } from "./library.ts";

const functions = {
  cuGetErrorName: ["i32", "i32 error", "buffer pStr"],
  cuGetErrorString: ["i32", "i32 error", "buffer pStr"],
  cuInit: ["i32", "u32 Flags"],
  cuDeviceGet: ["i32", "buffer device", "i32 ordinal"],
  cuDeviceGetName: ["i32", "buffer name", "i32 len", "i32 dev"],
  cuModuleLoadData: ["i32", "buffer module", "buffer image"],
  cuModuleUnload: ["i32", "pointer hmod"],
  cuModuleGetFunction: ["i32", "buffer hfunc", "pointer hmod", "buffer name"],
  cuLaunchKernel: [
    "i32",
    "pointer f",
    "u32 gridDimX",
    "u32 gridDimY",
    "u32 gridDimZ",
    "u32 blockDimX",
    "u32 blockDimY",
    "u32 blockDimZ",
    "u32 sharedMemBytes",
    "pointer hStream",
    "pointer kernelParams",
    "buffer extra",
  ],
} as const;

/** The functions used, with C parameter names. */
export const cudaSymbols: Definitions<typeof functions> = declare(functions);

/** The raw functions, real or emulated. */
export type CudaSymbols = Deno.StaticForeignLibraryInterface<typeof cudaSymbols>;
/** The same functions, which throw CudaError instead of returning a status. */
export type CudaDriver = CheckedCalls<typeof cudaSymbols>;

/** Tags of cuLaunchKernel's `extra` list, which passes all arguments as one block of memory. */
export const LaunchParameter = { end: 0n, bufferPointer: 1n, bufferSize: 2n } as const;

/** Wraps the functions so that they throw CudaError with the driver's own name and text of the status. */
export function checkedCuda(symbols: CudaSymbols, fail: Failure = throwCudaError): CudaDriver {
  const slot = new BigUint64Array(1);
  const text = (call: (error: number, pStr: BigUint64Array<ArrayBuffer>) => number, code: number) =>
    call(code, slot) === 0 ? textAt(Deno.UnsafePointer.create(slot[0])) : "unknown";
  return checkedCalls(cudaSymbols, symbols, (code) => ({
    name: text(symbols.cuGetErrorName, code),
    text: text(symbols.cuGetErrorString, code),
  }), fail);
}

/** Finds and opens libcuda, a part of the driver. Throws LibraryError. */
export function openCuda(): { path: string; symbols: CudaSymbols } {
  return openLibrary({
    name: "the CUDA driver (libcuda)",
    environment: "HOTSET_CUDA_DRIVER",
    names: ["libcuda.so.1"],
    folders: ["/usr/lib/wsl/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib64"],
    symbols: cudaSymbols,
    install: "your distribution's NVIDIA driver (nvidia-smi must run), for example apt-get install nvidia-driver",
  });
}
