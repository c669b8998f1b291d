/** libcublas: matrix products. */
import { type CheckedCalls, checkedCalls, type Failure, textAt, throwCudaError } from "./cuda_error.ts";
import { cudaFolders } from "./cuda_folders.ts";
import { declare, type Definitions } from "./declare.ts";
import { openLibrary } from "./library.ts";

const functions = {
  cublasGetStatusName: ["pointer", "i32 status"],
  cublasGetStatusString: ["pointer", "i32 status"],
  cublasGetProperty: ["i32", "i32 type", "buffer value"],
  cublasCreate_v2: ["i32", "buffer handle"],
  cublasDestroy_v2: ["i32", "pointer handle"],
  cublasSetStream_v2: ["i32", "pointer handle", "pointer streamId"],
  cublasSetWorkspace_v2: ["i32", "pointer handle", "u64 workspace", "usize workspaceSizeInBytes"],
  cublasSetMathMode: ["i32", "pointer handle", "i32 mode"],
  cublasSgemm_v2: [
    "i32",
    "pointer handle",
    "i32 transa",
    "i32 transb",
    "i32 m",
    "i32 n",
    "i32 k",
    "buffer alpha",
    "u64 A",
    "i32 lda",
    "u64 B",
    "i32 ldb",
    "buffer beta",
    "u64 C",
    "i32 ldc",
  ],
  cublasGemmEx: [
    "i32",
    "pointer handle",
    "i32 transa",
    "i32 transb",
    "i32 m",
    "i32 n",
    "i32 k",
    "buffer alpha",
    "u64 A",
    "i32 Atype",
    "i32 lda",
    "u64 B",
    "i32 Btype",
    "i32 ldb",
    "buffer beta",
    "u64 C",
    "i32 Ctype",
    "i32 ldc",
    "i32 computeType",
    "i32 algo",
  ],
} as const;

/** The functions used, with C parameter names. Matrices are in device memory, alpha and beta in host memory. */
export const cublasSymbols: Definitions<typeof functions> = declare(functions);

/** The raw functions, real or emulated. */
export type CublasSymbols = Deno.StaticForeignLibraryInterface<typeof cublasSymbols>;
/** The same functions, which throw CudaError instead of returning a status. */
export type Cublas = CheckedCalls<typeof cublasSymbols>;

/** C enumerators. */
export const Blas = {
  opN: 0,
  opT: 1,
  defaultMath: 0,
  real32f: 0,
  compute32f: 68,
  compute32fFast16bf: 75,
  compute32fFastTf32: 77,
  gemmDefault: -1,
} as const;

/** Wraps the functions so that they throw CudaError with the library's own name and text of the status. */
export function checkedCublas(symbols: CublasSymbols, fail: Failure = throwCudaError): Cublas {
  return checkedCalls(cublasSymbols, symbols, (code) => ({
    name: textAt(symbols.cublasGetStatusName(code)),
    text: textAt(symbols.cublasGetStatusString(code)),
  }), fail);
}

/**
 * Finds and opens libcublas of this CUDA version or an older one; the driver may be too old for a newer one. Throws
 * LibraryError.
 */
export function openCublas(cudaMajor: number): { path: string; symbols: CublasSymbols } {
  return openLibrary({
    name: "cuBLAS (libcublas)",
    environment: "HOTSET_CUBLAS",
    names: [13, 12, 11].filter((major) => major <= cudaMajor).map((major) => `libcublas.so.${major}`),
    folders: cudaFolders(["cublas"]),
    symbols: cublasSymbols,
    install: `pip install nvidia-cublas${cudaMajor < 13 ? `-cu${cudaMajor}` : ""}`,
  });
}
