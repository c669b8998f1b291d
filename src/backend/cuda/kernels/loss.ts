import { type Kernel, KernelModule } from "../kernel.ts";
import type { CudaDevice } from "../device.ts";
import type { DeviceBuffer } from "../memory.ts";

const MAX_THREADS = 1024;

/** Launches loss.cu: binary cross-entropy with logits and its gradient. */
export class Loss {
  readonly #kernel: Kernel;

  constructor(device: CudaDevice) {
    const module = new KernelModule(device, new URL("loss.ptx", import.meta.url));
    // header, logits, labels, dLogits, lossSum, samples
    this.#kernel = module.kernel("loss", ["u64", "u64", "u64", "u64", "u64", "u32"]);
  }

  /** logits, labels, dLogits (samples); adds to lossSum (1). One block, so that the sum has a fixed order. */
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
    kernel.number(5, samples);
    const threads = Math.min(MAX_THREADS, 32 * Math.ceil(samples / 32));
    kernel.launch(samples === 0 ? 0 : 1, threads);
  }
}
