/** The layers of a model, bound to the memory of a rank. */
import type { Backend, Buffer } from "../backend/backend.ts";
import type { PlacedLayer, Value } from "./composition.ts";
import { type BoundLayer, elementsOf, type LayerStep } from "./layers/layer.ts";
import { hiddenLayers, hiddenUnits, type ModelPlan } from "./shape.ts";

/** Memory of a network that is shared with other ranks, and its device. */
export interface NetworkMemory {
  /** Device of the layers; all buffers are in its memory. */
  readonly device: Backend;
  /** Dense parameters (plan.denseWords). */
  readonly parameters: Buffer;
  /** Their gradients (plan.denseWords). */
  readonly gradients: Buffer;
  /** Makes MPI messages progress, between layers; undefined without messages. */
  readonly poll?: (() => void) | undefined;
}

/** Inputs of the layers: the memory of a batch, with room for the network's samples. */
export interface NetworkInputs {
  /** (samples, dense features) */
  readonly dense: Buffer;
  /** (samples, tables, dim) */
  readonly pooled: Buffer;
  /** First lookup of each bag, then the end, (samples * tables + 1); undefined if no sample has bags. */
  readonly offsets: Buffer | undefined;
  /** Receives the gradients of the pooled rows. */
  readonly pooledGradients: Buffer;
  /** Undefined if the model is only scored. */
  readonly step?: LayerStep | undefined;
}

/** Activations of a value, and their gradients if the value has any. */
interface Activations {
  readonly values: Buffer;
  readonly gradients: Buffer | undefined;
  /** Words from a row to the next. */
  readonly stride: number;
}

/**
 * For each layer, which of its inputs a later layer (or a later input of the same one) reads too: the backward pass, which
 * goes from last to first, has a part of their gradients already. The order of the sum is thereby that of the layers.
 */
function addedInputs(layers: readonly PlacedLayer[]): boolean[][] {
  const read = new Set<Value>();
  const isAdded = (input: Value) => {
    const added = input.hasGradient && read.has(input);
    read.add(input);
    return added;
  };
  return layers.toReversed().map(({ inputs }) => inputs.toReversed().map(isAdded).toReversed()).toReversed();
}

/** True if the rows of the layer's output may be padded: the layer and its only reader take padded rows. */
function mayPad({ layer, output }: PlacedLayer, layers: readonly PlacedLayer[]): boolean {
  const readers = layers.filter(({ inputs }) => inputs.includes(output));
  return layer.writesPadded === true && readers.length === 1 && readers[0].layer.readsPadded === true;
}

/** The activations of all layers, and the forward and backward pass. */
export class Network {
  /** (samples) */
  readonly logits: Buffer;
  readonly logitGradients: Buffer;
  /**
   * Sums of each hidden unit over the samples, after `sumUnits`, (hiddenUnits): 0 if the unit was 0 for all of them.
   */
  readonly unitSums: Buffer;
  readonly #plan: ModelPlan;
  readonly #memory: NetworkMemory;
  readonly #activations = new Map<Value, Activations>();
  readonly #added: readonly (readonly boolean[])[];
  /** Each layer's parameters and their gradients. */
  readonly #parameters: readonly { readonly values: readonly Buffer[]; readonly gradients: readonly Buffer[] }[];
  /** For each place among a layer's inputs, where its gradient goes before it is added to those of later readers. */
  readonly #parts: readonly (Buffer | undefined)[];
  /** The outputs of the hidden layers, each with its part of `unitSums`. */
  readonly #hidden: readonly { readonly units: number; readonly y: Buffer; readonly sums: Buffer }[];

  /** Allocates the activations of up to `samples` samples. */
  constructor(plan: ModelPlan, samples: number, memory: NetworkMemory) {
    const { device } = memory;
    this.#plan = plan;
    this.#memory = memory;
    for (const placed of plan.layers) {
      const { output } = placed;
      const stride = mayPad(placed, plan.layers) ? device.strideOf(output.width) : output.width;
      this.#activations.set(output, {
        values: device.allocate(samples * stride, "activations"),
        gradients: device.allocate(samples * stride, "gradients of activations"),
        stride,
      });
    }
    this.#parameters = plan.layers.map(({ parameters }) => {
      const part = (vector: Buffer) => parameters.map((p) => device.view(vector, p.first, elementsOf(p.shape)));
      return { values: part(memory.parameters), gradients: part(memory.gradients) };
    });
    this.#added = addedInputs(plan.layers);
    const partWidths: number[] = [];
    plan.layers.forEach(({ inputs }, i) =>
      inputs.forEach(({ width }, place) => {
        partWidths[place] = Math.max(partWidths[place] ?? 0, this.#added[i][place] ? width : 0);
      })
    );
    this.#parts = partWidths.map((width) =>
      width === 0 ? undefined : device.allocate(samples * width, "gradients of activations")
    );
    const { values, gradients } = this.#activations.get(plan.logit)!;
    this.logits = values;
    this.logitGradients = gradients!;
    this.unitSums = device.allocate(hiddenUnits(plan), "active units");
    let unit = 0;
    this.#hidden = hiddenLayers(plan).map(({ output }) => {
      const { width: units } = output;
      const sums = device.view(this.unitSums, unit, units);
      unit += units;
      return { units, y: this.#activations.get(output)!.values, sums };
    });
  }

  /** Binds the passes to the memory of one slot. All slots share the activations. */
  bind({ dense, pooled, offsets, pooledGradients, step }: NetworkInputs): BoundLayer {
    const { device, poll } = this.#memory;
    const { inputs: outside, layers } = this.#plan;
    const activations = new Map(this.#activations);
    const put = (value: Value | undefined, values: Buffer | undefined, gradients?: Buffer) => {
      if (value !== undefined) activations.set(value, { values: values!, gradients, stride: value.width });
    };
    put(outside.dense, dense);
    put(outside.pooled, pooled, pooledGradients);
    put(outside.bagSizes, offsets);
    const bound = layers.map(({ layer, inputs, output }, i) => {
      const { values, gradients: dValues, stride } = activations.get(output)!;
      const sums = inputs.flatMap((input, place) =>
        this.#added[i][place]
          ? [{ width: input.width, part: this.#parts[place]!, sum: activations.get(input)!.gradients! }]
          : []
      );
      const { forward, backward } = layer.bind({
        device,
        inputs: inputs.map((input) => activations.get(input)!.values),
        inputGradients: inputs.map((input, place) =>
          this.#added[i][place] ? this.#parts[place] : activations.get(input)!.gradients
        ),
        inputStrides: inputs.map((input) => activations.get(input)!.stride),
        parameters: this.#parameters[i].values,
        parameterGradients: this.#parameters[i].gradients,
        output: values,
        outputGradient: dValues!,
        outputStride: stride,
        step,
      });
      return {
        forward,
        backward(samples: number) {
          backward(samples);
          for (const { width, part, sum } of sums) device.add(samples * width, part, sum);
        },
      };
    });
    return {
      forward(samples) {
        for (let i = 0; i < bound.length; i++) {
          bound[i].forward(samples);
          poll?.();
        }
      },
      backward(samples) {
        for (let i = bound.length - 1; i >= 0; i--) {
          bound[i].backward(samples);
          poll?.();
        }
      },
    };
  }

  /** Computes `unitSums` of the batch of the last forward pass. */
  sumUnits(samples: number): void {
    for (const { units, y, sums } of this.#hidden) this.#memory.device.columnSums(samples, units, y, sums);
  }
}
