/** Layers whose bias and ReLU are the last step of their product, by cuBLASLt. */
import { Blas } from "../../../ffi/cublas.ts";
import { BlasLt, type CublasLt } from "../../../ffi/cublas_lt.ts";
import { CudaError } from "../../../ffi/cuda_error.ts";
import { pointerAt } from "../../../ffi/pointer.ts";
import { HotsetError } from "../../errors.ts";
import type { Activation, LinearShape } from "../backend.ts";
import type { CudaDevice } from "./device.ts";
import { COMPUTE, type Gemm, type Precision } from "./gemm.ts";
import type { DeviceBuffer } from "./memory.ts";
import { WORKSPACE_BYTES } from "./sizes.ts";

/** Alignment in bytes beyond which no algorithm gains. */
const MAX_ALIGNMENT = 256n;
/** The last step of a product; other activations have none. */
const EPILOGUES: Partial<Record<Activation, number>> = {
  identity: BlasLt.epilogueBias,
  relu: BlasLt.epilogueReluBias,
};

/** A product whose algorithm is chosen: the handles of its description, and the library's algorithm. */
interface Plan {
  readonly product: Deno.PointerValue;
  readonly weight: Deno.PointerValue;
  readonly x: Deno.PointerValue;
  readonly y: Deno.PointerValue;
  readonly algorithm: Uint8Array<ArrayBuffer>;
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
  /** Plans by sizes and addresses; undefined where the library has no algorithm. */
  readonly #plans = new Map<string, Plan | undefined>();
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
    { inputs, outputs, activation }: LinearShape,
    samples: number,
    x: DeviceBuffer,
    weight: DeviceBuffer,
    bias: DeviceBuffer,
    y: DeviceBuffer,
  ): boolean {
    const epilogue = EPILOGUES[activation];
    if (epilogue === undefined || samples * inputs * outputs === 0) return false;
    const operands = [weight.address, x.address, y.address, bias.address] as const;
    const key = [samples, inputs, outputs, epilogue, ...operands].join();
    let plan = this.#plans.get(key);
    if (plan === undefined && !this.#plans.has(key)) {
      plan = this.#plan(samples, inputs, outputs, epilogue, operands);
      this.#plans.set(key, plan);
    }
    if (plan === undefined) return false;
    const { counters, recording, stream } = this.#device;
    this.#lt.cublasLtMatmul(
      ...[this.#handle, plan.product, this.#one, weight.address, plan.weight, x.address, plan.x] as const,
      ...[this.#zero, y.address, plan.y, y.address, plan.y, plan.algorithm] as const,
      ...[this.#workspace.address, BigInt(WORKSPACE_BYTES), stream] as const,
    );
    if (!recording) counters.launches++;
    return true;
  }

  /** cuBLASLt is column-major and sees the transposes: yᵀ = weight xᵀ, with a bias for each row of yᵀ. */
  #plan(
    samples: number,
    inputs: number,
    outputs: number,
    epilogue: number,
    [weight, x, y, bias]: readonly [bigint, bigint, bigint, bigint],
  ): Plan | undefined {
    const lt = this.#lt;
    const layout = (rows: number, columns: number) =>
      this.#made(
        (out) => lt.cublasLtMatrixLayoutCreate(out, Blas.real32f, BigInt(rows), BigInt(columns), BigInt(rows)),
        lt.cublasLtMatrixLayoutDestroy,
      );
    const plan = {
      product: this.#made(
        (out) => lt.cublasLtMatmulDescCreate(out, COMPUTE[this.#precision], Blas.real32f),
        lt.cublasLtMatmulDescDestroy,
      ),
      ...{ weight: layout(inputs, outputs), x: layout(inputs, samples), y: layout(outputs, samples) },
      algorithm: new Uint8Array(BlasLt.algorithmBytes),
    };
    const set = (key: number, value: Uint32Array<ArrayBuffer> | BigUint64Array<ArrayBuffer>) =>
      lt.cublasLtMatmulDescSetAttribute(plan.product, key, value, BigInt(value.byteLength));
    set(BlasLt.descTransA, new Uint32Array([Blas.opT]));
    set(BlasLt.descEpilogue, new Uint32Array([epilogue]));
    set(BlasLt.descBiasPointer, new BigUint64Array([bias]));
    // The alignment of the bias counts as that of the output, in case it is read in the same way.
    const found = this.#heuristic(plan, [weight, x, y, y | bias].map(alignmentOf));
    if (found === undefined) return undefined;
    plan.algorithm.set(found);
    return plan;
  }

  /** The algorithm that the library expects to be the fastest; undefined if it has none. */
  #heuristic(plan: Plan, alignments: number[]): Uint8Array | undefined {
    const lt = this.#lt;
    const preference = pointerAt(this.#device.made((out) => lt.cublasLtMatmulPreferenceCreate(out)));
    const result = new Uint8Array(BlasLt.resultBytes), count = new Int32Array(1);
    try {
      const set = (key: number, value: Uint32Array<ArrayBuffer> | BigUint64Array<ArrayBuffer>) =>
        lt.cublasLtMatmulPreferenceSetAttribute(preference, key, value, BigInt(value.byteLength));
      set(BlasLt.preferenceMaxWorkspaceBytes, new BigUint64Array([BigInt(WORKSPACE_BYTES)]));
      BlasLt.preferenceMinAlignments.forEach((key, operand) => set(key, new Uint32Array([alignments[operand]])));
      const { product, weight, x, y } = plan;
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

/** The largest power of two that divides an address, or all addresses that were combined by `|`, of those that matter. */
function alignmentOf(address: bigint): number {
  const alignment = address & -address;
  return Number(alignment < MAX_ALIGNMENT ? alignment : MAX_ALIGNMENT);
}
