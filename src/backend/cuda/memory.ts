/** Buffers on the device and pinned buffers on the host. */
import type { Buffer } from "../backend.ts";

/** Words of device memory: an allocation, or a view of one. */
export class DeviceBuffer implements Buffer, Disposable {
  /** Words of 4 bytes. */
  readonly words: number;
  /** Name in errors. */
  readonly label: string;
  readonly #address: bigint;
  readonly #owner: DeviceBuffer | undefined;
  readonly #free: (address: bigint) => void;
  #freed = false;

  /** `free` releases the allocation; a view has an owner instead. */
  constructor(words: number, label: string, address: bigint, free: (address: bigint) => void, owner?: DeviceBuffer) {
    this.words = words;
    this.label = label;
    this.#address = address;
    this.#free = free;
    this.#owner = owner;
  }

  /** The device address. Throws ReferenceError after the memory was freed. */
  get address(): bigint {
    if (this.#freed || (this.#owner !== undefined && this.#owner.#freed)) {
      throw new ReferenceError(`Cannot use ${this.label}: its memory was freed`);
    }
    return this.#address;
  }

  /** Words `[first, first + words)`, sharing the memory. Throws RangeError outside the buffer. */
  view(first: number, words: number): DeviceBuffer {
    if (first < 0 || words < 0 || first + words > this.words) {
      throw new RangeError(`Cannot view words ${first} to ${first + words} of ${this.label}: it has ${this.words}`);
    }
    return new DeviceBuffer(words, this.label, this.address + 4n * BigInt(first), this.#free, this.#owner ?? this);
  }

  /** Frees the memory; has no effect on the memory of a view. */
  [Symbol.dispose](): void {
    if (this.#freed) return;
    this.#freed = true;
    if (this.#owner === undefined) this.#free(this.#address);
  }
}

/** A buffer of the device. Throws TypeError for one of another backend. */
export function own(buffer: Buffer): DeviceBuffer {
  if (buffer instanceof DeviceBuffer) return buffer;
  throw new TypeError("Cannot use a buffer of another backend on a CUDA device");
}

/** Page-locked host memory for copies to and from the device. */
export class PinnedBuffer implements Disposable {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #address: bigint;
  readonly #free: (address: bigint) => void;
  #freed = false;

  /** Created by `CudaDevice.allocatePinned`. */
  constructor(address: bigint, bytes: Uint8Array<ArrayBuffer>, free: (address: bigint) => void) {
    this.#address = address;
    this.#bytes = bytes;
    this.#free = free;
  }

  /** The host address. Throws ReferenceError after the memory was freed. */
  get address(): bigint {
    this.#check();
    return this.#address;
  }

  /** The memory. Throws ReferenceError after it was freed. */
  get bytes(): Uint8Array<ArrayBuffer> {
    this.#check();
    return this.#bytes;
  }

  #check(): void {
    if (this.#freed) throw new ReferenceError("Cannot use pinned memory: it was freed");
  }

  /** Frees the memory. */
  [Symbol.dispose](): void {
    if (this.#freed) return;
    this.#freed = true;
    this.#free(this.#address);
  }
}
