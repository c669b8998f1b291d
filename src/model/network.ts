/** The layers of a model, bound to the memory of a rank. */
import type { Backend, Buffer } from "../backend/backend.ts";
import type { PlacedLayer, Value } from "./composition.ts";
import { type BoundLayer, elementsOf, type LayerAdditions, type LayerStep } from "./layers/layer.ts";
import { hiddenLayers, hiddenUnits, type ModelPlan } from "./shape.ts";

/** Memory of a network that is shared with other ranks, and its device. */
export interface NetworkMemory {
  /** Device of the layers; all buffers are in its memory. */
  readonly device: Backend;
  /** Dense parameters (plan.denseWords). */
  readonly parameters: Buffer;
  /** Their gradients (plan.denseWords); undefined for a network that is only scored. */
  readonly gradients: Buffer | undefined;
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
  /** Receives the gradients of the pooled rows; undefined if the network is only scored. */
  readonly pooledGradients: Buffer | undefined;
  /** Undefined if the model is only scored. */
  readonly step?: LayerStep | undefined;
}

/** Fewest samples of a micro-batch: products of fewer are slow. */
const LEAST_SAMPLES = 256;

/** Most samples of a micro-batch: a power of two. */
function microBatchOf({ layers }: ModelPlan, { cachedWords = Infinity }: Backend): number {
  const width = layers.reduce((sum, { output }) => sum + output.width, 0);
  return Math.max(LEAST_SAMPLES, 2 ** Math.floor(Math.log2(cachedWords / width)));
}

/** Consecutive samples that go through all layers together; see `Backend.cachedWords`. */
export interface MicroBatch {
  /** Position of the first one among the samples of the network. */
  readonly first: number;
  /** Their number in a full batch. */
  readonly capacity: number;
  /** Their part of `Network.logits`, and its gradients, which are not used if the network is only scored. */
  readonly logits: Buffer;
  readonly logitGradients: Buffer;
}

/** A network bound to the memory of a slot. All passes allocate nothing and make the same calls every time. */
export interface BoundNetwork {
  /** Computes the logits of the first `samples` samples. */
  forward(samples: number): void;
  /** Computes their logits, and `Network.unitSums` of the hidden layers with `counted`. */
  score(samples: number, counted: readonly boolean[]): void;
  /**
   * Computes their logits and all gradients, overwriting earlier ones. `loss` computes the gradients of the logits of
   * the first `count` samples of a micro-batch.
   */
  train(samples: number, loss: (part: MicroBatch, count: number) => void): void;
}

/** Activations of a value, and their gradients if the value has any. */
interface Activations {
  readonly values: Buffer;
  readonly gradients: Buffer | undefined;
  /** Words from a row to the next. */
  readonly stride: number;
}

/** Sums over samples: the gradients of each layer's parameters, and the units of each hidden layer. */
interface Sums {
  readonly ofLayers: readonly (readonly Buffer[])[];
  readonly ofHidden: readonly Buffer[];
}

/** All layers, bound to the memory of a micro-batch. */
type BoundPart = BoundLayer & Pick<BoundNetwork, "score">;

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

/**
 * For each layer, the place of its output if no backward pass reads it: the one of a value that no later layer reads.
 * Rows of these `strides` with padding, which must stay zero, have places of their own.
 */
function sharedPlaces({ layers, logit }: ModelPlan, strides: readonly number[]): number[] {
  const places = new Map<Value, number>();
  const free: number[] = [];
  let count = 0;
  return layers.map(({ inputs, output }, i) => {
    const isPadded = strides[i] !== output.width;
    const place = (output === logit || isPadded ? undefined : free.pop()) ?? count++;
    if (output !== logit && !isPadded) places.set(output, place);
    for (const input of new Set(inputs)) {
      const at = places.get(input);
      if (at !== undefined && !layers.some((later, k) => k > i && later.inputs.includes(input))) free.push(at);
    }
    return place;
  });
}

/**
 * The activations of all layers, and the forward and backward pass. A micro-batch goes forward and backward through all
 * layers before the next one begins, in the same memory. Its gradients of parameters are added to those before it.
 *
 * A network without gradients is only scored. Its layers reuse the memory of activations that no later layer reads, and
 * are bound to a value itself where they take its gradient, which only the backward pass would write.
 */
export class Network {
  /** (samples) */
  readonly logits: Buffer;
  /** Sums of each counted hidden unit over the samples, after `score`, (hiddenUnits): 0 if it was 0 for all of them. */
  readonly unitSums: Buffer;
  readonly microBatches: readonly MicroBatch[];
  /** Most samples of a micro-batch. */
  readonly #capacity: number;
  readonly #plan: ModelPlan;
  readonly #memory: NetworkMemory;
  readonly #activations = new Map<Value, Activations>();
  readonly #added: readonly (readonly boolean[])[];
  readonly #parameters: readonly (readonly Buffer[])[];
  /**
   * For each place among a layer's inputs, where its gradient goes before it is added to those of later readers: of layers
   * that do not add it themselves.
   */
  readonly #parts: readonly (Buffer | undefined)[];
  /** The sums over all samples, and those of micro-batches after the first: the same, or added to them. */
  readonly #sums: Sums;
  readonly #addends: Sums;
  /** For each layer, the gradients that it can add to what their buffers hold. */
  readonly #adds: readonly (LayerAdditions | undefined)[];

  /** Allocates the activations of up to `samples` samples. */
  constructor(plan: ModelPlan, samples: number, memory: NetworkMemory) {
    const { device } = memory;
    this.#plan = plan;
    this.#memory = memory;
    const capacity = this.#capacity = Math.max(1, Math.min(samples, microBatchOf(plan, device)));
    const scoring = memory.gradients === undefined;
    this.#added = scoring ? plan.layers.map(({ inputs }) => inputs.map(() => false)) : addedInputs(plan.layers);
    this.#adds = plan.layers.map(({ layer }) => layer.adds?.(device));
    /** The buffer of an input's gradient that serves the output too. */
    const passed = ({ layer: { passesGradient: place }, inputs }: PlacedLayer, i: number) =>
      place === undefined || this.#added[i][place] ? undefined : this.#activations.get(inputs[place])?.gradients;
    const gradientsOf = (values: Buffer) =>
      scoring ? values : device.allocate(values.words, "gradients of activations");
    const strides = plan.layers.map((placed) => {
      const { output: { width } } = placed;
      return mayPad(placed, plan.layers) ? device.strideOf(width) : width;
    });
    const places = scoring ? sharedPlaces(plan, strides) : [...strides.keys()];
    const widest: number[] = [];
    places.forEach((place, i) => widest[place] = Math.max(widest[place] ?? 0, strides[i]));
    const memories: Buffer[] = [];
    plan.layers.forEach((placed, i) => {
      const { output } = placed;
      if (output === plan.logit) return;
      const place = memories[places[i]] ??= device.allocate(capacity * widest[places[i]], "activations");
      const values = device.view(place, 0, capacity * strides[i]);
      const gradients = passed(placed, i) ?? gradientsOf(values);
      this.#activations.set(output, { values, gradients, stride: strides[i] });
    });
    const { width } = plan.logit;
    this.logits = device.allocate(samples * width, "activations");
    const gradients = gradientsOf(this.logits);
    this.microBatches = Array.from({ length: Math.max(1, Math.ceil(samples / capacity)) }, (_, i) => {
      const first = i * capacity;
      const own = Math.min(capacity, samples - first);
      const part = (matrix: Buffer) => device.view(matrix, first * width, own * width);
      return { first, capacity: own, logits: part(this.logits), logitGradients: part(gradients) };
    });
    this.#parameters = this.#byLayer(memory.parameters);
    const partWidths: number[] = [];
    plan.layers.forEach(({ inputs }, i) =>
      inputs.forEach(({ width }, place) => {
        const needed = this.#added[i][place] && this.#adds[i]?.inputs[place] !== true;
        partWidths[place] = Math.max(partWidths[place] ?? 0, needed ? width : 0);
      })
    );
    this.#parts = partWidths.map((width) =>
      width === 0 ? undefined : device.allocate(capacity * width, "gradients of activations")
    );
    this.unitSums = device.allocate(hiddenUnits(plan), "active units");
    const ofLayers = this.#byLayer(memory.gradients ?? memory.parameters);
    this.#sums = this.#sumsIn(ofLayers, this.unitSums);
    this.#addends = this.microBatches.length === 1 ? this.#sums : this.#sumsIn(
      scoring
        ? ofLayers
        : ofLayers.map((sums, i) =>
          sums.map((sum, p) =>
            this.#adds[i]?.parameters[p] === true ? sum : device.allocate(sum.words, "dense gradients")
          )
        ),
      device.allocate(hiddenUnits(plan), "active units"),
    );
  }

  /** The parts of a vector of all dense parameters, by layer. */
  #byLayer(vector: Buffer): Buffer[][] {
    const { device } = this.#memory;
    return this.#plan.layers.map(({ parameters }) =>
      parameters.map(({ first, shape }) => device.view(vector, first, elementsOf(shape)))
    );
  }

  #sumsIn(ofLayers: readonly (readonly Buffer[])[], units: Buffer): Sums {
    let first = 0;
    const ofHidden = hiddenLayers(this.#plan).map(({ output: { width } }) => {
      const sums = this.#memory.device.view(units, first, width);
      first += width;
      return sums;
    });
    return { ofLayers, ofHidden };
  }

  /** Binds the passes to the memory of one slot. All slots share the activations. */
  bind(inputs: NetworkInputs): BoundNetwork {
    const { device, gradients } = this.#memory;
    const trains = gradients !== undefined;
    const capacity = this.#capacity;
    const [sums, addends] = [this.#sums, this.#addends];
    const flat = addends.ofLayers.flat();
    const added = sums.ofLayers.flat().map((sum, i) => ({ sum, addend: flat[i] })).filter(({ sum, addend }) =>
      sum !== addend
    );
    const parts = this.microBatches.map((part, i) => ({
      part,
      own: i === 0 ? sums : addends,
      layers: this.#bindPart(inputs, part, i === 0 ? sums : addends, i === 0),
    }));
    return {
      forward(samples) {
        for (let i = 0; i === 0 || i * capacity < samples; i++) {
          parts[i].layers.forward(Math.min(capacity, samples - i * capacity));
        }
      },
      score(samples, counted) {
        for (let i = 0; i === 0 || i * capacity < samples; i++) {
          const { layers, own } = parts[i];
          layers.score(Math.min(capacity, samples - i * capacity), counted);
          if (own === sums) continue;
          for (let h = 0; h < counted.length; h++) {
            if (counted[h]) device.add(sums.ofHidden[h].words, own.ofHidden[h], sums.ofHidden[h]);
          }
        }
      },
      train(samples, loss) {
        if (!trains) throw new Error("Cannot train a network without gradients");
        for (let i = 0; i === 0 || i * capacity < samples; i++) {
          const { part, layers, own } = parts[i];
          const count = Math.min(capacity, samples - i * capacity);
          layers.forward(count);
          loss(part, count);
          layers.backward(count);
          for (let p = 0; own !== sums && p < added.length; p++) {
            device.add(added[p].sum.words, added[p].addend, added[p].sum);
          }
        }
      },
    };
  }

  /** Binds all layers to the memory of a micro-batch. */
  #bindPart(
    { dense, pooled, offsets, pooledGradients, step }: NetworkInputs,
    { first, capacity, logits, logitGradients }: MicroBatch,
    sums: Sums,
    isFirst: boolean,
  ): BoundPart {
    const { device, poll } = this.#memory;
    const { inputs: outside, layers, logit } = this.#plan;
    const activations = new Map(this.#activations);
    const put = (value: Value | undefined, values?: Buffer, gradients?: Buffer) => {
      if (value !== undefined) activations.set(value, { values: values!, gradients, stride: value.width });
    };
    const rowsOf = (matrix: Buffer, value: Value | undefined, more = 0) =>
      value && device.view(matrix, first * value.width, capacity * value.width + more);
    put(logit, logits, logitGradients);
    put(outside.dense, rowsOf(dense, outside.dense));
    put(outside.pooled, rowsOf(pooled, outside.pooled), rowsOf(pooledGradients ?? pooled, outside.pooled));
    put(outside.bagSizes, rowsOf(offsets!, outside.bagSizes, 1));
    const bound = layers.map(({ layer, inputs, output }, i) => {
      const { values, gradients: dValues, stride } = activations.get(output)!;
      const adds = this.#adds[i];
      const added = this.#added[i];
      const addsInputs = added.map((is, place) => is && adds?.inputs[place] === true);
      const parts = inputs.flatMap((input, place) =>
        added[place] && !addsInputs[place]
          ? [{ width: input.width, part: this.#parts[place]!, sum: activations.get(input)!.gradients! }]
          : []
      );
      const { forward, backward } = layer.bind({
        device,
        inputs: inputs.map((input) => activations.get(input)!.values),
        inputGradients: inputs.map((input, place) =>
          added[place] && !addsInputs[place] ? this.#parts[place] : activations.get(input)!.gradients
        ),
        added: {
          inputs: addsInputs,
          parameters: sums.ofLayers[i].map((_, p) => !isFirst && adds?.parameters[p] === true),
        },
        inputStrides: inputs.map((input) => activations.get(input)!.stride),
        parameters: this.#parameters[i],
        parameterGradients: sums.ofLayers[i],
        output: values,
        outputGradient: dValues!,
        outputStride: stride,
        step: step && { ...step, firstSample: step.firstSample + first },
        sameParameters: !isFirst,
      });
      return {
        forward,
        backward(samples: number) {
          backward(samples);
          for (const { width, part, sum } of parts) device.add(samples * width, part, sum);
        },
      };
    });
    const hidden = hiddenLayers(this.#plan);
    const hiddenAt = layers.map((layer) => hidden.indexOf(layer));
    const values = hidden.map(({ output }) => activations.get(output)!.values);
    return {
      forward(samples) {
        for (let i = 0; i < bound.length; i++) {
          bound[i].forward(samples);
          poll?.();
        }
      },
      score(samples, counted) {
        for (let i = 0; i < bound.length; i++) {
          bound[i].forward(samples);
          const h = hiddenAt[i];
          // While the units of the layer are in the cache.
          if (h >= 0 && counted[h]) device.columnSums(samples, sums.ofHidden[h].words, values[h], sums.ofHidden[h]);
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
}
