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
  /** (samples, tables + 1, dim), and their gradients. */
  readonly vectors: CpuBuffer;
  readonly dVectors: CpuBuffer;
  /** (samples, tables + 1, tables + 1): products forward, gradients of products backward. */
  readonly pairs: CpuBuffer;
  /** For 1, 2, 4, ... samples: the last ones are fewer than a block, and the bits of a sample are the same in all. */
  readonly products: readonly Products[];
}

/** Products of the first samples of a block. */
interface Products {
  readonly samples: number;
  /** pairs = vectors vectorsᵀ */
  readonly forward: () => void;
  /** dVectors = pairs vectors */
  readonly backward: () => void;
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
    const block = this.#blockFor(tables, dim, bottom);
    if (block === undefined) {
      return this.#kernels.interactDot(samples, tables, dim, b, p, o, this.#scratchOf(tables, dim));
    }
    for (let first = 0; first < samples;) {
      const { samples: count, forward } = productsOf(block, samples - first);
      this.#kernels.packVectors(first, count, tables, dim, b, p, at(block.vectors));
      forward();
      this.#kernels.unpackProducts(first, count, tables, dim, b, at(block.pairs), o);
      first += count;
    }
  }

  backward({ tables, dim }: InteractionShape, samples: number, buffers: InteractionGradients): void {
    const { bottom, pooled, dOutput, dBottom, dPooled } = buffers;
    const b = atOrNull(bottom), p = at(pooled), g = at(dOutput), db = atOrNull(dBottom), dp = at(dPooled);
    const block = this.#blockFor(tables, dim, bottom);
    if (block === undefined) {
      const scratch = this.#scratchOf(tables, dim);
      return this.#kernels.interactDotBackward(samples, tables, dim, b, p, g, db, dp, scratch);
    }
    for (let first = 0; first < samples;) {
      const { samples: count, backward } = productsOf(block, samples - first);
      this.#kernels.packVectors(first, count, tables, dim, b, p, at(block.vectors));
      this.#kernels.packGradients(first, count, tables, dim, g, at(block.pairs));
      backward();
      this.#kernels.unpackGradients(first, count, tables, dim, at(block.dVectors), g, db, dp);
      first += count;
    }
  }

  /** Scratch of the kernels. */
  #scratchOf(tables: number, dim: number): Address {
    const bytes = this.#kernels.interactScratchBytes(tables, dim);
    if (4 * this.#scratch.words < bytes) this.#scratch = this.#takeScratch(bytes);
    return this.#scratch.address;
  }

  /** Undefined if the kernels should compute the interaction. */
  #blockFor(tables: number, dim: number, bottom: Buffer | undefined): Block | undefined {
    if (this.#bindMany === undefined || bottom === undefined) return undefined;
    if ((tables + 1) ** 2 * dim < FEWEST_TERMS) return undefined;
    return this.#find(tables, dim) ?? this.#makeBlock(this.#bindMany, tables, dim);
  }

  /** A loop, because a function that compares would be an allocation. */
  #find(tables: number, dim: number): Block | undefined {
    for (let i = 0; i < this.#blocks.length; i++) {
      const block = this.#blocks[i];
      if (block.tables === tables && block.dim === dim) return block;
    }
    return undefined;
  }

  #makeBlock(bindMany: NonNullable<Gemm["bindMany"]>, tables: number, dim: number): Block {
    const count = tables + 1;
    const most = Math.min(MOST_SAMPLES, MOST_WORDS / (2 * count * dim + count ** 2));
    const sizes = Array.from({ length: 1 + Math.max(0, Math.floor(Math.log2(most))) }, (_, i) => 2 ** i);
    const take = (words: number) => this.#takeScratch(4 * sizes.at(-1)! * words);
    const vectors = take(count * dim), dVectors = take(count * dim), pairs = take(count * count);
    const [v, dV, p] = [vectors, dVectors, pairs].map(floats);
    const products = sizes.map((samples) => ({
      samples,
      forward: bindMany(samples, true, count, count, dim, v, v, p),
      backward: bindMany(samples, false, count, dim, count, p, v, dV),
    }));
    const block = { tables, dim, vectors, dVectors, pairs, products };
    this.#blocks.push(block);
    return block;
  }
}

/** Those of the most samples, at most `most`. */
function productsOf({ products }: Block, most: number): Products {
  let i = products.length - 1;
  while (products[i].samples > most) i--;
  return products[i];
}
