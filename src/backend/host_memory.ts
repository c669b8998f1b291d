/** Buffers in this process's memory, shared by all host backends. */
import type { Buffer, HostBackend, LinearShape, SharedWords } from "./backend.ts";
import { HotsetError } from "../errors.ts";
import { HostStepAttention } from "./host_steps.ts";
import { bytes } from "../format.ts";

/** Consecutive words in host memory, with views as floats and as integers. */
export class HostBuffer implements Buffer {
  readonly floats: Float32Array;
  readonly integers: Uint32Array;
  readonly words: number;

  constructor(memory: ArrayBufferLike, byteOffset: number, words: number) {
    this.floats = new Float32Array(memory, byteOffset, words);
    this.integers = new Uint32Array(memory, byteOffset, words);
    this.words = words;
  }
}

/** The operations of a host backend that all of them share: those that copy words, and those over steps. */
export abstract class HostMemory implements
  Pick<
    HostBackend,
    | "allocate"
    | "allocateTable"
    | "view"
    | "upload"
    | "download"
    | "wrap"
    | "floats"
    | "integers"
    | "share"
    | "attach"
    | "strideOf"
    | "prepareLinear"
    | "stepAttention"
  > {
  readonly stepAttention: HostStepAttention = new HostStepAttention(this);

  allocate(words: number, label: string): Buffer {
    try {
      return new HostBuffer(new SharedArrayBuffer(4 * words), 0, words);
    } catch (error) {
      throw new HotsetError(
        `Cannot allocate ${
          bytes(4 * words)
        } for ${label}: they do not fit in memory; plan estimates what a model needs and ` +
          `what makes it smaller`,
        { cause: error },
      );
    }
  }

  allocateTable(words: number, label: string): Buffer {
    return this.allocate(words, label);
  }

  view(buffer: Buffer, first: number, words: number): Buffer {
    const { floats } = buffer as HostBuffer;
    if (first < 0 || first + words > buffer.words) {
      throw new RangeError(`Cannot view words ${first} to ${first + words} of a buffer of ${buffer.words}`);
    }
    return new HostBuffer(floats.buffer, floats.byteOffset + 4 * first, words);
  }

  upload(source: Float32Array | Uint32Array, target: Buffer): void {
    (source instanceof Float32Array ? (target as HostBuffer).floats : (target as HostBuffer).integers).set(source);
  }

  download(source: Buffer, target: Float32Array | Uint32Array): void {
    const { floats, integers } = source as HostBuffer;
    target.set((target instanceof Float32Array ? floats : integers).subarray(0, target.length));
  }

  wrap(memory: Float32Array | Uint32Array): Buffer {
    return new HostBuffer(memory.buffer, memory.byteOffset, memory.length);
  }

  floats(buffer: Buffer): Float32Array {
    return (buffer as HostBuffer).floats;
  }

  integers(buffer: Buffer): Uint32Array {
    return (buffer as HostBuffer).integers;
  }

  share(buffer: Buffer): SharedWords {
    const { buffer: memory, byteOffset } = (buffer as HostBuffer).floats;
    if (!(memory instanceof SharedArrayBuffer)) throw new TypeError("Cannot share a buffer over unshared memory");
    return { memory, byteOffset, words: buffer.words };
  }

  attach({ memory, byteOffset, words }: SharedWords): Buffer {
    if (memory === undefined) throw new TypeError("Cannot attach kernel memory: this backend has none");
    return new HostBuffer(memory, byteOffset, words);
  }

  synchronize(): void {}

  /** Rows are consecutive. */
  strideOf(width: number): number {
    return width;
  }

  /** No operation needs memory besides its buffers. */
  prepareLinear(_shape: LinearShape, _x: Buffer, _weight: Buffer): void {}

  repeatable(sequence: () => void): () => void {
    sequence();
    return sequence;
  }

  [Symbol.dispose](): void {}
}
