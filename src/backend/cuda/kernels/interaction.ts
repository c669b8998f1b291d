import { HotsetError } from "../../../errors.ts";
import { type InteractionGradients, type InteractionShape, interactionWidth, vectorsPassedOn } from "../../backend.ts";
import { isWide, type Kernel, KernelModule, type ParameterType } from "../kernel.ts";
import type { CudaDevice } from "../device.ts";
import { type DeviceBuffer, own } from "../memory.ts";

/** BLOCK of interaction.cu. */
const THREADS = 32;
const MAX_SHARED_BYTES = 48 << 10;
// bottom, pooled, output, tables, elements, rowWords
const FORWARD_PARAMETERS: ParameterType[] = ["u64", "u64", "u64", "u32", "u32", "u32"];
// bottom, pooled, dOutput, dBottom, dPooled, tables, elements, rowWords
const BACKWARD_PARAMETERS: ParameterType[] = ["u64", "u64", "u64", "u64", "u64", "u32", "u32", "u32"];

/** Launches interaction.cu: the dot interaction, one sample per block with its vectors in shared memory. */
export class DotInteraction {
  readonly #forward: { wide: Kernel; narrow: Kernel };
  readonly #backward: { wide: Kernel; narrow: Kernel };

  constructor(device: CudaDevice) {
    const module = new KernelModule(device, new URL("interaction.ptx", import.meta.url));
    this.#forward = {
      wide: module.kernel("interact_4", FORWARD_PARAMETERS),
      narrow: module.kernel("interact_1", FORWARD_PARAMETERS),
    };
    this.#backward = {
      wide: module.kernel("interact_backward_4", BACKWARD_PARAMETERS),
      narrow: module.kernel("interact_backward_1", BACKWARD_PARAMETERS),
    };
  }

  /** bottom (samples, dim), undefined if the shape has none, pooled (samples, tables, dim), output (samples, interactionWidth). */
  forward(
    shape: InteractionShape,
    samples: number,
    bottom: DeviceBuffer | undefined,
    pooled: DeviceBuffer,
    output: DeviceBuffer,
  ): void {
    const wide = isWide(shape.dim, bottom, pooled);
    const kernel = this.#forward[wide ? "wide" : "narrow"];
    kernel.buffer(0, bottom);
    kernel.buffer(1, pooled);
    kernel.buffer(2, output);
    kernel.number(3, shape.tables);
    kernel.number(4, wide ? shape.dim / 4 : shape.dim);
    kernel.number(5, shape.stride ?? interactionWidth(shape));
    kernel.launch(samples, THREADS, sharedBytes(shape, wide, pairsOf(shape)));
  }

  /** Gradients of `forward`: dOutput, dBottom and dPooled have the shapes of output, bottom and pooled. */
  backward(shape: InteractionShape, samples: number, buffers: InteractionGradients): void {
    const bottom = buffers.bottom && own(buffers.bottom), dBottom = buffers.dBottom && own(buffers.dBottom);
    const pooled = own(buffers.pooled), dPooled = own(buffers.dPooled);
    const wide = isWide(shape.dim, bottom, pooled, dBottom, dPooled);
    const kernel = this.#backward[wide ? "wide" : "narrow"];
    kernel.buffer(0, bottom);
    kernel.buffer(1, pooled);
    kernel.buffer(2, own(buffers.dOutput));
    kernel.buffer(3, dBottom);
    kernel.buffer(4, dPooled);
    kernel.number(5, shape.tables);
    kernel.number(6, wide ? shape.dim / 4 : shape.dim);
    kernel.number(7, shape.stride ?? interactionWidth(shape));
    kernel.launch(samples, THREADS, sharedBytes(shape, wide, pairsOf(shape) + 1));
  }
}

/** Number of products of a sample. */
function pairsOf(shape: InteractionShape): number {
  return interactionWidth(shape) - shape.dim * vectorsPassedOn(shape);
}

/** Shared memory of a block: the vectors, each padded to an odd number of elements, and words for the products. */
function sharedBytes({ bottom, tables, dim }: InteractionShape, wide: boolean, words: number): number {
  const elementBytes = wide ? 16 : 4;
  const bytes = (tables + Number(bottom)) * ((4 * dim / elementBytes) | 1) * elementBytes + 4 * words;
  if (bytes > MAX_SHARED_BYTES) {
    throw new HotsetError(
      `Cannot interact ${tables} tables of dim ${dim} on CUDA: a sample needs ${bytes} bytes of shared memory and has ` +
        `${MAX_SHARED_BYTES}; use a smaller --dim or --interaction cat`,
    );
  }
  return bytes;
}
