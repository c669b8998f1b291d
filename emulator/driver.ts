/** The emulated libcuda: loads PTX modules and launches their kernels. */
import type { cudaSymbols } from "../ffi/cuda.ts";
import { LaunchParameter } from "../ffi/cuda.ts";
import { type DeviceState, refuse } from "./state.ts";
import { EmulationError } from "./memory.ts";
import { type Handles, type Implementation, putInt, putWord } from "./marshal.ts";
import { Kernel } from "./launch.ts";
import { parsePtx } from "./ptx.ts";

type Pointer = Deno.PointerValue;
type Module = Map<string, { kernel: Kernel; handle: bigint }>;

const NAMES: Record<number, [name: string, text: string]> = {
  0: ["CUDA_SUCCESS", "no error"],
  1: ["CUDA_ERROR_INVALID_VALUE", "invalid argument"],
  400: ["CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"],
  500: ["CUDA_ERROR_NOT_FOUND", "named symbol not found"],
  700: ["CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"],
};

/** Implements the functions of libcuda. */
export function driverImplementation(
  device: DeviceState,
  modules: Handles<Module>,
): Implementation<typeof cudaSymbols> {
  const INVALID_HANDLE = 400, NOT_FOUND = 500;
  const functions = new Map<bigint, Kernel>();
  const text = (pointer: Pointer) => new Deno.UnsafePointerView(pointer!).getCString();
  const put = (out: Pointer, words: string) =>
    putWord(out, BigInt(Deno.UnsafePointer.value(device.strings.pointer(words))));

  return {
    // These two functions work even if the device is broken.
    cuGetErrorName: (code, out) => {
      put(out, NAMES[code]?.[0] ?? "unrecognized error code");
      return 0;
    },
    cuGetErrorString: (code, out) => {
      put(out, code === 700 ? device.fault ?? NAMES[700][1] : NAMES[code]?.[1] ?? "unrecognized error code");
      return 0;
    },
    cuInit: (_flags) => {},
    cuDeviceGet: (out, ordinal) => putInt(out, ordinal),
    cuDeviceGetName: (name, length, _device) => {
      const bytes = new TextEncoder().encode("emulated device\0").subarray(0, length);
      new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(name!, bytes.length)).set(bytes);
    },
    cuModuleLoadData: (out, image) => {
      const module: Module = new Map();
      const handle = modules.add(module);
      let offset = 0n;
      for (const entry of parsePtx(text(image))) {
        const kernel = new Kernel(entry);
        const address = handle * 0x1000n + 16n * offset++;
        module.set(entry.name, { kernel, handle: address });
        functions.set(address, kernel);
      }
      putWord(out, handle);
    },
    cuModuleUnload: (handle) => {
      device.drainAll();
      for (const { handle: address } of modules.get(handle)?.values() ?? []) functions.delete(address);
      if (!modules.remove(handle)) refuse(INVALID_HANDLE);
    },
    cuModuleGetFunction: (out, handle, name) => {
      const found = modules.get(handle)?.get(text(name));
      if (found === undefined) refuse(NOT_FOUND);
      putWord(out, found.handle);
    },
    cuLaunchKernel: (handle, gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes, stream, kernelParams, extra) => {
      const kernel = functions.get(BigInt(Deno.UnsafePointer.value(handle)));
      if (kernel === undefined) refuse(INVALID_HANDLE);
      const { name } = kernel.entry;
      if (gridY * gridZ * blockY * blockZ !== 1) {
        throw new EmulationError(`launch of ${name}: grids of more than one dimension are not emulated`);
      }
      if (kernelParams !== null || extra === null) {
        throw new EmulationError(`launch of ${name}: arguments must come as one block of known length (extra)`);
      }
      const packed = packedArguments(extra, name);
      kernel.check(gridX, blockX, sharedBytes, packed.length);
      const run = () => {
        device.counters.kernels++;
        device.traffic?.beginLaunch(name);
        kernel.run(device.memory, gridX, blockX, sharedBytes, packed, device.traffic);
      };
      device.enqueue(stream, { isCopy: false, run }, `launch of ${name}`);
    },
  };
}

/** Copies the block of arguments, as the real driver does: the caller may change its own block after the call. */
function packedArguments(extra: Pointer, name: string): Uint8Array<ArrayBuffer> {
  const list = new Deno.UnsafePointerView(extra!);
  const tags = [list.getBigUint64(0), list.getBigUint64(16), list.getBigUint64(32)];
  if (tags[0] !== LaunchParameter.bufferPointer || tags[1] !== LaunchParameter.bufferSize || tags[2] !== 0n) {
    throw new EmulationError(`launch of ${name}: extra is not (buffer pointer, buffer size, end)`);
  }
  const byteLength = Number(
    new Deno.UnsafePointerView(Deno.UnsafePointer.create(list.getBigUint64(24))!).getBigUint64(),
  );
  const bytes = new Uint8Array(byteLength);
  if (byteLength > 0) Deno.UnsafePointerView.copyInto(Deno.UnsafePointer.create(list.getBigUint64(8))!, bytes);
  return bytes;
}
