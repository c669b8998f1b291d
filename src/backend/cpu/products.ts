/** Matrix products of layers, by the WASM kernels or by a library in single precision or bf16. */
import type { Buffer, LinearGradients, LinearShape } from "../backend.ts";
import { Bf16Copies, type CopyMemory, isWide } from "../bf16_copies.ts";
import type { Bf16Gemm, Gemm, Rounding } from "../../../ffi/gemm.ts";
import { at, atOrNull, type CpuBuffer, floats } from "./cpu_buffer.ts";
import { ACTIVATION_CODES, type Address, type Kernels } from "./wasm/kernels.ts";

/** Most samples of a product with a packed weight, which is read once for every six of them, whatever cache it fits. */
const FEW_SAMPLES = 24;

/** A library of matrix products with the precision of its operands. */
export type Library =
  | { readonly precision: "fp32"; readonly gemm: Gemm }
  | { readonly precision: "bf16"; readonly gemm: Bf16Gemm; readonly narrow: Gemm };

/** The products of layers, for at least one sample. */
export interface Products {
  /** Name for messages. */
  readonly name: string;
  /** See `Backend.prepareLinear`; undefined if the products need no memory of their own. */
  prepare?(shape: LinearShape, x: Buffer, weight: Buffer): void;
  /** See `Backend.linear`. */
  linear(shape: LinearShape, samples: number, x: Buffer, weight: Buffer, bias: Buffer | undefined, y: Buffer): void;
  /** dWeight = dYᵀ x and, unless dX is undefined, dX = dY weight; each added if the buffers say so. */
  gradients(shape: LinearShape, samples: number, buffers: LinearGradients): void;
}

/** Allocates memory in the kernels' memory, which is never freed. */
export type TakeScratch = (bytes: number) => CpuBuffer;

/** Uses the library, or the kernels if there is none. See `CpuOptions.fixedWeights`. */
export function productsBy(
  library: Library | undefined,
  kernels: Kernels,
  takeScratch: TakeScratch,
  fixedWeights: boolean,
): Products {
  if (library === undefined) {
    const products = new KernelProducts(kernels, takeScratch(kernels.gemmScratchBytes()));
    return fixedWeights ? new FixedWeightProducts(kernels, takeScratch, products) : products;
  }
  return library.precision === "fp32"
    ? new LibraryProducts(kernels, library.gemm)
    : new Bf16Products(kernels, library.gemm, library.narrow, takeScratch);
}

class KernelProducts implements Products {
  readonly name = "WASM SIMD";
  readonly #kernels: Kernels;
  readonly #scratch: CpuBuffer;

  constructor(kernels: Kernels, scratch: CpuBuffer) {
    this.#kernels = kernels;
    this.#scratch = scratch;
  }

  linear(shape: LinearShape, samples: number, x: Buffer, weight: Buffer, bias: Buffer | undefined, y: Buffer): void {
    const { inputs, outputs, activation } = shape;
    const code = ACTIVATION_CODES[activation];
    const scratch = this.#scratch.address;
    this.#kernels.linear(samples, inputs, outputs, code, at(x), at(weight), atOrNull(bias), at(y), scratch);
  }

  gradients({ inputs, outputs }: LinearShape, samples: number, buffers: LinearGradients): void {
    const { x, weight, dY, dX, dWeight } = buffers;
    const scratch = this.#scratch.address;
    this.#kernels.linearWeightGradient(samples, inputs, outputs, at(dY), at(x), at(dWeight), scratch);
    if (dX === undefined) return;
    this.#kernels.linearInputGradient(samples, inputs, outputs, at(dY), at(weight), at(dX), scratch);
  }
}

/** Packs each weight once, at its first product, for products of few samples. The bits are those of other products. */
class FixedWeightProducts implements Products {
  readonly name: string;
  readonly #kernels: Kernels;
  readonly #takeScratch: TakeScratch;
  readonly #others: KernelProducts;
  readonly #packed = new Map<Address, Address>();
  #scratch: CpuBuffer;

  constructor(kernels: Kernels, takeScratch: TakeScratch, others: KernelProducts) {
    this.name = others.name;
    this.#kernels = kernels;
    this.#takeScratch = takeScratch;
    this.#others = others;
    this.#scratch = takeScratch(0);
  }

  linear(shape: LinearShape, samples: number, x: Buffer, weight: Buffer, bias: Buffer | undefined, y: Buffer): void {
    if (samples > FEW_SAMPLES) return this.#others.linear(shape, samples, x, weight, bias, y);
    const { inputs, outputs, activation } = shape;
    const packed = this.#packed.get(at(weight)) ?? this.#pack(shape, weight);
    const code = ACTIVATION_CODES[activation];
    const { address } = this.#scratch;
    this.#kernels.linearPacked(samples, inputs, outputs, code, at(x), packed, atOrNull(bias), at(y), address);
  }

  #pack({ inputs, outputs }: LinearShape, weight: Buffer): Address {
    const { address } = this.#takeScratch(4 * this.#kernels.packedWords(inputs, outputs));
    this.#kernels.packWeight(inputs, outputs, at(weight), address);
    this.#packed.set(at(weight), address);
    const bytes = this.#kernels.packedScratchBytes(outputs);
    if (4 * this.#scratch.words < bytes) this.#scratch = this.#takeScratch(bytes);
    return address;
  }

  gradients(shape: LinearShape, samples: number, buffers: LinearGradients): void {
    this.#others.gradients(shape, samples, buffers);
  }
}

class LibraryProducts implements Products {
  readonly name: string;
  readonly #kernels: Kernels;
  readonly #gemm: Gemm;

  constructor(kernels: Kernels, gemm: Gemm) {
    this.name = gemm.version;
    this.#kernels = kernels;
    this.#gemm = gemm;
  }

  linear(shape: LinearShape, samples: number, x: Buffer, weight: Buffer, bias: Buffer | undefined, y: Buffer): void {
    const { inputs, outputs, activation } = shape;
    this.#gemm.gemm(false, true, samples, outputs, inputs, floats(x), floats(weight), floats(y));
    if (bias === undefined) return;
    this.#kernels.biasActivation(samples, outputs, ACTIVATION_CODES[activation], at(bias), at(y));
  }

  gradients({ inputs, outputs }: LinearShape, samples: number, buffers: LinearGradients): void {
    const { x, weight, dY, dX, dWeight, addsX, addsWeight } = buffers;
    this.#gemm.gemm(true, false, outputs, inputs, samples, floats(dY), floats(x), floats(dWeight), addsWeight);
    if (dX === undefined) return;
    this.#gemm.gemm(false, false, samples, inputs, outputs, floats(dY), floats(weight), floats(dX), addsX);
  }
}

/**
 * Operands are rounded to bf16; sums, results, parameters and gradients have single precision, so small updates of a
 * weight are not lost. The gradients of a layer use what its forward pass has rounded.
 */
class Bf16Products implements Products {
  readonly name: string;
  readonly #kernels: Kernels;
  readonly #gemm: Bf16Gemm;
  readonly #narrow: Products;
  readonly #copies: Bf16Copies<Rounded>;

  constructor(kernels: Kernels, gemm: Bf16Gemm, narrow: Gemm, takeScratch: TakeScratch) {
    this.name = gemm.version;
    this.#kernels = kernels;
    this.#gemm = gemm;
    this.#narrow = new LibraryProducts(kernels, narrow);
    this.#copies = new Bf16Copies(() => new Rounded(kernels, takeScratch, gemm.rounding));
  }

  prepare(shape: LinearShape, x: Buffer, weight: Buffer): void {
    this.#copies.prepare(shape, x, weight);
    this.#gemm.expect(Math.floor(x.words / shape.inputs));
  }

  linear(shape: LinearShape, samples: number, x: Buffer, weight: Buffer, bias: Buffer | undefined, y: Buffer): void {
    if (!isWide(shape)) return this.#narrow.linear(shape, samples, x, weight, bias, y);
    const { inputs, outputs, activation, sameWeight = false } = shape;
    const left = this.#copies.of(x).round(samples * inputs, x);
    const weights = this.#copies.of(weight);
    const right = sameWeight ? weights.last(outputs * inputs, weight) : weights.round(outputs * inputs, weight);
    this.#gemm.gemm(false, true, samples, outputs, inputs, left, right, floats(y));
    if (bias === undefined) return;
    this.#kernels.biasActivation(samples, outputs, ACTIVATION_CODES[activation], at(bias), at(y));
  }

  gradients(shape: LinearShape, samples: number, buffers: LinearGradients): void {
    if (!isWide(shape)) return this.#narrow.gradients(shape, samples, buffers);
    const { inputs, outputs } = shape;
    const { x, weight, dY, dX, dWeight, addsX, addsWeight } = buffers;
    const left = this.#copies.gradients.round(samples * outputs, dY);
    const right = this.#copies.of(x).take(samples * inputs, x);
    this.#gemm.gemm(true, false, outputs, inputs, samples, left, right, floats(dWeight), addsWeight);
    if (dX === undefined) return;
    const rows = this.#copies.of(weight).take(outputs * inputs, weight);
    this.#gemm.gemm(false, false, samples, inputs, outputs, left, rows, floats(dX), addsX);
  }
}

/** A matrix in bf16. */
class Rounded implements CopyMemory {
  readonly #kernels: Kernels;
  readonly #takeScratch: TakeScratch;
  readonly #rounding: Rounding | undefined;
  #place: CpuBuffer;
  #matrix: Uint16Array = new Uint16Array(0);
  /** Words of the last matrix, and those of them that `take` may use, once. */
  #words = 0;
  #ready = 0;

  /** The kernels round matrices of sizes that `rounding` is not prepared for. */
  constructor(kernels: Kernels, takeScratch: TakeScratch, rounding: Rounding | undefined) {
    this.#kernels = kernels;
    this.#takeScratch = takeScratch;
    this.#rounding = rounding;
    this.#place = takeScratch(0);
  }

  reserve(words: number): void {
    this.#rounding?.prepare(words);
    if (this.#matrix.length >= words) return;
    this.#place = this.#takeScratch(2 * words);
    const { buffer, byteOffset } = this.#place.floats;
    this.#matrix = new Uint16Array(buffer, byteOffset, words);
  }

  /** Rounds the first `words` of a matrix. The result is valid until the next call. */
  round(words: number, matrix: Buffer): Uint16Array {
    if (this.#matrix.length < words) this.reserve(words);
    if (!this.#rounding?.round(words, floats(matrix), this.#matrix)) {
      this.#kernels.roundToBf16(words, at(matrix), this.#place.address);
    }
    this.#words = this.#ready = words;
    return this.#matrix;
  }

  /** The result of the last `round`, whose matrix has not changed since; a new one if that was shorter. */
  last(words: number, matrix: Buffer): Uint16Array {
    if (this.#words < words) return this.round(words, matrix);
    this.#ready = words;
    return this.#matrix;
  }

  /** The result of the last `round` of the same matrix, or a new one if that was taken before or is shorter. */
  take(words: number, matrix: Buffer): Uint16Array {
    if (this.#ready < words) this.round(words, matrix);
    this.#ready = 0;
    return this.#matrix;
  }
}
