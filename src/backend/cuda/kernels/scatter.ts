import { blocksFor, isWide, type Kernel, KernelModule, type ParameterType } from "../kernel.ts";
import type { CudaDevice } from "../device.ts";
import type { DeviceBuffer } from "../memory.ts";

const THREADS = 256;
// packed, rows, table, count, elements
const PARAMETERS: ParameterType[] = ["u64", "u64", "u64", "u32", "u32"];

/** Launches scatter.cu: packed rows are written to rows of a table. */
export class Scatter {
  readonly #wide: Kernel;
  readonly #narrow: Kernel;

  constructor(device: CudaDevice) {
    const module = new KernelModule(device, new URL("scatter.ptx", import.meta.url));
    this.#wide = module.kernel("scatter_4", PARAMETERS);
    this.#narrow = module.kernel("scatter_1", PARAMETERS);
  }

  /** packed (count, dim), rows (count, distinct), table (rows, dim). */
  launch(count: number, dim: number, packed: DeviceBuffer, rows: DeviceBuffer, table: DeviceBuffer): void {
    const wide = isWide(dim, table, packed);
    const kernel = wide ? this.#wide : this.#narrow;
    const elements = wide ? dim / 4 : dim;
    kernel.buffer(0, packed);
    kernel.buffer(1, rows);
    kernel.buffer(2, table);
    kernel.number(3, count);
    kernel.number(4, elements);
    kernel.launch(blocksFor(count * elements, THREADS), THREADS);
  }
}
