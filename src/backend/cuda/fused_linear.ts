/** Layers whose bias and ReLU are the last step of their product, by cuBLASLt. */
import { Blas } from "../../../ffi/cublas.ts";
import { BlasLt, type CublasLt } from "../../../ffi/cublas_lt.ts";
import { CudaError } from "../../../ffi/cuda_error.ts";
import { pointerAt } from "../../../ffi/pointer.ts";
import { LibraryError } from "../../../ffi/library.ts";
import { HotsetError } from "../../errors.ts";
import type { Activation } from "../backend.ts";
import type { CudaDevice } from "./device.ts";
import { COMPUTE, type Gemm, type Precision } from "./gemm.ts";
import type { DeviceBuffer } from "./memory.ts";
import { WORKSPACE_BYTES } from "./sizes.ts";

/**
 * Implementation of bias and activation: Hotset's kernel after a product; cuDNN, after a kernel that adds the bias; or the
 * product itself, by cuBLASLt (identity and ReLU, forward; Hotset's kernel does the rest). `auto` is cuBLASLt if it is
 * installed, else the kernel.
 */
export type ActivationLibrary = "auto" | "ptx" | "cudnn" | "cublaslt";

/** Alignment in bytes beyond which no algorithm gains. */
const MAX_ALIGNMENT = 256n;
const WORKSPACE = BigInt(WORKSPACE_BYTES);
/** The last step of a product; other activations have none. */
const EPILOGUES: Partial<Record<Activation, number>> = {
  identity: BlasLt.epilogueBias,
  relu: BlasLt.epilogueReluBias,
};

/** A product whose algorithm is chosen: the handles of its description, and the library's algorithm. */
interface Algorithm {
  readonly product: Deno.PointerValue;
  readonly weight: Deno.PointerValue;
  readonly x: Deno.PointerValue;
  readonly y: Deno.PointerValue;
  readonly words: Uint8Array<ArrayBuffer>;
}

/** Sizes and addresses of a product, and its algorithm: undefined if the library has none. */
interface Plan {
  readonly epilogue: number;
  readonly samples: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly weight: bigint;
  readonly x: bigint;
  readonly bias: bigint;
  readonly algorithm: Algorithm | undefined;
}

/**
 * A cuBLASLt handle. The library chooses an algorithm at the first product of given operands, because alignment matters
 * too; later ones, such as those in a recorded sequence, only launch it.
 */
export class FusedLinear {
  /** "cuBLASLt" with its version. */
  readonly name: string;
  readonly #device: CudaDevice;
  readonly #lt: CublasLt;
  readonly #precision: Precision;
  readonly #workspace: DeviceBuffer;
  readonly #handle: Deno.PointerValue;
  /** Plans by the output of the layer: one for each number of samples, and for each slot of batches if it reads one. */
  readonly #plans = new Map<DeviceBuffer, Plan[]>();
  readonly #one = new Float32Array([1]);
  readonly #zero = new Float32Array([0]);

  /** Uses the workspace of `gemm`, whose products are on the same stream. */
  constructor(device: CudaDevice, lt: CublasLt, precision: Precision, gemm: Gemm) {
    this.#device = device;
    this.#lt = lt;
    this.#precision = precision;
    this.#workspace = gemm.workspace;
    this.#handle = this.#made(lt.cublasLtCreate, lt.cublasLtDestroy);
    const version = [0, 1, 2].map((part) => {
      const value = new Int32Array(1);
      lt.cublasLtGetProperty(part, value);
      return value[0];
    });
    this.name = `cuBLASLt ${version.join(".")}`;
  }

  /**
   * y (samples, outputs) = activation(x (samples, inputs) weightᵀ + bias) in one launch. Returns false, having done
   * nothing, if the library has no algorithm for it.
   */
  forward(
    activation: Activation,
    samples: number,
    inputs: number,
    outputs: number,
    x: DeviceBuffer,
    weight: DeviceBuffer,
    bias: DeviceBuffer,
    y: DeviceBuffer,
  ): boolean {
    const epilogue = EPILOGUES[activation];
    if (epilogue === undefined || samples * inputs * outputs === 0) return false;
    const algorithm = this.#algorithmFor(epilogue, samples, inputs, outputs, x, weight, bias, y);
    if (algorithm === undefined) return false;
    const { counters, recording, stream } = this.#device;
    const D = y.address;
    this.#lt.cublasLtMatmul(
      this.#handle,
      algorithm.product,
      this.#one,
      weight.address,
      algorithm.weight,
      x.address,
      algorithm.x,
      this.#zero,
      D,
      algorithm.y,
      D,
      algorithm.y,
      algorithm.words,
      this.#workspace.address,
      WORKSPACE,
      stream,
    );
    if (!recording) counters.launches++;
    return true;
  }

  /** The algorithm of a product, chosen at its first call; later calls allocate nothing. */
  #algorithmFor(
    epilogue: number,
    samples: number,
    inputs: number,
    outputs: number,
    x: DeviceBuffer,
    weight: DeviceBuffer,
    bias: DeviceBuffer,
    y: DeviceBuffer,
  ): Algorithm | undefined {
    let plans = this.#plans.get(y);
    if (plans === undefined) this.#plans.set(y, plans = []);
    for (const plan of plans) {
      const isSize = plan.samples === samples && plan.inputs === inputs && plan.outputs === outputs;
      const isPlace = plan.x === x.address && plan.weight === weight.address && plan.bias === bias.address;
      if (isSize && isPlace && plan.epilogue === epilogue) return plan.algorithm;
    }
    const sizes = { epilogue, samples, inputs, outputs };
    const operands = { weight: weight.address, x: x.address, bias: bias.address };
    const algorithm = this.#choose(sizes, operands, y.address);
    plans.push({ ...sizes, ...operands, algorithm });
    return algorithm;
  }

  /** cuBLASLt is column-major and sees the transposes: yᵀ = weight xᵀ, with a bias for each row of yᵀ. */
  #choose(
    { epilogue, samples, inputs, outputs }: Pick<Plan, "epilogue" | "samples" | "inputs" | "outputs">,
    { weight, x, bias }: Pick<Plan, "weight" | "x" | "bias">,
    y: bigint,
  ): Algorithm | undefined {
    const lt = this.#lt;
    const layout = (rows: number, columns: number) =>
      this.#made(
        (out) => lt.cublasLtMatrixLayoutCreate(out, Blas.real32f, BigInt(rows), BigInt(columns), BigInt(rows)),
        lt.cublasLtMatrixLayoutDestroy,
      );
    const algorithm = {
      product: this.#made(
        (out) => lt.cublasLtMatmulDescCreate(out, COMPUTE[this.#precision], Blas.real32f),
        lt.cublasLtMatmulDescDestroy,
      ),
      ...{ weight: layout(inputs, outputs), x: layout(inputs, samples), y: layout(outputs, samples) },
      words: new Uint8Array(BlasLt.algorithmBytes),
    };
    const set = (key: number, value: Uint32Array<ArrayBuffer> | BigUint64Array<ArrayBuffer>) =>
      lt.cublasLtMatmulDescSetAttribute(algorithm.product, key, value, BigInt(value.byteLength));
    set(BlasLt.descTransA, new Uint32Array([Blas.opT]));
    set(BlasLt.descEpilogue, new Uint32Array([epilogue]));
    set(BlasLt.descBiasPointer, new BigUint64Array([bias]));
    // The alignment of the bias counts as that of the output, in case it is read in the same way.
    const found = this.#heuristic(algorithm, [weight, x, y, y | bias].map(alignmentOf));
    if (found === undefined) return undefined;
    algorithm.words.set(found);
    return algorithm;
  }

  /** The algorithm that the library expects to be the fastest; undefined if it has none. */
  #heuristic({ product, weight, x, y }: Algorithm, alignments: number[]): Uint8Array | undefined {
    const lt = this.#lt;
    const preference = pointerAt(this.#device.made((out) => lt.cublasLtMatmulPreferenceCreate(out)));
    const result = new Uint8Array(BlasLt.resultBytes), count = new Int32Array(1);
    try {
      const set = (key: number, value: Uint32Array<ArrayBuffer> | BigUint64Array<ArrayBuffer>) =>
        lt.cublasLtMatmulPreferenceSetAttribute(preference, key, value, BigInt(value.byteLength));
      set(BlasLt.preferenceMaxWorkspaceBytes, new BigUint64Array([WORKSPACE]));
      BlasLt.preferenceMinAlignments.forEach((key, operand) => set(key, new Uint32Array([alignments[operand]])));
      lt.cublasLtMatmulAlgoGetHeuristic(
        ...[this.#handle, product, weight, x, y, y, preference, 1, result, count] as const,
      );
    } catch (error) {
      const cause = error instanceof HotsetError ? error.cause : undefined;
      if (!(cause instanceof CudaError) || cause.code !== BlasLt.statusNotSupported) throw error;
    } finally {
      lt.cublasLtMatmulPreferenceDestroy(preference);
    }
    return count[0] === 0 ? undefined : result.subarray(0, BlasLt.algorithmBytes);
  }

  /** A handle that is destroyed with the device. */
  #made(
    create: (out: BigUint64Array<ArrayBuffer>) => void,
    destroy: (handle: Deno.PointerValue) => void,
  ): Deno.PointerValue {
    const handle = pointerAt(this.#device.made(create));
    this.#device.own(() => destroy(handle));
    return handle;
  }
}

/**
 * Opens cuBLASLt; undefined if other activations were chosen, or `auto` and it is not installed. Throws HotsetError if it
 * was chosen and is not installed.
 */
export function openFused(
  device: CudaDevice,
  activations: ActivationLibrary,
  precision: Precision,
  gemm: Gemm,
): FusedLinear | undefined {
  if (activations !== "auto" && activations !== "cublaslt") return undefined;
  try {
    return new FusedLinear(device, device.libraries.blasLt(), precision, gemm);
  } catch (error) {
    if (!(error instanceof LibraryError)) throw error;
    if (activations === "auto") return undefined;
    throw new HotsetError(`Cannot use activations cublaslt: ${error.message}\n--activations ptx does not need it.`, {
      cause: error,
    });
  }
}

/** The largest power of two that divides an address, or all addresses that were combined by `|`, of those that matter. */
function alignmentOf(address: bigint): number {
  const alignment = address & -address;
  return Number(alignment < MAX_ALIGNMENT ? alignment : MAX_ALIGNMENT);
}
