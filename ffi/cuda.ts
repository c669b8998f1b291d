/** libcuda, the driver API: loads PTX and launches kernels. */
import { type CheckedCalls, checkedCalls, type Failure, textAt, throwCudaError } from "./cuda_error.ts";
import { openLibrary } from "./library.ts";

/** The functions used, with C parameter names. */
export const cudaSymbols = {
  cuGetErrorName: { parameters: ["i32", /* CUresult error */ "buffer" /* const char** pStr */], result: "i32" },
  cuGetErrorString: { parameters: ["i32", /* CUresult error */ "buffer" /* const char** pStr */], result: "i32" },
  cuInit: { parameters: ["u32" /* unsigned int Flags */], result: "i32" },
  cuDeviceGet: { parameters: ["buffer", /* CUdevice* device */ "i32" /* int ordinal */], result: "i32" },
  cuDeviceGetName: {
    parameters: ["buffer", /* char* name */ "i32", /* int len */ "i32" /* CUdevice dev */],
    result: "i32",
  },
  cuModuleLoadData: { parameters: ["buffer", /* CUmodule* module */ "buffer" /* const void* image */], result: "i32" },
  cuModuleUnload: { parameters: ["pointer" /* CUmodule hmod */], result: "i32" },
  cuModuleGetFunction: {
    parameters: ["buffer", /* CUfunction* hfunc */ "pointer", /* CUmodule hmod */ "buffer" /* const char* name */],
    result: "i32",
  },
  cuLaunchKernel: {
    parameters: [
      "pointer", /* CUfunction f */
      "u32", /* unsigned int gridDimX */
      "u32", /* unsigned int gridDimY */
      "u32", /* unsigned int gridDimZ */
      "u32", /* unsigned int blockDimX */
      "u32", /* unsigned int blockDimY */
      "u32", /* unsigned int blockDimZ */
      "u32", /* unsigned int sharedMemBytes */
      "pointer", /* CUstream hStream */
      "pointer", /* void** kernelParams */
      "buffer", /* void** extra */
    ],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

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
