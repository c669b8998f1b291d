/** The operations of the backend contract on a CUDA device; ../backend.ts defines them. */
import { Cuda } from "../../../ffi/cudart.ts";
import { UNIQUE_ID_BYTES } from "../../../ffi/nccl.ts";
import { pointerAt } from "../../../ffi/pointer.ts";
import type {
  Buffer,
  DeviceBackend,
  DeviceCounters,
  Download,
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
  Upload,
} from "../backend.ts";
import type { OptimizerName } from "../../optimizer/optimizers.ts";
import { ActivationKernels } from "./kernels/activation.ts";
import { CudaCommunicator } from "./communicator.ts";
import { copyColumns } from "./copy_columns.ts";
import { CudnnActivations } from "./cudnn_activations.ts";
import type { CudaDevice } from "./device.ts";
import { CudaDownload } from "./download.ts";
import { type DeviceBuffer, own } from "./memory.ts";
import { type ActivationLibrary, type FusedLinear, openFused } from "./fused_linear.ts";
import { Dropout } from "./kernels/dropout.ts";
import { Elementwise } from "./kernels/elementwise.ts";
import { Factorise } from "./kernels/factorise.ts";
import { DotInteraction } from "./kernels/interaction.ts";
import { Gather } from "./kernels/gather.ts";
import { Gemm, type Precision } from "./gemm.ts";
import { Loss } from "./kernels/loss.ts";
import { MeanOfBags } from "./kernels/mean_of_bags.ts";
import { isPadded, PaddedWeights } from "./padded_weights.ts";
import { Scatter } from "./kernels/scatter.ts";
import { StepKernels } from "./kernels/steps.ts";
import { Transfers } from "./transfers.ts";
import { UpdateDense } from "./kernels/update_dense.ts";
import { UpdateRows } from "./kernels/update_rows.ts";
import { WeightedRows } from "./kernels/weighted_rows.ts";

/** A backend whose buffers are in device memory. Created by `openCuda`. */
export class CudaBackend implements DeviceBackend {
  readonly name: string;
  readonly device: CudaDevice;
  readonly stepAttention: StepKernels;
  readonly #transfers: Transfers;
  readonly #gemm: Gemm;
  readonly #padded: PaddedWeights;
  readonly #activations: ActivationKernels;
  readonly #cudnn: CudnnActivations | undefined;
  readonly #fused: FusedLinear | undefined;
  readonly #elementwise: Elementwise;
  readonly #dropout: Dropout;
  readonly #gather: Gather;
  readonly #meanOfBags: MeanOfBags;
  readonly #scatter: Scatter;
  readonly #interaction: DotInteraction;
  readonly #factorise: Factorise;
  readonly #loss: Loss;
  readonly #updateRows: UpdateRows;
  readonly #updateDense: UpdateDense;
  readonly #weightedRows: WeightedRows;

  /** Takes ownership of the device. */
  constructor(device: CudaDevice, precision: Precision, activations: ActivationLibrary) {
    using opening = new DisposableStack();
    this.device = opening.use(device);
    this.#transfers = new Transfers(device);
    this.#gemm = new Gemm(device, precision);
    this.#padded = new PaddedWeights(device);
    this.#activations = new ActivationKernels(device);
    this.#cudnn = activations === "cudnn" ? new CudnnActivations(device) : undefined;
    this.#fused = openFused(device, activations, precision, this.#gemm);
    // A run records the name, and a resumed run compares it.
    const library = this.#fused?.name ?? (this.#cudnn && "cuDNN");
    this.name = [device.name, precision, ...(library === undefined ? [] : [library])].join(", ");
    this.#elementwise = new Elementwise(device);
    this.#dropout = new Dropout(device);
    this.#gather = new Gather(device);
    this.#meanOfBags = new MeanOfBags(device);
    this.#scatter = new Scatter(device);
    this.#interaction = new DotInteraction(device);
    this.#factorise = new Factorise(device);
    this.stepAttention = new StepKernels(device);
    this.#loss = new Loss(device);
    this.#updateRows = new UpdateRows(device);
    this.#updateDense = new UpdateDense(device);
    this.#weightedRows = new WeightedRows(device);
    opening.move();
  }

  /** Counters since the device was opened. */
  get counters(): Readonly<DeviceCounters> {
    return this.device.counters;
  }

  freeBytes(): number {
    return this.device.memory().free;
  }

  allocate(words: number, label: string): Buffer {
    return this.device.allocate(words, label);
  }

  allocateTable(words: number, label: string): Buffer {
    return this.device.allocate(words, label);
  }

  view(buffer: Buffer, first: number, words: number): Buffer {
    return own(buffer).view(first, words);
  }

  upload(source: Float32Array | Uint32Array, target: Buffer): void {
    this.#transfers.upload(bytesOf(source), own(target));
  }

  newUploads(parts: readonly Float32Array[]): Upload[] | string {
    return this.#transfers.newUploads(parts.map(bytesOf));
  }

  download(source: Buffer, target: Float32Array | Uint32Array): void {
    this.#transfers.download(own(source), bytesOf(target));
  }

  newDownload(words: number): Download {
    const download = new CudaDownload(this.device, words);
    return { begin: (source, count) => download.begin(own(source), count), wait: () => download.wait() };
  }

  get isIdle(): boolean {
    return this.device.isIdle;
  }

  synchronize(): void {
    this.device.synchronize();
  }

  /**
   * Runs the sequence, then records it as a CUDA graph (so it is called twice). The returned function replays the
   * graph.
   */
  repeatable(sequence: () => void): () => void {
    const { device } = this;
    const { runtime } = device.libraries;
    sequence();
    device.recordedBytesFromRanks = 0;
    const graph = this.#record(sequence);
    const bytesFromRanks = device.recordedBytesFromRanks;
    const executable = pointerAt(device.made((out) => runtime.cudaGraphInstantiateWithFlags(out, graph, 0n)));
    runtime.cudaGraphDestroy(graph);
    device.own(() => runtime.cudaGraphExecDestroy(executable));
    return () => {
      runtime.cudaGraphLaunch(executable, device.stream);
      device.counters.graphLaunches++;
      device.counters.bytesFromRanks += bytesFromRanks;
    };
  }

  strideOf(width: number): number {
    return this.#gemm.strideOf(width);
  }

  prepareLinear(shape: LinearShape, _x: Buffer, weight: Buffer): void {
    if (isPadded(shape)) this.#padded.prepare(shape, own(weight));
  }

  linear(shape: LinearShape, samples: number, x: Buffer, weight: Buffer, bias: Buffer | undefined, y: Buffer): void {
    const { outputs, activation, stride = shape.inputs } = shape;
    const weights = isPadded(shape) ? this.#padded.copy(shape, own(weight)) : own(weight);
    const X = own(x), Y = own(y), B = bias && own(bias);
    if (B !== undefined && this.#fused?.forward(activation, samples, stride, outputs, X, weights, B, Y)) return;
    this.#gemm.timesTransposed(samples, outputs, stride, X, weights, Y);
    if (B === undefined) return;
    const fused = this.#cudnn === undefined ? activation : "identity";
    this.#activations.forward(fused, samples, outputs, Y, B);
    this.#cudnn?.forward(activation, samples * outputs, Y);
  }

  linearBackward(shape: LinearShape, samples: number, buffers: LinearGradients): void {
    const { x, weight, y, dY, dX, dWeight, dBias } = buffers;
    const { outputs, activation, stride = shape.inputs } = shape;
    if (dBias !== undefined) {
      this.#cudnn?.backward(activation, samples * outputs, own(y), own(dY));
      const fused = this.#cudnn === undefined ? activation : "identity";
      this.#activations.backward(fused, samples, outputs, own(y), own(dY), own(dBias));
    }
    const padded = isPadded(shape);
    const dWeights = padded ? this.#padded.gradient(shape) : own(dWeight);
    this.#gemm.transposedTimes(outputs, stride, samples, own(dY), own(x), dWeights);
    if (padded) this.#padded.takeGradient(shape, own(dWeight));
    if (dX === undefined) return;
    const weights = padded ? this.#padded.copyOf(own(weight)) : own(weight);
    this.#gemm.times(samples, stride, outputs, own(dY), weights, own(dX));
  }

  columnSums(samples: number, columns: number, x: Buffer, sums: Buffer): void {
    // Same as the bias gradient of a layer without activation, which leaves x unchanged.
    this.#activations.backward("identity", samples, columns, own(x), own(x), own(sums));
  }

  add(words: number, source: Buffer, target: Buffer): void {
    this.#elementwise.add(words, own(source), own(target));
  }

  dropout(shape: DropoutShape, samples: number, header: Buffer, x: Buffer, y: Buffer): void {
    this.#dropout.launch(shape, samples, own(header), own(x), own(y));
  }

  multiplyAdd(shape: MultiplyAddShape, samples: number, operands: MultiplyAddOperands, y: Buffer): void {
    this.#elementwise.multiplyAdd(shape, samples, operands, y);
  }

  multiplyAddBackward(shape: MultiplyAddShape, samples: number, buffers: MultiplyAddGradients): void {
    this.#elementwise.multiplyAddBackward(shape, samples, buffers);
    this.columnSums(samples, shape.width, buffers.dB, buffers.dBias);
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
    if (weights === undefined) {
      this.#gather.launch(bags, dim, own(table), own(indices), offsets && own(offsets), own(pooled));
    } else {
      this.#weightedRows.pool(bags, dim, own(table), own(indices), own(offsets!), own(weights), own(pooled));
    }
  }

  meanOfBags(bags: number, dim: number, offsets: Buffer, x: Buffer, y: Buffer): void {
    this.#meanOfBags.launch(bags, dim, own(offsets), own(x), own(y));
  }

  interact(shape: InteractionShape, samples: number, bottom: Buffer | undefined, pooled: Buffer, output: Buffer): void {
    if (shape.kind === "dot") {
      this.#interaction.forward(shape, samples, bottom && own(bottom), own(pooled), own(output));
      return;
    }
    const { tables, dim, stride = dim * (tables + 1) } = shape;
    copyColumns(this.device, samples, dim, own(bottom!), dim, 0, own(output), stride, 0);
    copyColumns(this.device, samples, dim * tables, own(pooled), dim * tables, 0, own(output), stride, dim);
  }

  interactBackward(shape: InteractionShape, samples: number, buffers: InteractionGradients): void {
    if (shape.kind === "dot") return this.#interaction.backward(shape, samples, buffers);
    const { tables, dim, stride = dim * (tables + 1) } = shape;
    const { dOutput, dBottom, dPooled } = buffers;
    copyColumns(this.device, samples, dim, own(dOutput), stride, 0, own(dBottom!), dim, 0);
    copyColumns(this.device, samples, dim * tables, own(dOutput), stride, dim, own(dPooled), dim * tables, 0);
  }

  factorise(shape: MachineShape, samples: number, pooled: Buffer, bias: Buffer, y: Buffer): void {
    this.#factorise.forward(shape, samples, own(pooled), own(bias), own(y));
  }

  factoriseBackward(shape: MachineShape, samples: number, buffers: MachineGradients): void {
    this.#factorise.backward(shape, samples, buffers);
  }

  loss(samples: number, header: Buffer, logits: Buffer, labels: Buffer, dLogits: Buffer, lossSum: Buffer): void {
    this.#loss.launch(samples, own(header), own(logits), own(labels), own(dLogits), own(lossSum));
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
    const update = (bags: DeviceBuffer, gradients: DeviceBuffer) => {
      const rows = [own(table), state && own(state)] as const;
      this.#updateRows.launch(shape, own(header), own(segments), bags, gradients, ...rows);
    };
    if (segmentWeights === undefined) return update(own(segmentBags), own(dPooled));
    // Then each lookup is a bag of its own.
    const { scaled, places } = this.#weightedRows.scale(shape.dim, own(segmentBags), own(segmentWeights), own(dPooled));
    update(places, scaled);
  }

  updateDense(
    optimizer: OptimizerName,
    words: number,
    header: Buffer,
    parameters: Buffer,
    gradients: Buffer,
    state: Buffer | undefined,
  ): void {
    this.#updateDense.launch(optimizer, words, own(header), own(parameters), own(gradients), state && own(state));
  }

  packRows(count: number, dim: number, table: Buffer, rows: Buffer, packed: Buffer): void {
    this.#gather.launch(count, dim, own(table), own(rows), undefined, own(packed));
  }

  unpackRows(count: number, dim: number, packed: Buffer, rows: Buffer, table: Buffer): void {
    this.#scatter.launch(count, dim, own(packed), own(rows), own(table));
  }

  communicatorId(): Uint8Array<ArrayBuffer> {
    const id = new Uint8Array(UNIQUE_ID_BYTES);
    this.device.libraries.nccl().ncclGetUniqueId(id);
    return id;
  }

  connect(id: Uint8Array, rank: number, ranks: number): CudaCommunicator {
    return new CudaCommunicator(this.device, id, rank, ranks);
  }

  /** Calls the sequence with launches recorded instead of run, and returns them as a graph. */
  #record(sequence: () => void): Deno.PointerValue {
    const { device } = this;
    const { runtime } = device.libraries;
    const end = () => {
      device.recording = false;
      return pointerAt(device.made((out) => runtime.cudaStreamEndCapture(device.stream, out)));
    };
    runtime.cudaStreamBeginCapture(device.stream, Cuda.streamCaptureModeThreadLocal);
    device.recording = true;
    try {
      sequence();
    } catch (error) {
      try { // a stream that stays in recording mode would be unusable
        runtime.cudaGraphDestroy(end());
      } catch {
        // The original error may have ended the recording already; it is more useful than this one.
      }
      throw error;
    }
    return end();
  }

  [Symbol.dispose](): void {
    this.device[Symbol.dispose]();
  }
}

function bytesOf(array: Float32Array | Uint32Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
