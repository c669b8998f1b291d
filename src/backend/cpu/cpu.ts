/**
 * The CPU backend. Matrix products use a native library if there is one; all other operations are WASM SIMD kernels in
 * one memory that all ranks share. Tables that are too large for this memory are outside it and use TypeScript loops.
 */
import {
  type BlasName,
  type Buffer,
  CPU_CACHED_WORDS,
  type DropoutShape,
  type InteractionGradients,
  type InteractionShape,
  type LinearGradients,
  type LinearShape,
  type MachineGradients,
  type MachineShape,
  type MultiplyAddGradients,
  type MultiplyAddOperands,
  type MultiplyAddShape,
  type PagedBackend,
  type RowUpdateShape,
  type SharedWords,
} from "../backend.ts";
import { type OptimizerName, OPTIMIZERS, rowStateWords } from "../../optimizer/optimizers.ts";
import { HotsetError } from "../../errors.ts";
import { bytes } from "../../format.ts";
import { type HostBuffer, HostMemory } from "../host_memory.ts";
import { at, atOrNull, CpuBuffer, floats, integers } from "./cpu_buffer.ts";
import { DotInteraction } from "./dot_interaction.ts";
import { packFar, poolFar, unpackFar, updateRowsFar } from "./far_rows.ts";
import { alignKernelMemory, type KernelMemory, takeKernelMemory } from "./kernel_memory.ts";
import { type Library, type Products, productsBy } from "./products.ts";
import { ACTIVATION_CODES, type Address, instantiateKernels, type Kernels, NO_ADDRESS } from "./wasm/kernels.ts";

/** Maximum bytes of a table in the kernels' memory of 16 GiB; the rest is for activations and batches. */
const LARGEST_NEAR_TABLE = 12 * 2 ** 30;

/** The CPU backend of one rank. See backend.ts for the operations. */
export class CpuBackend extends HostMemory implements PagedBackend {
  readonly name: string;
  readonly blas: BlasName;
  readonly largestTable = LARGEST_NEAR_TABLE;
  readonly cachedWords = CPU_CACHED_WORDS;
  readonly addsProducts: boolean;
  readonly #memory: KernelMemory;
  readonly #kernels: Kernels;
  readonly #products: Products;
  readonly #dots: DotInteraction;
  #scratch: CpuBuffer;

  /** Uses the kernel memory that all ranks of the process share; without a library the WASM kernels multiply. */
  constructor(memory: KernelMemory, blas: BlasName, library: Library | undefined) {
    super();
    this.blas = blas;
    this.#memory = memory;
    this.#kernels = instantiateKernels(memory.memory);
    const takeScratch = (bytes: number) => this.#takeScratch(bytes);
    this.#products = productsBy(library, this.#kernels, takeScratch);
    const gemm = library?.precision === "bf16" ? library.narrow : library?.gemm;
    this.#dots = new DotInteraction(this.#kernels, gemm?.bindMany, takeScratch);
    this.addsProducts = library?.gemm.adds === true;
    this.name = `cpu (${this.#products.name})`;
    this.#scratch = this.#takeScratch(0);
  }

  override allocate(words: number, label: string): Buffer {
    const address = takeKernelMemory(this.#memory, 4 * words);
    if (address !== undefined) return this.#inKernelMemory(address, words);
    throw new HotsetError(
      `Cannot allocate ${bytes(4 * words)} for ${label}: kernel memory is full; lower --batch-size`,
    );
  }

  override allocateTable(words: number, label: string): Buffer {
    const address = 4 * words > LARGEST_NEAR_TABLE ? undefined : takeKernelMemory(this.#memory, 4 * words);
    if (address !== undefined) return this.#inKernelMemory(address, words);
    const { floats } = super.allocate(words, label) as HostBuffer;
    return new CpuBuffer(floats.buffer, 0, words, false);
  }

  pagesOf(allocate: () => void): Uint8Array {
    const begin = alignKernelMemory(this.#memory);
    allocate();
    return new Uint8Array(this.#memory.memory.buffer, begin, alignKernelMemory(this.#memory) - begin);
  }

  override view(buffer: Buffer, first: number, words: number): Buffer {
    const { floats } = super.view(buffer, first, words) as HostBuffer;
    return new CpuBuffer(floats.buffer, floats.byteOffset, words, at(buffer) !== NO_ADDRESS);
  }

  override wrap(memory: Float32Array | Uint32Array): Buffer {
    return new CpuBuffer(memory.buffer, memory.byteOffset, memory.length, false);
  }

  override share(buffer: Buffer): SharedWords {
    const shared = super.share(buffer);
    return at(buffer) === NO_ADDRESS ? shared : { ...shared, memory: undefined };
  }

  override attach(shared: SharedWords): Buffer {
    const { memory, byteOffset, words } = shared;
    if (memory === undefined) return this.#inKernelMemory(byteOffset, words);
    return new CpuBuffer(memory, byteOffset, words, false);
  }

  #inKernelMemory(byteOffset: number, words: number): CpuBuffer {
    return new CpuBuffer(this.#memory.memory.buffer, byteOffset, words, true);
  }

  #takeScratch(bytes: number): CpuBuffer {
    return this.allocate(Math.ceil(bytes / 4), "scratch") as CpuBuffer;
  }

  /** Scratch memory of at least `bytes` bytes. Allocates only if an operation needs more than all before it. */
  #scratchOf(bytes: number): Address {
    if (4 * this.#scratch.words < bytes) this.#scratch = this.#takeScratch(bytes);
    return this.#scratch.address;
  }

  override prepareLinear(shape: LinearShape, x: Buffer, weight: Buffer): void {
    this.#products.prepare?.(shape, x, weight);
  }

  keepWeights(kept: boolean): void {
    this.#products.keepWeights(kept);
  }

  linear(shape: LinearShape, samples: number, x: Buffer, weight: Buffer, bias: Buffer | undefined, y: Buffer): void {
    if (samples > 0) this.#products.linear(shape, samples, x, weight, bias, y);
  }

  linearBackward(shape: LinearShape, samples: number, buffers: LinearGradients): void {
    const { y, dY, dWeight, dBias } = buffers;
    if (dBias !== undefined) {
      const code = ACTIVATION_CODES[shape.activation];
      this.#kernels.activationBackward(samples, shape.outputs, code, at(y), at(dY), at(dBias));
    }
    if (samples > 0) this.#products.gradients(shape, samples, buffers);
    else if (!buffers.addsWeight) floats(dWeight).fill(0);
  }

  columnSums(samples: number, columns: number, x: Buffer, sums: Buffer): void {
    // Same as the bias gradient of a layer without activation, which leaves x unchanged.
    this.#kernels.activationBackward(samples, columns, ACTIVATION_CODES.identity, at(x), at(x), at(sums));
  }

  pool(
    bags: number,
    dim: number,
    table: Buffer,
    indices: Buffer,
    offsets: Buffer | undefined,
    pooled: Buffer,
    weights?: Buffer,
  ): void {
    if (at(table) === NO_ADDRESS) {
      const factors = weights && floats(weights);
      poolFar(bags, dim, floats(table), integers(indices), offsets && integers(offsets), floats(pooled), factors);
    } else if (offsets === undefined) {
      this.#kernels.gatherRows(bags, dim, at(table), at(indices), at(pooled));
    } else {
      this.#kernels.pool(bags, dim, at(table), at(indices), at(offsets), atOrNull(weights), at(pooled));
    }
  }

  meanOfBags(bags: number, dim: number, offsets: Buffer, x: Buffer, y: Buffer): void {
    this.#kernels.meanOfBags(bags, dim, at(offsets), at(x), at(y));
  }

  interact(shape: InteractionShape, samples: number, bottom: Buffer | undefined, pooled: Buffer, output: Buffer): void {
    const { kind, tables, dim } = shape;
    if (kind === "dot") this.#dots.forward(shape, samples, bottom, pooled, output);
    else this.#kernels.interactCat(samples, tables, dim, at(bottom!), at(pooled), at(output));
  }

  interactBackward(shape: InteractionShape, samples: number, buffers: InteractionGradients): void {
    const { kind, tables, dim } = shape;
    if (kind === "dot") return this.#dots.backward(shape, samples, buffers);
    const { dOutput, dBottom, dPooled } = buffers;
    this.#kernels.interactCatBackward(samples, tables, dim, at(dOutput), at(dBottom!), at(dPooled));
  }

  factorise(shape: MachineShape, samples: number, pooled: Buffer, bias: Buffer, y: Buffer): void {
    const { degree, sharedBias, tables, dim } = shape;
    this.#kernels.factorise(degree, samples, tables, dim, at(pooled), sharedBias ? 0 : 1, at(bias), at(y));
  }

  factoriseBackward(shape: MachineShape, samples: number, buffers: MachineGradients): void {
    const { degree, tables, dim } = shape;
    const { pooled, dY, dPooled, dBias } = buffers;
    this.#kernels.factoriseBackward(degree, samples, tables, dim, at(pooled), at(dY), at(dPooled), atOrNull(dBias));
  }

  loss(samples: number, header: Buffer, logits: Buffer, labels: Buffer, dLogits: Buffer, lossSum: Buffer): void {
    this.#kernels.loss(samples, at(header), at(logits), at(labels), at(dLogits), at(lossSum));
  }

  updateRows(
    shape: RowUpdateShape,
    header: Buffer,
    segments: Buffer,
    segmentBags: Buffer,
    dPooled: Buffer,
    table: Buffer,
    state: Buffer | undefined,
    segmentWeights?: Buffer,
  ): void {
    const { optimizer, dim, rank, ranks } = shape;
    const scratch = this.#scratchOf(4 * dim);
    if (at(table) !== NO_ADDRESS && (state === undefined || at(state) !== NO_ADDRESS)) {
      const stateAddress = atOrNull(state);
      this.#kernels.updateRows(
        OPTIMIZERS[optimizer].code,
        rowStateWords(optimizer, dim),
        dim,
        rank,
        ranks,
        at(header),
        at(segments),
        at(segmentBags),
        atOrNull(segmentWeights),
        at(dPooled),
        at(table),
        stateAddress,
        scratch,
      );
    } else {
      updateRowsFar(
        shape,
        integers(header),
        floats(header),
        integers(segments),
        integers(segmentBags),
        segmentWeights && floats(segmentWeights),
        floats(dPooled),
        floats(table),
        state === undefined ? NO_STATE : floats(state),
        this.#scratch.floats,
      );
    }
  }

  updateDense(
    optimizer: OptimizerName,
    words: number,
    header: Buffer,
    parameters: Buffer,
    gradients: Buffer,
    state: Buffer | undefined,
  ): void {
    const stateAddress = atOrNull(state);
    this.#kernels.updateWeights(
      OPTIMIZERS[optimizer].code,
      words,
      at(header),
      at(parameters),
      at(gradients),
      stateAddress,
    );
  }

  packRows(count: number, dim: number, table: Buffer, rows: Buffer, packed: Buffer): void {
    if (at(table) === NO_ADDRESS) packFar(count, dim, floats(table), integers(rows), floats(packed));
    else this.#kernels.gatherRows(count, dim, at(table), at(rows), at(packed));
  }

  unpackRows(count: number, dim: number, packed: Buffer, rows: Buffer, table: Buffer): void {
    if (at(table) === NO_ADDRESS) unpackFar(count, dim, floats(packed), integers(rows), floats(table));
    else this.#kernels.scatterRows(count, dim, at(packed), at(rows), at(table));
  }

  add(words: number, source: Buffer, target: Buffer): void {
    this.#kernels.add(words, at(source), at(target));
  }

  dropout(
    { width, rate, key, firstSample }: DropoutShape,
    samples: number,
    header: Buffer,
    x: Buffer,
    y: Buffer,
  ): void {
    const first = firstSample * width;
    this.#kernels.dropout(samples * width, rate, key, first, at(header), at(x), at(y));
  }

  multiplyAdd({ width }: MultiplyAddShape, samples: number, { a, b, bias, c }: MultiplyAddOperands, y: Buffer): void {
    this.#kernels.multiplyAdd(samples, width, at(a), at(b), at(bias), at(c), at(y));
  }

  multiplyAddBackward(
    { width, addsA = false, addsC = false }: MultiplyAddShape,
    samples: number,
    { a, b, bias, dY, dA, dB, dBias, dC }: MultiplyAddGradients,
  ): void {
    this.#kernels.multiplyAddBackward(
      samples,
      width,
      at(a),
      at(b),
      at(bias),
      at(dY),
      Number(addsA),
      at(dA),
      at(dB),
      at(dBias),
      Number(addsC),
      atOrNull(dC),
    );
  }

  scale(words: number, factor: number, x: Buffer): void {
    this.#kernels.scale(words, factor, at(x));
  }

  squares(words: number, x: Buffer): number {
    return this.#kernels.squares(words, at(x));
  }

  rowSquares(
    { dim, rank, ranks }: RowUpdateShape,
    header: Buffer,
    segments: Buffer,
    segmentBags: Buffer,
    dPooled: Buffer,
    segmentWeights?: Buffer,
  ): number {
    const scratch = this.#scratchOf(4 * dim);
    return this.#kernels.rowSquares(
      dim,
      rank,
      ranks,
      at(header),
      at(segments),
      at(segmentBags),
      atOrNull(segmentWeights),
      at(dPooled),
      scratch,
    );
  }
}

/** State of optimizers without state. */
const NO_STATE = new Float32Array(0);
