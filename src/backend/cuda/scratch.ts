/** Memory on the device that kernels use between their launches. */
import type { CudaDevice } from "./device.ts";
import type { DeviceBuffer } from "./memory.ts";

/** Words that hold what one operation leaves for its own next launch. */
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
   * At least so many words; allocates only if more are asked for than ever before. A smaller buffer stays, because
   * recorded graphs hold its address.
   */
  of(words: number): DeviceBuffer {
    if (this.#buffer === undefined || this.#buffer.words < words) {
      this.#buffer = this.#device.allocate(words, this.#label);
    }
    return this.#buffer;
  }
}
