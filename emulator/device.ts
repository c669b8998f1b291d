/**
 * A CUDA device without a GPU: the symbol tables of cudart, cuda, cublas, cublasLt, cudnn and nccl over host memory. Calls pass
 * through the real FFI, and kernels run from their PTX. Faults that hardware may not detect (invalid accesses, races,
 * invalid arguments, leaks) are errors; as on hardware they break the device, and its error string says what happened.
 */
import { blasImplementation, EXECUTION_FAILED } from "./blas.ts";
import { blasLtImplementation } from "./blas_lt.ts";
import { dnnImplementation, EXECUTION_FAILED as DNN_FAILED } from "./dnn.ts";
import { driverImplementation } from "./driver.ts";
import { type EmulatedTable, throughFfi } from "./marshal.ts";
import { ncclImplementation, UNHANDLED } from "./nccl.ts";
import { runtimeImplementation } from "./runtime.ts";
import { DeviceState, type EmulatedOptions } from "./state.ts";
import { type CublasSymbols, cublasSymbols } from "../ffi/cublas.ts";
import { type CublasLtSymbols, cublasLtSymbols } from "../ffi/cublas_lt.ts";
import { type CudaSymbols, cudaSymbols } from "../ffi/cuda.ts";
import { type CudartSymbols, cudartSymbols } from "../ffi/cudart.ts";
import { type CudnnSymbols, cudnnSymbols } from "../ffi/cudnn.ts";
import { type NcclSymbols, ncclSymbols } from "../ffi/nccl.ts";

export type { EmulatedOptions };

/** An emulated device with the symbol tables of its libraries. */
export class EmulatedDevice extends DeviceState {
  readonly cudart: CudartSymbols;
  readonly cuda: CudaSymbols;
  readonly cublas: CublasSymbols;
  readonly cublasLt: CublasLtSymbols;
  readonly cudnn: CudnnSymbols;
  readonly nccl: NcclSymbols;
  readonly #tables: EmulatedTable<Deno.ForeignLibraryInterface>[];

  constructor(options: EmulatedOptions = {}) {
    super(options);
    const { blas, blasLt, dnn, modules, communicators } = this.libraryHandles;
    const cudart = throughFfi(cudartSymbols, runtimeImplementation(this), (body) => this.call(body));
    const cuda = throughFfi(cudaSymbols, driverImplementation(this, modules as never), (body) => this.call(body));
    const ofBlas = (body: () => number | void) => this.call(body, EXECUTION_FAILED);
    const cublas = throughFfi(cublasSymbols, blasImplementation(this, blas as never), ofBlas);
    const cublasLt = throughFfi(cublasLtSymbols, blasLtImplementation(this, blasLt as never), ofBlas);
    const ofDnn = (body: () => number | void) => this.call(body, DNN_FAILED);
    const cudnn = throughFfi(cudnnSymbols, dnnImplementation(this, dnn as never), ofDnn);
    const ofNccl = (body: () => number | void) => this.call(body, UNHANDLED);
    const nccl = throughFfi(ncclSymbols, ncclImplementation(this, communicators as never), ofNccl);
    this.cudart = cudart.symbols;
    this.cuda = cuda.symbols;
    this.cublas = cublas.symbols;
    this.cublasLt = cublasLt.symbols;
    this.cudnn = cudnn.symbols;
    this.nccl = nccl.symbols;
    this.#tables = [cudart, cuda, cublas, cublasLt, cudnn, nccl] as never;
  }

  /**
   * Releases the foreign functions and the device. Throws EmulationError if the device has no fault but leaks memory or
   * handles.
   */
  override [Symbol.dispose](): void {
    for (const table of this.#tables.splice(0)) table.close();
    super[Symbol.dispose]();
  }
}
