/** The emulated libcudart. */
import type { cudartSymbols } from "../ffi/cudart.ts";
import { Cuda } from "../ffi/cudart.ts";
import { bytesAt as hostBytes } from "../ffi/pointer.ts";
import { type DeviceState, refuse } from "./state.ts";
import { EmulationError } from "./memory.ts";
import { Event, type Operation, reach, Stream } from "./streams.ts";
import { type Implementation, putFloat, putInt, putWord } from "./marshal.ts";

type Pointer = Deno.PointerValue;

const VERSION = 12000;
const NAMES: Record<number, [name: string, text: string]> = {
  0: ["cudaSuccess", "no error"],
  1: ["cudaErrorInvalidValue", "invalid argument"],
  2: ["cudaErrorMemoryAllocation", "out of memory"],
  101: ["cudaErrorInvalidDevice", "invalid device ordinal"],
  400: ["cudaErrorInvalidResourceHandle", "invalid resource handle"],
  600: ["cudaErrorNotReady", "device not ready"],
  700: ["cudaErrorIllegalAddress", "an illegal memory access was encountered"],
  712: ["cudaErrorHostMemoryAlreadyRegistered", "part or all of the requested memory range is already mapped"],
};
/** Device attributes: one multiprocessor that runs PTX for sm_70. Clock rate and bus width are placeholders. */
const ATTRIBUTES: Record<number, number> = {
  [Cuda.deviceAttributeMultiProcessorCount]: 1,
  [Cuda.deviceAttributeComputeCapabilityMajor]: 7,
  [Cuda.deviceAttributeComputeCapabilityMinor]: 0,
};

/** Implements the functions of libcudart over the device's memory and streams. */
export function runtimeImplementation(device: DeviceState): Implementation<typeof cudartSymbols> {
  const { memory, counters, strings } = device;
  const INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, INVALID_HANDLE = 400, ALREADY_REGISTERED = 712;

  /** Bytes of pinned host memory at an address. */
  const pinned = (address: bigint, byteLength: number, doing: string): Uint8Array<ArrayBuffer> => {
    for (const [first, bytes] of device.pinned) {
      const offset = Number(address - first);
      if (offset < 0 || offset >= bytes.length) continue;
      if (offset + byteLength > bytes.length) {
        throw new EmulationError(`${doing} reaches ${byteLength} bytes from byte ${offset} of ${bytes.length} pinned`);
      }
      return bytes.subarray(offset, offset + byteLength);
    }
    throw new EmulationError(`${doing} uses a host address that is not pinned memory`);
  };

  /** Bytes at an address of the device or of pinned memory. */
  const bytesAt = (address: bigint, byteLength: number, onDevice: boolean, write: boolean, doing: string) => {
    if (!onDevice) return pinned(address, byteLength, doing);
    const { region, offset } = memory.range(Number(address), byteLength, write, doing);
    return region.bytes.subarray(offset, offset + byteLength);
  };

  const copy = (dst: bigint, src: bigint, byteLength: number, kind: number, doing: string): void => {
    const toDevice = kind !== Cuda.memcpyDeviceToHost, fromDevice = kind !== Cuda.memcpyHostToDevice;
    const source = bytesAt(src, byteLength, fromDevice, false, doing);
    bytesAt(dst, byteLength, toDevice, true, doing).set(source);
    if (!fromDevice) counters.bytesToDevice += byteLength;
    if (!toDevice) counters.bytesToHost += byteLength;
  };

  const stream = (handle: Pointer, doing: string): Stream => device.stream(handle, doing);
  const event = (handle: Pointer, doing: string): Event => {
    const found = device.events.get(handle);
    if (found === undefined) throw new EmulationError(`${doing} uses an event that does not exist`);
    return found;
  };

  return {
    cudaGetErrorName: (code) => strings.pointer(NAMES[code]?.[0] ?? "unrecognized error code"),
    cudaGetErrorString: (code) =>
      strings.pointer(
        code === 700 && device.fault !== undefined ? device.fault : NAMES[code]?.[1] ?? "unrecognized error code",
      ),
    cudaRuntimeGetVersion: (version) => putInt(version, VERSION),
    cudaDriverGetVersion: (version) => putInt(version, VERSION),
    cudaGetDeviceCount: (count) => putInt(count, device.devices),
    cudaSetDevice: (ordinal) => ordinal >= 0 && ordinal < device.devices ? 0 : INVALID_DEVICE,
    cudaDeviceGetAttribute: (value, attribute, _device) => putInt(value, ATTRIBUTES[attribute] ?? 0),
    cudaMemGetInfo: (free, total) => {
      putWord(free, BigInt(memory.totalBytes - memory.usedBytes));
      putWord(total, BigInt(memory.totalBytes));
    },
    cudaMalloc: (out, byteLength) => {
      const address = memory.allocate(Number(byteLength));
      if (address === undefined) refuse(OUT_OF_MEMORY);
      putWord(out, BigInt(address));
    },
    cudaFree: (address) => {
      device.drainAll(); // as on hardware: cudaFree waits for the device
      memory.free(Number(address));
    },
    cudaHostAlloc: (out, byteLength, _flags) => {
      const bytes = new Uint8Array(Math.max(1, Number(byteLength)));
      const address = BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes)));
      device.pinned.set(address, bytes);
      putWord(out, address);
    },
    cudaFreeHost: (address) => {
      device.drainAll();
      if (!device.pinned.delete(address)) {
        throw new EmulationError("cudaFreeHost of an address that is not allocated");
      }
    },
    cudaHostRegister: (address, byteLength, _flags) => {
      for (const [first, { length }] of device.pinned) {
        if (address < first + BigInt(length) && first < address + byteLength) refuse(ALREADY_REGISTERED);
      }
      device.pinned.set(address, hostBytes(address, Number(byteLength)));
    },
    cudaHostUnregister: (address) => {
      if (!device.pinned.delete(address)) {
        throw new EmulationError("cudaHostUnregister of an address that is not registered");
      }
    },
    cudaMemcpyAsync: (dst, src, byteLength, kind, handle) => {
      const run = () => copy(dst, src, Number(byteLength), kind, "cudaMemcpyAsync");
      stream(handle, "cudaMemcpyAsync").enqueue({ isCopy: true, run });
    },
    cudaMemcpy2DAsync: (dst, dpitch, src, spitch, width, height, kind, handle) => {
      if (width > dpitch || width > spitch) refuse(INVALID_VALUE);
      const run = () => {
        for (let row = 0n; row < height; row++) {
          copy(dst + row * dpitch, src + row * spitch, Number(width), kind, "cudaMemcpy2DAsync");
        }
      };
      stream(handle, "cudaMemcpy2DAsync").enqueue({ isCopy: true, run });
    },
    cudaMemsetAsync: (address, value, byteLength, handle) => {
      const run = () => void bytesAt(address, Number(byteLength), true, true, "cudaMemsetAsync").fill(value);
      stream(handle, "cudaMemsetAsync").enqueue({ isCopy: false, run });
    },
    cudaStreamCreateWithFlags: (out, _flags) => {
      const made = new Stream(device.copiesFirst);
      device.allStreams.push(made);
      putWord(out, device.streams.add(made));
    },
    cudaStreamDestroy: (handle) => {
      stream(handle, "cudaStreamDestroy").drain();
      device.streams.remove(handle);
    },
    cudaStreamSynchronize: (handle) => {
      const waited = stream(handle, "cudaStreamSynchronize");
      if (waited.captured !== undefined) throw new EmulationError("cudaStreamSynchronize during stream capture");
      waited.drain();
    },
    cudaStreamQuery: (handle) => {
      const queried = stream(handle, "cudaStreamQuery");
      if (queried.captured !== undefined) throw new EmulationError("cudaStreamQuery during stream capture");
      return queried.advance() ? 0 : Cuda.errorNotReady; // a program that asks again and again must find the end
    },
    cudaStreamWaitEvent: (handle, waited, _flags) =>
      stream(handle, "cudaStreamWaitEvent").wait(event(waited, "cudaStreamWaitEvent")),
    cudaEventCreateWithFlags: (out, _flags) => putWord(out, device.events.add(new Event())),
    cudaEventDestroy: (handle) => device.events.remove(handle) ? 0 : INVALID_HANDLE,
    cudaEventRecord: (recorded, handle) => stream(handle, "cudaEventRecord").record(event(recorded, "cudaEventRecord")),
    cudaEventSynchronize: (handle) => reach(event(handle, "cudaEventSynchronize")),
    cudaEventElapsedTime: (milliseconds, start, end) => {
      const doing = "cudaEventElapsedTime";
      putFloat(milliseconds, event(end, doing).time - event(start, doing).time);
    },
    cudaStreamBeginCapture: (handle, _mode) => {
      const capturing = stream(handle, "cudaStreamBeginCapture");
      if (capturing.captured !== undefined) throw new EmulationError("cudaStreamBeginCapture of a capturing stream");
      capturing.captured = [];
    },
    cudaStreamEndCapture: (handle, out) => {
      const capturing = stream(handle, "cudaStreamEndCapture");
      if (capturing.captured === undefined) throw new EmulationError("cudaStreamEndCapture without a begin");
      putWord(out, device.graphs.add(capturing.captured));
      capturing.captured = undefined;
    },
    cudaGraphInstantiateWithFlags: (out, graph, _flags) => {
      const operations = device.graphs.get(graph);
      if (operations === undefined) refuse(INVALID_HANDLE);
      putWord(out, device.graphExecutables.add([...operations]));
    },
    cudaGraphLaunch: (graph, handle) => {
      const operations: Operation[] | undefined = device.graphExecutables.get(graph);
      if (operations === undefined) refuse(INVALID_HANDLE);
      const run = () => operations.forEach((operation) => operation.run());
      stream(handle, "cudaGraphLaunch").enqueue({ isCopy: false, run });
    },
    cudaGraphExecDestroy: (graph) => {
      device.drainAll();
      if (!device.graphExecutables.remove(graph)) refuse(INVALID_HANDLE);
    },
    cudaGraphDestroy: (graph) => device.graphs.remove(graph) ? 0 : INVALID_HANDLE,
  };
}
