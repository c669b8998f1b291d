/** Row-major matrix products with cuBLAS, which is column-major: it sees the transposes of all matrices. */
import { Blas } from "../../../ffi/cublas.ts";
import { pointerAt } from "../../../ffi/pointer.ts";
import type { CudaDevice } from "./device.ts";
import type { DeviceBuffer } from "./memory.ts";
import { WORKSPACE_BYTES } from "./sizes.ts";

/** Precision of the operands of products. Inputs, outputs and sums are f32 in every case. */
export type Precision = "fp32" | "tf32" | "bf16";

/** Compute types of products, by precision. */
export const COMPUTE: Readonly<Record<Precision, number>> = {
  fp32: Blas.compute32f,
  tf32: Blas.compute32fFastTf32,
  bf16: Blas.compute32fFast16bf,
};

/** A cuBLAS handle on the device's stream. */
export class Gemm {
  /** Memory of WORKSPACE_BYTES that products on the device's stream use, one at a time. */
  readonly workspace: DeviceBuffer;
  readonly #device: CudaDevice;
  readonly #precision: Precision;
  readonly #handle: Deno.PointerValue;
  readonly #one = new Float32Array([1]);
  readonly #zero = new Float32Array([0]);

  constructor(device: CudaDevice, precision: Precision) {
    this.#device = device;
    this.#precision = precision;
    const { blas } = device.libraries;
    this.workspace = device.allocate(WORKSPACE_BYTES / 4, "cuBLAS workspace");
    this.#handle = pointerAt(device.made((out) => blas.cublasCreate_v2(out)));
    device.own(() => blas.cublasDestroy_v2(this.#handle));
    blas.cublasSetStream_v2(this.#handle, device.stream); // must precede the workspace, which this call resets
    blas.cublasSetWorkspace_v2(this.#handle, this.workspace.address, BigInt(WORKSPACE_BYTES));
    blas.cublasSetMathMode(this.#handle, Blas.defaultMath);
  }

  /**
   * The width to which the inputs of layers are padded: the next multiple of 4 words, which are 16 bytes, in tf32, whose
   * products are twice as fast then, and in bf16, which reads the same operands. In fp32 any width is as fast
   * (docs/cuda.md).
   */
  strideOf(width: number): number {
    return this.#precision === "fp32" ? width : Math.ceil(width / 4) * 4;
  }

  /** c (rows, columns) = a (rows, inner) bᵀ, where b is (columns, inner). */
  timesTransposed(
    rows: number,
    columns: number,
    inner: number,
    a: DeviceBuffer,
    b: DeviceBuffer,
    c: DeviceBuffer,
  ): void {
    this.#call(Blas.opT, Blas.opN, columns, rows, inner, b, inner, a, inner, c, columns);
  }

  /** c (rows, columns) = a (rows, inner) b (inner, columns). */
  times(rows: number, columns: number, inner: number, a: DeviceBuffer, b: DeviceBuffer, c: DeviceBuffer): void {
    this.#call(Blas.opN, Blas.opN, columns, rows, inner, b, columns, a, inner, c, columns);
  }

  /** c (rows, columns) = aᵀ b, where a is (inner, rows) and b (inner, columns). */
  transposedTimes(
    rows: number,
    columns: number,
    inner: number,
    a: DeviceBuffer,
    b: DeviceBuffer,
    c: DeviceBuffer,
  ): void {
    this.#call(Blas.opN, Blas.opT, columns, rows, inner, b, columns, a, rows, c, columns);
  }

  #call(
    transA: number,
    transB: number,
    m: number,
    n: number,
    k: number,
    a: DeviceBuffer,
    lda: number,
    b: DeviceBuffer,
    ldb: number,
    c: DeviceBuffer,
    ldc: number,
  ): void {
    if (m === 0 || n === 0) return;
    const { libraries: { blas }, counters, recording } = this.#device;
    const handle = this.#handle, one = this.#one, zero = this.#zero, f32 = Blas.real32f;
    const A = a.address, B = b.address, C = c.address;
    if (this.#precision === "fp32") {
      blas.cublasSgemm_v2(handle, transA, transB, m, n, k, one, A, lda, B, ldb, zero, C, ldc);
    } else {
      const compute = COMPUTE[this.#precision], way = Blas.gemmDefault;
      blas.cublasGemmEx(
        handle,
        transA,
        transB,
        m,
        n,
        k,
        one,
        A,
        f32,
        lda,
        B,
        f32,
        ldb,
        zero,
        C,
        f32,
        ldc,
        compute,
        way,
      );
    }
    if (!recording) counters.launches++;
  }
}
