/**
 * Times of the CUDA path on a GPU, at the shapes of the kaggle model: every kernel and every matrix product of a step,
 * each recorded several times in one graph, so that launches cost almost nothing. Next to each time is the share of the
 * machine's limit that it reaches: the minimum time for its bytes and its FLOPs, at the rate of a large copy and of a
 * large matrix product, which are measured in the same run. Data that fits the caches can exceed the rate of memory.
 *
 *     deno run -A bench/cuda_bench.ts [--batch-sizes 2048,65536] [--device emulated] [--json | --markdown]
 *
 * `--markdown` prints the tables of docs/cuda.md, with the occupancy of each kernel; `--tiny` times a tiny model, as
 * `--device emulated` does.
 * Without a GPU it prints the reason and times nothing.
 */
import { parseArgs } from "node:util";
import { type Buffer, Header, interactionWidth } from "../src/backend/backend.ts";
import { OPTIMIZER_NAMES, OPTIMIZERS, rowStateWords, writeStep } from "../src/optimizer/optimizers.ts";
import type { CudaBackend } from "../src/backend/cuda/backend.ts";
import type { Precision } from "../src/backend/cuda/gemm.ts";
import { openFused } from "../src/backend/cuda/fused_linear.ts";
import { Gemm } from "../src/backend/cuda/gemm.ts";
import { ActivationKernels } from "../src/backend/cuda/kernels/activation.ts";
import type { CudaDeviceKind } from "../src/backend/cuda/libraries.ts";
import { openCuda } from "../src/backend/cuda/open.ts";
import { Cuda } from "../ffi/cudart.ts";
import { messageOf } from "../src/errors.ts";
import { Batch, SEGMENTS_END } from "../src/layout/batch.ts";
import { Random } from "../src/random.ts";
import { DeviceClock } from "./device_clock.ts";
import { kernelTables, occupanciesOf } from "./kernel_table.ts";

/** Sizes to time. */
export interface BenchSizes {
  readonly batchSize: number;
  readonly tables: number;
  readonly rows: number;
  readonly dim: number;
  /** Inputs and outputs of all layers. */
  readonly layers: readonly (readonly [number, number])[];
  /** Repetitions of an operation in its graph. */
  readonly repeats: number;
  /** Duration of a measurement. */
  readonly milliseconds: number;
  /** Words of the copy and sides of the matrix product that define the limits. */
  readonly copyWords: number;
  readonly productSide: number;
}

/** The kaggle model. */
export const KAGGLE: Omit<BenchSizes, "batchSize"> = {
  tables: 26,
  rows: 3_000_000,
  dim: 16,
  layers: [[13, 512], [512, 256], [256, 64], [64, 16], [367, 512], [512, 256], [256, 1]],
  repeats: 20,
  milliseconds: 10,
  copyWords: 256 << 20,
  productSide: 8192,
};

/** The same, small enough for the emulated device. */
export const TINY: Omit<BenchSizes, "batchSize"> = {
  ...{ tables: 3, rows: 100, dim: 8, layers: [[5, 16], [16, 8], [8, 1]], repeats: 2, milliseconds: 0 },
  ...{ copyWords: 1024, productSide: 8 },
};

/** Measured limits of the machine. */
export interface Limits {
  /** Rate of a large copy on the device, bytes read and written. */
  readonly bytesPerSecond: number;
  /** Rate of a large matrix product, by precision. */
  readonly flopPerSecond: Readonly<Record<Precision, number>>;
}

/** Time of an operation, and the bytes and operations that it needs. */
export interface Timing {
  readonly name: string;
  /** The entry of kernels/resources.md that takes most of the time; undefined for a matrix product. */
  readonly entry: string | undefined;
  readonly batchSize: number;
  readonly microseconds: number;
  /** Minimum bytes read and written. */
  readonly bytes: number;
  /** Multiply-adds times two; 0 if it is not a matrix product. */
  readonly flops: number;
  /** Time at the limit divided by measured time. */
  readonly shareOfLimit: number;
}

const PRECISIONS: readonly Precision[] = ["fp32", "tf32", "bf16"];

/** Number of random words that operands repeat; generating more would take longer than everything else. */
const PATTERN_WORDS = 1_000_003;

/** Measures the limits. */
export function measureLimits(backend: CudaBackend, { copyWords, productSide: n, milliseconds }: BenchSizes): Limits {
  const clock = new DeviceClock(backend);
  const { device } = backend;
  const make = operands(backend);
  const [from, to] = [make(copyWords), make(copyWords)];
  const copy = () => {
    const { runtime } = device.libraries;
    runtime.cudaMemcpyAsync(to.address, from.address, BigInt(4 * copyWords), Cuda.memcpyDeviceToDevice, device.stream);
  };
  const bytesPerSecond = 8 * copyWords / clock.perCall(10 * milliseconds, copy) * 1e6;
  for (const buffer of [from, to]) buffer[Symbol.dispose]();
  const [a, b, c] = [0, 1, 2].map(() => make(n * n));
  const rate = (precision: Precision) => {
    const gemm = new Gemm(device, precision);
    return 2 * n ** 3 / clock.perCall(10 * milliseconds, () => gemm.times(n, n, n, a, b, c)) * 1e6;
  };
  const flopPerSecond = { fp32: rate("fp32"), tf32: rate("tf32"), bf16: rate("bf16") };
  for (const buffer of [a, b, c]) buffer[Symbol.dispose]();
  return { bytesPerSecond, flopPerSecond };
}

/** Times every kernel and every product of a step. */
export function* measureTimes(backend: CudaBackend, sizes: BenchSizes, limits: Limits): Generator<Timing> {
  const { batchSize, tables, rows, dim, layers, repeats, milliseconds } = sizes;
  const bags = batchSize * tables;
  const clock = new DeviceClock(backend);
  const make = operands(backend);
  const time = (name: string, bytes: number, operation: () => void, entry: string) =>
    timeOf(name, bytes, operation, 0, "fp32", entry);
  const timeOf = (
    name: string,
    bytes: number,
    operation: () => void,
    flops: number,
    precision: Precision,
    entry?: string,
  ): Timing => {
    const graph = backend.repeatable(() => {
      for (let i = 0; i < repeats; i++) operation();
    });
    const microseconds = clock.perCall(milliseconds, graph) / repeats;
    const least = Math.max(bytes / limits.bytesPerSecond, flops / limits.flopPerSecond[precision]);
    return { name, entry, batchSize, microseconds, bytes, flops, shareOfLimit: least * 1e6 / microseconds };
  };

  const { batch, block } = drawBatch(backend, sizes, new Random(1));
  const { sections, distinct } = batch;
  const header = backend.view(block, 0, sections.labels), indices = backend.view(block, sections.indices, bags);
  const segmentBags = backend.view(block, sections.segmentBags, bags);
  const segments = backend.view(block, sections.segments, 2 * (bags + 1));
  const table = make(rows * dim), pooled = make(bags * dim), dPooled = make(bags * dim);
  const rowBytes = 4 * dim;
  yield time(
    "gather",
    bags * (2 * rowBytes + 4),
    () => backend.pool(bags, dim, table, indices, undefined, pooled),
    "gather_4",
  );
  const distinctRows = backend.allocate(distinct, "distinct rows");
  backend.upload(Uint32Array.from({ length: distinct }, (_, s) => batch.row(s)), distinctRows);
  const scatter = () => backend.unpackRows(distinct, dim, pooled, distinctRows, table);
  yield time("scatter", distinct * (2 * rowBytes + 4), scatter, "scatter_4");
  for (const optimizer of OPTIMIZER_NAMES) {
    const stateWords = rowStateWords(optimizer, dim);
    const state = stateWords === 0 ? undefined : backend.allocate(rows * stateWords, "optimizer state");
    const bytes = bags * (rowBytes + 4) + distinct * (8 + 2 * rowBytes + 8 * stateWords);
    const shape = { optimizer, dim, rank: 0, ranks: 1 };
    const update = () => backend.updateRows(shape, header, segments, segmentBags, dPooled, table, state);
    yield time(`update_rows ${optimizer}`, bytes, update, `update_rows_${OPTIMIZERS[optimizer].kernel}_4`);
  }
  const shape = { kind: "dot", bottom: true, tables, dim } as const, width = interactionWidth(shape);
  const bottom = make(batchSize * dim), output = make(batchSize * width), dBottom = make(batchSize * dim);
  const vectorBytes = 4 * batchSize * (tables + 1) * dim, outputBytes = 4 * batchSize * width;
  const interact = () => backend.interact(shape, batchSize, bottom, pooled, output);
  const interacted = { bottom, pooled, dOutput: output, dBottom, dPooled };
  const interactBackward = () => backend.interactBackward(shape, batchSize, interacted);
  yield time("interact", vectorBytes + outputBytes, interact, "interact_4");
  yield time("interact_backward", 2 * vectorBytes + outputBytes, interactBackward, "interact_backward_4");

  const activations = new ActivationKernels(backend.device);
  const widest = Math.max(...layers.flat());
  const [x, dX, y, dY] = [0, 1, 2, 3].map(() => make(batchSize * widest));
  const [bias, dBias] = [make(widest), make(widest)];
  for (const outputs of new Set(layers.map(([, outputs]) => outputs))) {
    const bytes = 4 * batchSize * outputs;
    yield time(
      `activation_forward ${outputs}`,
      2 * bytes,
      () => activations.forward("relu", batchSize, outputs, y, bias),
      `activation_forward_${outputs % 4 === 0 ? 4 : 1}`,
    );
    yield time(
      `activation_backward ${outputs}`,
      3 * bytes,
      () => activations.backward("relu", batchSize, outputs, y, dY, dBias),
      "activation_backward",
    );
  }
  const labels = backend.view(block, sections.labels, batchSize), lossSum = make(1);
  const [logits, dLogits] = [make(batchSize), make(batchSize)];
  yield time("loss", 12 * batchSize, () => backend.loss(batchSize, header, logits, labels, dLogits, lossSum), "loss");
  const denseWords = layers.reduce((sum, [inputs, outputs]) => sum + (inputs + 1) * outputs, 0);
  const [parameters, gradients] = [make(denseWords), make(denseWords)];
  const denseState = backend.allocate(denseWords, "dense optimizer state");
  for (const [optimizer, words] of [["sgd", 3], ["adagrad", 5]] as const) {
    yield time(
      `update_dense ${optimizer}`,
      4 * words * denseWords,
      () => backend.updateDense(optimizer, denseWords, header, parameters, gradients, denseState),
      "update_dense",
    );
  }

  const [weight, dWeight] = [0, 1].map(() =>
    make(Math.max(...layers.map(([inputs, outputs]) => (inputs + 3) * outputs)))
  );
  for (const precision of PRECISIONS) {
    const gemm = new Gemm(backend.device, precision);
    const fused = openFused(backend.device, "auto", precision, gemm);
    // Layers as they are, and with the inputs to which the interaction pads them.
    const widths = layers.flatMap(([inputs, outputs]) => [[inputs, outputs], [gemm.strideOf(inputs), outputs]]);
    const shapes = new Map(widths.map((layer) => [layer.join("-"), layer]));
    for (const [inputs, outputs] of shapes.values()) {
      const flops = 2 * batchSize * inputs * outputs;
      const bytes = 4 * (batchSize * (inputs + outputs) + inputs * outputs);
      const product = (what: string, call: () => void) =>
        timeOf(`${what} ${inputs}-${outputs} ${precision}`, bytes, call, flops, precision);
      yield product("y = x W'", () => gemm.timesTransposed(batchSize, outputs, inputs, x, weight, y));
      const forward = () => fused?.forward("relu", batchSize, inputs, outputs, x, weight, bias, y) ?? false;
      if (forward()) yield product("y = relu(x W' + b)", forward);
      yield product("dW = dY' x", () => gemm.transposedTimes(outputs, inputs, batchSize, dY, x, dWeight));
      yield product("dX = dY W", () => gemm.times(batchSize, inputs, outputs, dY, weight, dX));
    }
  }
}

/** Creates operands of random words; the caller need not free them. */
function operands(backend: CudaBackend) {
  const random = new Random(2);
  let pattern: Float32Array | undefined;
  return (words: number) => {
    const buffer = backend.device.allocate(words, "operand");
    pattern ??= Float32Array.from({ length: PATTERN_WORDS }, () => 0.1 * random.normal());
    for (let at = 0; at < words; at += PATTERN_WORDS) {
      const count = Math.min(PATTERN_WORDS, words - at);
      backend.upload(pattern.subarray(0, count), buffer.view(at, count));
    }
    return buffer;
  };
}

/** A batch whose lookups are skewed over all rows, on the device. */
function drawBatch(backend: CudaBackend, { batchSize, tables, rows }: BenchSizes, random: Random) {
  const lookups = batchSize * tables;
  const batch = new Batch({ batchSize, denseFeatures: 13, tables, bags: false, lookupCapacity: lookups });
  const { words, sections } = batch;
  for (let bag = 0; bag < lookups; bag++) words[sections.indices + bag] = Math.floor(rows * random.uniform() ** 4);
  const order = Uint32Array.from({ length: lookups }, (_, bag) => bag)
    .sort((a, b) => words[sections.indices + a] - words[sections.indices + b] || a - b);
  let distinct = 0;
  order.forEach((bag, position) => {
    const row = words[sections.indices + bag];
    words[sections.segmentBags + position] = bag;
    if (position === 0 || row !== words[sections.segments + 2 * (distinct - 1)]) {
      words.set([row, position], sections.segments + 2 * distinct++);
    }
  });
  words.set([SEGMENTS_END, lookups], sections.segments + 2 * distinct);
  [words[Header.samples], words[Header.lookups], words[Header.distinct]] = [batchSize, lookups, distinct];
  writeStep("sgd", batch.floats, 1e-6);
  const block: Buffer = backend.allocate(sections.capacity, "batch");
  backend.upload(words, block);
  return { batch, block };
}

/** Text of a result. */
export function timingText({ name, microseconds, bytes, flops, shareOfLimit }: Timing): string {
  const rate = flops > 0
    ? `${(flops / microseconds / 1e6).toFixed(2)} TFLOP/s`
    : `${(bytes / microseconds / 1e3).toFixed(1)} GB/s`;
  const share = `${(100 * shareOfLimit).toFixed(0)} % of the limit`;
  return `${name.padEnd(28)} ${microseconds.toFixed(1).padStart(10)} us  ${rate.padStart(16)}  ${share}`;
}

function main(): void {
  const { values } = parseArgs({
    options: {
      device: { type: "string", default: "cuda" },
      "batch-sizes": { type: "string", default: "2048" },
      tiny: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      markdown: { type: "boolean", default: false },
    },
  });
  const device = values.device as CudaDeviceKind;
  let opened: CudaBackend;
  try {
    opened = openCuda({ device });
  } catch (error) {
    console.log(`No CUDA timings here. ${messageOf(error)}`);
    return;
  }
  using backend = opened;
  const say = (event: object, text: string) => {
    if (!values.markdown) console.log(values.json ? JSON.stringify(event) : text);
  };
  const shapes = values.tiny || device === "emulated" ? TINY : KAGGLE;
  const limits = measureLimits(backend, { ...shapes, batchSize: 0 });
  const { bytesPerSecond, flopPerSecond } = limits;
  const products = PRECISIONS.map((p) => `${p} ${(flopPerSecond[p] / 1e12).toFixed(1)}`).join(", ");
  say(
    { event: "limits", device: backend.name, ...limits },
    `${backend.name}: copies ${(bytesPerSecond / 1e9).toFixed(0)} GB/s; matrix products in TFLOP/s: ${products}`,
  );
  const timings: Timing[] = [];
  for (const batchSize of values["batch-sizes"].split(",").map(Number)) {
    say({ event: "batch", batchSize }, `batch ${batchSize}`);
    for (const timing of measureTimes(backend, { ...shapes, batchSize }, limits)) {
      say({ event: "kernel", ...timing }, timingText(timing));
      timings.push(timing);
    }
  }
  if (!values.markdown) return;
  const resources = Deno.readTextFileSync(new URL("../src/backend/cuda/kernels/resources.md", import.meta.url));
  const [major, minor] = [Cuda.deviceAttributeComputeCapabilityMajor, Cuda.deviceAttributeComputeCapabilityMinor]
    .map((attribute) => backend.device.attribute(attribute));
  console.log(kernelTables(backend.device.name, limits, timings, occupanciesOf(resources, 10 * major + minor)));
}

// Device times need events, so `deno bench` runs this file but its own clock is not used. Not when a test imports it.
if (Deno.mainModule === import.meta.url) main();
