/** Kernels: loaded from PTX, with arguments that are packed once and changed in place. */
import { LaunchParameter } from "../../../ffi/cuda.ts";
import { addressOf, cString, pointerAt } from "../../../ffi/pointer.ts";
import type { CudaDevice } from "./device.ts";
import type { DeviceBuffer } from "./memory.ts";

/** Types of parameters: an address or a number. */
export type ParameterType = "u64" | "u32";

/** Loads PTX, and unloads it with the device. */
export class KernelModule {
  readonly #device: CudaDevice;
  readonly #ptx: string;
  readonly #module: Deno.PointerValue;

  /** Loads a file of PTX, or its text. Throws HotsetError if the device rejects it. */
  constructor(device: CudaDevice, ptx: URL | string) {
    this.#device = device;
    this.#ptx = typeof ptx === "string" ? ptx : Deno.readTextFileSync(ptx);
    const { driver } = device.libraries;
    const image = cString(this.#ptx);
    this.#module = pointerAt(device.made((out) => driver.cuModuleLoadData(out, image)));
    device.own(() => driver.cuModuleUnload(this.#module));
  }

  /** A kernel of the module. Throws TypeError if its parameters in the PTX do not have these types. */
  kernel(entry: string, types: readonly ParameterType[]): Kernel {
    const { driver } = this.#device.libraries;
    const declared = new RegExp(`\\.entry ${entry}\\(([^)]*)\\)`).exec(this.#ptx)?.[1] ?? "";
    const found = [...declared.matchAll(/\.param \.(\w+)/g)].map((match) => match[1]);
    if (found.join() !== types.join()) {
      throw new TypeError(`Cannot use kernel ${entry}: its parameters are (${found}), the launcher has (${types})`);
    }
    const handle = this.#device.made((out) => driver.cuModuleGetFunction(out, this.#module, cString(entry)));
    return new Kernel(this.#device, pointerAt(handle), types);
  }
}

/** A kernel with its block of arguments. */
export class Kernel {
  readonly #device: CudaDevice;
  readonly #function: Deno.PointerValue;
  readonly #addresses: BigUint64Array<ArrayBuffer>;
  readonly #numbers: Uint32Array<ArrayBuffer>;
  readonly #types: readonly ParameterType[];
  /** Position of each argument, in units of its type. */
  readonly #places: readonly number[];
  /** Referenced because `extra` contains its address. */
  readonly #blockBytes: BigUint64Array<ArrayBuffer>;
  readonly #extra: BigUint64Array<ArrayBuffer>;

  /** Created by `KernelModule.kernel`. */
  constructor(device: CudaDevice, handle: Deno.PointerValue, types: readonly ParameterType[]) {
    this.#device = device;
    this.#function = handle;
    this.#types = types;
    let bytes = 0;
    this.#places = types.map((type) => {
      const length = type === "u64" ? 8 : 4;
      const place = Math.ceil(bytes / length);
      bytes = (place + 1) * length;
      return place;
    });
    const block = new ArrayBuffer(Math.ceil(bytes / 8) * 8);
    this.#addresses = new BigUint64Array(block);
    this.#numbers = new Uint32Array(block);
    this.#blockBytes = new BigUint64Array([BigInt(bytes)]);
    this.#extra = new BigUint64Array([
      LaunchParameter.bufferPointer,
      addressOf(this.#addresses),
      LaunchParameter.bufferSize,
      addressOf(this.#blockBytes),
      LaunchParameter.end,
    ]);
  }

  /** Sets argument `index`, from 0, to a buffer; undefined is a null pointer. Throws TypeError if it is no address. */
  buffer(index: number, buffer: DeviceBuffer | undefined): void {
    if (this.#types[index] !== "u64") this.#refuse(index, "an address");
    this.#addresses[this.#places[index]] = buffer === undefined ? 0n : buffer.address;
  }

  /** Sets argument `index`, from 0, to a number. Throws TypeError if it is an address. */
  number(index: number, value: number): void {
    if (this.#types[index] !== "u32") this.#refuse(index, "a number");
    this.#numbers[this.#places[index]] = value;
  }

  #refuse(index: number, what: string): never {
    throw new TypeError(`Cannot set argument ${index} of a kernel to ${what}: its parameters are (${this.#types})`);
  }

  /**
   * Launches `blocks` blocks of `threads` threads on the device's stream, with the present arguments and `sharedBytes` bytes
   * of dynamic shared memory for each block. Does nothing for 0 blocks. Throws CudaError if the device rejects the launch;
   * an error of the kernel itself is thrown by `CudaDevice.synchronize` or a later operation.
   */
  launch(blocks: number, threads: number, sharedBytes = 0): void {
    if (blocks === 0) return;
    const { stream, libraries, counters, recording } = this.#device;
    libraries.driver.cuLaunchKernel(
      this.#function,
      blocks,
      1,
      1,
      threads,
      1,
      1,
      sharedBytes,
      stream,
      null,
      this.#extra,
    );
    if (!recording) counters.launches++;
  }
}

/** Number of blocks of `threads` threads that cover `items` items. */
export function blocksFor(items: number, threads: number): number {
  return Math.ceil(items / threads);
}

/** True if rows of `dim` words in all these buffers can be copied 16 bytes at a time. */
export function isWide(dim: number, ...buffers: (DeviceBuffer | undefined)[]): boolean {
  if (dim % 4 !== 0) return false;
  for (const buffer of buffers) if (buffer !== undefined && buffer.address % 16n !== 0n) return false;
  return true;
}
