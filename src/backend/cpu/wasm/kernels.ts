/**
 * The WASM kernels. They are written in AssemblyScript with relaxed SIMD (`assembly/`) and work on byte addresses of
 * one memory.
 *
 * Every thread instantiates them over the same shared memory and passes addresses of its own. Kernels keep no state,
 * own no data and allocate nothing; the caller passes scratch memory. The binary is embedded as text, so that it is
 * available when the module is imported over https, compiled into an executable, or run without permission to read
 * files.
 */
import type { Activation } from "../../backend.ts";
import { KERNELS_BASE64 } from "./kernels_binary.ts";

/** A byte address in the memory, a multiple of 4. Addresses have 64 bits because the memory can exceed 4 GiB. */
export type Address = bigint;

/** Codes of activations in the kernels. */
export const ACTIVATION_CODES: Readonly<Record<Activation, number>> = { identity: 0, relu: 1, sigmoid: 2 };
/** Address of an operand that is absent. */
export const NO_ADDRESS: Address = 0n;
/** Bytes of a WASM page, the unit in which memory grows. */
export const PAGE_BYTES = 65536;
/** Maximum pages of the kernels' memory: 16 GiB, the limit of V8. */
export const MAXIMUM_PAGES = 262144;

/** Creates shared memory for kernels. Unused pages reserve addresses but occupy no memory. */
export function newMemory(pages: number): WebAssembly.Memory {
  const descriptor = { address: "i64", initial: BigInt(pages), maximum: BigInt(MAXIMUM_PAGES), shared: true };
  return new WebAssembly.Memory(descriptor as unknown as WebAssembly.MemoryDescriptor);
}

/** Grows a memory. Existing views stay valid. Throws RangeError if it would exceed the maximum. */
export function growMemory(memory: WebAssembly.Memory, pages: number): void {
  memory.grow(BigInt(pages) as unknown as number);
}

/**
 * The kernels. Matrices are row-major f32. `activation` and `optimizer` are codes (`Optimizer.code`); `header`,
 * `segments` and `segmentBags` are sections of a batch (`src/layout/batch.ts`). Results are overwritten unless stated
 * otherwise, and do not overlap operands. Kernels compute the operations of the same names in `src/backend/backend.ts`.
 */
export interface Kernels {
  /** Bytes of scratch for matrix products of any shape. */
  gemmScratchBytes(): number;
  /**
   * `y = activation(x weightᵀ + bias)`: x (samples, inputs), weight (outputs, inputs), bias (outputs) or NO_ADDRESS, y
   * (samples, outputs).
   */
  linear(
    samples: number,
    inputs: number,
    outputs: number,
    activation: number,
    x: Address,
    weight: Address,
    bias: Address,
    y: Address,
    scratch: Address,
  ): void;
  /** `dX = dY weight`: dY (samples, outputs), weight (outputs, inputs), dX (samples, inputs). */
  linearInputGradient(
    samples: number,
    inputs: number,
    outputs: number,
    dY: Address,
    weight: Address,
    dX: Address,
    scratch: Address,
  ): void;
  /** `dWeight = dYᵀ x`: dY (samples, outputs), x (samples, inputs), dWeight (outputs, inputs). */
  linearWeightGradient(
    samples: number,
    inputs: number,
    outputs: number,
    dY: Address,
    x: Address,
    dWeight: Address,
    scratch: Address,
  ): void;

  /** Words of a packed weight, and bytes of scratch for a product with it. */
  packedWords(inputs: number, outputs: number): number;
  packedScratchBytes(outputs: number): number;
  /** Packs weight (outputs, inputs) for `linearPacked`. */
  packWeight(inputs: number, outputs: number, weight: Address, packed: Address): void;
  /** `linear` with a packed weight and the same bits: faster for few samples, slower for many. */
  linearPacked(
    samples: number,
    inputs: number,
    outputs: number,
    activation: number,
    x: Address,
    packed: Address,
    bias: Address,
    y: Address,
    scratch: Address,
  ): void;

  /** `y = activation(y + bias)` in place: y (rows, columns), bias (columns). */
  biasActivation(rows: number, columns: number, activation: number, bias: Address, y: Address): void;
  /** `dY *= activation'(y)` in place, y being the activation's result, and `dBias` (columns) = the column sums of dY. */
  activationBackward(
    rows: number,
    columns: number,
    activation: number,
    y: Address,
    dY: Address,
    dBias: Address,
  ): void;

  /** Rounds `words` words to the nearest bf16 of 2 bytes each. */
  roundToBf16(words: number, from: Address, to: Address): void;

  /** Bytes of scratch for the dot interaction, forward and backward. */
  interactScratchBytes(tables: number, dim: number): number;
  /** bottom (samples, dim), or NO_ADDRESS, and pooled (samples, tables, dim) to output (samples, interactionWidth). */
  interactDot(
    samples: number,
    tables: number,
    dim: number,
    bottom: Address,
    pooled: Address,
    output: Address,
    scratch: Address,
  ): void;
  /**
   * Gradients of `interactDot`: dBottom (samples, dim), NO_ADDRESS if bottom is, and dPooled (samples, tables, dim).
   */
  interactDotBackward(
    samples: number,
    tables: number,
    dim: number,
    bottom: Address,
    pooled: Address,
    dOutput: Address,
    dBottom: Address,
    dPooled: Address,
    scratch: Address,
  ): void;
  /**
   * The bottom and pooled vectors of the samples from `first` on to vectors (samples, tables + 1, dim). This function and
   * the next three surround products of a library with the dot interaction of a block of samples.
   */
  packVectors(
    first: number,
    samples: number,
    tables: number,
    dim: number,
    bottom: Address,
    pooled: Address,
    vectors: Address,
  ): void;
  /** The rows of output from `first` on, of products (samples, tables + 1, tables + 1): their lower triangles. */
  unpackProducts(
    first: number,
    samples: number,
    tables: number,
    dim: number,
    bottom: Address,
    products: Address,
    output: Address,
  ): void;
  /** The rows of dOutput from `first` on to gradients (samples, tables + 1, tables + 1), which are symmetric. */
  packGradients(
    first: number,
    samples: number,
    tables: number,
    dim: number,
    dOutput: Address,
    gradients: Address,
  ): void;
  /** dBottom and dPooled from `first` on, of dVectors (samples, tables + 1, dim) and of what dOutput passes on. */
  unpackGradients(
    first: number,
    samples: number,
    tables: number,
    dim: number,
    dVectors: Address,
    dOutput: Address,
    dBottom: Address,
    dPooled: Address,
  ): void;
  /** bottom (samples, dim) and pooled (samples, tables, dim) to output (samples, (tables + 1) dim). */
  interactCat(
    samples: number,
    tables: number,
    dim: number,
    bottom: Address,
    pooled: Address,
    output: Address,
  ): void;
  /** Gradients of `interactCat`. */
  interactCatBackward(
    samples: number,
    tables: number,
    dim: number,
    dOutput: Address,
    dBottom: Address,
    dPooled: Address,
  ): void;

  /** Factorisation machine; the bias of sample s is `bias[s * biasStride]`. */
  factorise(
    degree: number,
    samples: number,
    tables: number,
    dim: number,
    pooled: Address,
    biasStride: number,
    bias: Address,
    y: Address,
  ): void;
  /** Gradients of `factorise`; dBias may be NO_ADDRESS. */
  factoriseBackward(
    degree: number,
    samples: number,
    tables: number,
    dim: number,
    pooled: Address,
    dY: Address,
    dPooled: Address,
    dBias: Address,
  ): void;

  /** Binary cross-entropy on logits (samples): dLogits, and the sum of losses ADDED to the f32 at lossSum. */
  loss(
    samples: number,
    header: Address,
    logits: Address,
    labels: Address,
    dLogits: Address,
    lossSum: Address,
  ): void;

  /** `Backend.updateDense`: updates `words` weights from their gradients; `state` is ignored for SGD. */
  updateWeights(
    optimizer: number,
    words: number,
    header: Address,
    parameters: Address,
    gradients: Address,
    state: Address,
  ): void;
  /** `target += source`, element by element. */
  add(words: number, source: Address, target: Address): void;
  /** `Backend.dropout` of `words` values, of which `first` is the position in the batch of the first one. */
  dropout(words: number, rate: number, key: number, first: number, header: Address, x: Address, y: Address): void;
  /** `y = a (b + bias) + c`, element by element: bias (width), the others (samples, width). */
  multiplyAdd(
    samples: number,
    width: number,
    a: Address,
    b: Address,
    bias: Address,
    c: Address,
    y: Address,
  ): void;
  /** Gradients of `multiplyAdd`. addsA and addsC are 1 to add dA and dC to what is there, or 0; dC may be NO_ADDRESS. */
  multiplyAddBackward(
    samples: number,
    width: number,
    a: Address,
    b: Address,
    bias: Address,
    dY: Address,
    addsA: number,
    dA: Address,
    dB: Address,
    dBias: Address,
    addsC: number,
    dC: Address,
  ): void;
  /** `x *= factor`, element by element. */
  scale(words: number, factor: number, x: Address): void;
  /** The sum of the squares of `words` words, in double precision. */
  squares(words: number, x: Address): number;
  /** Sum of the squares of the gradients of the rows that `updateRows` updates; scratch holds `dim` words. */
  rowSquares(
    dim: number,
    rank: number,
    ranks: number,
    header: Address,
    segments: Address,
    segmentBags: Address,
    segmentWeights: Address,
    dPooled: Address,
    scratch: Address,
  ): number;

  /** `packed[i] = table[rows[i]]` for i < count; this also pools bags of one lookup each. */
  gatherRows(count: number, dim: number, table: Address, rows: Address, packed: Address): void;
  /** `table[rows[i]] = packed[i]` for i < count; rows are distinct. */
  scatterRows(count: number, dim: number, packed: Address, rows: Address, table: Address): void;
  /**
   * `pooled[b]` = the sum of `weights[k] table[indices[k]]` over `offsets[b] <= k < offsets[b + 1]`; NO_ADDRESS for no
   * weights.
   */
  pool(
    bags: number,
    dim: number,
    table: Address,
    indices: Address,
    offsets: Address,
    weights: Address,
    pooled: Address,
  ): void;
  /** `y[b] = x[b] / n` for the n lookups of bag b, or `x[b]` if it has none: x and y (bags, dim). */
  meanOfBags(bags: number, dim: number, offsets: Address, x: Address, y: Address): void;
  /**
   * Updates the rows that belong to rank `rank` of `ranks`. segmentWeights may be NO_ADDRESS. A row has `stateWords`
   * words of state; scratch holds `dim` words.
   */
  updateRows(
    optimizer: number,
    stateWords: number,
    dim: number,
    rank: number,
    ranks: number,
    header: Address,
    segments: Address,
    segmentBags: Address,
    segmentWeights: Address,
    dPooled: Address,
    table: Address,
    state: Address,
    scratch: Address,
  ): void;
}

let compiled: WebAssembly.Module | undefined;

/** Instantiates the kernels over a memory from `newMemory`, in any thread. Each thread compiles the module once. */
export function instantiateKernels(memory: WebAssembly.Memory): Kernels {
  compiled ??= new WebAssembly.Module(Uint8Array.fromBase64(KERNELS_BASE64));
  return new WebAssembly.Instance(compiled, { env: { memory } }).exports as unknown as Kernels;
}
