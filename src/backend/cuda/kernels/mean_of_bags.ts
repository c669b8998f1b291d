import { blocksFor, isWide, type Kernel, KernelModule, type ParameterType } from "../kernel.ts";
import type { CudaDevice } from "../device.ts";
import type { DeviceBuffer } from "../memory.ts";

const THREADS = 256;
// offsets, x, y, bags, elements
const PARAMETERS: ParameterType[] = ["u64", "u64", "u64", "u32", "u32"];

/** Launches mean_of_bags.cu. */
export class MeanOfBags {
  readonly #wide: Kernel;
  readonly #narrow: Kernel;

  constructor(device: CudaDevice) {
    const module = new KernelModule(device, new URL("mean_of_bags.ptx", import.meta.url));
    this.#wide = module.kernel("mean_of_bags_4", PARAMETERS);
    this.#narrow = module.kernel("mean_of_bags_1", PARAMETERS);
  }

  /** offsets (bags + 1), x and y (bags, dim). */
  launch(bags: number, dim: number, offsets: DeviceBuffer, x: DeviceBuffer, y: DeviceBuffer): void {
    const wide = isWide(dim, x, y);
    const kernel = wide ? this.#wide : this.#narrow;
    const elements = wide ? dim / 4 : dim;
    kernel.buffer(0, offsets);
    kernel.buffer(1, x);
    kernel.buffer(2, y);
    kernel.number(3, bags);
    kernel.number(4, elements);
    kernel.launch(blocksFor(bags * elements, THREADS), THREADS);
  }
}
