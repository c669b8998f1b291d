/** The emulated libcublas: matrix products in plain loops, with sums in double precision. */
import { Blas, type cublasSymbols } from "../ffi/cublas.ts";
import { type DeviceState, refuse } from "./state.ts";
import { EmulationError } from "./memory.ts";
import { type Handles, type Implementation, putInt, putWord } from "./marshal.ts";

type Pointer = Deno.PointerValue;

/** Status of a call that breaks the device, or finds it broken; also of libcublasLt. */
export const EXECUTION_FAILED = 13;
/** Names and texts of statuses, also those of libcublasLt. */
export const STATUS: Readonly<Record<number, readonly [name: string, text: string]>> = {
  0: ["CUBLAS_STATUS_SUCCESS", "success"],
  1: ["CUBLAS_STATUS_NOT_INITIALIZED", "the library was not initialized"],
  7: ["CUBLAS_STATUS_INVALID_VALUE", "an unsupported value or parameter was passed"],
  13: ["CUBLAS_STATUS_EXECUTION_FAILED", "the program failed to execute"],
  15: ["CUBLAS_STATUS_NOT_SUPPORTED", "the functionality is not supported"],
};
const VERSION = [12, 0, 0];

/** Arguments of a product; column-major, as in cuBLAS. */
export interface Product {
  readonly transA: number;
  readonly transB: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly alpha: number;
  readonly a: number;
  readonly lda: number;
  readonly b: number;
  readonly ldb: number;
  readonly beta: number;
  readonly c: number;
  readonly ldc: number;
  readonly compute: number;
  /** What is done to the sums: a bias for each row of C is added, and ReLU is applied. */
  readonly epilogue?: { readonly bias: number; readonly relu: boolean };
}

/** Implements the functions of libcublas. */
export function blasImplementation(
  device: DeviceState,
  handles: Handles<{ stream: Pointer }>,
): Implementation<typeof cublasSymbols> {
  const NOT_INITIALIZED = 1, INVALID_VALUE = 7, NOT_SUPPORTED = 15;
  const float = (pointer: Pointer) => new Deno.UnsafePointerView(pointer!).getFloat32();

  const gemm = (handle: Pointer, doing: string, product: Product): void => {
    const state = handles.get(handle);
    if (state === undefined) refuse(NOT_INITIALIZED);
    const { m, n, k, transA, transB, lda, ldb, ldc } = product;
    const rowsA = transA === Blas.opN ? m : k, rowsB = transB === Blas.opN ? k : n;
    if (m < 0 || n < 0 || k < 0 || lda < rowsA || ldb < rowsB || ldc < m) refuse(INVALID_VALUE);
    const run = () => {
      device.counters.libraryCalls++;
      multiply(device, doing, product);
    };
    device.enqueue(state.stream, { isCopy: false, run }, doing);
  };

  return {
    cublasGetStatusName: (code) => device.strings.pointer(STATUS[code]?.[0] ?? "unknown"),
    cublasGetStatusString: (code) =>
      device.strings.pointer((code === EXECUTION_FAILED ? device.fault : undefined) ?? STATUS[code]?.[1] ?? "unknown"),
    cublasGetProperty: (type, value) => putInt(value, VERSION[type]),
    cublasCreate_v2: (out) => putWord(out, handles.add({ stream: null })),
    cublasDestroy_v2: (handle) => handles.remove(handle) ? 0 : NOT_INITIALIZED,
    cublasSetStream_v2: (handle, stream) => {
      const state = handles.get(handle);
      if (state === undefined) refuse(NOT_INITIALIZED);
      state.stream = stream;
    },
    cublasSetWorkspace_v2: (handle, workspace, byteLength) => {
      if (handles.get(handle) === undefined) refuse(NOT_INITIALIZED);
      if (workspace % 256n !== 0n) refuse(INVALID_VALUE);
      device.memory.range(Number(workspace), Number(byteLength), true, "cublasSetWorkspace_v2");
    },
    cublasSetMathMode: (handle, _mode) => handles.get(handle) === undefined ? NOT_INITIALIZED : 0,
    cublasSgemm_v2: (handle, transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc) =>
      gemm(handle, "cublasSgemm_v2", {
        ...{ transA, transB, m, n, k, lda, ldb, ldc, alpha: float(alpha), beta: float(beta) },
        ...{ a: Number(a), b: Number(b), c: Number(c), compute: Blas.compute32f },
      }),
    cublasGemmEx: (
      handle,
      transA,
      transB,
      m,
      n,
      k,
      alpha,
      a,
      typeA,
      lda,
      b,
      typeB,
      ldb,
      beta,
      c,
      typeC,
      ldc,
      compute,
      _algorithm,
    ) => {
      const floats = [typeA, typeB, typeC].every((type) => type === Blas.real32f);
      if (!floats || !(compute in ROUNDING)) refuse(NOT_SUPPORTED);
      gemm(handle, "cublasGemmEx", {
        ...{ transA, transB, m, n, k, lda, ldb, ldc, alpha: float(alpha), beta: float(beta) },
        ...{ a: Number(a), b: Number(b), c: Number(c), compute },
      });
    },
  };
}

/** Low mantissa bits that each compute type drops from its operands. */
export const ROUNDING: Record<number, number> = {
  [Blas.compute32f]: 0,
  [Blas.compute32fFastTf32]: 13,
  [Blas.compute32fFast16bf]: 16,
};

/** Computes a product; `doing` names the call in faults. */
export function multiply(device: DeviceState, doing: string, p: Product): void {
  const { m, n, k, epilogue } = p;
  if (m === 0 || n === 0) return;
  const at = (address: number, rows: number, columns: number, ld: number, write: boolean) => {
    const words = rows === 0 || columns === 0 ? 0 : ld * (columns - 1) + rows;
    const { region, offset } = device.memory.range(address, 4 * words, write, doing);
    if (offset % 4 !== 0) throw new EmulationError(`${doing} has a matrix at a misaligned address`);
    return region.f32.subarray(offset / 4, offset / 4 + words);
  };
  const a = at(p.a, p.transA === Blas.opN ? m : k, p.transA === Blas.opN ? k : m, p.lda, false);
  const b = at(p.b, p.transB === Blas.opN ? k : n, p.transB === Blas.opN ? n : k, p.ldb, false);
  if (p.beta !== 0) at(p.c, m, n, p.ldc, false);
  const bias = epilogue && at(epilogue.bias, m, 1, m, false);
  const c = at(p.c, m, n, p.ldc, true);
  const left = packed(a, m, k, p.lda, p.transA !== Blas.opN, ROUNDING[p.compute]);
  const right = packed(b, n, k, p.ldb, p.transB === Blas.opN, ROUNDING[p.compute]);
  for (let j = 0; j < n; j++) {
    for (let i = 0; i < m; i++) {
      let sum = 0;
      for (let l = 0, x = i * k, y = j * k; l < k; l++) sum += left[x++] * right[y++];
      const at = j * p.ldc + i;
      // The sum is that of a GPU, in f32, before an epilogue adds the bias.
      const value = Math.fround(p.alpha * sum + (p.beta === 0 ? 0 : p.beta * c[at])) +
        (bias === undefined ? 0 : bias[i]);
      c[at] = epilogue?.relu && value < 0 ? 0 : value; // NaN stays NaN
    }
  }
}

/**
 * A copy of a matrix in which each of `rows` rows has k consecutive words; `contiguous` if rows are already
 * consecutive, `ld` words apart.
 */
function packed(
  matrix: Float32Array<ArrayBuffer>,
  rows: number,
  k: number,
  ld: number,
  contiguous: boolean,
  droppedBits: number,
): Float64Array {
  const result = new Float64Array(rows * k);
  const float = new Float32Array(1), bits = new Uint32Array(float.buffer);
  for (let i = 0; i < rows; i++) {
    for (let l = 0; l < k; l++) {
      let value = matrix[contiguous ? i * ld + l : l * ld + i];
      if (droppedBits > 0) { // round to nearest, ties to even
        float[0] = value;
        const half = 2 ** (droppedBits - 1);
        const odd = (bits[0] >>> droppedBits) & 1;
        bits[0] = Math.floor((bits[0] + half - 1 + odd) / 2 ** droppedBits) * 2 ** droppedBits;
        value = float[0];
      }
      result[i * k + l] = value;
    }
  }
  return result;
}
