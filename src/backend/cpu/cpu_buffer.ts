/** Buffers of the CPU backend. */
import type { Buffer } from "../backend.ts";
import { HostBuffer } from "../host_memory.ts";
import { type Address, NO_ADDRESS } from "./wasm/kernels.ts";

/** A host buffer with its address in the kernels' memory. */
export class CpuBuffer extends HostBuffer {
  /** Byte address in the kernels' memory; NO_ADDRESS if the buffer is not in it. */
  readonly address: Address;

  constructor(memory: ArrayBufferLike, byteOffset: number, words: number, inKernelMemory: boolean) {
    super(memory, byteOffset, words);
    this.address = inKernelMemory ? BigInt(byteOffset) : NO_ADDRESS;
  }
}

/** Byte address in the kernels' memory; NO_ADDRESS if the buffer is not in it. */
export function at(buffer: Buffer): Address {
  return (buffer as CpuBuffer).address;
}

/** The same; NO_ADDRESS for no buffer. */
export function atOrNull(buffer: Buffer | undefined): Address {
  return buffer === undefined ? NO_ADDRESS : at(buffer);
}

/** The words as floats. */
export function floats(buffer: Buffer): Float32Array {
  return (buffer as CpuBuffer).floats;
}

/** The words as integers. */
export function integers(buffer: Buffer): Uint32Array {
  return (buffer as CpuBuffer).integers;
}
