/** A trained model as an ONNX graph with its weights in a second file. */
import type { OnnxNodes } from "../model/layers/layer.ts";
import type { Value } from "../model/composition.ts";
import { modelOf, type ModelPlan } from "../model/shape.ts";
import type { ModelTensor } from "./tensors.ts";
import { AttributeType, ElementType, encodeModel, EXTERNAL } from "./onnx_schema.ts";

/** The first opset with all required operators, and its file format: ONNX Runtime 1.12, 2022. */
const OPSET = 17;
const IR_VERSION = 8;

/** A parameter with its position in the file of weights. */
export interface PlacedTensor extends ModelTensor {
  /** Position of its first byte. */
  readonly at: number;
}

export interface OnnxOptions {
  readonly plan: ModelPlan;
  readonly tensors: readonly PlacedTensor[];
  /** Name of the file of weights, in the directory of the model. */
  readonly dataFile: string;
  /** The embedding tables: their names, and true for those whose lookups have weights. */
  readonly tables: readonly { readonly name: string; readonly weighted: boolean }[];
  /** True if a sample can have any number of lookups in a table, not just one. */
  readonly bags: boolean;
}

/**
 * Bytes of the model. Inputs are `dense` (N, dense features), if there are any, and for each table `indices_NAME`, int64:
 * (N), or with bags all lookups of the table, (lookups), and then `offsets_NAME` (N), the first lookup of each sample,
 * and where lookups have weights `weights_NAME` (lookups), float: as EmbeddingBag of PyTorch takes them. With steps they
 * are `dense` (N, steps * dense features) and `indices_NAME` (N, steps). The output is `probability` (N).
 */
export function onnxModel({ plan, tensors, dataFile, tables, bags }: OnnxOptions): Uint8Array {
  const { shape: { dim, steps = 1 }, inputs: { dense, bagSizes } } = plan;
  const graph = new Graph();
  for (const tensor of tensors) graph.external(tensor, dataFile);
  const sizes: string[] = [];
  const pooled = tables.map(({ name: table, weighted }, t) => {
    const weight = `emb_l.${t}.weight`;
    if (steps > 1) {
      return graph.node("Gather", [weight, graph.input(`indices_${table}`, ElementType.int64, ["N", steps])]);
    }
    const indices = graph.input(`indices_${table}`, ElementType.int64, [bags ? `lookups_${table}` : "N"]);
    const rows = graph.node("Gather", [weight, indices]);
    if (!bags) return rows;
    const offsets = graph.input(`offsets_${table}`, ElementType.int64, ["N"]);
    if (bagSizes !== undefined) sizes.push(sizesOfBags(graph, indices, offsets));
    if (!weighted) return sumBags(graph, rows, indices, offsets, dim);
    const weights = graph.input(`weights_${table}`, ElementType.float, [`lookups_${table}`]);
    const factors = graph.node("Unsqueeze", [weights, graph.constant([1])]);
    return sumBags(graph, graph.node("Mul", [rows, factors]), indices, offsets, dim);
  });
  const names = new Map<Value, string>();
  if (plan.inputs.pooled !== undefined) {
    const rows = graph.node("Concat", pooled, { axis: steps > 1 ? 2 : 1 });
    const { width } = plan.inputs.pooled;
    names.set(plan.inputs.pooled, steps > 1 ? graph.node("Reshape", [rows, graph.constant([0, width])]) : rows);
  }
  if (bagSizes !== undefined) names.set(bagSizes, graph.node("Concat", sizes, { axis: 1 }));
  if (dense !== undefined) names.set(dense, graph.input("dense", ElementType.float, ["N", dense.width]));
  for (const { layer, inputs, output } of plan.layers) {
    names.set(output, layer.onnx(graph, inputs.map((input) => names.get(input)!)));
  }
  const logit = names.get(plan.logit)!;
  const probability = graph.node("Sigmoid", [graph.node("Squeeze", [logit, graph.constant([1])])]);
  graph.output(probability, "probability", ElementType.float, ["N"]);
  return encodeModel({
    irVersion: IR_VERSION,
    producerName: "hotset",
    opsetImport: [{ domain: "", version: OPSET }],
    graph: graph.message(modelOf(plan.shape)),
  });
}

/**
 * Sums the rows (lookups, dim) of each sample. The sample of a lookup is the number of offsets up to it, minus 1: ones
 * are added where samples begin, and a running sum counts them. Samples without lookups begin where the next one does.
 */
function sumBags(graph: Graph, rows: string, indices: string, offsets: string, dim: number): string {
  const one = graph.constant([1]);
  const samples = graph.node("Shape", [offsets]);
  const lookups = graph.node("Shape", [indices]);
  const none = graph.node("Expand", [graph.constant([0]), graph.node("Add", [lookups, one])]);
  const ones = graph.node("Expand", [one, samples]);
  const begins = graph.node("ScatterElements", [none, offsets, ones], { axis: 0, reduction: "add" });
  const counted = graph.node("CumSum", [begins, graph.scalar(0)]);
  const counts = graph.node("Slice", [counted, graph.constant([0]), lookups]);
  const sample = graph.node("Unsqueeze", [graph.node("Sub", [counts, one]), one]);
  const shape = graph.node("Concat", [samples, graph.constant([dim])], { axis: 0 });
  const zeros = graph.node("Cast", [graph.node("Expand", [graph.constant([0]), shape])], { to: ElementType.float });
  return graph.node("ScatterND", [zeros, sample, rows], { reduction: "add" });
}

/** The number of lookups of each sample, (N, 1), but 1 for a sample without any. */
function sizesOfBags(graph: Graph, indices: string, offsets: string): string {
  const one = graph.constant([1]);
  const after = graph.node("Slice", [offsets, one, graph.node("Shape", [offsets])]);
  const ends = graph.node("Concat", [after, graph.node("Shape", [indices])], { axis: 0 });
  const sizes = graph.node("Max", [graph.node("Sub", [ends, offsets]), one]);
  return graph.node("Unsqueeze", [graph.node("Cast", [sizes], { to: ElementType.float }), one]);
}

/** Fields of a graph's message. */
type GraphPart = "node" | "initializer" | "input" | "output";

/** Collects the parts of a graph; values are named by numbers. */
class Graph implements OnnxNodes {
  readonly #parts = { node: [], initializer: [], input: [], output: [] } as Record<GraphPart, unknown[]>;
  readonly #constants = new Map<string, string>();
  #values = 0;

  /** Adds an operation with one output and returns the output's name. */
  node(opType: string, input: readonly string[], attributes: Record<string, number | number[] | string> = {}): string {
    const output = `v${this.#values++}`;
    const attribute = Object.entries(attributes).map(([name, value]) => {
      if (typeof value === "number") return { name, type: AttributeType.int, i: value };
      if (typeof value === "string") return { name, type: AttributeType.string, s: new TextEncoder().encode(value) };
      return { name, type: AttributeType.ints, ints: value };
    });
    this.#parts.node.push({ input, output: [output], opType, attribute });
    return output;
  }

  /** A vector of whole numbers, stored once. */
  constant(values: readonly number[]): string {
    return this.#integers(values, [values.length]);
  }

  /** A whole number without dimensions. */
  scalar(value: number): string {
    return this.#integers([value], []);
  }

  #integers(values: readonly number[], dims: readonly number[]): string {
    const key = `c${dims.length}_${values.join("_")}`;
    let name = this.#constants.get(key);
    if (name === undefined) {
      this.#constants.set(key, name = `c${this.#constants.size}`);
      const rawData = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
      this.#parts.initializer.push({ name, dims, dataType: ElementType.int64, rawData });
    }
    return name;
  }

  /** A parameter in the file of weights. */
  external({ name, shape, at }: PlacedTensor, location: string): void {
    const bytes = shape.reduce((product, n) => product * n, 4);
    const entries = { location, offset: String(at), length: String(bytes) };
    this.#parts.initializer.push({
      name,
      dims: shape,
      dataType: ElementType.float,
      dataLocation: EXTERNAL,
      externalData: Object.entries(entries).map(([key, value]) => ({ key, value })),
    });
  }

  /** Declares an input and returns its name. */
  input(name: string, elemType: number, shape: readonly (number | string)[]): string {
    this.#parts.input.push(valueInfo(name, elemType, shape));
    return name;
  }

  /** Gives a value the name of an output. */
  output(value: string, name: string, elemType: number, shape: readonly (number | string)[]): void {
    this.#parts.node.push({ input: [value], output: [name], opType: "Identity", attribute: [] });
    this.#parts.output.push(valueInfo(name, elemType, shape));
  }

  message(name: string) {
    return { name, ...this.#parts };
  }
}

function valueInfo(name: string, elemType: number, shape: readonly (number | string)[]) {
  const dim = shape.map((n) => typeof n === "number" ? { dimValue: n } : { dimParam: n });
  return { name, type: { tensorType: { elemType, shape: { dim } } } };
}
