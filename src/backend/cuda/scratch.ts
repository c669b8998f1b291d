/** Device memory that kernels use between launches. */
import type { CudaDevice } from "./device.ts";
import type { DeviceBuffer } from "./memory.ts";

/** Words that one launch of an operation writes for the next launch of the same operation. */
export class Scratch {
  readonly #device: CudaDevice;
  readonly #label: string;
  #buffer: DeviceBuffer | undefined;

  /** Allocates nothing yet; `label` names the memory in errors. */
  constructor(device: CudaDevice, label: string) {
    this.#device = device;
    this.#label = label;
  }

  /**
   * At least `words` words; allocates only if no earlier call asked for as many. Smaller buffers are kept, because
   * recorded graphs contain their addresses.
   */
  of(words: number): DeviceBuffer {
    if (this.#buffer === undefined || this.#buffer.words < words) {
      this.#buffer = this.#device.allocate(words, this.#label);
    }
    return this.#buffer;
  }
}
