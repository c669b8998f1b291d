/** One CUDA device: its primary context, memory, three streams, and counters of transfers. */
import { Cuda } from "../../../ffi/cudart.ts";
import { CudaError } from "../../../ffi/cuda_error.ts";
import { addressOf, bytesAt, pointerAt } from "../../../ffi/pointer.ts";
import type { EmulatedOptions } from "../../../emulator/device.ts";
import { HotsetError } from "../../errors.ts";
import type { DeviceCounters } from "../backend.ts";
import { type CudaDeviceKind, type CudaLibraries, openLibraries } from "./libraries.ts";
import { DeviceBuffer, PinnedBuffer } from "./memory.ts";

/** Opens the device and makes its primary context current on this thread. CUDA objects must stay on this thread. */
export class CudaDevice implements Disposable {
  /**
   * Checked calls of the libraries.
   * @internal
   */
  readonly libraries: CudaLibraries;
  /** The device's own name. */
  readonly name: string;
  /** Streaming multiprocessors. */
  readonly multiprocessors: number;
  /** Stream of all operations, in call order, except overlapping copies. */
  readonly stream: Deno.PointerValue;
  /** Stream of copies from the host. */
  readonly copyStream: Deno.PointerValue;
  /** Stream of copies to the host for which the host waits later. */
  readonly downloadStream: Deno.PointerValue;
  /** Counters since the device was opened. */
  readonly counters: DeviceCounters = {
    launches: 0,
    graphLaunches: 0,
    bytesToDevice: 0,
    bytesToHost: 0,
    bytesFromRanks: 0,
  };
  /** True while launches are recorded instead of run. */
  recording = false;
  /** Bytes from other ranks that one run of the recorded sequence will receive. */
  recordedBytesFromRanks = 0;
  readonly #owned = new DisposableStack();
  readonly #out = new BigUint64Array(1);
  #bytesInUse = 0;
  #firstError: unknown;

  /** Throws HotsetError when there is no such device or a library is missing. */
  constructor(kind: CudaDeviceKind, emulated: EmulatedOptions = {}, ordinal = 0) {
    using opening = new DisposableStack();
    this.libraries = openLibraries(kind, emulated);
    if (this.libraries.emulated !== undefined) opening.use(this.libraries.emulated);
    const { runtime, driver } = this.libraries;
    this.#expectDevice(ordinal);
    runtime.cudaSetDevice(ordinal);
    driver.cuInit(0);
    this.name = this.#readName(ordinal);
    this.multiprocessors = this.attribute(Cuda.deviceAttributeMultiProcessorCount, ordinal);
    this.stream = this.#makeStream(opening);
    this.copyStream = this.#makeStream(opening);
    this.downloadStream = this.#makeStream(opening);
    this.#owned = opening.move();
  }

  /** The value that a call writes to its output argument: an address or a handle. */
  made(call: (out: BigUint64Array<ArrayBuffer>) => void): bigint {
    call(this.#out);
    return this.#out[0];
  }

  /** Releases an object when the device is disposed, before all objects created earlier. */
  own(release: () => void): void {
    this.#owned.defer(() => this.#release(release));
  }

  /** A device attribute, by its C number. */
  attribute(attribute: number, ordinal = 0): number {
    const value = new Int32Array(1);
    this.libraries.runtime.cudaDeviceGetAttribute(value, attribute, ordinal);
    return value[0];
  }

  /** Allocates device memory, initially zero. Throws HotsetError with the numbers if there is not enough. */
  allocate(words: number, label: string): DeviceBuffer {
    const byteLength = 4 * Math.max(words, 1);
    const { runtime } = this.libraries;
    let address: bigint;
    try {
      address = this.made((out) => runtime.cudaMalloc(out, BigInt(byteLength)));
    } catch (error) {
      throw this.#outOfMemory(error, byteLength, label);
    }
    this.#bytesInUse += byteLength;
    const buffer = new DeviceBuffer(words, label, address, (freed) => {
      this.#bytesInUse -= byteLength;
      this.#release(() => runtime.cudaFree(freed));
    });
    this.#owned.use(buffer);
    runtime.cudaMemsetAsync(address, 0, BigInt(byteLength), this.stream);
    return buffer;
  }

  /** New pinned host memory. */
  allocatePinned(byteLength: number): PinnedBuffer {
    const { runtime } = this.libraries;
    const address = this.made((out) => runtime.cudaHostAlloc(out, BigInt(byteLength), Cuda.hostAllocDefault));
    const free = (freed: bigint) => this.#release(() => runtime.cudaFreeHost(freed));
    const buffer = new PinnedBuffer(address, bytesAt(address, byteLength), free);
    this.#owned.use(buffer);
    return buffer;
  }

  /**
   * Pins memory of the host, for copies, until the device is disposed: one range, from the first of its parts to the end
   * of the last. Returns why the system refuses, or undefined.
   */
  pin(parts: readonly Uint8Array[]): string | undefined {
    const { runtime } = this.libraries;
    const first = parts.reduce((a, b) => addressOf(b) < addressOf(a) ? b : a);
    const last = parts.reduce((a, b) => addressOf(b) > addressOf(a) ? b : a);
    const byteLength = addressOf(last) - addressOf(first) + BigInt(last.length);
    try {
      runtime.cudaHostRegister(addressOf(first), byteLength, Cuda.hostRegisterDefault);
    } catch (error) {
      if (error instanceof HotsetError && error.cause instanceof CudaError) return error.cause.message;
      throw error;
    }
    this.own(() => runtime.cudaHostUnregister(addressOf(first))); // keeps the memory until then
    this.own(() => runtime.cudaStreamSynchronize(this.copyStream)); // before that: CUDA does not promise to wait
    return undefined;
  }

  /** A new event; one for timing is slightly slower. */
  makeEvent(timed: boolean): Deno.PointerValue {
    const { runtime } = this.libraries;
    const flags = timed ? Cuda.eventDefault : Cuda.eventDisableTiming;
    const event = pointerAt(this.made((out) => runtime.cudaEventCreateWithFlags(out, flags)));
    this.own(() => runtime.cudaEventDestroy(event));
    return event;
  }

  /** True if `synchronize` need not wait: all operations so far are over, or one has failed. */
  get isIdle(): boolean {
    return this.libraries.isOver(this.stream);
  }

  /** Waits for all operations so far. Throws the first error of any of them. */
  synchronize(): void {
    this.libraries.runtime.cudaStreamSynchronize(this.stream);
    const error = this.#firstError;
    this.#firstError = undefined;
    if (error !== undefined) throw error;
  }

  /** Releases everything in the reverse order of creation. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }

  #expectDevice(ordinal: number): void {
    const count = new Int32Array(1);
    this.libraries.runtime.cudaGetDeviceCount(count);
    if (ordinal < count[0]) return;
    const gpus = `${count[0]} GPU${count[0] === 1 ? "" : "s"}`;
    throw new HotsetError(`Cannot train with ${ordinal + 1} ranks: this machine has ${gpus} and each rank needs one`);
  }

  #makeStream(opening: DisposableStack): Deno.PointerValue {
    const { runtime } = this.libraries;
    const stream = pointerAt(this.made((out) => runtime.cudaStreamCreateWithFlags(out, Cuda.streamNonBlocking)));
    opening.defer(() => this.#release(() => runtime.cudaStreamDestroy(stream)));
    return stream;
  }

  /** An error while releasing must not hide the error that ended a run, so it is thrown by the next `synchronize`. */
  #release(release: () => void): void {
    try {
      release();
    } catch (error) {
      this.#firstError ??= error;
    }
  }

  /** Bytes of the memory of the device. */
  memory(): { free: number; total: number } {
    const numbers = new BigUint64Array(2);
    this.libraries.runtime.cudaMemGetInfo(numbers.subarray(0, 1), numbers.subarray(1));
    return { free: Number(numbers[0]), total: Number(numbers[1]) };
  }

  #readName(ordinal: number): string {
    const { driver } = this.libraries;
    const device = new Int32Array(1);
    const name = new Uint8Array(256);
    driver.cuDeviceGet(device, ordinal);
    driver.cuDeviceGetName(name, name.length, device[0]);
    return new TextDecoder().decode(name.subarray(0, name.indexOf(0)));
  }

  #outOfMemory(error: unknown, byteLength: number, label: string): unknown {
    const cause = error instanceof HotsetError ? error.cause : undefined;
    if (!(cause instanceof CudaError) || cause.code !== Cuda.errorMemoryAllocation) return error;
    const { free, total } = this.memory();
    return new HotsetError(
      `Cannot allocate ${label}: ${byteLength} bytes requested, ${this.#bytesInUse} in use by this run, ` +
        `${free} of ${total} free on ${this.name}; lower --hot-memory or --batch-size`,
      { cause },
    );
  }
}
