/** CUDA libraries, driver and devices of this machine, and what is missing. */
import { checkedCublas, openCublas } from "../../../ffi/cublas.ts";
import { checkedCublasLt, openCublasLt } from "../../../ffi/cublas_lt.ts";
import { checkedCuda, openCuda } from "../../../ffi/cuda.ts";
import { checkedCudart, Cuda, cudaMajor, cudartFault, openCudart } from "../../../ffi/cudart.ts";
import { checkedNccl, openNccl } from "../../../ffi/nccl.ts";
import { openCudnn } from "../../../ffi/cudnn.ts";
import { messageOf } from "../../errors.ts";

/** A library or device: its version and path, or the reason why it is missing and the command that installs it. */
export interface CudaFinding {
  readonly name: string;
  readonly found: boolean;
  readonly detail: string;
}

/**
 * Looks for all requirements of `--device cuda`. Never throws. cuBLASLt and cuDNN are needed only for `--activations
 * cublaslt` and `cudnn`, NCCL only for several ranks.
 */
export function cudaFindings(): CudaFinding[] {
  return [
    finding("CUDA runtime", () => {
      const { path, symbols } = openCudart();
      const version = new Int32Array(1);
      checkedCudart(symbols).cudaRuntimeGetVersion(version);
      return `${versionText(version[0])}, ${path}`;
    }),
    finding("CUDA driver", () => {
      const { path } = openCuda();
      const version = new Int32Array(1);
      checkedCudart(openCudart().symbols).cudaDriverGetVersion(version);
      return `for CUDA ${versionText(version[0])}, ${path}`;
    }),
    finding("cuBLAS", () => {
      const { path, symbols } = openCublas(cudaMajor(openCudart().symbols));
      return `${propertiesText(checkedCublas(symbols).cublasGetProperty)}, ${path}`;
    }),
    finding("cuBLASLt", () => {
      const { path, symbols } = openCublasLt(cudaMajor(openCudart().symbols));
      return `${propertiesText(checkedCublasLt(symbols).cublasLtGetProperty)}, ${path}`;
    }),
    finding("cuDNN", () => {
      const { path, symbols } = openCudnn();
      return `${symbols.cudnnGetVersion()}, ${path}`;
    }),
    finding("NCCL", () => {
      const { path, symbols } = openNccl();
      const version = new Int32Array(1);
      checkedNccl(symbols).ncclGetVersion(version);
      const [major, minor] = [Math.floor(version[0] / 10_000), Math.floor(version[0] / 100) % 100];
      return `${major}.${minor}.${version[0] % 100}, ${path}`;
    }),
    ...devices(),
  ];
}

function finding(name: string, look: () => string): CudaFinding {
  try {
    return { name, found: true, detail: look() };
  } catch (error) {
    return { name, found: false, detail: messageOf(error) };
  }
}

function devices(): CudaFinding[] {
  const count = new Int32Array(1);
  const counted = finding("GPU", () => {
    const { symbols } = openCudart();
    const fault = cudartFault(symbols);
    if (fault !== undefined) throw new Error(fault);
    checkedCudart(symbols).cudaGetDeviceCount(count);
    return `${count[0]}`;
  });
  if (!counted.found) return [counted];
  return Array.from({ length: count[0] }, (_, ordinal) => finding(`GPU ${ordinal}`, () => describeDevice(ordinal)));
}

function describeDevice(ordinal: number): string {
  const runtime = checkedCudart(openCudart().symbols);
  const driver = checkedCuda(openCuda().symbols);
  const value = new Int32Array(1);
  const attribute = (number: number) => {
    runtime.cudaDeviceGetAttribute(value, number, ordinal);
    return value[0];
  };
  runtime.cudaSetDevice(ordinal);
  driver.cuInit(0);
  driver.cuDeviceGet(value, ordinal);
  const name = new Uint8Array(256);
  driver.cuDeviceGetName(name, name.length, value[0]);
  const memory = new BigUint64Array(2);
  runtime.cudaMemGetInfo(memory.subarray(0, 1), memory.subarray(1));
  const [free, total] = [...memory].map((bytes) => (Number(bytes) / 2 ** 30).toFixed(1));
  const capability = [Cuda.deviceAttributeComputeCapabilityMajor, Cuda.deviceAttributeComputeCapabilityMinor];
  return `${new TextDecoder().decode(name.subarray(0, name.indexOf(0)))}, compute capability ` +
    `${capability.map(attribute).join(".")}, ${free} of ${total} GiB free`;
}

/** The version of cuBLAS or cuBLASLt. */
function propertiesText(property: (part: number, value: Int32Array<ArrayBuffer>) => void): string {
  return [0, 1, 2].map((part) => {
    const value = new Int32Array(1);
    property(part, value);
    return value[0];
  }).join(".");
}

/** 13000 is "13.0". */
function versionText(version: number): string {
  return version === 0 ? "none" : `${Math.floor(version / 1000)}.${Math.floor(version % 1000 / 10)}`;
}
