/** The memory that the WASM kernels work in: one for all ranks of a process, handed out front to back, never freed. */
import { adviseHugePages } from "../../../ffi/memory.ts";
import { growMemory, MAXIMUM_PAGES, newMemory, PAGE_BYTES } from "./wasm/kernels.ts";

/** Allocations begin at whole cache lines. */
const LINE_BYTES = 64;
const LIMIT_BYTES = MAXIMUM_PAGES * PAGE_BYTES;

/** Kernel memory; can be posted to a worker. */
export interface KernelMemory {
  readonly memory: WebAssembly.Memory;
  /** One word: the next free line. */
  readonly nextLine: Int32Array<SharedArrayBuffer>;
}

/** New, empty kernel memory. Nothing of it is resident until it is used. */
export function newKernelMemory(): KernelMemory {
  const nextLine = new Int32Array(new SharedArrayBuffer(4));
  nextLine[0] = 1; // address 0 stands for an operand that is not there
  return { memory: newMemory(1), nextLine };
}

/** Moves on to the next whole page of the kernels, which is one of the system too, and returns its address. */
export function alignKernelMemory(kernelMemory: KernelMemory): number {
  const next = Atomics.load(kernelMemory.nextLine, 0) * LINE_BYTES;
  const page = Math.ceil(next / PAGE_BYTES) * PAGE_BYTES;
  takeKernelMemory(kernelMemory, page - next);
  return page;
}

/** Takes `bytes` of zeroed memory; returns the address, or undefined if there is no room. */
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
