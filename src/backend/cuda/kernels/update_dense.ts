import { blocksFor, type Kernel, KernelModule } from "../kernel.ts";
import type { CudaDevice } from "../device.ts";
import type { DeviceBuffer } from "../memory.ts";
import { type OptimizerName, OPTIMIZERS } from "../../../optimizer/optimizers.ts";

const THREADS = 256;

/** Launches update_dense.cu: one optimizer step of all dense parameters. */
export class UpdateDense {
  readonly #kernel: Kernel;

  constructor(device: CudaDevice) {
    const module = new KernelModule(device, new URL("update_dense.ptx", import.meta.url));
    // header, parameters, gradients, state, words, optimizer
    this.#kernel = module.kernel("update_dense", ["u64", "u64", "u64", "u64", "u32", "u32"]);
  }

  /** Updates `words` parameters from their gradients, with the same number of states. */
  launch(
    optimizer: OptimizerName,
    words: number,
    header: DeviceBuffer,
    parameters: DeviceBuffer,
    gradients: DeviceBuffer,
    state: DeviceBuffer | undefined,
  ): void {
    const kernel = this.#kernel;
    kernel.buffer(0, header);
    kernel.buffer(1, parameters);
    kernel.buffer(2, gradients);
    kernel.buffer(3, state);
    kernel.number(4, words);
    kernel.number(5, OPTIMIZERS[optimizer].code);
    kernel.launch(blocksFor(words, THREADS), THREADS);
  }
}
