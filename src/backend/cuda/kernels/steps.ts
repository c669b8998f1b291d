import type { Buffer, StepAttention, StepsShape, WeighedStepsGradients } from "../../backend.ts";
import { blocksFor, type Kernel, KernelModule, type ParameterType } from "../kernel.ts";
import type { CudaDevice } from "../device.ts";
import { own } from "../memory.ts";

const THREADS = 256;
const MAX_LANES = 32;

/** Launches steps.cu: operations over the steps of sequences. */
export class StepKernels implements StepAttention {
  readonly #normalise: Kernel;
  readonly #normaliseBackward: Kernel;
  readonly #scoreSteps: Kernel;
  readonly #scoreStepsBackward: Kernel;
  readonly #weighSteps: Kernel;
  readonly #weighStepsBackward: Kernel;

  constructor(device: CudaDevice) {
    const module = new KernelModule(device, new URL("steps.ptx", import.meta.url));
    const kernel = (name: string, buffers: number) => {
      const parameters: ParameterType[] = [...new Array<ParameterType>(buffers).fill("u64"), "u32", "u32", "u32"];
      return module.kernel(name, parameters);
    };
    // The buffers, then rows, width, lanes.
    this.#normalise = kernel("normalise", 2);
    this.#normaliseBackward = kernel("normalise_backward", 3);
    // The buffers, then samples, steps, width.
    this.#scoreSteps = kernel("score_steps", 2);
    this.#scoreStepsBackward = kernel("score_steps_backward", 3);
    this.#weighSteps = kernel("weigh_steps", 3);
    this.#weighStepsBackward = kernel("weigh_steps_backward", 5);
  }

  normalise(rows: number, width: number, ...xy: [x: Buffer, y: Buffer]): void {
    launchVectors(this.#normalise, rows, width, xy);
  }

  normaliseBackward(rows: number, width: number, ...buffers: [x: Buffer, dY: Buffer, dX: Buffer]): void {
    launchVectors(this.#normaliseBackward, rows, width, buffers);
  }

  scoreSteps(shape: StepsShape, samples: number, ...xy: [x: Buffer, y: Buffer]): void {
    launch(this.#scoreSteps, samples * (shape.steps - 1), shape, samples, xy);
  }

  scoreStepsBackward(shape: StepsShape, samples: number, ...buffers: [x: Buffer, dY: Buffer, dX: Buffer]): void {
    launch(this.#scoreStepsBackward, samples * shape.width, shape, samples, buffers);
  }

  weighSteps(shape: StepsShape, samples: number, ...buffers: [x: Buffer, weights: Buffer, y: Buffer]): void {
    launch(this.#weighSteps, samples * shape.width, shape, samples, buffers);
  }

  weighStepsBackward(shape: StepsShape, samples: number, buffers: WeighedStepsGradients): void {
    const { x, weights, dY, dX, dWeights } = buffers;
    launch(this.#weighStepsBackward, samples * shape.steps, shape, samples, [x, weights, dY, dX, dWeights]);
  }
}

/** Launches a kernel with one thread for each item. */
function launch(kernel: Kernel, items: number, { steps, width }: StepsShape, samples: number, buffers: Buffer[]): void {
  setArguments(kernel, buffers, samples, steps, width);
  kernel.launch(blocksFor(items, THREADS), THREADS);
}

/** Launches a kernel with a group of threads, at most a warp, for each vector. */
function launchVectors(kernel: Kernel, rows: number, width: number, buffers: Buffer[]): void {
  let lanes = 1;
  while (lanes < width && lanes < MAX_LANES) lanes *= 2;
  setArguments(kernel, buffers, rows, width, lanes);
  kernel.launch(blocksFor(rows, THREADS / lanes), THREADS);
}

function setArguments(kernel: Kernel, buffers: Buffer[], ...numbers: number[]): void {
  buffers.forEach((buffer, i) => kernel.buffer(i, own(buffer)));
  numbers.forEach((number, i) => kernel.number(buffers.length + i, number));
}
