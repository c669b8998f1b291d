/** libcublasLt: matrix products whose last step also adds a bias and applies ReLU. */
import { type CheckedCalls, checkedCalls, type Failure, textAt, throwCudaError } from "./cuda_error.ts";
import { cudaFolders } from "./cuda_folders.ts";
import { openLibrary } from "./library.ts";

/** The functions used, with C parameter names. Matrices are in device memory, alpha and beta in host memory. */
export const cublasLtSymbols = {
  cublasLtGetStatusName: { parameters: ["i32" /* cublasStatus_t status */], result: "pointer" },
  cublasLtGetStatusString: { parameters: ["i32" /* cublasStatus_t status */], result: "pointer" },
  cublasLtGetProperty: { parameters: ["i32", /* libraryPropertyType type */ "buffer" /* int* value */], result: "i32" },
  cublasLtCreate: { parameters: ["buffer" /* cublasLtHandle_t* lightHandle */], result: "i32" },
  cublasLtDestroy: { parameters: ["pointer" /* cublasLtHandle_t lightHandle */], result: "i32" },
  cublasLtMatmulDescCreate: {
    parameters: [
      "buffer", /* cublasLtMatmulDesc_t* matmulDesc */
      "i32", /* cublasComputeType_t computeType */
      "i32", /* cudaDataType_t scaleType */
    ],
    result: "i32",
  },
  cublasLtMatmulDescDestroy: { parameters: ["pointer" /* cublasLtMatmulDesc_t matmulDesc */], result: "i32" },
  cublasLtMatmulDescSetAttribute: {
    parameters: [
      "pointer", /* cublasLtMatmulDesc_t matmulDesc */
      "i32", /* cublasLtMatmulDescAttributes_t attr */
      "buffer", /* const void* buf */
      "usize", /* size_t sizeInBytes */
    ],
    result: "i32",
  },
  cublasLtMatrixLayoutCreate: {
    parameters: [
      "buffer", /* cublasLtMatrixLayout_t* matLayout */
      "i32", /* cudaDataType type */
      "u64", /* uint64_t rows */
      "u64", /* uint64_t cols */
      "i64", /* int64_t ld */
    ],
    result: "i32",
  },
  cublasLtMatrixLayoutDestroy: { parameters: ["pointer" /* cublasLtMatrixLayout_t matLayout */], result: "i32" },
  cublasLtMatmulPreferenceCreate: { parameters: ["buffer" /* cublasLtMatmulPreference_t* pref */], result: "i32" },
  cublasLtMatmulPreferenceDestroy: { parameters: ["pointer" /* cublasLtMatmulPreference_t pref */], result: "i32" },
  cublasLtMatmulPreferenceSetAttribute: {
    parameters: [
      "pointer", /* cublasLtMatmulPreference_t pref */
      "i32", /* cublasLtMatmulPreferenceAttributes_t attr */
      "buffer", /* const void* buf */
      "usize", /* size_t sizeInBytes */
    ],
    result: "i32",
  },
  cublasLtMatmulAlgoGetHeuristic: {
    parameters: [
      "pointer", /* cublasLtHandle_t lightHandle */
      "pointer", /* cublasLtMatmulDesc_t operationDesc */
      "pointer", /* cublasLtMatrixLayout_t Adesc */
      "pointer", /* cublasLtMatrixLayout_t Bdesc */
      "pointer", /* cublasLtMatrixLayout_t Cdesc */
      "pointer", /* cublasLtMatrixLayout_t Ddesc */
      "pointer", /* cublasLtMatmulPreference_t preference */
      "i32", /* int requestedAlgoCount */
      "buffer", /* cublasLtMatmulHeuristicResult_t heuristicResultsArray */
      "buffer", /* int* returnAlgoCount */
    ],
    result: "i32",
  },
  cublasLtMatmul: {
    parameters: [
      "pointer", /* cublasLtHandle_t lightHandle */
      "pointer", /* cublasLtMatmulDesc_t computeDesc */
      "buffer", /* const void* alpha */
      "u64", /* const void* A */
      "pointer", /* cublasLtMatrixLayout_t Adesc */
      "u64", /* const void* B */
      "pointer", /* cublasLtMatrixLayout_t Bdesc */
      "buffer", /* const void* beta */
      "u64", /* const void* C */
      "pointer", /* cublasLtMatrixLayout_t Cdesc */
      "u64", /* void* D */
      "pointer", /* cublasLtMatrixLayout_t Ddesc */
      "buffer", /* const cublasLtMatmulAlgo_t* algo */
      "u64", /* void* workspace */
      "usize", /* size_t workspaceSizeInBytes */
      "pointer", /* cudaStream_t stream */
    ],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** The raw functions, real or emulated. */
export type CublasLtSymbols = Deno.StaticForeignLibraryInterface<typeof cublasLtSymbols>;
/** The same functions, which throw CudaError instead of returning a status. */
export type CublasLt = CheckedCalls<typeof cublasLtSymbols>;

/** C enumerators, and the layout of cublasLtMatmulHeuristicResult_t. Statuses, types and operations are those of cuBLAS. */
export const BlasLt = {
  statusNotSupported: 15,
  descTransA: 3,
  descEpilogue: 7,
  descBiasPointer: 8,
  epilogueBias: 4,
  epilogueReluBias: 6,
  preferenceMaxWorkspaceBytes: 1,
  /** Minimum alignments in bytes of A, B, C and D. */
  preferenceMinAlignments: [5, 6, 7, 8],
  /** Bytes of a heuristic's result, which begins with the algorithm. */
  resultBytes: 96,
  algorithmBytes: 64,
} as const;

/** Wraps the functions so that they throw CudaError with the library's own name and text of the status. */
export function checkedCublasLt(symbols: CublasLtSymbols, fail: Failure = throwCudaError): CublasLt {
  return checkedCalls(cublasLtSymbols, symbols, (code) => ({
    name: textAt(symbols.cublasLtGetStatusName(code)),
    text: textAt(symbols.cublasLtGetStatusString(code)),
  }), fail);
}

/** Finds and opens libcublasLt, which is part of cuBLAS, of this CUDA version or an older one. Throws LibraryError. */
export function openCublasLt(cudaMajor: number): { path: string; symbols: CublasLtSymbols } {
  return openLibrary({
    name: "cuBLASLt (libcublasLt)",
    environment: "HOTSET_CUBLASLT",
    names: [13, 12, 11].filter((major) => major <= cudaMajor).map((major) => `libcublasLt.so.${major}`),
    folders: cudaFolders(["cublas"]),
    symbols: cublasLtSymbols,
    install: `pip install nvidia-cublas${cudaMajor < 13 ? `-cu${cudaMajor}` : ""}`,
  });
}
