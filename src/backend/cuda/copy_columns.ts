import { Cuda } from "../../../ffi/cudart.ts";
import type { CudaDevice } from "./device.ts";
import type { DeviceBuffer } from "./memory.ts";

/** Copies `columns` words of each row between matrices of different strides, from and to a first column. */
export function copyColumns(
  device: CudaDevice,
  rows: number,
  columns: number,
  source: DeviceBuffer,
  sourceStride: number,
  sourceColumn: number,
  target: DeviceBuffer,
  targetStride: number,
  targetColumn: number,
): void {
  if (rows === 0 || columns === 0) return;
  device.libraries.runtime.cudaMemcpy2DAsync(
    target.address + BigInt(4 * targetColumn),
    BigInt(4 * targetStride),
    source.address + BigInt(4 * sourceColumn),
    BigInt(4 * sourceStride),
    BigInt(4 * columns),
    BigInt(rows),
    Cuda.memcpyDeviceToDevice,
    device.stream,
  );
}
