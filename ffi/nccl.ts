/** libnccl: all-reduce and all-gather between the GPUs of several ranks, queued on their streams. */
import { type CheckedCalls, checkedCalls, type Failure, textAt, throwCudaError } from "./cuda_error.ts";
import { cudaFolders } from "./cuda_folders.ts";
import { declare, type Definitions } from "./declare.ts";
import { openLibrary } from "./library.ts";

/** Bytes of the id that the ranks of a communicator share. */
export const UNIQUE_ID_BYTES = 128;

/** An ncclUniqueId is passed by value: 128 bytes. */
const EIGHT_WORDS = ["u64", "u64", "u64", "u64", "u64", "u64", "u64", "u64"] as const;
const commId = { struct: [...EIGHT_WORDS, ...EIGHT_WORDS] } as const;

const functions = {
  ncclGetVersion: ["i32", "buffer version"],
  ncclGetErrorString: ["pointer", "i32 result"],
  ncclGetLastError: ["pointer", "pointer comm"],
  ncclGetUniqueId: ["i32", "buffer uniqueId"],
  ncclCommInitRank: ["i32", "buffer comm", "i32 nranks", commId, "i32 rank"],
  ncclCommDestroy: ["i32", "pointer comm"],
  ncclCommAbort: ["i32", "pointer comm"],
  ncclAllReduce: [
    "i32",
    "u64 sendbuff",
    "u64 recvbuff",
    "usize count",
    "i32 datatype",
    "i32 op",
    "pointer comm",
    "pointer stream",
  ],
  ncclAllGather: [
    "i32",
    "u64 sendbuff",
    "u64 recvbuff",
    "usize sendcount",
    "i32 datatype",
    "pointer comm",
    "pointer stream",
  ],
} as const;

/** The functions used, with C parameter names. Vectors are in device memory. */
export const ncclSymbols: Definitions<typeof functions> = declare(functions);

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
