/** The dot interaction, by the WASM kernels or by a library that multiplies many small matrices in one call. */
import type { Buffer, InteractionGradients, InteractionShape } from "../backend.ts";
import type { Gemm } from "../../../ffi/gemm.ts";
import { at, atOrNull, type CpuBuffer, floats } from "./cpu_buffer.ts";
import type { TakeScratch } from "./products.ts";
import type { Address, Kernels } from "./wasm/kernels.ts";

/** Multiply-adds of a sample's products from which on the library is faster: those of 22 tables of dim 16. */
const FEWEST_TERMS = 8192;
/** Most samples of a block, and most words of its matrices: half of a second-level cache. */
const MOST_SAMPLES = 32;
const MOST_WORDS = 2 ** 18;

/** Matrices of a block of samples, and the products of the library over them. */
interface Block {
  readonly tables: number;
  readonly dim: number;
  readonly samples: number;
  /** (samples, tables + 1, dim), and their gradients. */
  readonly vectors: CpuBuffer;
  readonly dVectors: CpuBuffer;
  /** (samples, tables + 1, tables + 1): products forward, gradients of products backward. */
  readonly pairs: CpuBuffer;
  /** pairs = vectors vectorsᵀ */
  readonly multiply: () => void;
  /** dVectors = pairs vectors */
  readonly multiplyBackward: () => void;
}

/** See `Backend.interact` and `Backend.interactBackward` of kind `dot`. */
export class DotInteraction {
  readonly #kernels: Kernels;
  readonly #bindMany: Gemm["bindMany"];
  readonly #takeScratch: TakeScratch;
  readonly #blocks: Block[] = [];
  #scratch: CpuBuffer;

  /** The kernels compute everything if `bindMany` is undefined. */
  constructor(kernels: Kernels, bindMany: Gemm["bindMany"], takeScratch: TakeScratch) {
    this.#kernels = kernels;
    this.#bindMany = bindMany;
    this.#takeScratch = takeScratch;
    this.#scratch = takeScratch(0);
  }

  forward(
    { tables, dim }: InteractionShape,
    samples: number,
    bottom: Buffer | undefined,
    pooled: Buffer,
    output: Buffer,
  ): void {
    const b = atOrNull(bottom), p = at(pooled), o = at(output);
    const block = this.#blockFor(tables, dim, samples, bottom);
    let first = 0;
    for (; block !== undefined && first + block.samples <= samples; first += block.samples) {
      this.#kernels.packVectors(first, block.samples, tables, dim, b, p, at(block.vectors));
      block.multiply();
      this.#kernels.unpackProducts(first, block.samples, tables, dim, b, at(block.pairs), o);
    }
    if (first < samples) {
      this.#kernels.interactDot(first, samples - first, tables, dim, b, p, o, this.#lanes(tables, dim));
    }
  }

  backward({ tables, dim }: InteractionShape, samples: number, buffers: InteractionGradients): void {
    const { bottom, pooled, dOutput, dBottom, dPooled } = buffers;
    const b = atOrNull(bottom), p = at(pooled), g = at(dOutput), db = atOrNull(dBottom), dp = at(dPooled);
    const block = this.#blockFor(tables, dim, samples, bottom);
    let first = 0;
    for (; block !== undefined && first + block.samples <= samples; first += block.samples) {
      this.#kernels.packVectors(first, block.samples, tables, dim, b, p, at(block.vectors));
      this.#kernels.packGradients(first, block.samples, tables, dim, g, at(block.pairs));
      block.multiplyBackward();
      this.#kernels.unpackGradients(first, block.samples, tables, dim, at(block.dVectors), g, db, dp);
    }
    if (first === samples) return;
    const scratch = this.#lanes(tables, dim);
    this.#kernels.interactDotBackward(first, samples - first, tables, dim, b, p, g, db, dp, scratch);
  }

  /** Scratch of the kernels. */
  #lanes(tables: number, dim: number): Address {
    const bytes = this.#kernels.interactScratchBytes(tables, dim);
    if (4 * this.#scratch.words < bytes) this.#scratch = this.#takeScratch(bytes);
    return this.#scratch.address;
  }

  /** Undefined if the kernels should compute all samples. */
  #blockFor(tables: number, dim: number, samples: number, bottom: Buffer | undefined): Block | undefined {
    if (this.#bindMany === undefined || bottom === undefined) return undefined;
    const vectors = (tables + 1) * dim, pairs = (tables + 1) ** 2;
    if (pairs * dim < FEWEST_TERMS) return undefined;
    const fitting = 2 ** Math.floor(Math.log2(MOST_WORDS / (2 * vectors + pairs)));
    const count = Math.min(MOST_SAMPLES, Math.max(1, fitting));
    if (samples < count) return undefined;
    return this.#find(tables, dim) ?? this.#makeBlock(this.#bindMany, tables, dim, count);
  }

  /** A loop, because a function that compares would be an allocation. */
  #find(tables: number, dim: number): Block | undefined {
    for (let i = 0; i < this.#blocks.length; i++) {
      const block = this.#blocks[i];
      if (block.tables === tables && block.dim === dim) return block;
    }
    return undefined;
  }

  #makeBlock(bindMany: NonNullable<Gemm["bindMany"]>, tables: number, dim: number, samples: number): Block {
    const count = tables + 1;
    const take = (words: number) => this.#takeScratch(4 * samples * words);
    const [vectors, dVectors, pairs] = [take(count * dim), take(count * dim), take(count * count)];
    const block = {
      ...{ tables, dim, samples, vectors, dVectors, pairs },
      multiply: bindMany(samples, true, count, count, dim, floats(vectors), floats(vectors), floats(pairs)),
      multiplyBackward: bindMany(samples, false, count, dim, count, floats(pairs), floats(vectors), floats(dVectors)),
    };
    this.#blocks.push(block);
    return block;
  }
}
