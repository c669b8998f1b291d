/**
 * The contract of a layer: its sizes, its arithmetic over the backend contract, and its names in files and messages. A
 * layer owns no memory and knows no other layer; `composition.ts` connects layers and assigns positions to their
 * parameters, `network.ts` assigns buffers.
 */
import type { Backend, Buffer } from "../../backend/backend.ts";

/** Layers of a model that belong together, such as an MLP. */
export interface Part {
  /** Its key in events: one word. */
  readonly name: string;
  /** Name in messages and in the phases of a step. */
  readonly title: string;
  /** What no longer works if a layer of it is 0 for every sample: a clause. */
  readonly ifDead: string;
}

/** A trainable tensor. */
export interface Parameter {
  /** Name in messages: "weight" or "bias". */
  readonly name: string;
  /** Its name in a PyTorch state dict. */
  readonly tensor: string;
  /** Its sizes, row-major. */
  readonly shape: readonly number[];
  /** Standard deviation of its normally distributed initial values. */
  readonly deviation: number;
}

/** Floating-point operations for one sample. */
export interface Flops {
  /** Of the forward pass. */
  readonly forward: number;
  /** Of the gradients of the parameters. */
  readonly parameterGradients: number;
  /** Of the gradients of all inputs. */
  readonly inputGradients: number;
}

/** Collects the nodes of an ONNX graph. Values are named by strings; their first dimension is the sample. */
export interface OnnxNodes {
  /** Adds an operation with one output and returns the output's name. */
  node(opType: string, inputs: readonly string[], attributes?: Record<string, number | number[] | string>): string;
  /** A vector of whole numbers. */
  constant(values: readonly number[]): string;
}

/** The buffers of a bound layer, all on one backend. Matrices have one row per sample. */
export interface LayerBuffers {
  /** The backend of the layer. */
  readonly device: Backend;
  /** Inputs, (samples, width) each. */
  readonly inputs: readonly Buffer[];
  /** Buffer of each input's gradient; undefined if it is not needed. */
  readonly inputGradients: readonly (Buffer | undefined)[];
  /**
   * Gradients that are added to what their buffers hold, of each input and each parameter: those of later layers, or of
   * other samples. Never true unless `Layer.adds`. One buffer may be the gradient of several inputs, and, if
   * `passesGradient`, of the output.
   */
  readonly added: LayerAdditions;
  /** Words from a row of each input, and of its gradient, to the next: more than the width only if `readsPadded`. */
  readonly inputStrides: readonly number[];
  /** In the order of `Layer.parameters`. */
  readonly parameters: readonly Buffer[];
  /** Buffers of their gradients. */
  readonly parameterGradients: readonly Buffer[];
  /** (samples, outputs) */
  readonly output: Buffer;
  /** The gradient of the output; `backward` may overwrite it. */
  readonly outputGradient: Buffer;
  /** Words from a row of the output, and of its gradient, to the next: more than the width only if `writesPadded`. */
  readonly outputStride: number;
  /** Undefined for a model that is only scored. */
  readonly step: LayerStep | undefined;
  /** True for a micro-batch after the first: the parameters have not changed since the forward pass before. */
  readonly sameParameters: boolean;
}

/** True for each gradient that is added to what its buffer holds. */
export interface LayerAdditions {
  readonly inputs: readonly boolean[];
  readonly parameters: readonly boolean[];
}

/** The step that a layer is part of. */
export interface LayerStep {
  /** The header of its batch. */
  readonly header: Buffer;
  /** Position in the batch of the first sample. */
  readonly firstSample: number;
}

/** A layer bound to its buffers. Both passes allocate nothing and make the same calls of the backend every time. */
export interface BoundLayer {
  /** Computes the output of the first `samples` samples. */
  forward(samples: number): void;
  /** Computes all gradients from the output's gradient and the results of `forward`; see `LayerBuffers.added`. */
  backward(samples: number): void;
}

/** One layer of a model. */
export interface Layer {
  /** The part of the model that it belongs to. */
  readonly part: Part;
  /** Name in messages, as in "layer 1 of the bottom MLP". */
  readonly title: string;
  /** Widths of its inputs, in values per sample. */
  readonly inputs: readonly number[];
  /** Width of its output. */
  readonly outputs: number;
  /** Its parameters; may be none. */
  readonly parameters: readonly Parameter[];
  /** True if its outputs are those of ReLU: a unit that is 0 for every sample is dead. */
  readonly canDie: boolean;
  /** True if there may be zeros behind each row of its inputs; default false. */
  readonly readsPadded?: boolean;
  /** True if it leaves words behind each row of its output, and of its gradient, as they are; default false. */
  readonly writesPadded?: boolean;
  /** The gradients that it can add to what their buffers hold, on a device, instead of overwriting it; default none. */
  readonly adds?: (device: Backend) => LayerAdditions;
  /** The place of an input whose gradient is that of the output, in the same buffer if later layers do not read it. */
  readonly passesGradient?: number;
  /** Floating-point operations for one sample. */
  readonly flops: Flops;
  /** Connects it to memory. */
  bind(buffers: LayerBuffers): BoundLayer;
  /** Adds its forward pass to a graph in which the parameters are initializers; returns the name of the output. */
  onnx(graph: OnnxNodes, inputs: readonly string[]): string;
}

/** Elements of a tensor. */
export function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}
