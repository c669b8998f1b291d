import type { MachineGradients, MachineShape } from "../../backend.ts";
import { blocksFor, type Kernel, KernelModule, type ParameterType } from "../kernel.ts";
import type { CudaDevice } from "../device.ts";
import { type DeviceBuffer, own } from "../memory.ts";

const THREADS = 256;
const MAX_LANES = 32;

/** Launches factorise.cu: factorisation machines. */
export class Factorise {
  readonly #forward: Kernel;
  readonly #backward: Kernel;

  constructor(device: CudaDevice) {
    const module = new KernelModule(device, new URL("factorise.ptx", import.meta.url));
    // pooled, bias, y, degree, samples, tables, dim, biasStride, lanes
    this.#forward = module.kernel("factorise", ["u64", "u64", "u64", "u32", "u32", "u32", "u32", "u32", "u32"]);
    // pooled, dY, dPooled, dBias, degree, samples, tables, dim, lanes
    const types: ParameterType[] = ["u64", "u64", "u64", "u64", "u32", "u32", "u32", "u32", "u32"];
    this.#backward = module.kernel("factorise_backward", types);
  }

  /** pooled (samples, tables, dim), bias (1) or (samples), y (samples). */
  forward(
    { degree, sharedBias, tables, dim }: MachineShape,
    samples: number,
    pooled: DeviceBuffer,
    bias: DeviceBuffer,
    y: DeviceBuffer,
  ): void {
    const kernel = this.#forward;
    const lanes = lanesFor(dim);
    kernel.buffer(0, pooled);
    kernel.buffer(1, bias);
    kernel.buffer(2, y);
    kernel.number(3, degree);
    kernel.number(4, samples);
    kernel.number(5, tables);
    kernel.number(6, dim);
    kernel.number(7, sharedBias ? 0 : 1);
    kernel.number(8, lanes);
    kernel.launch(blocksFor(samples, THREADS / lanes), THREADS);
  }

  /** Gradients of `forward` from dY (samples): dPooled (samples, tables, dim), and dBias (samples) unless undefined. */
  backward({ degree, tables, dim }: MachineShape, samples: number, buffers: MachineGradients): void {
    const { pooled, dY, dPooled, dBias } = buffers;
    const kernel = this.#backward;
    const lanes = lanesFor(dim);
    kernel.buffer(0, own(pooled));
    kernel.buffer(1, own(dY));
    kernel.buffer(2, own(dPooled));
    kernel.buffer(3, dBias && own(dBias));
    kernel.number(4, degree);
    kernel.number(5, samples);
    kernel.number(6, tables);
    kernel.number(7, dim);
    kernel.number(8, lanes);
    kernel.launch(blocksFor(samples, THREADS / lanes), THREADS);
  }
}

/** Threads of a sample: a power of two that covers a row, at most a warp. */
function lanesFor(dim: number): number {
  let lanes = 1;
  while (lanes < dim && lanes < MAX_LANES) lanes *= 2;
  return lanes;
}
