import { blocksFor, isWide, type Kernel, KernelModule, type ParameterType } from "../kernel.ts";
import type { CudaDevice } from "../device.ts";
import type { DeviceBuffer } from "../memory.ts";

const THREADS = 256;
// source, target, elements
const ADD_PARAMETERS: ParameterType[] = ["u64", "u64", "u32"];

/** Launches elementwise.cu: sums of vectors. */
export class Elementwise {
  readonly #addWide: Kernel;
  readonly #addNarrow: Kernel;

  constructor(device: CudaDevice) {
    const module = new KernelModule(device, new URL("elementwise.ptx", import.meta.url));
    this.#addWide = module.kernel("add_4", ADD_PARAMETERS);
    this.#addNarrow = module.kernel("add_1", ADD_PARAMETERS);
  }

  /** `target += source`, of `words`. */
  add(words: number, source: DeviceBuffer, target: DeviceBuffer): void {
    const wide = isWide(words, source, target);
    const kernel = wide ? this.#addWide : this.#addNarrow;
    const elements = wide ? words / 4 : words;
    kernel.buffer(0, source);
    kernel.buffer(1, target);
    kernel.number(2, elements);
    kernel.launch(blocksFor(elements, THREADS), THREADS);
  }
}
