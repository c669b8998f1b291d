/** libnccl: all-reduce and all-gather between the GPUs of several ranks, queued on their streams. */
import { type CheckedCalls, checkedCalls, type Failure, textAt, throwCudaError } from "./cuda_error.ts";
import { cudaFolders } from "./cuda_folders.ts";
import { openLibrary } from "./library.ts";

/** Bytes of the id that the ranks of a communicator share. */
export const UNIQUE_ID_BYTES = 128;

/** ncclUniqueId is passed by value: 128 bytes. */
const EIGHT_WORDS = ["u64", "u64", "u64", "u64", "u64", "u64", "u64", "u64"] as const;
const uniqueId = { struct: [...EIGHT_WORDS, ...EIGHT_WORDS] } as const;

/** The functions used, with C parameter names. Vectors are in device memory. */
export const ncclSymbols = {
  ncclGetVersion: { parameters: ["buffer" /* int* version */], result: "i32" },
  ncclGetErrorString: { parameters: ["i32" /* ncclResult_t result */], result: "pointer" },
  ncclGetLastError: { parameters: ["pointer" /* ncclComm_t comm */], result: "pointer" },
  ncclGetUniqueId: { parameters: ["buffer" /* ncclUniqueId* uniqueId */], result: "i32" },
  ncclCommInitRank: {
    parameters: [
      "buffer", /* ncclComm_t* comm */
      "i32", /* int nranks */
      uniqueId, /* ncclUniqueId commId */
      "i32", /* int rank */
    ],
    result: "i32",
  },
  ncclCommDestroy: { parameters: ["pointer" /* ncclComm_t comm */], result: "i32" },
  ncclCommAbort: { parameters: ["pointer" /* ncclComm_t comm */], result: "i32" },
  ncclAllReduce: {
    parameters: [
      "u64", /* const void* sendbuff */
      "u64", /* void* recvbuff */
      "usize", /* size_t count */
      "i32", /* ncclDataType_t datatype */
      "i32", /* ncclRedOp_t op */
      "pointer", /* ncclComm_t comm */
      "pointer", /* cudaStream_t stream */
    ],
    result: "i32",
  },
  ncclAllGather: {
    parameters: [
      "u64", /* const void* sendbuff */
      "u64", /* void* recvbuff */
      "usize", /* size_t sendcount */
      "i32", /* ncclDataType_t datatype */
      "pointer", /* ncclComm_t comm */
      "pointer", /* cudaStream_t stream */
    ],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** The raw functions, real or emulated. */
export type NcclSymbols = Deno.StaticForeignLibraryInterface<typeof ncclSymbols>;
/** The same functions, which throw CudaError instead of returning a status. */
export type Nccl = CheckedCalls<typeof ncclSymbols>;

/** C enumerators. */
export const Collectives = { float32: 7, sum: 0 } as const;

const NAMES = ["Success", "UnhandledCudaError", "SystemError", "InternalError", "InvalidArgument", "InvalidUsage"]
  .concat(["RemoteError", "InProgress", "Timeout"]);

/** Wraps the functions so that they throw CudaError with the library's text and its last recorded cause. */
export function checkedNccl(symbols: NcclSymbols, fail: Failure = throwCudaError): Nccl {
  return checkedCalls(ncclSymbols, symbols, (code) => {
    const text = textAt(symbols.ncclGetErrorString(code));
    const cause = textAt(symbols.ncclGetLastError(null)).trim();
    return { name: `nccl${NAMES[code] ?? "Error"}`, text: cause === "" ? text : `${text}: ${cause}` };
  }, fail);
}

/** Finds and opens libnccl. Throws LibraryError. */
export function openNccl(): { path: string; symbols: NcclSymbols } {
  return openLibrary({
    name: "NCCL (libnccl)",
    environment: "HOTSET_NCCL",
    names: ["libnccl.so.2"],
    folders: cudaFolders(["nccl"]),
    symbols: ncclSymbols,
    install: "pip install nvidia-nccl-cu13",
  });
}
