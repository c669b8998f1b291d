/**
 * WASM kernels that unpack the lookups of a batch. They are written in AssemblyScript with SIMD (`assembly/`) and work on
 * byte addresses of one memory; each unpacker has its own instance. A kernel that meets a fault stops, and writes
 * nothing outside the memory that it was given; the caller finds out which fault it was.
 */
import { KERNELS_BASE64 } from "./kernels_binary.ts";

/** Bytes of a WASM page, the unit of memory. */
const PAGE_BYTES = 65536;

/** Bytes that `expandSegments` may write after the rows, and that must be there. */
export const EXPANDED_SLACK_BYTES = 32;

/** The kernels. Numbers have 16 bits, 32 if `wide` is 1. */
interface UnpackKernels {
  /**
   * Reads segments of `lookups` lookups, of tables of `samples` lookups each: `rows[s]`, and `lengths[s] + 1` lookups,
   * for at most `distinct` segments. Writes pairs of row and first lookup, from `firstLookup` on, to `segments`, and the
   * row of each lookup to `expanded` (lookups, and EXPANDED_SLACK_BYTES). Returns the number of segments read; 0 if their
   * rows do not ascend from `leastRow` on or reach `rowLimit`, if they end too early, or if one has lookups of two tables.
   */
  expandSegments(
    distinct: number,
    rows: number,
    lengths: number,
    wide: number,
    samples: number,
    lookups: number,
    firstLookup: number,
    leastRow: number,
    rowLimit: number,
    segments: number,
    expanded: number,
  ): number;
  /**
   * For the `samples` lookups of one table, which have the rows `expanded`: writes the row of each place to `collected`
   * (samples), where places without a lookup are SEGMENTS_END, and the bag of each lookup, `place * tables + table`, to
   * `bags`. Returns 0 if a place is not below `samples`.
   */
  scatterRows(
    samples: number,
    tables: number,
    table: number,
    places: number,
    wide: number,
    expanded: number,
    collected: number,
    bags: number,
  ): number;
  /**
   * Writes the rows of `count` samples from `first` on, which `collected` has by table (`stride` bytes each), by sample to
   * `indices` (count, tables). Returns 0 if a place has no lookup.
   */
  transposeRows(
    first: number,
    count: number,
    tables: number,
    collected: number,
    stride: number,
    indices: number,
  ): number;
}

let compiled: WebAssembly.Module | undefined;

/** Instantiates the kernels over new memory of at least `bytes` bytes. Each thread compiles the module once. */
export function instantiateUnpackKernels(bytes: number): { kernels: UnpackKernels; memory: ArrayBufferLike } {
  const pages = Math.ceil(bytes / PAGE_BYTES);
  compiled ??= new WebAssembly.Module(Uint8Array.fromBase64(KERNELS_BASE64));
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const { exports } = new WebAssembly.Instance(compiled, { env: { memory } });
  return { kernels: exports as unknown as UnpackKernels, memory: memory.buffer };
}
