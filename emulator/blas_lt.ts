/**
 * The emulated libcublasLt: products with an epilogue. Its heuristic has one algorithm, which works only for the sizes
 * and alignments that were asked for.
 */
import { Blas } from "../ffi/cublas.ts";
import { BlasLt, type cublasLtSymbols } from "../ffi/cublas_lt.ts";
import { EXECUTION_FAILED, multiply, ROUNDING, STATUS } from "./blas.ts";
import { type Handles, type Implementation, putInt, putWord } from "./marshal.ts";
import { EmulationError } from "./memory.ts";
import { type DeviceState, refuse } from "./state.ts";

type Pointer = Deno.PointerValue;

const VERSION = [12, 0, 0];
/** First word of an algorithm. */
const ALGORITHM = 0x1a;
/** Alignment in bytes of operands that the library assumes unless a preference says otherwise. */
const DEFAULT_ALIGNMENT = 256;

interface Matmul {
  readonly kind: "product";
  readonly compute: number;
  readonly attributes: Map<number, bigint>;
}

interface Layout {
  readonly kind: "layout";
  readonly rows: number;
  readonly columns: number;
  readonly ld: number;
}

interface Preference {
  readonly kind: "preference";
  readonly attributes: Map<number, bigint>;
}

/** Objects behind the handles of libcublasLt. */
type LtObject = { readonly kind: "handle" } | Matmul | Layout | Preference;

/** Implements the functions of libcublasLt. */
export function blasLtImplementation(
  device: DeviceState,
  objects: Handles<LtObject>,
): Implementation<typeof cublasLtSymbols> {
  const INVALID_VALUE = 7;
  const create = (out: Pointer, object: LtObject) => putWord(out, objects.add(object));
  const destroy = (handle: Pointer) => objects.remove(handle) ? 0 : INVALID_VALUE;
  const object = <K extends LtObject["kind"]>(handle: Pointer, kind: K): Extract<LtObject, { kind: K }> => {
    const found = objects.get(handle);
    if (found?.kind !== kind) refuse(INVALID_VALUE);
    return found as Extract<LtObject, { kind: K }>;
  };
  const setAttribute = (
    handle: Pointer,
    kind: "product" | "preference",
    key: number,
    value: Pointer,
    bytes: bigint,
  ) => {
    const view = new Deno.UnsafePointerView(value!);
    if (bytes !== 4n && bytes !== 8n) refuse(INVALID_VALUE);
    object(handle, kind).attributes.set(key, bytes === 4n ? BigInt(view.getUint32()) : view.getBigUint64());
  };

  /** What an algorithm depends on, if the operation is supported. */
  const sizesOf = (product: Matmul, a: Layout, b: Layout, d: Layout) => {
    const { attributes } = product;
    const [m, n, k] = [d.rows, d.columns, b.rows];
    const fits = a.rows === k && a.columns === m && b.columns === n && a.ld >= k && b.ld >= k && d.ld >= m;
    if (!fits) refuse(INVALID_VALUE);
    const epilogue = Number(attributes.get(BlasLt.descEpilogue) ?? 1);
    const transposed = attributes.get(BlasLt.descTransA) === BigInt(Blas.opT);
    const supported = [BlasLt.epilogueBias, BlasLt.epilogueReluBias].some((one) => one === epilogue);
    if (!transposed || !supported || !(product.compute in ROUNDING)) refuse(BlasLt.statusNotSupported);
    return { m, n, k, epilogue };
  };

  return {
    cublasLtGetStatusName: (code) => device.strings.pointer(STATUS[code]?.[0] ?? "unknown"),
    cublasLtGetStatusString: (code) =>
      device.strings.pointer((code === EXECUTION_FAILED ? device.fault : undefined) ?? STATUS[code]?.[1] ?? "unknown"),
    cublasLtGetProperty: (type, value) => putInt(value, VERSION[type]),
    cublasLtCreate: (out) => create(out, { kind: "handle" }),
    cublasLtDestroy: destroy,
    cublasLtMatmulDescCreate: (out, compute, scale) => {
      if (scale !== Blas.real32f) refuse(BlasLt.statusNotSupported);
      putWord(out, objects.add({ kind: "product", compute, attributes: new Map() }));
    },
    cublasLtMatmulDescDestroy: destroy,
    cublasLtMatmulDescSetAttribute: (product, key, value, bytes) => setAttribute(product, "product", key, value, bytes),
    cublasLtMatrixLayoutCreate: (out, type, rows, columns, ld) => {
      if (type !== Blas.real32f) refuse(BlasLt.statusNotSupported);
      if (rows < 1n || columns < 1n || ld < rows) refuse(INVALID_VALUE);
      const sizes = { rows: Number(rows), columns: Number(columns), ld: Number(ld) };
      putWord(out, objects.add({ kind: "layout", ...sizes }));
    },
    cublasLtMatrixLayoutDestroy: destroy,
    cublasLtMatmulPreferenceCreate: (out) => create(out, { kind: "preference", attributes: new Map() }),
    cublasLtMatmulPreferenceDestroy: destroy,
    cublasLtMatmulPreferenceSetAttribute: (preference, key, value, bytes) =>
      setAttribute(preference, "preference", key, value, bytes),
    cublasLtMatmulAlgoGetHeuristic: (handle, product, a, b, c, d, preference, count, results, found) => {
      object(handle, "handle");
      if (count < 1 || c === null) refuse(INVALID_VALUE);
      const { m, n, k, epilogue } = sizesOf(
        object(product, "product"),
        object(a, "layout"),
        object(b, "layout"),
        object(d, "layout"),
      );
      const { attributes } = object(preference, "preference");
      const alignments = BlasLt.preferenceMinAlignments.map((key) => Number(attributes.get(key) ?? DEFAULT_ALIGNMENT));
      const workspace = Number(attributes.get(BlasLt.preferenceMaxWorkspaceBytes) ?? 0);
      const result = new Uint32Array(Deno.UnsafePointerView.getArrayBuffer(results!, BlasLt.resultBytes));
      result.set([ALGORITHM, m, n, k, epilogue, workspace, ...alignments]);
      result.set([workspace, 0, 0], BlasLt.algorithmBytes / 4); // its size and the result's status
      putInt(found, 1);
    },
    cublasLtMatmul: (
      handle,
      product,
      alpha,
      a,
      aLayout,
      b,
      bLayout,
      beta,
      c,
      cLayout,
      d,
      dLayout,
      algorithm,
      workspace,
      workspaceBytes,
      stream,
    ) => {
      const doing = "cublasLtMatmul";
      object(handle, "handle");
      const float = (pointer: Pointer) => new Deno.UnsafePointerView(pointer!).getFloat32();
      const described = object(product, "product");
      const [la, lb, ld] = [aLayout, bLayout, dLayout].map((layout) => object(layout, "layout"));
      const { m, n, k, epilogue } = sizesOf(described, la, lb, ld);
      const words = new Uint32Array(Deno.UnsafePointerView.getArrayBuffer(algorithm!, BlasLt.algorithmBytes));
      const same = [ALGORITHM, m, n, k, epilogue].every((word, i) => words[i] === word);
      if (!same || c !== d || cLayout === null || Number(workspaceBytes) < words[5]) refuse(INVALID_VALUE);
      const promised = words.slice(6, 10);
      if (workspace % 256n !== 0n) refuse(INVALID_VALUE);
      device.memory.range(Number(workspace), Number(workspaceBytes), true, doing);
      const bias = Number(described.attributes.get(BlasLt.descBiasPointer) ?? 0n);
      const operation = {
        ...{ transA: Blas.opT, transB: Blas.opN, m, n, k, alpha: float(alpha), beta: float(beta) },
        ...{ a: Number(a), lda: la.ld, b: Number(b), ldb: lb.ld, c: Number(d), ldc: ld.ld },
        ...{ compute: described.compute, epilogue: { bias, relu: epilogue === BlasLt.epilogueReluBias } },
      };
      const run = () => { // as on a GPU, the kernel finds wrong alignment
        [a, b, c, d, BigInt(bias)].forEach((address, i) => {
          const alignment = promised[Math.min(i, 3)]; // the bias may be read as D is written
          if (address % BigInt(alignment) === 0n) return;
          throw new EmulationError(
            `${doing} has operand ${["A", "B", "C", "D", "bias"][i]} not aligned to ${alignment} bytes as promised`,
          );
        });
        device.counters.libraryCalls++;
        multiply(device, doing, operation);
      };
      device.enqueue(stream, { isCopy: false, run }, doing);
    },
  };
}
