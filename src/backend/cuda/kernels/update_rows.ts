import { isWide, type Kernel, KernelModule, type ParameterType } from "../kernel.ts";
import type { CudaDevice } from "../device.ts";
import type { DeviceBuffer } from "../memory.ts";
import { Scratch } from "../scratch.ts";
import type { RowUpdateShape } from "../../backend.ts";
import { OPTIMIZER_NAMES, type OptimizerName, OPTIMIZERS, rowStateWords } from "../../../optimizer/optimizers.ts";

const THREADS = 256;
/** Blocks per multiprocessor: enough to fill it twice. In a large batch each block processes several tiles. */
const BLOCKS_PER_MULTIPROCESSOR = 8;
/** Lookups that are summed in advance if they are of one row: CHUNK of update_rows.cu. */
const CHUNK = 256;
/** In smaller batches no row keeps a block busy for long. */
const CHUNKED_LOOKUPS = 16_384;
// header, segments, bags, dPooled, chunks, then table, state, elements, lanes, rank, ranks
const LISTS: ParameterType[] = ["u64", "u64", "u64", "u64", "u64"];
const PARAMETERS: ParameterType[] = [...LISTS, "u64", "u64", "u32", "u32", "u32", "u32"];

/** Launches update_rows.cu: one optimizer step of every row of a batch. */
export class UpdateRows {
  readonly #kernels: Record<OptimizerName, { wide: Kernel; narrow: Kernel }>;
  readonly #sumChunks: { wide: Kernel; narrow: Kernel };
  readonly #chunks: Scratch;
  readonly #mostBlocks: number;

  constructor(device: CudaDevice) {
    const module = new KernelModule(device, new URL("update_rows.ptx", import.meta.url));
    const both = (kernel: string, parameters: readonly ParameterType[]) => ({
      wide: module.kernel(`${kernel}_4`, parameters),
      narrow: module.kernel(`${kernel}_1`, parameters),
    });
    const entries = OPTIMIZER_NAMES.map((name) => [name, both(`update_rows_${OPTIMIZERS[name].kernel}`, PARAMETERS)]);
    this.#kernels = Object.fromEntries(entries) as Record<OptimizerName, ReturnType<typeof both>>;
    this.#sumChunks = both("sum_chunks", [...LISTS, "u32", "u32"]);
    this.#chunks = new Scratch(device, "sums of the gradients of popular rows");
    this.#mostBlocks = BLOCKS_PER_MULTIPROCESSOR * device.multiprocessors;
  }

  /** segments (2 * (segments + 1)) may be longer than the header says; dPooled (bags, dim); table (rows, dim). */
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
    const width = wide ? "wide" : "narrow";
    const elements = wide ? dim / 4 : dim;
    const lanes = Math.min(32, 2 ** Math.ceil(Math.log2(elements)));
    const chunks = bags.words < CHUNKED_LOOKUPS ? undefined : this.#chunks.of(Math.floor(bags.words / CHUNK) * dim);
    const lists = (kernel: Kernel) => {
      [header, segments, bags, dPooled, chunks].forEach((buffer, i) => kernel.buffer(i, buffer));
      return kernel;
    };
    if (chunks !== undefined) {
      const sum = lists(this.#sumChunks[width]);
      sum.number(5, elements);
      sum.number(6, lanes);
      sum.launch(Math.min(Math.floor(bags.words / CHUNK), this.#mostBlocks), THREADS);
    }
    const update = lists(this.#kernels[optimizer][width]);
    update.buffer(5, table);
    update.buffer(6, state);
    update.number(7, elements);
    update.number(8, lanes);
    update.number(9, rank);
    update.number(10, ranks);
    const tiles = Math.ceil((segments.words / 2 - 1) / (THREADS / lanes));
    update.launch(Math.min(tiles, this.#mostBlocks), THREADS);
  }
}
