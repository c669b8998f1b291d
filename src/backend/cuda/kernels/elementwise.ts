import type { Buffer, MultiplyAddGradients, MultiplyAddOperands, MultiplyAddShape } from "../../backend.ts";
import { blocksFor, isWide, type Kernel, KernelModule, type ParameterType } from "../kernel.ts";
import type { CudaDevice } from "../device.ts";
import { type DeviceBuffer, own } from "../memory.ts";

const THREADS = 256;
/** Bits of multiply_add_backward's `adds`. */
const [ADDS_A, ADDS_C] = [1, 2];

/** A kernel for vectors of four words, and the same for single words. Parameters: its vectors, numbers, elements. */
interface Widths {
  readonly wide: Kernel;
  readonly narrow: Kernel;
}

/** Launches elementwise.cu: sums and products of vectors. */
export class Elementwise {
  readonly #add: Widths;
  readonly #multiplyAdd: Widths;
  readonly #multiplyAddBackward: Widths;

  constructor(device: CudaDevice) {
    const module = new KernelModule(device, new URL("elementwise.ptx", import.meta.url));
    const widths = (name: string, vectors: number, numbers: number): Widths => {
      const all = (type: ParameterType, count: number) => new Array<ParameterType>(count).fill(type);
      const parameters = [...all("u64", vectors), ...all("u32", numbers + 1)];
      return { wide: module.kernel(`${name}_4`, parameters), narrow: module.kernel(`${name}_1`, parameters) };
    };
    this.#add = widths("add", 2, 0);
    this.#multiplyAdd = widths("multiply_add", 5, 1);
    this.#multiplyAddBackward = widths("multiply_add_backward", 7, 2);
  }

  /** `target += source`, of `words`. */
  add(words: number, source: DeviceBuffer, target: DeviceBuffer): void {
    const fits = isWide(words, source, target);
    const kernel = fits ? this.#add.wide : this.#add.narrow;
    kernel.buffer(0, source);
    kernel.buffer(1, target);
    launch(kernel, 2, fits ? words / 4 : words);
  }

  /** See `Backend.multiplyAdd`. */
  multiplyAdd({ width }: MultiplyAddShape, samples: number, operands: MultiplyAddOperands, y: Buffer): void {
    const { a, b, bias, c } = operands;
    const fits = isWide(width, own(a), own(b), own(bias), own(c), own(y));
    const kernel = fits ? this.#multiplyAdd.wide : this.#multiplyAdd.narrow;
    const columns = fits ? width / 4 : width;
    kernel.buffer(0, own(a));
    kernel.buffer(1, own(b));
    kernel.buffer(2, own(bias));
    kernel.buffer(3, own(c));
    kernel.buffer(4, own(y));
    kernel.number(5, columns);
    launch(kernel, 6, samples * columns);
  }

  /** See `Backend.multiplyAddBackward`, but without dBias. */
  multiplyAddBackward(
    { width, addsA, addsC }: MultiplyAddShape,
    samples: number,
    { a, b, bias, dY, dA, dB, dC }: MultiplyAddGradients,
  ): void {
    const fits = isWide(width, own(a), own(b), own(bias), own(dY), own(dA), own(dB), dC && own(dC));
    const kernel = fits ? this.#multiplyAddBackward.wide : this.#multiplyAddBackward.narrow;
    const columns = fits ? width / 4 : width;
    kernel.buffer(0, own(a));
    kernel.buffer(1, own(b));
    kernel.buffer(2, own(bias));
    kernel.buffer(3, own(dY));
    kernel.buffer(4, own(dA));
    kernel.buffer(5, own(dB));
    kernel.buffer(6, dC && own(dC));
    kernel.number(7, columns);
    kernel.number(8, (addsA ? ADDS_A : 0) + (addsC ? ADDS_C : 0));
    launch(kernel, 9, samples * columns);
  }
}

/** Launches a kernel whose last argument, of this index, is the number of elements. */
function launch(kernel: Kernel, index: number, elements: number): void {
  kernel.number(index, elements);
  kernel.launch(blocksFor(elements, THREADS), THREADS);
}
