/**
 * Weights and their gradients with zeros behind each row, for products whose number of inputs is padded. Parameters,
 * gradients and optimizer state, and thereby checkpoints, have the number of inputs of the layer: weights are copied before
 * their product and gradients after theirs.
 */
import type { LinearShape } from "../backend.ts";
import { copyColumns } from "./copy_columns.ts";
import type { CudaDevice } from "./device.ts";
import type { DeviceBuffer } from "./memory.ts";
import { Scratch } from "./scratch.ts";

/** A layer whose inputs are padded. */
type PaddedShape = LinearShape & { readonly stride: number };

/** True if rows of the input are longer than the number of inputs. */
export function isPadded(shape: LinearShape): shape is PaddedShape {
  return shape.stride !== undefined && shape.stride > shape.inputs;
}

/** The padded weights of a device. */
export class PaddedWeights {
  readonly #device: CudaDevice;
  readonly #copies = new Map<DeviceBuffer, DeviceBuffer>();
  readonly #gradient: Scratch;

  /** Allocates nothing yet. */
  constructor(device: CudaDevice) {
    this.#device = device;
    this.#gradient = new Scratch(device, "gradients of padded weights");
  }

  /** Allocates what the layer of this weight needs. */
  prepare({ outputs, stride }: PaddedShape, weight: DeviceBuffer): void {
    this.#gradient.of(outputs * stride);
    if (this.#copies.has(weight)) return;
    // Nothing writes the words behind the inputs, so they stay 0 as allocated.
    this.#copies.set(weight, this.#device.allocate(outputs * stride, "padded weights"));
  }

  /** Copies the weight (outputs, inputs); returns the copy (outputs, stride). */
  copy(shape: PaddedShape, weight: DeviceBuffer): DeviceBuffer {
    const { inputs, outputs, stride } = shape;
    this.prepare(shape, weight);
    const copy = this.copyOf(weight);
    copyColumns(this.#device, outputs, inputs, weight, inputs, 0, copy, stride, 0);
    return copy;
  }

  /** The copy that was last made of a weight. */
  copyOf(weight: DeviceBuffer): DeviceBuffer {
    const copy = this.#copies.get(weight);
    if (copy === undefined) throw new ReferenceError(`Cannot use ${weight.label}: its padded copy was not made`);
    return copy;
  }

  /** Where the padded gradient of a weight is computed, (outputs, stride). */
  gradient({ outputs, stride }: PaddedShape): DeviceBuffer {
    return this.#gradient.of(outputs * stride);
  }

  /** Copies the gradient computed there to dWeight (outputs, inputs). What is behind the inputs may be NaN. */
  takeGradient(shape: PaddedShape, dWeight: DeviceBuffer): void {
    const { inputs, outputs, stride } = shape;
    copyColumns(this.#device, outputs, inputs, this.gradient(shape), stride, 0, dWeight, inputs, 0);
  }
}
