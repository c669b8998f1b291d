/** A backend that counts allocations and work and computes nothing. `plan` runs the code of training on it. */
import { type OptimizerName, rowStateWords } from "../optimizer/optimizers.ts";
import { Bf16Copies, type CopyMemory } from "./bf16_copies.ts";
import {
  type Buffer,
  type CpuPrecision,
  type Download,
  type DropoutShape,
  type HostBackend,
  type InteractionShape,
  interactionWidth,
  type LinearGradients,
  type LinearShape,
  type MachineShape,
  type MultiplyAddGradients,
  type MultiplyAddShape,
  type RowUpdateShape,
  type StepAttention,
} from "./backend.ts";

function computesNothing(): never {
  throw new Error("a backend that counts computes nothing");
}

/** The least work of one kernel. */
export interface CountedKernel {
  /** Bytes read and written: each operand once, a row once for each of its lookups. */
  readonly bytes: number;
  /** Floating-point operations of matrix products and interactions; 0 where memory decides. */
  readonly flops: number;
  /** Embedding rows that it reads or writes; a row counts once for each access. */
  readonly rows: number;
}

/** The work of a backend in a step. */
export interface CountedWork {
  /** Kernels in their order. */
  readonly kernels: readonly CountedKernel[];
  /** Bytes of each copy between host and device. */
  readonly copies: readonly number[];
  /** True if the kernels are one recorded sequence. */
  readonly recorded: boolean;
}

/** What is counted. */
export interface CountingOptions {
  /** `bf16` counts the copies that products on a CPU make of their operands; default fp32. */
  readonly precision?: CpuPrecision | undefined;
  /** `Backend.cachedWords` of the backend that is counted. */
  readonly cachedWords?: number | undefined;
  /** True if a product also adds the bias and computes a ReLU, as cuBLASLt's do; default false. */
  readonly fusedBias?: boolean | undefined;
}

/** Adds up bytes by the labels of allocations, and the work of a step. Serves as a host or a device. */
export class CountingBackend implements HostBackend {
  readonly name = "counting";
  readonly blas = null;
  readonly cachedWords: number | undefined;
  /** True in bf16, which takes oneDNN. In single precision some libraries add, so that a run takes less than is counted. */
  readonly addsProducts: boolean;
  /** Bytes allocated so far, by label, in the order of each label's first allocation. */
  readonly bytes = new Map<string, number>();
  /** Memory of all views. */
  #block = new ArrayBuffer(0);
  #kernels: CountedKernel[] = [];
  #copies: number[] = [];
  #recorded = false;
  #distinct = 0;
  readonly #precision: CpuPrecision;
  readonly #fusedBias: boolean;
  #operands: Bf16Copies<CopyMemory> | undefined;

  constructor({ precision = "fp32", cachedWords, fusedBias = false }: CountingOptions = {}) {
    this.#precision = precision;
    this.cachedWords = cachedWords;
    this.addsProducts = precision === "bf16";
    this.#fusedBias = fusedBias;
    this.startRank();
  }

  /** Begins a rank: each rank has copies of its own. */
  startRank(): void {
    this.#operands = this.#precision === "bf16" ? new Bf16Copies(() => this.#newCopy()) : undefined;
  }

  #newCopy(): CopyMemory {
    let reserved = 0;
    return {
      reserve: (words) => {
        if (words <= reserved) return;
        this.allocate(Math.ceil(words / 2), "operands in bf16");
        reserved = words;
      },
    };
  }

  /** Begins a step over a batch with `distinct` distinct rows; discards the counts of the previous step. */
  startStep(distinct: number): void {
    this.#distinct = distinct;
    this.#kernels = [];
    this.#copies = [];
    this.#recorded = false;
  }

  /** What was asked since then. */
  get work(): CountedWork {
    return { kernels: this.#kernels, copies: this.#copies, recorded: this.#recorded };
  }

  allocate(words: number, label: string): Buffer {
    this.bytes.set(label, (this.bytes.get(label) ?? 0) + 4 * words);
    return { words };
  }

  allocateTable(words: number, label: string): Buffer {
    return this.allocate(words, label);
  }

  view(_buffer: Buffer, _first: number, words: number): Buffer {
    return { words };
  }

  floats({ words }: Buffer): Float32Array {
    if (4 * words > this.#block.byteLength) this.#block = new ArrayBuffer(4 * words);
    return new Float32Array(this.#block, 0, words);
  }

  integers(buffer: Buffer): Uint32Array {
    return new Uint32Array(this.floats(buffer).buffer, 0, buffer.words);
  }

  newDownload(words: number): Download {
    this.allocate(words, "rows to move");
    let copied = 0;
    return {
      begin: (_source, words) => void this.#copies.push(4 * (copied = words)),
      wait: () => this.floats({ words: copied }),
    };
  }

  upload(source: Float32Array | Uint32Array): void {
    this.#copies.push(source.byteLength);
  }

  download(_source: Buffer, target: Float32Array | Uint32Array): void {
    this.#copies.push(target.byteLength);
  }

  repeatable(sequence: () => void): () => void {
    this.#recorded = true;
    sequence();
    return sequence;
  }

  /** Padding is not counted. */
  strideOf(width: number): number {
    return width;
  }

  prepareLinear(shape: LinearShape, x: Buffer, weight: Buffer): void {
    this.#operands?.prepare(shape, x, weight);
  }

  linear({ inputs, outputs, activation }: LinearShape, samples: number): void {
    this.#product(samples, inputs, outputs);
    if (!this.#fusedBias || activation === "sigmoid") this.#count(2 * samples * outputs + outputs);
  }

  linearBackward({ inputs, outputs, activation }: LinearShape, samples: number, { dX }: LinearGradients): void {
    this.#count((activation === "identity" ? 1 : 3) * samples * outputs + outputs);
    this.#product(samples, inputs, outputs);
    if (dX !== undefined) this.#product(samples, inputs, outputs);
  }

  columnSums(samples: number, columns: number): void {
    this.#count(samples * columns + columns);
  }

  pool(
    bags: number,
    dim: number,
    _table: Buffer,
    indices: Buffer,
    offsets: Buffer | undefined,
    _pooled: Buffer,
    weights?: Buffer,
  ): void {
    const lookups = offsets === undefined ? bags : indices.words;
    this.#count(lookups * (dim + 1) + bags * dim + (weights?.words ?? 0), 0, lookups);
  }

  meanOfBags(bags: number, dim: number): void {
    this.#count(bags * (2 * dim + 1));
  }

  interact(shape: InteractionShape, samples: number): void {
    this.#interaction(shape, samples, 1);
  }

  interactBackward(shape: InteractionShape, samples: number): void {
    this.#interaction(shape, samples, 2);
  }

  factorise({ tables, dim }: MachineShape, samples: number): void {
    this.#count(samples * (tables * dim + 2));
  }

  factoriseBackward({ tables, dim }: MachineShape, samples: number): void {
    this.#count(samples * (2 * tables * dim + 2));
  }

  loss(samples: number): void {
    this.#count(3 * samples);
  }

  updateRows(
    { optimizer, dim, ranks }: RowUpdateShape,
    _header: Buffer,
    _segments: Buffer,
    segmentBags: Buffer,
    ...[, , , segmentWeights]: [dPooled: Buffer, table: Buffer, state: Buffer | undefined, segmentWeights?: Buffer]
  ): void {
    const distinct = this.#distinct / ranks, lookups = segmentBags.words / ranks;
    const words = lookups * (dim + 1) + 2 * distinct * (1 + dim + rowStateWords(optimizer, dim));
    this.#count(words + (segmentWeights?.words ?? 0) / ranks, 0, lookups + distinct);
  }

  updateDense(
    _optimizer: OptimizerName,
    words: number,
    ...[, , , state]: [header: Buffer, parameters: Buffer, gradients: Buffer, state: Buffer | undefined]
  ): void {
    this.#count(3 * words + 2 * (state?.words ?? 0));
  }

  packRows(count: number, dim: number): void {
    this.#count(count * (2 * dim + 1), 0, count);
  }

  unpackRows(count: number, dim: number): void {
    this.packRows(count, dim);
  }

  add(words: number): void {
    this.#count(3 * words);
  }

  dropout({ width }: DropoutShape, samples: number): void {
    this.#count(2 * samples * width);
  }

  multiplyAdd({ width }: MultiplyAddShape, samples: number): void {
    this.#count(4 * samples * width + width);
  }

  multiplyAddBackward(
    { width, addsA, addsC }: MultiplyAddShape,
    samples: number,
    { dC }: MultiplyAddGradients,
  ): void {
    const ofC = dC === undefined ? 0 : addsC ? 2 : 1;
    this.#count((5 + Number(addsA) + ofC) * samples * width + 2 * width);
  }

  readonly stepAttention: StepAttention = {
    normalise: (rows, width) => this.#count(2 * rows * width),
    normaliseBackward: (rows, width) => this.#count(3 * rows * width),
    scoreSteps: ({ steps, width }, samples) => this.#count(samples * steps * (width + 1)),
    scoreStepsBackward: ({ steps, width }, samples) => this.#count(samples * steps * (2 * width + 1)),
    weighSteps: ({ steps, width }, samples) => this.#count(samples * (steps + 2) * (width + 1)),
    weighStepsBackward: ({ steps, width }, samples) => this.#count(2 * samples * (steps + 1) * (width + 1)),
  };

  synchronize(): void {}
  [Symbol.dispose](): void {}

  readonly wrap = computesNothing;
  readonly share = computesNothing;
  readonly attach = computesNothing;
  readonly scale = computesNothing;
  readonly squares = computesNothing;
  readonly rowSquares = computesNothing;

  #count(words: number, flops = 0, rows = 0): void {
    this.#kernels.push({ bytes: 4 * words, flops, rows });
  }

  #product(samples: number, inputs: number, outputs: number): void {
    this.#count(samples * (inputs + outputs) + inputs * outputs, 2 * samples * inputs * outputs);
  }

  /** Backwards both operands of each product get a gradient. */
  #interaction(shape: InteractionShape, samples: number, operands: 1 | 2): void {
    const { kind, tables, bottom, dim } = shape;
    const vectors = tables + Number(bottom);
    const flops = kind === "dot" ? operands * samples * vectors * (vectors - 1) * dim : 0;
    this.#count(samples * (operands * vectors * dim + interactionWidth(shape)), flops);
  }
}
