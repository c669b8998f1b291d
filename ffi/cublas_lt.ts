/** libcublasLt: matrix products whose last step also adds a bias and applies ReLU. */
import { type CheckedCalls, checkedCalls, type Failure, textAt, throwCudaError } from "./cuda_error.ts";
import { cudaFolders } from "./cuda_folders.ts";
import { declare, type Definitions } from "./declare.ts";
import { openLibrary } from "./library.ts";

const functions = {
  cublasLtGetStatusName: ["pointer", "i32 status"],
  cublasLtGetStatusString: ["pointer", "i32 status"],
  cublasLtGetProperty: ["i32", "i32 type", "buffer value"],
  cublasLtCreate: ["i32", "buffer lightHandle"],
  cublasLtDestroy: ["i32", "pointer lightHandle"],
  cublasLtMatmulDescCreate: ["i32", "buffer matmulDesc", "i32 computeType", "i32 scaleType"],
  cublasLtMatmulDescDestroy: ["i32", "pointer matmulDesc"],
  cublasLtMatmulDescSetAttribute: ["i32", "pointer matmulDesc", "i32 attr", "buffer buf", "usize sizeInBytes"],
  cublasLtMatrixLayoutCreate: ["i32", "buffer matLayout", "i32 type", "u64 rows", "u64 cols", "i64 ld"],
  cublasLtMatrixLayoutDestroy: ["i32", "pointer matLayout"],
  cublasLtMatmulPreferenceCreate: ["i32", "buffer pref"],
  cublasLtMatmulPreferenceDestroy: ["i32", "pointer pref"],
  cublasLtMatmulPreferenceSetAttribute: ["i32", "pointer pref", "i32 attr", "buffer buf", "usize sizeInBytes"],
  cublasLtMatmulAlgoGetHeuristic: [
    "i32",
    "pointer lightHandle",
    "pointer operationDesc",
    "pointer Adesc",
    "pointer Bdesc",
    "pointer Cdesc",
    "pointer Ddesc",
    "pointer preference",
    "i32 requestedAlgoCount",
    "buffer heuristicResultsArray",
    "buffer returnAlgoCount",
  ],
  cublasLtMatmul: [
    "i32",
    "pointer lightHandle",
    "pointer computeDesc",
    "buffer alpha",
    "u64 A",
    "pointer Adesc",
    "u64 B",
    "pointer Bdesc",
    "buffer beta",
    "u64 C",
    "pointer Cdesc",
    "u64 D",
    "pointer Ddesc",
    "buffer algo",
    "u64 workspace",
    "usize workspaceSizeInBytes",
    "pointer stream",
  ],
} as const;

/** The functions used, with C parameter names. Matrices are in device memory, alpha and beta in host memory. */
export const cublasLtSymbols: Definitions<typeof functions> = declare(functions);

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
