import { isWide, type Kernel, KernelModule, type ParameterType } from "../kernel.ts";
import type { CudaDevice } from "../device.ts";
import type { DeviceBuffer } from "../memory.ts";
import type { RowUpdateShape } from "../../backend.ts";
import { OPTIMIZER_NAMES, type OptimizerName, OPTIMIZERS, rowStateWords } from "../../../optimizer/optimizers.ts";

const THREADS = 256;
/** Blocks a multiprocessor gets: enough to fill it twice; each then takes several tiles of a large batch. */
const BLOCKS_PER_MULTIPROCESSOR = 8;
// header, segments, bags, dPooled, table, state, elements, lanes, rank, ranks
const PARAMETERS: ParameterType[] = ["u64", "u64", "u64", "u64", "u64", "u64", "u32", "u32", "u32", "u32"];

/** Launches update_rows.cu: the optimizer's step of every row that a batch touched. */
export class UpdateRows {
  readonly #kernels: Record<OptimizerName, { wide: Kernel; narrow: Kernel }>;
  readonly #mostBlocks: number;

  constructor(device: CudaDevice) {
    const module = new KernelModule(device, new URL("update_rows.ptx", import.meta.url));
    const both = (kernel: string) => ({
      wide: module.kernel(`update_rows_${kernel}_4`, PARAMETERS),
      narrow: module.kernel(`update_rows_${kernel}_1`, PARAMETERS),
    });
    const entries = OPTIMIZER_NAMES.map((name) => [name, both(OPTIMIZERS[name].kernel)]);
    this.#kernels = Object.fromEntries(entries) as Record<OptimizerName, ReturnType<typeof both>>;
    this.#mostBlocks = BLOCKS_PER_MULTIPROCESSOR * device.multiprocessors;
  }

  /** segments (2 * (segments + 1)) may be longer than the header's count; dPooled (bags, dim); table (rows, dim). */
  launch(
    { optimizer, dim, rank, ranks }: RowUpdateShape,
    header: DeviceBuffer,
    segments: DeviceBuffer,
    bags: DeviceBuffer,
    dPooled: DeviceBuffer,
    table: DeviceBuffer,
    state: DeviceBuffer | undefined,
  ): void {
    const wide = isWide(dim, dPooled, table, rowStateWords(optimizer, dim) < dim ? undefined : state);
    const kernel = this.#kernels[optimizer][wide ? "wide" : "narrow"];
    const elements = wide ? dim / 4 : dim;
    const lanes = Math.min(32, 2 ** Math.ceil(Math.log2(elements)));
    kernel.buffer(0, header);
    kernel.buffer(1, segments);
    kernel.buffer(2, bags);
    kernel.buffer(3, dPooled);
    kernel.buffer(4, table);
    kernel.buffer(5, state);
    kernel.number(6, elements);
    kernel.number(7, lanes);
    kernel.number(8, rank);
    kernel.number(9, ranks);
    const tiles = Math.ceil((segments.words / 2 - 1) / (THREADS / lanes));
    kernel.launch(Math.min(tiles, this.#mostBlocks), THREADS);
  }
}
