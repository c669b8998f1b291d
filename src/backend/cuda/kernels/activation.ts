import { blocksFor, isWide, type Kernel, KernelModule, type ParameterType } from "../kernel.ts";
import type { Activation } from "../../backend.ts";
import type { CudaDevice } from "../device.ts";
import type { DeviceBuffer } from "../memory.ts";

const THREADS = 256;
const BACKWARD_THREADS = 512;
const BACKWARD_COLUMNS = 8;
const CODES: Record<Activation, number> = { identity: 0, relu: 1, sigmoid: 2 };
// y, bias, total, elements, activation
const FORWARD_PARAMETERS: ParameterType[] = ["u64", "u64", "u32", "u32", "u32"];

/** Launches activation.cu: bias and activation of a layer, and their gradients. */
export class ActivationKernels {
  readonly #wide: Kernel;
  readonly #narrow: Kernel;
  readonly #backward: Kernel;

  constructor(device: CudaDevice) {
    const module = new KernelModule(device, new URL("activation.ptx", import.meta.url));
    this.#wide = module.kernel("activation_forward_4", FORWARD_PARAMETERS);
    this.#narrow = module.kernel("activation_forward_1", FORWARD_PARAMETERS);
    // dY, y, dBias, samples, outputs, activation
    this.#backward = module.kernel("activation_backward", ["u64", "u64", "u64", "u32", "u32", "u32"]);
  }

  /** y (samples, outputs) becomes `activation(y + bias)`. */
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

  /** dY (samples, outputs) becomes the gradient before the activation; dBias (outputs) its sum over the samples. */
  backward(
    activation: Activation,
    samples: number,
    outputs: number,
    y: DeviceBuffer,
    dY: DeviceBuffer,
    dBias: DeviceBuffer,
  ): void {
    const kernel = this.#backward;
    kernel.buffer(0, dY);
    kernel.buffer(1, y);
    kernel.buffer(2, dBias);
    kernel.number(3, samples);
    kernel.number(4, outputs);
    kernel.number(5, CODES[activation]);
    kernel.launch(blocksFor(outputs, BACKWARD_COLUMNS), BACKWARD_THREADS);
  }
}
