import { type Kernel, KernelModule } from "../kernel.ts";
import type { CudaDevice } from "../device.ts";
import type { DeviceBuffer } from "../memory.ts";
import { Scratch } from "../scratch.ts";

const MAX_THREADS = 1024;
/** Samples per block: PART_SAMPLES of loss.cu. */
const PART_SAMPLES = 4096;

/** Launches loss.cu: binary cross-entropy with logits and its gradient. */
export class Loss {
  readonly #kernel: Kernel;
  readonly #total: Kernel;
  readonly #scratch: Scratch;

  constructor(device: CudaDevice) {
    const module = new KernelModule(device, new URL("loss.ptx", import.meta.url));
    // header, logits, labels, dLogits, lossSum, sums, samples
    this.#kernel = module.kernel("loss", ["u64", "u64", "u64", "u64", "u64", "u64", "u32"]);
    // sums, lossSum, parts
    this.#total = module.kernel("loss_total", ["u64", "u64", "u32"]);
    this.#scratch = new Scratch(device, "sums of losses");
  }

  /** logits, labels, dLogits (samples); adds to lossSum (1) in a fixed order. */
  launch(
    samples: number,
    header: DeviceBuffer,
    logits: DeviceBuffer,
    labels: DeviceBuffer,
    dLogits: DeviceBuffer,
    lossSum: DeviceBuffer,
  ): void {
    const kernel = this.#kernel;
    kernel.buffer(0, header);
    kernel.buffer(1, logits);
    kernel.buffer(2, labels);
    kernel.buffer(3, dLogits);
    kernel.buffer(4, lossSum);
    const parts = Math.ceil(samples / PART_SAMPLES);
    const sums = parts > 1 ? this.#scratch.of(parts) : undefined;
    kernel.buffer(5, sums);
    kernel.number(6, samples);
    kernel.launch(parts, threadsFor(samples));
    if (sums === undefined) return;
    this.#total.buffer(0, sums);
    this.#total.buffer(1, lossSum);
    this.#total.number(2, parts);
    this.#total.launch(1, threadsFor(parts));
  }
}

/** Number of threads for this many values, in whole warps. */
function threadsFor(values: number): number {
  return Math.min(MAX_THREADS, 32 * Math.ceil(values / 32));
}
