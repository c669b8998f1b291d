/** Matrix products of layers, by the WASM kernels or by a library in single precision or bf16. */
import type { Buffer, LinearGradients, LinearShape } from "../backend.ts";
import { Bf16Copies, type CopyMemory, isWide } from "../bf16_copies.ts";
import type { Bf16Gemm, Gemm, PackedWeights, Rounding } from "../../../ffi/gemm.ts";
import { at, atOrNull, type CpuBuffer, floats } from "./cpu_buffer.ts";
import { KeptWeights } from "./kept_weights.ts";
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
  /** See `Backend.keepWeights`. */
  keepWeights(kept: boolean): void;
  /** See `Backend.linear`. */
  linear(shape: LinearShape, samples: number, x: Buffer, weight: Buffer, bias: Buffer | undefined, y: Buffer): void;
  /** dWeight = dYᵀ x and, unless dX is undefined, dX = dY weight; each added if the buffers say so. */
  gradients(shape: LinearShape, samples: number, buffers: LinearGradients): void;
}

/** Allocates memory in the kernels' memory, which is never freed. */
export type TakeScratch = (bytes: number) => CpuBuffer;

/** Uses the library, or the kernels if there is none. */
export function productsBy(library: Library | undefined, kernels: Kernels, takeScratch: TakeScratch): Products {
  if (library === undefined) return new KernelProducts(kernels, takeScratch);
  return library.precision === "fp32"
    ? new LibraryProducts(kernels, library.gemm, takeScratch)
    : new Bf16Products(kernels, library.gemm, library.narrow, takeScratch);
}

/** A kept weight is packed for products of few samples, whose bits are those of other products. */
class KernelProducts implements Products {
  readonly name = "WASM SIMD";
  readonly #kernels: Kernels;
  readonly #scratch: CpuBuffer;
  readonly #kept: KeptWeights<Address>;
  /** Scratch of products with packed weights. */
  #rows: CpuBuffer;

  constructor(kernels: Kernels, takeScratch: TakeScratch) {
    this.#kernels = kernels;
    this.#scratch = takeScratch(kernels.gemmScratchBytes());
    this.#rows = takeScratch(0);
    this.#kept = new KeptWeights<Address>({
      take: ({ inputs, outputs }) => {
        const bytes = kernels.packedScratchBytes(outputs);
        if (4 * this.#rows.words < bytes) this.#rows = takeScratch(bytes);
        return takeScratch(4 * kernels.packedWords(inputs, outputs)).address;
      },
      pack: ({ inputs, outputs }, weight, packed) => kernels.packWeight(inputs, outputs, at(weight), packed),
    });
  }

  keepWeights(kept: boolean): void {
    this.#kept.keep(kept);
  }

  linear(shape: LinearShape, samples: number, x: Buffer, weight: Buffer, bias: Buffer | undefined, y: Buffer): void {
    const { inputs, outputs, activation } = shape;
    const code = ACTIVATION_CODES[activation];
    const packed = samples > FEW_SAMPLES ? undefined : this.#kept.of(shape, weight, samples);
    if (packed === undefined) {
      const scratch = this.#scratch.address;
      this.#kernels.linear(samples, inputs, outputs, code, at(x), at(weight), atOrNull(bias), at(y), scratch);
    } else {
      const scratch = this.#rows.address;
      this.#kernels.linearPacked(samples, inputs, outputs, code, at(x), packed, atOrNull(bias), at(y), scratch);
    }
  }

  gradients({ inputs, outputs }: LinearShape, samples: number, buffers: LinearGradients): void {
    const { x, weight, dY, dX, dWeight } = buffers;
    const scratch = this.#scratch.address;
    this.#kernels.linearWeightGradient(samples, inputs, outputs, at(dY), at(x), at(dWeight), scratch);
    if (dX === undefined) return;
    this.#kernels.linearInputGradient(samples, inputs, outputs, at(dY), at(weight), at(dX), scratch);
  }
}

/** A kept weight that a library has packed, and its memory. */
interface LibraryWeight<Matrix extends Float32Array | Uint16Array> {
  readonly weights: PackedWeights<Matrix>;
  readonly memory: Uint8Array;
}

/** Kept weights of a library; undefined if it cannot pack. */
function keptBy<Matrix extends Float32Array | Uint16Array>(
  { packed }: Gemm<Matrix>,
  takeScratch: TakeScratch,
): KeptWeights<LibraryWeight<Matrix>> | undefined {
  return packed && new KeptWeights({
    take({ inputs, outputs }, samples) {
      const weights = packed(samples, outputs, inputs);
      const { buffer, byteOffset } = takeScratch(weights.bytes).floats;
      return { weights, memory: new Uint8Array(buffer, byteOffset, weights.bytes) };
    },
    pack: (_, weight, { weights, memory }) => weights.pack(floats(weight), memory),
  });
}

/**
 * The samples that buffers have room for. Products with kept weights compute so many, whatever is behind those of the
 * batch: a library then needs a product of one size only.
 */
function roomOf({ inputs, outputs }: LinearShape, x: Buffer, y: Buffer): number {
  return Math.min(Math.floor(x.words / inputs), Math.floor(y.words / outputs));
}

class LibraryProducts implements Products {
  readonly name: string;
  readonly #kernels: Kernels;
  readonly #gemm: Gemm;
  readonly #kept: KeptWeights<LibraryWeight<Float32Array>> | undefined;

  constructor(kernels: Kernels, gemm: Gemm, takeScratch: TakeScratch) {
    this.name = gemm.version;
    this.#kernels = kernels;
    this.#gemm = gemm;
    this.#kept = keptBy(gemm, takeScratch);
  }

  keepWeights(kept: boolean): void {
    this.#kept?.keep(kept);
  }

  linear(shape: LinearShape, samples: number, x: Buffer, weight: Buffer, bias: Buffer | undefined, y: Buffer): void {
    const { inputs, outputs, activation } = shape;
    const room = roomOf(shape, x, y);
    const kept = isWide(shape) ? this.#kept?.of(shape, weight, room) : undefined;
    if (kept === undefined) {
      this.#gemm.gemm(false, true, samples, outputs, inputs, floats(x), floats(weight), floats(y));
    } else {
      kept.weights.multiply(room, floats(x), floats(y));
    }
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
  readonly #kept: KeptWeights<LibraryWeight<Uint16Array>> | undefined;

  constructor(kernels: Kernels, gemm: Bf16Gemm, narrow: Gemm, takeScratch: TakeScratch) {
    this.name = gemm.version;
    this.#kernels = kernels;
    this.#gemm = gemm;
    this.#narrow = new LibraryProducts(kernels, narrow, takeScratch);
    this.#kept = keptBy(gemm, takeScratch);
    this.#copies = new Bf16Copies(() => new Rounded(kernels, takeScratch, gemm.rounding));
  }

  keepWeights(kept: boolean): void {
    this.#kept?.keep(kept);
  }

  prepare(shape: LinearShape, x: Buffer, weight: Buffer): void {
    this.#copies.prepare(shape, x, weight);
    this.#gemm.expect(Math.floor(x.words / shape.inputs));
  }

  linear(shape: LinearShape, samples: number, x: Buffer, weight: Buffer, bias: Buffer | undefined, y: Buffer): void {
    if (!isWide(shape)) return this.#narrow.linear(shape, samples, x, weight, bias, y);
    const { inputs, outputs, activation, sameWeight = false } = shape;
    const left = this.#copies.of(x).round(samples * inputs, x);
    const room = roomOf(shape, x, y);
    const kept = this.#kept?.of(shape, weight, room);
    if (kept === undefined) {
      const weights = this.#copies.of(weight);
      const right = sameWeight ? weights.last(outputs * inputs, weight) : weights.round(outputs * inputs, weight);
      this.#gemm.gemm(false, true, samples, outputs, inputs, left, right, floats(y));
    } else {
      kept.weights.multiply(room, left, floats(y));
    }
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
