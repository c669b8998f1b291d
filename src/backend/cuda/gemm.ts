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
    const one = this.#one, zero = this.#zero, f32 = Blas.real32f;
    if (this.#precision === "fp32") {
      blas.cublasSgemm_v2(
        ...[this.#handle, transA, transB, m, n, k] as const,
        ...[one, a.address, lda, b.address, ldb, zero, c.address, ldc] as const,
      );
    } else {
      blas.cublasGemmEx(
        ...[this.#handle, transA, transB, m, n, k] as const,
        ...[one, a.address, f32, lda, b.address, f32, ldb, zero, c.address, f32, ldc] as const,
        ...[COMPUTE[this.#precision], Blas.gemmDefault] as const,
      );
    }
    if (!recording) counters.launches++;
  }
}
