import type { MultiplyAddGradients } from "../../backend.ts";
import { blocksFor, isWide, type Kernel, KernelModule, type ParameterType } from "../kernel.ts";
import type { CudaDevice } from "../device.ts";
import { type DeviceBuffer, own } from "../memory.ts";

const THREADS = 256;

/** A kernel for vectors of four words, and the same for single words. Parameters: its vectors, elements. */
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
    const widths = (name: string, vectors: number): Widths => {
      const parameters: ParameterType[] = [...new Array<ParameterType>(vectors).fill("u64"), "u32"];
      return { wide: module.kernel(`${name}_4`, parameters), narrow: module.kernel(`${name}_1`, parameters) };
    };
    this.#add = widths("add", 2);
    this.#multiplyAdd = widths("multiply_add", 4);
    this.#multiplyAddBackward = widths("multiply_add_backward", 6);
  }

  /** `target += source`, of `words`. */
  add(words: number, source: DeviceBuffer, target: DeviceBuffer): void {
    launch(this.#add, words, source, target);
  }

  /** `y = a b + c`, of `words`. */
  multiplyAdd(words: number, a: DeviceBuffer, b: DeviceBuffer, c: DeviceBuffer, y: DeviceBuffer): void {
    launch(this.#multiplyAdd, words, a, b, c, y);
  }

  /** `dA = b dY`, `dB = a dY`, `dC = dY`, of `words`. */
  multiplyAddBackward(words: number, { a, b, dY, dA, dB, dC }: MultiplyAddGradients): void {
    launch(this.#multiplyAddBackward, words, own(a), own(b), own(dY), own(dA), own(dB), own(dC));
  }
}

function launch({ wide, narrow }: Widths, words: number, ...vectors: DeviceBuffer[]): void {
  const fits = isWide(words, ...vectors);
  const kernel = fits ? wide : narrow;
  const elements = fits ? words / 4 : words;
  for (let i = 0; i < vectors.length; i++) kernel.buffer(i, vectors[i]);
  kernel.number(vectors.length, elements);
  kernel.launch(blocksFor(elements, THREADS), THREADS);
}
