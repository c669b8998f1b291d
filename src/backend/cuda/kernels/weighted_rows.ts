import { blocksFor, isWide, type Kernel, KernelModule, type ParameterType } from "../kernel.ts";
import type { CudaDevice } from "../device.ts";
import type { DeviceBuffer } from "../memory.ts";
import { Scratch } from "../scratch.ts";

const THREADS = 256;
// table, indices, offsets, weights, pooled, bags, elements; and x, bags, weights, scaled, places, lookups, elements
const PARAMETERS: ParameterType[] = ["u64", "u64", "u64", "u64", "u64", "u32", "u32"];

/** Launches weighted_rows.cu. */
export class WeightedRows {
  readonly #pool: { wide: Kernel; narrow: Kernel };
  readonly #scale: { wide: Kernel; narrow: Kernel };
  readonly #scaled: Scratch;
  readonly #places: Scratch;

  constructor(device: CudaDevice) {
    const module = new KernelModule(device, new URL("weighted_rows.ptx", import.meta.url));
    const both = (name: string) => ({
      wide: module.kernel(`${name}_4`, PARAMETERS),
      narrow: module.kernel(`${name}_1`, PARAMETERS),
    });
    this.#pool = both("pool_weighted");
    this.#scale = both("scale_rows");
    this.#scaled = new Scratch(device, "weighted gradients of lookups");
    this.#places = new Scratch(device, "positions of lookups");
  }

  /** table (rows, dim), indices and weights (lookups), offsets (bags + 1), pooled (bags, dim). */
  pool(
    bags: number,
    dim: number,
    table: DeviceBuffer,
    indices: DeviceBuffer,
    offsets: DeviceBuffer,
    weights: DeviceBuffer,
    pooled: DeviceBuffer,
  ): void {
    const wide = isWide(dim, table, pooled);
    this.#launch(wide ? this.#pool.wide : this.#pool.narrow, bags, wide ? dim / 4 : dim, [
      table,
      indices,
      offsets,
      weights,
      pooled,
    ]);
  }

  /**
   * The gradients of the rows of lookups: row `bags[k]` of dPooled (bags, dim) times weights (lookups), and their
   * positions, in memory that the next call overwrites.
   */
  scale(
    dim: number,
    bags: DeviceBuffer,
    weights: DeviceBuffer,
    dPooled: DeviceBuffer,
  ): { scaled: DeviceBuffer; places: DeviceBuffer } {
    const lookups = bags.words;
    const scaled = this.#scaled.of(lookups * dim);
    const places = this.#places.of(lookups);
    const wide = isWide(dim, dPooled, scaled);
    this.#launch(wide ? this.#scale.wide : this.#scale.narrow, lookups, wide ? dim / 4 : dim, [
      dPooled,
      bags,
      weights,
      scaled,
      places,
    ]);
    return { scaled, places };
  }

  #launch(kernel: Kernel, rows: number, elements: number, buffers: readonly DeviceBuffer[]): void {
    buffers.forEach((buffer, i) => kernel.buffer(i, buffer));
    kernel.number(5, rows);
    kernel.number(6, elements);
    kernel.launch(blocksFor(rows * elements, THREADS), THREADS);
  }
}
