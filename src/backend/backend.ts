/**
 * The contract between the training step and the devices that compute it.
 *
 * A backend owns buffers of 4-byte words (f32 or u32, little-endian) and runs operations, each about as large as one
 * fused kernel. These rules hold for every operation of every backend:
 *
 * - Matrices are row-major; comments give their shapes as `(rows, columns)`.
 * - Operations take effect in call order. Only `download` and `synchronize` wait for them.
 * - Operations allocate nothing. Shapes and records of buffers are made once; values that change from batch to batch are
 *   numeric arguments or words of the batch's header, so that a recorded sequence can be replayed with the next batch.
 * - Outputs are overwritten, not accumulated, unless the comment says otherwise, and do not overlap inputs.
 * - Each table row has a single writer per update, and sums have a fixed order: equal inputs give equal bits.
 * - Indices are in range: the batch was validated before the step, so operations do not check them again.
 * - NaN, infinities and denormal numbers give the same results as in the reference, so that divergence is always
 *   detected. ReLU of NaN is NaN, and a gradient passes where the output is NaN.
 *
 * `reference/` defines every operation, and all other backends are tested against it
 * (`tests/backend/special_values.ts` for NaN, infinities and denormal numbers). These differences are permitted:
 *
 * | where                            | reference                | others                                              |
 * | -------------------------------- | ------------------------ | --------------------------------------------------- |
 * | everywhere                       | the sign of a zero       | either sign; any bits of NaN                        |
 * | sums and products                | f64 intermediates        | f32 intermediates, which may overflow to infinity   |
 * | sigmoid of -infinity             | 0                        | 0, or less than 1e-36                               |
 * | gradient of the dot interaction  | finite                   | NaN, for a vector that contains NaN or infinity     |
 * | gradient of ReLU by cuDNN        | passes where y is NaN,   | where y is NaN: passed, 0 or NaN; where y is 0:     |
 * |                                  | 0 where y is 0           | NaN and infinity may become NaN                     |
 * | moments of Adam                  | f64 intermediates        | f32: denormal numbers lose a bit, which epsilon     |
 * |                                  |                          | enlarges to less than 2^-122 of a weight            |
 * | gradient of normalised steps     | f64 intermediates        | f32: denormal gradients lose two bits               |
 * | tf32 and bf16 products           | f32                      | denormal operands may become 0                      |
 * | bf16 products on a CPU           | infinity                 | infinity or NaN                                     |
 *
 * None of these hides a NaN or an infinity from the loss.
 */

import type { OptimizerName } from "../optimizer/optimizers.ts";
import type {
  Buffer,
  DropoutShape,
  InteractionGradients,
  InteractionShape,
  LinearGradients,
  LinearShape,
  MachineGradients,
  MachineShape,
  MultiplyAddGradients,
  MultiplyAddOperands,
  MultiplyAddShape,
  RowUpdateShape,
  StepsShape,
  WeighedStepsGradients,
} from "./shapes.ts";

export { Header, HEADER_WORDS } from "../batch_header.ts";
export type * from "./shapes.ts";
export { CPU_CACHED_WORDS, interactionWidth, vectorsPassedOn } from "./shapes.ts";

/** Operations of models whose samples are sequences of steps, the last one the candidate; gradients follow from dY. */
export interface StepAttention {
  /** `y[i] = x[i] / max(|x[i]|, 1e-12)` of the rows of x (rows, width). */
  normalise(rows: number, width: number, x: Buffer, y: Buffer): void;
  normaliseBackward(rows: number, width: number, x: Buffer, dY: Buffer, dX: Buffer): void;
  /** The products of the candidate with all other steps of x (samples, steps, width): y (samples, steps - 1). */
  scoreSteps(shape: StepsShape, samples: number, x: Buffer, y: Buffer): void;
  scoreStepsBackward(shape: StepsShape, samples: number, x: Buffer, dY: Buffer, dX: Buffer): void;
  /**
   * y (samples, 2 width): the sum of the other steps of x (samples, steps, width), each with its weight of weights
   * (samples, steps - 1), and then the candidate.
   */
  weighSteps(shape: StepsShape, samples: number, x: Buffer, weights: Buffer, y: Buffer): void;
  weighStepsBackward(shape: StepsShape, samples: number, buffers: WeighedStepsGradients): void;
}

/** Operations of a device since it was opened. */
export interface DeviceCounters {
  /** Number of kernels and library calls that were launched one by one, not by replaying a graph. */
  launches: number;
  /** Number of replays of recorded graphs. Each is a single launch for the host. */
  graphLaunches: number;
  /** Bytes copied from host to device. */
  bytesToDevice: number;
  /** Bytes copied from device to host. */
  bytesToHost: number;
  /** Bytes received from the devices of other ranks. */
  bytesFromRanks: number;
}

/** Allocates buffers and runs operations on them. */
export interface Backend extends Disposable {
  /** Name for messages: the device and its libraries. */
  readonly name: string;
  /** Counters of a device; undefined for a host, which launches and copies nothing. */
  readonly counters?: Readonly<DeviceCounters>;
  /** Operations on sequences of steps. */
  readonly stepAttention: StepAttention;
  /**
   * Words of activations that stay in the processor's cache: the layers compute as many samples together as have no more.
   * Undefined if they should compute all samples of a rank together.
   */
  readonly cachedWords?: number | undefined;

  /** True if `linearBackward` can add dX and dWeight to what their buffers hold; default false. */
  readonly addsProducts?: boolean;

  /** Allocates a buffer of zeros. `label` names it in errors. Throws HotsetError if memory is exhausted. */
  allocate(words: number, label: string): Buffer;
  /**
   * Allocates embedding rows or their optimizer state, which may exceed the limits of `allocate`. The buffer may be
   * used only as `table` or `state` of row operations.
   */
  allocateTable(words: number, label: string): Buffer;
  /** A view of the words `[first, first + words)` of a buffer. */
  view(buffer: Buffer, first: number, words: number): Buffer;
  /** Copies words of the host to the beginning of a buffer. The source may be reused when the call returns. */
  upload(source: Float32Array | Uint32Array, target: Buffer): void;
  /**
   * Pins parts of one memory of the host, and what is between them, for the life of the backend. Returns an upload from
   * each part, or why they cannot be pinned. Only a device has it.
   */
  newUploads?(parts: readonly Float32Array[]): Upload[] | string;
  /** Fills `target` from the beginning of a buffer. Waits until the words have arrived. */
  download(source: Buffer, target: Float32Array | Uint32Array): void;
  /** Waits for all operations so far, and throws the first error of any of them. */
  synchronize(): void;
  /** True if `synchronize` need not wait; undefined if it never does, because operations are over when they return. */
  readonly isIdle?: boolean;
  /**
   * Runs `sequence`, and returns a function that repeats the same operations on the same buffers. A device may record
   * them as a graph; a host calls `sequence` again.
   */
  repeatable(sequence: () => void): () => void;

  /**
   * The stride of rows of `width` values that an interaction computes for a linear layer. It is larger than `width` where
   * products of more inputs are faster: `linear` may multiply the zeros behind the values too.
   */
  strideOf(width: number): number;

  /**
   * Announces the buffers of a layer before its first `linear`, x for the most samples: a backend that needs memory
   * besides them allocates it now, so that no step does.
   */
  prepareLinear(shape: LinearShape, x: Buffer, weight: Buffer): void;

  /**
   * Says whether no weight changes until the next call, as while a model is scored: `linear` may then pack each weight
   * once. Undefined if that makes no difference.
   */
  keepWeights?(kept: boolean): void;

  /**
   * `y = activation(x weightᵀ + bias)`: x (samples, inputs), weight (outputs, inputs), bias (outputs), y (samples,
   * outputs). A layer without bias, undefined, has the activation `identity`.
   */
  linear(shape: LinearShape, samples: number, x: Buffer, weight: Buffer, bias: Buffer | undefined, y: Buffer): void;

  /**
   * Gradients of `linear`. On entry `dY` (samples, outputs) is the gradient of y; on return it is the gradient before
   * the activation. Writes dWeight (outputs, inputs) and, unless undefined, dBias (outputs) and dX (samples, inputs).
   * Between a `linear` and its `linearBackward` x and weight do not change: a backend may use what it made of them.
   */
  linearBackward(shape: LinearShape, samples: number, buffers: LinearGradients): void;

  /** `sums[c]` = sum of column c of x (samples, columns). */
  columnSums(samples: number, columns: number, x: Buffer, sums: Buffer): void;

  /** `target += source`, element by element. */
  add(words: number, source: Buffer, target: Buffer): void;

  /**
   * Dropout, and its gradient: y = x times 0 or `1 / (1 - rate)`, x and y (samples, width). Value i of the batch, counted
   * from its first sample, becomes 0 if `mix(i ^ mix(key + 0x9e3779b9 step)) < rate 2^32`, where mix is that of
   * src/random.ts, numbers are u32 and `step` is the header's. In a batch that is only scored, of step 0, y = x.
   */
  dropout(shape: DropoutShape, samples: number, header: Buffer, x: Buffer, y: Buffer): void;

  /**
   * `y = a (b + bias) + c`, element by element: a, b, c and y (samples, width), bias (width). `a` and `c` may be the same
   * buffer.
   */
  multiplyAdd(shape: MultiplyAddShape, samples: number, operands: MultiplyAddOperands, y: Buffer): void;

  /**
   * Gradients of `multiplyAdd` from dY: `dA = (b + bias) dY`, `dB = a dY`, dBias (width) = the column sums of dB, and
   * `dC = dY`, undefined where dY's buffer is to serve as dC. The shape says whether dA and dC are added to what their
   * buffers hold. dA, dC and dY may be one buffer: first dY is read, then dC or dA is overwritten, then dA and dC are added.
   */
  multiplyAddBackward(shape: MultiplyAddShape, samples: number, buffers: MultiplyAddGradients): void;

  /**
   * Sum pooling: `pooled[b]` = sum of `table[indices[k]]` over the lookups k of bag b, where table is (rows, dim) and
   * pooled (bags, dim). Bag b has the lookups `offsets[b]` to `offsets[b + 1] - 1`; without offsets it has one lookup,
   * b. The sum of an empty bag is zero. With offsets there may be weights: each row is then multiplied by `weights[k]`.
   */
  pool(
    bags: number,
    dim: number,
    table: Buffer,
    indices: Buffer,
    offsets: Buffer | undefined,
    pooled: Buffer,
    weights?: Buffer,
  ): void;

  /**
   * Mean pooling, after `pool`, and its gradient: `y[b] = x[b] / n`, where bag b has n lookups according to offsets
   * (bags + 1), and x and y are (bags, dim). The sum of an empty bag remains.
   */
  meanOfBags(bags: number, dim: number, offsets: Buffer, x: Buffer, y: Buffer): void;

  /**
   * Interaction of bottom (samples, dim), undefined if the shape has none, and pooled (samples, tables, dim). `dot`:
   * output (samples, interactionWidth) is the bottom vector, or all pooled vectors if there is none, followed by the
   * product of vectors i and j for i = 1, 2, ... and j = 0, ..., i - 1; vector 0 is the bottom vector, or else the
   * first pooled one. `cat`: output is all vectors, one after the other.
   */
  interact(shape: InteractionShape, samples: number, bottom: Buffer | undefined, pooled: Buffer, output: Buffer): void;

  /**
   * Gradients of `interact` from dOutput: dBottom (samples, dim), undefined if bottom is, and dPooled (samples, tables,
   * dim).
   */
  interactBackward(shape: InteractionShape, samples: number, buffers: InteractionGradients): void;

  /**
   * Factorisation machine over pooled (samples, tables, dim): `y[s]` = the bias, plus the weights of the sample's rows
   * and, with degree 2, the products of the factors of all pairs of its rows. bias is (1) if it is shared, else
   * (samples).
   */
  factorise(shape: MachineShape, samples: number, pooled: Buffer, bias: Buffer, y: Buffer): void;

  /**
   * Gradients of `factorise` from dY (samples): dPooled (samples, tables, dim), and of a bias that is not shared
   * dBias = dY (samples). With degree 1 the gradient of factors is 0.
   */
  factoriseBackward(shape: MachineShape, samples: number, buffers: MachineGradients): void;

  /**
   * Binary cross-entropy on logits (samples, 1). A word of `labels` is a sample's weight v, negative if its label is 0;
   * the word 0 is the label 0 with weight 1. `samples` may be one rank's share of the batch; the loss is the mean over
   * the `header.samples` samples of the whole batch. With label smoothing s and positive weight w of the header,
   * y = label + s (1/2 - label), the loss of a sample is `v (w y softplus(-logit) + (1 - y) softplus(logit))`. Writes
   * `dLogits = v ((1 + (w - 1) y) sigmoid(logit) - w y) / header.samples`, and ADDS the sum of the losses of these
   * samples to `lossSum[0]`.
   */
  loss(samples: number, header: Buffer, logits: Buffer, labels: Buffer, dLogits: Buffer, lossSum: Buffer): void;

  /**
   * Updates the rows of a batch. Segment s is row `segments[2s]`, looked up by the bags `segmentBags[segments[2s + 1]]`
   * to `segmentBags[segments[2s + 3] - 1]` (one entry per lookup, so a bag may occur twice). The gradient of the row is
   * the sum of dPooled (bags, dim) over these bags, in this order, each times its entry of `segmentWeights` where there
   * are any. table is (rows, dim), state (rows, rowStateWords of the optimizer), undefined if the optimizer has none. The
   * header contains the number of segments, the learning rate, the words of the optimizer and the L2 factor of rows:
   * unless it is 0, the row times the factor is added to its gradient first. Rank r updates the segments that begin within
   * lookups `[lookups * r / ranks, lookups * (r + 1) / ranks)`, both rounded down.
   */
  updateRows(
    shape: RowUpdateShape,
    header: Buffer,
    segments: Buffer,
    segmentBags: Buffer,
    dPooled: Buffer,
    table: Buffer,
    state: Buffer | undefined,
    segmentWeights?: Buffer,
  ): void;

  /**
   * Updates `words` dense parameters from their gradients. state holds the optimizer's denseStateWords, undefined if it
   * has none. The header contains the learning rate and the words of the optimizer.
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
 * Collective operations of the devices of several ranks. All ranks make the same calls in the same order. Like other
 * operations, calls take effect in call order on the device and may be part of a repeatable sequence.
 */
export interface DeviceCollectives {
  /**
   * Replaces the first `words` floats of `buffer` with the sum over all ranks; the result has the same bits on all of
   * them.
   */
  allReduce(words: number, buffer: Buffer): void;
  /** Copies each rank's `own` to its row of `all` (ranks, words of `own`). `own` may be that row itself. */
  allGather(own: Buffer, all: Buffer): void;
  /** Leaves without waiting for the other ranks, after an error; their waits then fail. */
  abort(): void;
}

/** A copy from pinned memory of the host to the device, for which the host waits later. */
export interface Upload {
  /**
   * Begins to copy the first words to the beginning of `target`, for all later operations until another upload of
   * `newUploads` begins: after that, none may use `target`.
   */
  begin(words: number, target: Buffer): void;
  /** Waits for the last copy. The words must not change between `begin` and the end of `wait`. */
  wait(): void;
}

/** A copy from device memory to the host, for which the host waits later. */
export interface Download {
  /**
   * Begins to copy the first words of `source`, after all operations so far. Later operations may run at the same time
   * and must not overwrite these words before `wait`.
   */
  begin(source: Buffer, words: number): void;
  /** Waits for the copy. The words are at the beginning of the result, until the next copy begins. */
  wait(): Float32Array;
}

/** A backend on a device with its own memory, which can be connected to devices of other ranks. */
export interface DeviceBackend extends Backend {
  readonly counters: Readonly<DeviceCounters>;
  /** Bytes of device memory that can still be allocated, by any process. */
  freeBytes(): number;
  /** Allocates host memory for copies of up to `words` words, one at a time. */
  newDownload(words: number): Download;
  /** Creates an id of a communicator. One rank calls it and sends the id to the others. */
  communicatorId(): Uint8Array<ArrayBuffer>;
  /** Joins the communicator with this id. Returns when all ranks have joined. */
  connect(id: Uint8Array, rank: number, ranks: number): DeviceCollectives;
}

/** Words that another thread of this process can attach to. They can be posted to a worker. */
export interface SharedWords {
  /** The memory; undefined for the memory of the WASM kernels. */
  readonly memory: SharedArrayBuffer | undefined;
  readonly byteOffset: number;
  readonly words: number;
}

/** Precision of the operands of matrix products on the CPU. Sums, parameters and activations have single precision. */
export type CpuPrecision = "fp32" | "bf16";

/** Matrix products on a CPU: three native libraries, and the WASM kernels. */
export type BlasName = "openblas" | "onednn" | "ort" | "wasm";

/** A backend whose buffers are in this process's memory, so that ranks can share them and checkpoints can read them. */
export interface HostBackend extends Backend {
  /** Library of matrix products; null for loops in TypeScript. */
  readonly blas: BlasName | null;
  /** The words of a buffer as floats, not copied. */
  floats(buffer: Buffer): Float32Array;
  /** The same words as whole numbers. */
  integers(buffer: Buffer): Uint32Array;
  /** A buffer over existing host memory, not copied. */
  wrap(memory: Float32Array | Uint32Array): Buffer;
  /** Describes the words for `attach` of another rank's backend. */
  share(buffer: Buffer): SharedWords;
  /** A buffer over words that another rank's backend shared. */
  attach(shared: SharedWords): Buffer;
  /** `x *= factor`, element by element. */
  scale(words: number, factor: number, x: Buffer): void;
  /** Sum of the squares of x, in double precision. */
  squares(words: number, x: Buffer): number;
  /**
   * Sum of the squares of the gradients of all rows that `updateRows` with this shape updates, in double precision.
   * Each gradient is rounded to f32 before it is squared.
   */
  rowSquares(
    shape: RowUpdateShape,
    header: Buffer,
    segments: Buffer,
    segmentBags: Buffer,
    dPooled: Buffer,
    segmentWeights?: Buffer,
  ): number;
}

/** A host backend whose memory can be mapped by several processes. */
export interface PagedBackend extends HostBackend {
  /** Maximum bytes of a table that can be mapped. */
  readonly largestTable: number;
  /** Runs `allocate`, and returns the memory range of all its allocations: whole pages that contain nothing else. */
  pagesOf(allocate: () => void): Uint8Array;
}
