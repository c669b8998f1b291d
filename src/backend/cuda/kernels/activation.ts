import { blocksFor, isWide, type Kernel, KernelModule, type ParameterType } from "../kernel.ts";
import type { Activation } from "../../backend.ts";
import type { CudaDevice } from "../device.ts";
import type { DeviceBuffer } from "../memory.ts";
import { Scratch } from "../scratch.ts";

const THREADS = 256;
const BACKWARD_THREADS = 512;
/** Columns of a block, and the number of values that it sums per column: see activation.cu. */
const WIDTHS = [8, 16, 32];
const PART_VALUES = 4096;
const CODES: Record<Activation, number> = { identity: 0, relu: 1, sigmoid: 2 };
// y, bias, total, elements, activation
const FORWARD_PARAMETERS: ParameterType[] = ["u64", "u64", "u32", "u32", "u32"];

/** Launches activation.cu: bias and activation of a layer, and their gradients. */
export class ActivationKernels {
  readonly #wide: Kernel;
  readonly #narrow: Kernel;
  readonly #backward: Kernel;
  readonly #scratch: Scratch;

  constructor(device: CudaDevice) {
    const module = new KernelModule(device, new URL("activation.ptx", import.meta.url));
    this.#wide = module.kernel("activation_forward_4", FORWARD_PARAMETERS);
    this.#narrow = module.kernel("activation_forward_1", FORWARD_PARAMETERS);
    // dY, y, sums, samples, outputs, activation, width, tiles
    this.#backward = module.kernel("activation_backward", ["u64", "u64", "u64", "u32", "u32", "u32", "u32", "u32"]);
    this.#scratch = new Scratch(device, "sums of bias gradients");
  }

  /** Replaces y (samples, outputs) with `activation(y + bias)`. */
  forward(activation: Activation, samples: number, outputs: number, y: DeviceBuffer, bias: DeviceBuffer): void {
    const wide = isWide(outputs, y, bias);
    const kernel = wide ? this.#wide : this.#narrow;
    const elements = wide ? outputs / 4 : outputs;
    kernel.buffer(0, y);
    kernel.buffer(1, bias);
    kernel.number(2, samples * elements);
    kernel.number(3, elements);
    kernel.number(4, CODES[activation]);
    kernel.launch(blocksFor(samples * elements, THREADS), THREADS);
  }

  /**
   * Replaces dY (samples, outputs) with the gradient before the activation, and writes its sum over the samples to
   * dBias (outputs). Sums are computed for parts of the rows, then for these sums in the same way, so that many blocks
   * share a batch.
   */
  backward(
    activation: Activation,
    samples: number,
    outputs: number,
    y: DeviceBuffer,
    dY: DeviceBuffer,
    dBias: DeviceBuffer,
  ): void {
    const width = WIDTHS.find((width) => width >= outputs) ?? WIDTHS.at(-1)!;
    let parts = partsOf(samples, width);
    if (parts === 1) return this.#sums(activation, samples, outputs, width, y, dY, dBias);
    // Sums of sums need less memory than the first sums.
    const scratch = this.#scratch.of(2 * parts * outputs);
    let sums = scratch.view(0, parts * outputs);
    this.#sums(activation, samples, outputs, width, y, dY, sums);
    for (let used = 0; parts > 1;) {
      used += parts * outputs;
      const next = partsOf(parts, WIDTHS[0]);
      const target = next === 1 ? dBias : scratch.view(used, next * outputs);
      this.#sums("identity", parts, outputs, WIDTHS[0], sums, sums, target);
      [parts, sums] = [next, target];
    }
  }

  #sums(
    activation: Activation,
    samples: number,
    outputs: number,
    width: number,
    y: DeviceBuffer,
    dY: DeviceBuffer,
    sums: DeviceBuffer,
  ): void {
    const kernel = this.#backward;
    const tiles = blocksFor(outputs, width);
    kernel.buffer(0, dY);
    kernel.buffer(1, y);
    kernel.buffer(2, sums);
    kernel.number(3, samples);
    kernel.number(4, outputs);
    kernel.number(5, CODES[activation]);
    kernel.number(6, width);
    kernel.number(7, tiles);
    kernel.launch(tiles * partsOf(samples, width), BACKWARD_THREADS);
  }
}

/** Number of parts of this many rows, at least one; the sums of a part without rows are zero. */
function partsOf(rows: number, width: number): number {
  return Math.max(1, Math.ceil(rows * width / PART_VALUES));
}
