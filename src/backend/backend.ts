/**
 * The contract between the training step and whatever computes it.
 *
 * A backend owns buffers of 4-byte words (f32 or u32, little-endian) and runs operations at the grain of one fused
 * kernel. Rules that hold for every operation of every backend:
 *
 * - Matrices are row-major; shapes stand in the comments as `(rows, columns)`.
 * - Operations take effect in call order. `download` waits for everything before it; nothing else need wait.
 * - An operation allocates nothing. Shapes are built once; what changes from batch to batch is a plain number argument
 *   or a word of the batch's header, so that a recorded sequence can be replayed with another batch.
 * - Outputs are overwritten, never accumulated into, unless the comment says so; outputs do not overlap inputs.
 * - A table row has one writer an update and sums are taken in a fixed order: the same inputs give the same bits.
 * - Indices were checked against the table before the step; operations need not check them again.
 * - NaN, infinities and the smallest numbers (denormal ones) come out as the reference has them, so that a model that has
 *   diverged cannot look whole. ReLU of NaN is NaN, and a gradient passes where the output is NaN.
 *
 * `reference/` defines what each operation means. Every other backend is tested against it
 * (`tests/backend/special_values.ts` for the numbers above). What may differ:
 *
 * | where                            | reference                | others                                              |
 * | -------------------------------- | ------------------------ | --------------------------------------------------- |
 * | everywhere                       | the sign of a zero       | either sign; NaN may have any bits                  |
 * | sums and products                | f64 on the way           | f32: may pass its largest number and be infinite    |
 * | sigmoid of -infinity             | 0                        | 0, or less than 1e-36                               |
 * | gradient of the dot interaction  | finite                   | NaN, of a vector that is NaN or infinite itself     |
 * | gradient of ReLU by cuDNN        | kept where y is NaN      | kept, 0 or NaN where y is NaN; NaN or infinite      |
 * |                                  | and 0 where y is 0       | gradients may become NaN where y is 0               |
 * | moments of Adam                  | f64 on the way           | f32: the smallest numbers lose a bit, epsilon       |
 * |                                  |                          | enlarges that to less than 2^-122 of a weight       |
 * | tf32 and bf16 products           | f32                      | the smallest numbers may be 0 on the way            |
 * | bf16 products on a CPU           | infinite                 | infinite or NaN                                     |
 *
 * None of these loses a NaN or an infinity on the way to the loss.
 */

import type { OptimizerName } from "../optimizer/optimizers.ts";

export { Header, HEADER_WORDS } from "../header.ts";

/** Memory of a backend: `words` words of 4 bytes. Only the backend that made it can look inside. */
export interface Buffer {
  /** Its length. */
  readonly words: number;
}

/** What follows a matrix product. */
export type Activation = "identity" | "relu" | "sigmoid";

/** How the bottom MLP's output and the pooled rows are combined. */
export type InteractionKind = "dot" | "cat";

/** One fully connected layer. */
export interface LinearShape {
  /** Width of its input. */
  readonly inputs: number;
  /** Width of its output. */
  readonly outputs: number;
  /** Applied to the output. */
  readonly activation: Activation;
}

/** The interaction of `tables` pooled vectors, and of one bottom vector where there is one, all of length `dim`. */
export interface InteractionShape {
  /** Pairwise dot products, or concatenation. */
  readonly kind: InteractionKind;
  /** True if a bottom vector comes before the pooled ones; `cat` needs one. */
  readonly bottom: boolean;
  /** Pooled vectors of a sample. */
  readonly tables: number;
  /** Length of each vector. */
  readonly dim: number;
}

/** Vectors of a sample whose values are part of the interaction's output: with dot the bottom vector alone, if it has one. */
export function vectorsPassedOn({ kind, bottom, tables }: InteractionShape): number {
  return kind === "dot" && bottom ? 1 : tables + Number(bottom);
}

/** Columns of the interaction's output: the vectors that are passed on, and with dot the products of all pairs. */
export function interactionWidth(shape: InteractionShape): number {
  const vectors = shape.tables + Number(shape.bottom);
  return shape.dim * vectorsPassedOn(shape) + (shape.kind === "dot" ? vectors * (vectors - 1) / 2 : 0);
}

/** An update of embedding rows; `rank` of `ranks` writes its share of the batch's distinct rows. */
export interface RowUpdateShape {
  readonly optimizer: OptimizerName;
  readonly dim: number;
  readonly rank: number;
  readonly ranks: number;
}

/** What a device has been asked to do, since it was opened. */
export interface DeviceCounters {
  /** Kernels and library calls launched one by one; not those inside a replayed graph. */
  launches: number;
  /** Recorded sequences replayed: one launch each for the host. */
  graphLaunches: number;
  /** Bytes copied from host to device. */
  bytesToDevice: number;
  /** Bytes copied from device to host. */
  bytesToHost: number;
  /** Bytes that exchanges brought from the devices of other ranks. */
  bytesFromRanks: number;
}

/** A maker of buffers and the operations on them. */
export interface Backend extends Disposable {
  /** Shown to users: what computes, and with what. */
  readonly name: string;
  /** What a device was asked to do so far; a host launches and copies nothing. */
  readonly counters?: Readonly<DeviceCounters>;

  /** A new buffer of zeros. `label` names it in errors. Throws HotsetError when memory runs out. */
  allocate(words: number, label: string): Buffer;
  /** The same for embedding rows or their optimizer state, which may need more room: only to be used as such. */
  allocateTable(words: number, label: string): Buffer;
  /** Words `[first, first + words)` of a buffer, sharing its memory. */
  view(buffer: Buffer, first: number, words: number): Buffer;
  /** Copies host words into the beginning of a buffer. The source may be reused when the call returns. */
  upload(source: Float32Array | Uint32Array, target: Buffer): void;
  /** Copies the beginning of a buffer to the host; fills `target`. Waits until the words are there. */
  download(source: Buffer, target: Float32Array | Uint32Array): void;
  /** Waits for all operations so far and throws the first error any of them met. */
  synchronize(): void;
  /**
   * Runs `sequence` once and returns a function that runs the same operations on the same buffers again. A device may
   * record them; a host simply calls `sequence`.
   */
  repeatable(sequence: () => void): () => void;

  /** `y = activation(x weightᵀ + bias)`: x (samples, inputs), weight (outputs, inputs), bias (outputs), y (samples, outputs). */
  linear(shape: LinearShape, samples: number, x: Buffer, weight: Buffer, bias: Buffer, y: Buffer): void;

  /**
   * Gradients of `linear`. On entry `dY` (samples, outputs) is the gradient of y; on return it is the gradient before
   * the activation. Writes dWeight (outputs, inputs), dBias (outputs) and, unless undefined, dX (samples, inputs).
   */
  linearBackward(
    shape: LinearShape,
    samples: number,
    x: Buffer,
    weight: Buffer,
    y: Buffer,
    dY: Buffer,
    dX: Buffer | undefined,
    dWeight: Buffer,
    dBias: Buffer,
  ): void;

  /** `sums[c]` = the sum of column c of x (samples, columns). */
  columnSums(samples: number, columns: number, x: Buffer, sums: Buffer): void;

  /**
   * Sum pooling: `pooled[b] = sum of table[indices[k]]` over the lookups k of bag b. table (rows, dim), pooled
   * (bags, dim). Bag b has lookups `offsets[b] .. offsets[b + 1]`; without offsets it has the one lookup b. An empty
   * bag gives zeros.
   */
  pool(bags: number, dim: number, table: Buffer, indices: Buffer, offsets: Buffer | undefined, pooled: Buffer): void;

  /**
   * bottom (samples, dim), undefined if the shape has none, and pooled (samples, tables, dim) to output (samples,
   * interactionWidth). `dot`: the bottom vector, or all pooled vectors where there is none, then for i = 1.., j = 0..i-1
   * the product of vectors i and j, where vector 0 is bottom, or else the first pooled one. `cat`: all vectors one after
   * the other.
   */
  interact(shape: InteractionShape, samples: number, bottom: Buffer | undefined, pooled: Buffer, output: Buffer): void;

  /** Gradients of `interact` from dOutput: dBottom (samples, dim), undefined as bottom, and dPooled (samples, tables, dim). */
  interactBackward(
    shape: InteractionShape,
    samples: number,
    bottom: Buffer | undefined,
    pooled: Buffer,
    dOutput: Buffer,
    dBottom: Buffer | undefined,
    dPooled: Buffer,
  ): void;

  /**
   * Binary cross-entropy on logits (samples, 1) against labels in [0, 1], its mean taken over the whole batch of
   * `header.samples` (of which `samples` may be one rank's share). With the header's label smoothing s and weight of
   * positives w, y = label + s (1/2 - label) and
   * `loss = w y softplus(-logit) + (1 - y) softplus(logit)`: `dLogits = ((1 + (w - 1) y) sigmoid(logit) - w y) /
   * header.samples`, and the sum of the losses of these samples is ADDED to `lossSum[0]`.
   */
  loss(samples: number, header: Buffer, logits: Buffer, labels: Buffer, dLogits: Buffer, lossSum: Buffer): void;

  /**
   * Updates the rows a batch touched. Segment s is row `segments[2s]`; the bags that looked it up are
   * `segmentBags[segments[2s + 1] .. segments[2s + 3]]` (one entry a lookup, so a bag may occur twice); its gradient is
   * the sum of their dPooled (bags, dim) in that order. table (rows, dim); state (rows, the optimizer's rowStateWords),
   * undefined if it keeps none. The number of segments and the rates come from the header. Rank r writes the segments that begin
   * within lookups `[lookups * r / ranks, lookups * (r + 1) / ranks)`, both rounded down.
   */
  updateRows(
    shape: RowUpdateShape,
    header: Buffer,
    segments: Buffer,
    segmentBags: Buffer,
    dPooled: Buffer,
    table: Buffer,
    state: Buffer | undefined,
  ): void;

  /**
   * Updates `words` dense parameters from their gradients; state holds the optimizer's denseStateWords of them,
   * undefined if it keeps none. The rates come from the header.
   */
  updateDense(
    optimizer: OptimizerName,
    words: number,
    header: Buffer,
    parameters: Buffer,
    gradients: Buffer,
    state: Buffer | undefined,
  ): void;

  /** `packed[i] = table[rows[i]]` for i < count, each row `dim` words. */
  packRows(count: number, dim: number, table: Buffer, rows: Buffer, packed: Buffer): void;
  /** `table[rows[i]] = packed[i]` for i < count; rows are distinct. */
  unpackRows(count: number, dim: number, packed: Buffer, rows: Buffer, table: Buffer): void;
}

/**
 * Connects the devices of several ranks. All ranks make the same calls in the same order; like any operation a call takes
 * effect in the order of the device, and may be part of a sequence that repeats.
 */
export interface DeviceCollectives {
  /** The first `words` floats of `buffer` become the sum of all ranks', the same bits everywhere. */
  allReduce(words: number, buffer: Buffer): void;
  /** Copies each rank's `own` to its row of `all` (ranks, words of `own`); `own` may be that row. */
  allGather(own: Buffer, all: Buffer): void;
  /** Leaves without waiting: for a rank that failed, so that the others do not wait for it. */
  abort(): void;
}

/** A backend on a device with memory of its own, which can be connected to others of its kind. */
export interface DeviceBackend extends Backend {
  readonly counters: Readonly<DeviceCounters>;
  /** What the ranks of one communicator must have in common; made by one of them. */
  communicatorId(): Uint8Array<ArrayBuffer>;
  /** Joins the communicator with that id; returns when all ranks have. */
  connect(id: Uint8Array, rank: number, ranks: number): DeviceCollectives;
}

/** Memory that another thread of this process can attach to; can be posted to a worker. */
export interface SharedWords {
  /** The memory, or undefined for the memory that the backend's kernels live in. */
  readonly memory: SharedArrayBuffer | undefined;
  readonly byteOffset: number;
  readonly words: number;
}

/** What can multiply matrices on a CPU: native libraries, and the WASM kernels. */
export type BlasName = "openblas" | "onednn" | "ort" | "wasm";

/** A backend whose buffers lie in this process's memory, so that ranks can share them and checkpoints read them. */
export interface HostBackend extends Backend {
  /** What multiplies; null for loops in TypeScript. */
  readonly blas: BlasName | null;
  /** The floats of a buffer, not copied. */
  floats(buffer: Buffer): Float32Array;
  /** A buffer over host memory, not copied. */
  wrap(memory: Float32Array | Uint32Array): Buffer;
  /** What another rank's backend needs to `attach` the same words. */
  share(buffer: Buffer): SharedWords;
  /** A buffer over the words that another rank's backend shared. */
  attach(shared: SharedWords): Buffer;
  /** `target += source`, element by element. */
  add(words: number, source: Buffer, target: Buffer): void;
  /** `x *= factor`, element by element. */
  scale(words: number, factor: number, x: Buffer): void;
  /** The sum of the squares of x, in double precision. */
  squares(words: number, x: Buffer): number;
  /** The same of the gradients of all rows that `updateRows` of this shape writes; each is rounded to f32 first. */
  rowSquares(shape: RowUpdateShape, header: Buffer, segments: Buffer, segmentBags: Buffer, dPooled: Buffer): number;
}

/** A host backend whose memory other processes can be given a part in. */
export interface PagedBackend extends HostBackend {
  /** The most bytes of a table that lie in pages. */
  readonly largestTable: number;
  /** Runs `allocate` and returns the memory of all that it allocated, which is whole pages and holds nothing else. */
  pagesOf(allocate: () => void): Uint8Array;
}
