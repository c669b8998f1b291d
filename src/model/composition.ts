/** Connects layers to a model and assigns their parameters positions in one vector. */
import { elementsOf, type Layer, type Parameter, type Part } from "./layers/layer.ts";
import { type Dropout, dropout } from "./layers/dropout.ts";
import { linear } from "./layers/linear.ts";
import { meanOfBags } from "./layers/mean_of_bags.ts";
import { atEachStep } from "./layers/steps.ts";
import type { Activation } from "../backend/backend.ts";

/** A vector of each sample that a layer reads or writes. */
export interface Value {
  /** Its width. */
  readonly width: number;
  /** False for inputs: nothing uses their gradient. */
  readonly hasGradient: boolean;
}

/** A parameter with its position. */
export interface PlacedParameter extends Parameter {
  /** Its first word in the vector of dense parameters, a multiple of 4. */
  readonly first: number;
}

/** A layer in its model. */
export interface PlacedLayer {
  /** What it computes. */
  readonly layer: Layer;
  /** What it reads. */
  readonly inputs: readonly Value[];
  /** What it writes. */
  readonly output: Value;
  /** Its parameters, in the layer's order. */
  readonly parameters: readonly PlacedParameter[];
}

/** The inputs of a model, which a batch and the tables provide. */
export interface ModelInputs {
  /** Dense features of a sample; undefined without dense features. */
  readonly dense: Value | undefined;
  /** The sums of the rows of each bag, (tables, dim); undefined without tables. */
  readonly pooled: Value | undefined;
  /** The number of lookups of each bag, (tables), in memory as offsets; undefined unless a layer reads it. */
  readonly bagSizes: Value | undefined;
}

/** Sizes of the inputs, for one sample, and what all MLPs have. */
export interface CompositionOptions {
  readonly denseFeatures: number;
  /** Number of bags, (bags, dim) being the pooled rows; 0 without tables. */
  readonly bags: number;
  readonly dim: number;
  /** How the rows of a bag are combined; default sum. */
  readonly pooling?: Pooling | undefined;
  /** Follows the hidden layers of MLPs in training; default none. */
  readonly dropout?: Dropout | undefined;
}

/** How the rows of a bag are combined, as in nn.EmbeddingBag. */
export type Pooling = "sum" | "mean";

/** A model under construction: its file in `models/` adds layer after layer. */
export class Composition {
  readonly inputs: ModelInputs;
  /** What layers read of each bag, (tables, dim): the pooled rows, or their means. Undefined without tables. */
  readonly pooled: Value | undefined;
  /** In the order of the forward pass. */
  readonly layers: PlacedLayer[] = [];
  readonly #dropout: Dropout | undefined;
  #dropouts = 0;
  #words = 0;

  /** Begins with the inputs, and the layer that turns sums into means if there is one. */
  constructor({ denseFeatures, bags, dim, pooling, dropout }: CompositionOptions) {
    this.#dropout = dropout;
    const hasMeans = pooling === "mean" && bags > 0;
    this.inputs = {
      dense: denseFeatures === 0 ? undefined : { width: denseFeatures, hasGradient: false },
      pooled: bags === 0 ? undefined : { width: bags * dim, hasGradient: true },
      bagSizes: hasMeans ? { width: bags, hasGradient: false } : undefined,
    };
    const { pooled, bagSizes } = this.inputs;
    this.pooled = hasMeans ? this.add(meanOfBags(bags, dim), pooled!, bagSizes!) : pooled;
  }

  /** Words of all parameters so far. */
  get denseWords(): number {
    return this.#words;
  }

  /** Adds a layer that reads these values, and returns its output. Several layers may read one value. */
  add(layer: Layer, ...inputs: Value[]): Value {
    if (inputs.length !== layer.inputs.length || inputs.some(({ width }, i) => width !== layer.inputs[i])) {
      const widths = inputs.map(({ width }) => width);
      throw new Error(`${layer.title} reads values of ${layer.inputs} words and gets ${widths}`);
    }
    const output = { width: layer.outputs, hasGradient: true };
    const parameters = layer.parameters.map((parameter) => {
      const first = this.#words;
      this.#words += Math.ceil(elementsOf(parameter.shape) / 4) * 4;
      return { ...parameter, first };
    });
    this.layers.push({ layer, inputs, output, parameters });
    return output;
  }

  /**
   * Adds fully connected layers with ReLU and dropout between them, and `last` behind the last. Their tensors are `TENSORS.0`,
   * `TENSORS.2`, ...: in nn.Sequential an activation follows each. With `steps` each of the steps that `input` holds
   * passes through the same layers.
   */
  mlp(
    { input, widths, last, part, tensors, steps = 1 }: {
      readonly input: Value;
      readonly widths: readonly number[];
      readonly last: Activation;
      readonly part: Part;
      readonly tensors: string;
      readonly steps?: number;
    },
  ): Value {
    return widths.reduce((x, outputs, i) => {
      const isLast = i === widths.length - 1;
      const activation = isLast ? last : "relu";
      const place = { part, title: `layer ${i + 1} of the ${part.title}`, tensors: `${tensors}.${2 * i}` };
      const y = this.add(atEachStep(linear({ inputs: x.width / steps, outputs, activation }, place), steps), x);
      if (isLast || this.#dropout === undefined) return y;
      return this.add(dropout(y.width, this.#dropout, this.#dropouts++, part), y);
    }, input);
  }
}
