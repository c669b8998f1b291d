/** Activations by cuDNN instead of activation.cu. The bias is added by Hotset's kernel. */
import { Dnn } from "../../../ffi/cudnn.ts";
import { pointerAt } from "../../../ffi/pointer.ts";
import type { Activation } from "../backend.ts";
import type { CudaDevice } from "./device.ts";
import type { DeviceBuffer } from "./memory.ts";

/** A cuDNN handle on the device's stream. Descriptors are created at their first use. */
export class CudnnActivations {
  readonly #device: CudaDevice;
  readonly #handle: Deno.PointerValue;
  readonly #modes: Record<Exclude<Activation, "identity">, Deno.PointerValue>;
  /** Tensor descriptors by number of words. */
  readonly #tensors = new Map<number, Deno.PointerValue>();
  readonly #one = new Float32Array([1]);
  readonly #zero = new Float32Array([0]);

  constructor(device: CudaDevice) {
    this.#device = device;
    const dnn = device.libraries.dnn();
    this.#handle = pointerAt(device.made((out) => dnn.cudnnCreate(out)));
    device.own(() => dnn.cudnnDestroy(this.#handle));
    dnn.cudnnSetStream(this.#handle, device.stream);
    const mode = (code: number) => {
      const descriptor = pointerAt(device.made((out) => dnn.cudnnCreateActivationDescriptor(out)));
      device.own(() => dnn.cudnnDestroyActivationDescriptor(descriptor));
      dnn.cudnnSetActivationDescriptor(descriptor, code, Dnn.propagateNan, 0);
      return descriptor;
    };
    this.#modes = { relu: mode(Dnn.activationRelu), sigmoid: mode(Dnn.activationSigmoid) };
  }

  /** Replaces `words` words of y with `activation(y)`. */
  forward(activation: Activation, words: number, y: DeviceBuffer): void {
    if (activation === "identity" || words === 0) return;
    const { libraries, counters, recording } = this.#device;
    const tensor = this.#tensor(words), mode = this.#modes[activation];
    const [one, zero, address] = [this.#one, this.#zero, y.address];
    libraries.dnn().cudnnActivationForward(this.#handle, mode, one, tensor, address, zero, tensor, address);
    if (!recording) counters.launches++;
  }

  /** Replaces `words` words of dY with the gradient before the activation, whose output is y. */
  backward(activation: Activation, words: number, y: DeviceBuffer, dY: DeviceBuffer): void {
    if (activation === "identity" || words === 0) return;
    const { libraries, counters, recording } = this.#device;
    const tensor = this.#tensor(words);
    libraries.dnn().cudnnActivationBackward(
      ...[this.#handle, this.#modes[activation], this.#one] as const,
      ...[tensor, y.address, tensor, dY.address, tensor, y.address] as const,
      ...[this.#zero, tensor, dY.address] as const,
    );
    if (!recording) counters.launches++;
  }

  #tensor(words: number): Deno.PointerValue {
    let tensor = this.#tensors.get(words);
    if (tensor === undefined) {
      const dnn = this.#device.libraries.dnn();
      tensor = pointerAt(this.#device.made((out) => dnn.cudnnCreateTensorDescriptor(out)));
      const made = tensor;
      this.#device.own(() => dnn.cudnnDestroyTensorDescriptor(made));
      dnn.cudnnSetTensor4dDescriptor(tensor, Dnn.tensorNchw, Dnn.dataFloat, 1, 1, 1, words);
      this.#tensors.set(words, tensor);
    }
    return tensor;
  }
}
