/** The emulated libcudnn: activations forward and backward. */
import { type cudnnSymbols, Dnn } from "../ffi/cudnn.ts";
import { type DeviceState, refuse } from "./state.ts";
import { type Handles, type Implementation, putWord } from "./marshal.ts";

type Pointer = Deno.PointerValue;

/** A handle (with its stream), a tensor (with its number of words) or an activation (with its mode). */
interface DnnObject {
  stream?: Pointer;
  words?: number;
  mode?: number;
}

/** Status of a call that breaks the device, or finds it broken. */
export const EXECUTION_FAILED = 5000;
const STATUS: Record<number, string> = {
  0: "CUDNN_STATUS_SUCCESS",
  2000: "CUDNN_STATUS_BAD_PARAM",
  3000: "CUDNN_STATUS_NOT_SUPPORTED",
  5000: "CUDNN_STATUS_EXECUTION_FAILED",
};

/** Implements the functions of libcudnn. */
export function dnnImplementation(
  device: DeviceState,
  objects: Handles<DnnObject>,
): Implementation<typeof cudnnSymbols> {
  const BAD_PARAM = 2000, NOT_SUPPORTED = 3000;
  const float = (pointer: Pointer) => new Deno.UnsafePointerView(pointer!).getFloat32();
  const create = (out: Pointer, object: DnnObject) => putWord(out, objects.add(object));
  const destroy = (handle: Pointer) => objects.remove(handle) ? 0 : BAD_PARAM;
  const floats = (address: bigint, words: number, write: boolean, doing: string) => {
    const { region, offset } = device.memory.range(Number(address), 4 * words, write, doing);
    return region.f32.subarray(offset / 4, offset / 4 + words);
  };
  /** Queues `result = alpha * value(i) + beta * result`. */
  const queue = (
    handle: Pointer,
    doing: string,
    words: number,
    alpha: Pointer,
    beta: Pointer,
    result: bigint,
    inputs: bigint[],
    value: (inputs: Float32Array[], i: number) => number,
  ): void => {
    const stream = objects.get(handle)?.stream;
    if (stream === undefined) refuse(BAD_PARAM);
    const [scale, keep] = [float(alpha), float(beta)];
    const run = () => {
      device.counters.libraryCalls++;
      const sources = inputs.map((address) => floats(address, words, false, doing));
      const target = floats(result, words, true, doing);
      for (let i = 0; i < words; i++) {
        target[i] = scale * Math.fround(value(sources, i)) + (keep === 0 ? 0 : keep * target[i]);
      }
    };
    device.enqueue(stream, { isCopy: false, run }, doing);
  };

  return {
    cudnnGetVersion: () => 90000n,
    cudnnGetErrorString: (code) =>
      device.strings.pointer(
        (code === EXECUTION_FAILED ? device.fault : undefined) ?? STATUS[code] ?? "CUDNN_UNKNOWN_STATUS",
      ),
    cudnnCreate: (out) => create(out, { stream: null }),
    cudnnDestroy: destroy,
    cudnnSetStream: (handle, stream) => {
      const object = objects.get(handle);
      if (object === undefined) refuse(BAD_PARAM);
      object.stream = stream;
    },
    cudnnCreateTensorDescriptor: (out) => create(out, {}),
    cudnnSetTensor4dDescriptor: (tensor, format, type, n, c, h, w) => {
      const object = objects.get(tensor);
      if (object === undefined || n < 1 || c < 1 || h < 1 || w < 1) refuse(BAD_PARAM);
      if (format !== Dnn.tensorNchw || type !== Dnn.dataFloat) refuse(NOT_SUPPORTED);
      object.words = n * c * h * w;
    },
    cudnnDestroyTensorDescriptor: destroy,
    cudnnCreateActivationDescriptor: (out) => create(out, {}),
    cudnnSetActivationDescriptor: (activation, mode, _nan, _coefficient) => {
      const object = objects.get(activation);
      if (object === undefined) refuse(BAD_PARAM);
      if (mode !== Dnn.activationRelu && mode !== Dnn.activationSigmoid) refuse(NOT_SUPPORTED);
      object.mode = mode;
    },
    cudnnDestroyActivationDescriptor: destroy,
    cudnnActivationForward: (handle, activation, alpha, xTensor, x, beta, yTensor, y) => {
      const [mode, words] = [objects.get(activation)?.mode, objects.get(xTensor)?.words];
      if (mode === undefined || words === undefined || objects.get(yTensor)?.words !== words) refuse(BAD_PARAM);
      const value = mode === Dnn.activationRelu ? (v: number) => Math.max(v, 0) : (v: number) => 1 / (1 + Math.exp(-v));
      queue(handle, "cudnnActivationForward", words, alpha, beta, y, [x], ([values], i) => value(values[i]));
    },
    cudnnActivationBackward: (handle, activation, alpha, yTensor, y, dyTensor, dy, xTensor, x, beta, dxTensor, dx) => {
      const mode = objects.get(activation)?.mode;
      const words = [yTensor, dyTensor, xTensor, dxTensor].map((tensor) => objects.get(tensor)?.words);
      if (mode === undefined || words[0] === undefined || words.some((w) => w !== words[0])) refuse(BAD_PARAM);
      const slope = mode === Dnn.activationRelu ? (v: number) => v > 0 ? 1 : 0 : (v: number) => v * (1 - v);
      queue(
        handle,
        "cudnnActivationBackward",
        words[0],
        alpha,
        beta,
        dx,
        [y, dy, x],
        ([values, gradients], i) => gradients[i] * slope(values[i]),
      );
    },
  };
}
