/** libcudnn: activations, as an alternative to Hotset's kernels. */
import { type CheckedCalls, checkedCalls, type Failure, textAt, throwCudaError } from "./cuda_error.ts";
import { cudaFolders } from "./cuda_folders.ts";
import { openLibrary } from "./library.ts";

/** The functions used, with C parameter names. Tensors are in device memory, alpha and beta in host memory. */
export const cudnnSymbols = {
  cudnnGetVersion: { parameters: [], result: "usize" },
  cudnnGetErrorString: { parameters: ["i32" /* cudnnStatus_t status */], result: "pointer" },
  cudnnCreate: { parameters: ["buffer" /* cudnnHandle_t* handle */], result: "i32" },
  cudnnDestroy: { parameters: ["pointer" /* cudnnHandle_t handle */], result: "i32" },
  cudnnSetStream: {
    parameters: ["pointer", /* cudnnHandle_t handle */ "pointer" /* cudaStream_t streamId */],
    result: "i32",
  },
  cudnnCreateTensorDescriptor: { parameters: ["buffer" /* cudnnTensorDescriptor_t* tensorDesc */], result: "i32" },
  cudnnSetTensor4dDescriptor: {
    parameters: [
      "pointer", /* cudnnTensorDescriptor_t tensorDesc */
      "i32", /* cudnnTensorFormat_t format */
      "i32", /* cudnnDataType_t dataType */
      "i32", /* int n */
      "i32", /* int c */
      "i32", /* int h */
      "i32", /* int w */
    ],
    result: "i32",
  },
  cudnnDestroyTensorDescriptor: { parameters: ["pointer" /* cudnnTensorDescriptor_t tensorDesc */], result: "i32" },
  cudnnCreateActivationDescriptor: {
    parameters: ["buffer" /* cudnnActivationDescriptor_t* activationDesc */],
    result: "i32",
  },
  cudnnSetActivationDescriptor: {
    parameters: [
      "pointer", /* cudnnActivationDescriptor_t activationDesc */
      "i32", /* cudnnActivationMode_t mode */
      "i32", /* cudnnNanPropagation_t reluNanOpt */
      "f64", /* double coef */
    ],
    result: "i32",
  },
  cudnnDestroyActivationDescriptor: {
    parameters: ["pointer" /* cudnnActivationDescriptor_t activationDesc */],
    result: "i32",
  },
  cudnnActivationForward: {
    parameters: [
      "pointer", /* cudnnHandle_t handle */
      "pointer", /* cudnnActivationDescriptor_t activationDesc */
      "buffer", /* const void* alpha */
      "pointer", /* const cudnnTensorDescriptor_t xDesc */
      "u64", /* const void* x */
      "buffer", /* const void* beta */
      "pointer", /* const cudnnTensorDescriptor_t yDesc */
      "u64", /* void* y */
    ],
    result: "i32",
  },
  cudnnActivationBackward: {
    parameters: [
      "pointer", /* cudnnHandle_t handle */
      "pointer", /* cudnnActivationDescriptor_t activationDesc */
      "buffer", /* const void* alpha */
      "pointer", /* const cudnnTensorDescriptor_t yDesc */
      "u64", /* const void* y */
      "pointer", /* const cudnnTensorDescriptor_t dyDesc */
      "u64", /* const void* dy */
      "pointer", /* const cudnnTensorDescriptor_t xDesc */
      "u64", /* const void* x */
      "buffer", /* const void* beta */
      "pointer", /* const cudnnTensorDescriptor_t dxDesc */
      "u64", /* void* dx */
    ],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

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
