/**
 * The memory of the WASM kernels, one per process and shared by its ranks. Allocation only advances; nothing is freed.
 */
import { adviseHugePages } from "../../../ffi/memory.ts";
import { growMemory, MAXIMUM_PAGES, newMemory, PAGE_BYTES } from "./wasm/kernels.ts";

/** Allocations are aligned to cache lines. */
const LINE_BYTES = 64;
const LIMIT_BYTES = MAXIMUM_PAGES * PAGE_BYTES;

/** Memory of the kernels. It can be posted to a worker. */
export interface KernelMemory {
  readonly memory: WebAssembly.Memory;
  /** One word: index of the first free cache line. */
  readonly nextLine: Int32Array<SharedArrayBuffer>;
}

/** Creates empty kernel memory. The operating system provides pages when they are first used. */
export function newKernelMemory(): KernelMemory {
  const nextLine = new Int32Array(new SharedArrayBuffer(4));
  nextLine[0] = 1; // address 0 means "no operand"
  return { memory: newMemory(1), nextLine };
}

/** Skips to the next WASM page, which is also a boundary of the system's pages, and returns its address. */
export function alignKernelMemory(kernelMemory: KernelMemory): number {
  const next = Atomics.load(kernelMemory.nextLine, 0) * LINE_BYTES;
  const page = Math.ceil(next / PAGE_BYTES) * PAGE_BYTES;
  takeKernelMemory(kernelMemory, page - next);
  return page;
}

/** Allocates zeroed memory and returns its address; undefined if it does not fit. */
export function takeKernelMemory({ memory, nextLine }: KernelMemory, bytes: number): number | undefined {
  const lines = Math.ceil(bytes / LINE_BYTES);
  const address = Atomics.add(nextLine, 0, lines) * LINE_BYTES;
  const end = address + lines * LINE_BYTES;
  if (end > LIMIT_BYTES) {
    Atomics.sub(nextLine, 0, lines);
    return undefined;
  }
  const before = memory.buffer.byteLength;
  if (end > before) {
    growMemory(memory, Math.ceil((end - before) / PAGE_BYTES));
    adviseHugePages(new Uint8Array(memory.buffer, before, end - before));
  }
  return address;
}
