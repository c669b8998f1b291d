import { blocksFor, isWide, type Kernel, KernelModule, type ParameterType } from "../kernel.ts";
import type { CudaDevice } from "../device.ts";
import type { DeviceBuffer } from "../memory.ts";

const THREADS = 256;
// table, indices, offsets, pooled, bags, elements
const PARAMETERS: ParameterType[] = ["u64", "u64", "u64", "u64", "u32", "u32"];

/** Launches gather.cu: sum pooling, and packing of rows (each row a bag of its own). */
export class Gather {
  readonly #wide: Kernel;
  readonly #narrow: Kernel;

  constructor(device: CudaDevice) {
    const module = new KernelModule(device, new URL("gather.ptx", import.meta.url));
    this.#wide = module.kernel("gather_4", PARAMETERS);
    this.#narrow = module.kernel("gather_1", PARAMETERS);
  }

  /**
   * table (rows, dim), indices (lookups), offsets (bags + 1) or undefined for one lookup per bag, pooled (bags, dim).
   */
  launch(
    bags: number,
    dim: number,
    table: DeviceBuffer,
    indices: DeviceBuffer,
    offsets: DeviceBuffer | undefined,
    pooled: DeviceBuffer,
  ): void {
    const wide = isWide(dim, table, pooled);
    const kernel = wide ? this.#wide : this.#narrow;
    const elements = wide ? dim / 4 : dim;
    kernel.buffer(0, table);
    kernel.buffer(1, indices);
    kernel.buffer(2, offsets);
    kernel.buffer(3, pooled);
    kernel.number(4, bags);
    kernel.number(5, elements);
    kernel.launch(blocksFor(bags * elements, THREADS), THREADS);
  }
}
