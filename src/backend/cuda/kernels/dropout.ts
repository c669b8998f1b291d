import type { DropoutShape } from "../../backend.ts";
import { blocksFor, type Kernel, KernelModule } from "../kernel.ts";
import type { CudaDevice } from "../device.ts";
import type { DeviceBuffer } from "../memory.ts";

const THREADS = 256;
/** A float and its bits. */
const FLOAT = new Float32Array(1), BITS = new Uint32Array(FLOAT.buffer);

/** Launches dropout.cu. */
export class Dropout {
  readonly #kernel: Kernel;

  constructor(device: CudaDevice) {
    const module = new KernelModule(device, new URL("dropout.ptx", import.meta.url));
    // header, x, y, words, first, key, dropped, kept
    this.#kernel = module.kernel("dropout", ["u64", "u64", "u64", "u32", "u32", "u32", "u32", "u32"]);
  }

  /** x and y (samples, width). */
  launch(
    { width, rate, key, firstSample }: DropoutShape,
    samples: number,
    header: DeviceBuffer,
    x: DeviceBuffer,
    y: DeviceBuffer,
  ): void {
    const words = samples * width;
    this.#kernel.buffer(0, header);
    this.#kernel.buffer(1, x);
    this.#kernel.buffer(2, y);
    // Bits are below rate 2^32 if they are below the next integer, of which the largest does not fit.
    const dropped = Math.min(Math.ceil(rate * 2 ** 32), 2 ** 32 - 1);
    this.#kernel.number(3, words);
    this.#kernel.number(4, firstSample * width);
    this.#kernel.number(5, key);
    this.#kernel.number(6, dropped);
    FLOAT[0] = 1 / (1 - rate);
    this.#kernel.number(7, BITS[0]);
    this.#kernel.launch(blocksFor(words, THREADS), THREADS);
  }
}
