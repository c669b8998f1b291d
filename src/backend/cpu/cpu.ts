/** The CPU backend: OpenBLAS for matrix products where it is found. */
import type { Buffer, HostBackend, LinearShape } from "../backend.ts";
import type { HostBuffer } from "../host_memory.ts";
import { ReferenceBackend } from "../reference/reference.ts";
import type { OpenBlas } from "../../../ffi/openblas.ts";

/** One rank's CPU backend. */
export class CpuBackend extends ReferenceBackend implements HostBackend {
  override readonly name: string;
  readonly #blas: OpenBlas;

  constructor(blas: OpenBlas) {
    super();
    this.#blas = blas;
    this.name = `cpu (${blas.version})`;
  }

  override linear(shape: LinearShape, samples: number, x: Buffer, weight: Buffer, bias: Buffer, y: Buffer): void {
    if (samples === 0) return;
    const { inputs, outputs, activation } = shape;
    const Y = floats(y);
    const B = floats(bias);
    this.#blas.gemm(false, true, samples, outputs, inputs, floats(x), floats(weight), Y);
    const relu = activation === "relu";
    for (let i = 0, at = 0; i < samples; i++) {
      for (let o = 0; o < outputs; o++, at++) {
        const value = Y[at] + B[o];
        Y[at] = relu && value < 0 ? 0 : value;
      }
    }
    if (activation === "sigmoid") { for (let i = 0; i < samples * outputs; i++) Y[i] = 1 / (1 + Math.exp(-Y[i])); }
  }

  override linearBackward(
    shape: LinearShape,
    samples: number,
    x: Buffer,
    weight: Buffer,
    y: Buffer,
    dY: Buffer,
    dX: Buffer | undefined,
    dWeight: Buffer,
    dBias: Buffer,
  ): void {
    const { inputs, outputs, activation } = shape;
    const DY = floats(dY);
    const Y = floats(y);
    const DB = floats(dBias).fill(0);
    for (let i = 0, at = 0; i < samples; i++) {
      for (let o = 0; o < outputs; o++, at++) {
        let g = DY[at];
        if (activation === "relu" && Y[at] <= 0) g = 0;
        if (activation === "sigmoid") g *= Y[at] * (1 - Y[at]);
        DY[at] = g;
        DB[o] += g;
      }
    }
    if (samples === 0) {
      floats(dWeight).fill(0);
      return;
    }
    this.#blas.gemm(true, false, outputs, inputs, samples, DY, floats(x), floats(dWeight));
    if (dX !== undefined) this.#blas.gemm(false, false, samples, inputs, outputs, DY, floats(weight), floats(dX));
  }
}

function floats(buffer: Buffer): Float32Array {
  return (buffer as HostBuffer).floats;
}
