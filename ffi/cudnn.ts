/** libcudnn: activations, as an alternative to Hotset's kernels. */
import { type CheckedCalls, checkedCalls, type Failure, textAt, throwCudaError } from "./cuda_error.ts";
import { cudaFolders } from "./cuda_folders.ts";
import { declare, type Definitions } from "./declare.ts";
import { openLibrary } from "./library.ts";

const functions = {
  cudnnGetVersion: ["usize"],
  cudnnGetErrorString: ["pointer", "i32 status"],
  cudnnCreate: ["i32", "buffer handle"],
  cudnnDestroy: ["i32", "pointer handle"],
  cudnnSetStream: ["i32", "pointer handle", "pointer streamId"],
  cudnnCreateTensorDescriptor: ["i32", "buffer tensorDesc"],
  cudnnSetTensor4dDescriptor: [
    "i32",
    "pointer tensorDesc",
    "i32 format",
    "i32 dataType",
    "i32 n",
    "i32 c",
    "i32 h",
    "i32 w",
  ],
  cudnnDestroyTensorDescriptor: ["i32", "pointer tensorDesc"],
  cudnnCreateActivationDescriptor: ["i32", "buffer activationDesc"],
  cudnnSetActivationDescriptor: ["i32", "pointer activationDesc", "i32 mode", "i32 reluNanOpt", "f64 coef"],
  cudnnDestroyActivationDescriptor: ["i32", "pointer activationDesc"],
  cudnnActivationForward: [
    "i32",
    "pointer handle",
    "pointer activationDesc",
    "buffer alpha",
    "pointer xDesc",
    "u64 x",
    "buffer beta",
    "pointer yDesc",
    "u64 y",
  ],
  cudnnActivationBackward: [
    "i32",
    "pointer handle",
    "pointer activationDesc",
    "buffer alpha",
    "pointer yDesc",
    "u64 y",
    "pointer dyDesc",
    "u64 dy",
    "pointer xDesc",
    "u64 x",
    "buffer beta",
    "pointer dxDesc",
    "u64 dx",
  ],
} as const;

/** The functions used, with C parameter names. Tensors are in device memory, alpha and beta in host memory. */
export const cudnnSymbols: Definitions<typeof functions> = declare(functions);

/** The raw functions, real or emulated. */
export type CudnnSymbols = Deno.StaticForeignLibraryInterface<typeof cudnnSymbols>;
/** The same functions, which throw CudaError instead of returning a status. */
export type Cudnn = CheckedCalls<typeof cudnnSymbols>;

/** C enumerators. */
export const Dnn = {
  tensorNchw: 0,
  dataFloat: 0,
  activationSigmoid: 0,
  activationRelu: 1,
  propagateNan: 1,
} as const;

/** Wraps the functions so that they throw CudaError. cuDNN has one text for a status, which is used as its name. */
export function checkedCudnn(symbols: CudnnSymbols, fail: Failure = throwCudaError): Cudnn {
  return checkedCalls(cudnnSymbols, symbols, (code) => {
    const name = textAt(symbols.cudnnGetErrorString(code));
    return { name, text: "a cuDNN call failed" };
  }, fail);
}

/** Finds and opens libcudnn. Throws LibraryError. */
export function openCudnn(): { path: string; symbols: CudnnSymbols } {
  return openLibrary({
    name: "cuDNN (libcudnn)",
    environment: "HOTSET_CUDNN",
    names: ["libcudnn.so.9", "libcudnn.so.8"],
    folders: cudaFolders(["cudnn"]),
    symbols: cudnnSymbols,
    install: "pip install nvidia-cudnn-cu13",
  });
}
