/** libcublas: matrix products. */
import { type CheckedCalls, checkedCalls, type Failure, textAt, throwCudaError } from "./cuda_error.ts";
import { cudaFolders } from "./cuda_folders.ts";
import { openLibrary } from "./library.ts";

/** The functions used, with C parameter names. Matrices are in device memory, alpha and beta in host memory. */
export const cublasSymbols = {
  cublasGetStatusName: { parameters: ["i32" /* cublasStatus_t status */], result: "pointer" },
  cublasGetStatusString: { parameters: ["i32" /* cublasStatus_t status */], result: "pointer" },
  cublasGetProperty: { parameters: ["i32", /* libraryPropertyType type */ "buffer" /* int* value */], result: "i32" },
  cublasCreate_v2: { parameters: ["buffer" /* cublasHandle_t* handle */], result: "i32" },
  cublasDestroy_v2: { parameters: ["pointer" /* cublasHandle_t handle */], result: "i32" },
  cublasSetStream_v2: {
    parameters: ["pointer", /* cublasHandle_t handle */ "pointer" /* cudaStream_t streamId */],
    result: "i32",
  },
  cublasSetWorkspace_v2: {
    parameters: [
      "pointer", /* cublasHandle_t handle */
      "u64", /* void* workspace */
      "usize", /* size_t workspaceSizeInBytes */
    ],
    result: "i32",
  },
  cublasSetMathMode: {
    parameters: ["pointer", /* cublasHandle_t handle */ "i32" /* cublasMath_t mode */],
    result: "i32",
  },
  cublasSgemm_v2: {
    parameters: [
      "pointer", /* cublasHandle_t handle */
      "i32", /* cublasOperation_t transa */
      "i32", /* cublasOperation_t transb */
      "i32", /* int m */
      "i32", /* int n */
      "i32", /* int k */
      "buffer", /* const float* alpha */
      "u64", /* const float* A */
      "i32", /* int lda */
      "u64", /* const float* B */
      "i32", /* int ldb */
      "buffer", /* const float* beta */
      "u64", /* float* C */
      "i32", /* int ldc */
    ],
    result: "i32",
  },
  cublasGemmEx: {
    parameters: [
      "pointer", /* cublasHandle_t handle */
      "i32", /* cublasOperation_t transa */
      "i32", /* cublasOperation_t transb */
      "i32", /* int m */
      "i32", /* int n */
      "i32", /* int k */
      "buffer", /* const void* alpha */
      "u64", /* const void* A */
      "i32", /* cudaDataType Atype */
      "i32", /* int lda */
      "u64", /* const void* B */
      "i32", /* cudaDataType Btype */
      "i32", /* int ldb */
      "buffer", /* const void* beta */
      "u64", /* void* C */
      "i32", /* cudaDataType Ctype */
      "i32", /* int ldc */
      "i32", /* cublasComputeType_t computeType */
      "i32", /* cublasGemmAlgo_t algo */
    ],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

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
