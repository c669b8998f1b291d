/**
 * WASM kernels of the look-ahead plan. They are written in AssemblyScript (`assembly/`); each plan has an instance with
 * memory of its own, which begins with addresses, sizes and the state of the plan.
 */
import { adviseHugePages } from "../../../ffi/memory.ts";
import { UsageError } from "../../errors.ts";
import { count } from "../../format.ts";
import { KERNELS_BASE64 } from "./kernels_binary.ts";

/** Bytes of a WASM page, the unit of memory. */
const PAGE_BYTES = 65536;
/** Maximum bytes of a memory: the limit of V8. */
const MAXIMUM_BYTES = 16 * 2 ** 30;
/** Bytes of what the memory begins with, in which addresses are followed by sizes and state. */
const HEADER_BYTES = 256;
/** Areas begin at cache lines. */
const ALIGNMENT = 64;
/** READ_AHEAD of the kernels. */
const READ_AHEAD = 256;
/** Words of a group of four entries, and of the ends of a list. */
const GROUP_WORDS = 16, ENDS_WORDS = 2;
/** Rows for each group, if there are as many as possible. */
const GROUP_ROWS = 2;

/** Sizes of a plan. */
export interface PlanSizes {
  readonly slots: number;
  readonly batchRows: number;
  /** Maximum number of announced, unfinished batches. */
  readonly window: number;
}

/** What `src/embedding/look_ahead_plan.ts` says of the methods of the same names. Numbers have 32 bits. */
interface PlanKernels {
  /** Announces the first `count` of `rows`. */
  announce(count: number): void;
  /** Plans the next batch and sets the lists and numbers of rows to move; returns 0 if that is not possible. */
  next(): number;
  finish(changed: number): void;
  /** Sets the lists of written rows to some of the changed rows, marks them as clean and returns their number. */
  clean(): number;
  positionOf(row: number): number;
  rowAt(position: number): number;
}

/** Words of the state, at their indices in `state`. */
export const State = { announced: 0, planned: 1, finished: 2, written: 3, fetched: 4, evicted: 5 } as const;

/** The kernels and their memory. */
export interface PlanInstance extends PlanKernels {
  readonly state: Uint32Array;
  /** Positions of the rows of each planned batch, by its number modulo `window`. */
  readonly positions: readonly Uint32Array[];
  /** Lists of at most `batchRows` rows or positions. */
  readonly rows: Uint32Array;
  readonly writtenRows: Uint32Array;
  readonly writtenPositions: Uint32Array;
  readonly fetchedRows: Uint32Array;
  readonly fetchedPositions: Uint32Array;
}

let compiled: WebAssembly.Module | undefined;

/** Instantiates the kernels over new memory. Each thread compiles the module once. Throws UsageError if it is too large. */
export function instantiatePlan({ slots, batchRows, window }: PlanSizes): PlanInstance {
  const groups = Math.ceil((slots + window * batchRows) / GROUP_ROWS);
  const logCapacity = 2 * slots;
  const words = {
    groups: GROUP_WORDS * (groups + 1),
    overflows: groups + 1,
    logs: 2 * logCapacity,
    used: window * batchRows,
    nextUses: window * batchRows,
    counts: window,
    soon: 2 * window * batchRows,
    soonEnds: 2 * window * ENDS_WORDS,
    ...{ homes: READ_AHEAD, chosen: READ_AHEAD },
    ...{ rows: batchRows, positions: window * batchRows },
    ...{ writtenRows: batchRows, writtenPositions: batchRows, fetchedRows: batchRows, fetchedPositions: batchRows },
    unused: 1,
  };
  const addresses: number[] = [];
  let end = HEADER_BYTES;
  for (const length of Object.values(words)) {
    addresses.push(end);
    end += Math.ceil(4 * length / ALIGNMENT) * ALIGNMENT;
  }
  if (end > MAXIMUM_BYTES) {
    throw new UsageError(`Cannot plan which of ${count(slots)} cached rows to move: choose less memory for them`);
  }
  const pages = BigInt(Math.ceil(end / PAGE_BYTES));
  const descriptor = { address: "i64", initial: pages, maximum: pages, shared: true };
  const memory = new WebAssembly.Memory(descriptor as unknown as WebAssembly.MemoryDescriptor);
  const { buffer } = memory;
  adviseHugePages(new Uint8Array(buffer)); // random entries would also miss the TLB
  new BigUint64Array(buffer, 0, addresses.length).set(addresses.map(BigInt));
  const sizes = [slots, batchRows, window, groups, logCapacity];
  new Uint32Array(buffer, 8 * addresses.length, sizes.length).set(sizes);
  compiled ??= new WebAssembly.Module(Uint8Array.fromBase64(KERNELS_BASE64));
  const { exports } = new WebAssembly.Instance(compiled, { env: { memory } });
  const names = Object.keys(words);
  const view = (name: keyof typeof words) => new Uint32Array(buffer, addresses[names.indexOf(name)], words[name]);
  const positions = view("positions");
  return {
    ...exports as unknown as PlanKernels,
    state: new Uint32Array(buffer, 8 * addresses.length + 4 * sizes.length, Object.keys(State).length),
    positions: Array.from({ length: window }, (_, i) => positions.subarray(i * batchRows, (i + 1) * batchRows)),
    rows: view("rows"),
    ...{ writtenRows: view("writtenRows"), writtenPositions: view("writtenPositions") },
    ...{ fetchedRows: view("fetchedRows"), fetchedPositions: view("fetchedPositions") },
  };
}
