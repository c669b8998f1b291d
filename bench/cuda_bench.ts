/**
 * Times of the CUDA path on a GPU: each operation after a warm-up, between two events, with the bandwidth or the rate it
 * reaches and the share of the GPU's peak. Where there is no GPU it says why and times nothing.
 *
 *     deno bench -A bench/cuda_bench.ts
 */
import { Header, interactionWidth, type Optimizer, stateWordsPerRow } from "../src/backend/backend.ts";
import type { CudaBackend } from "../src/backend/cuda/backend.ts";
import { openCuda } from "../src/backend/cuda/open.ts";
import { messageOf } from "../src/errors.ts";
import { Batch, SEGMENTS_END } from "../src/layout/batch.ts";
import { Random } from "../src/random.ts";
import { Cuda } from "../ffi/cudart.ts";

/** Sizes to time; the defaults are the kaggle model at batch 2,048. */
export interface BenchSizes {
  readonly batchSize: number;
  readonly tables: number;
  readonly rows: number;
  readonly dim: number;
  readonly repeats: number;
}

const KAGGLE: BenchSizes = { batchSize: 2048, tables: 26, rows: 1_000_000, dim: 16, repeats: 100 };

/** One operation's time and what it moved or computed in it. */
export interface Timing {
  readonly name: string;
  readonly microseconds: number;
  /** Bytes read and written at the least; 0 for matrix products. */
  readonly bytes: number;
  /** Multiply-adds times two; 0 for the others. */
  readonly flops: number;
}

/** Times every operation of a hot step, then all of them as one recorded graph. */
export function measureTimes(backend: CudaBackend, sizes: BenchSizes): Timing[] {
  const { batchSize, tables, rows, dim, repeats } = sizes;
  const bags = batchSize * tables;
  const random = new Random(1);
  const { libraries: { runtime }, stream } = backend.device;
  const [begin, end] = [backend.device.makeEvent(true), backend.device.makeEvent(true)];
  const elapsed = new Float32Array(1);
  const timings: Timing[] = [];
  const time = (name: string, bytes: number, flops: number, operation: () => void) => {
    for (let i = 0; i < Math.ceil(repeats / 10); i++) operation();
    runtime.cudaEventRecord(begin, stream);
    for (let i = 0; i < repeats; i++) operation();
    runtime.cudaEventRecord(end, stream);
    backend.synchronize();
    runtime.cudaEventElapsedTime(elapsed, begin, end);
    timings.push({ name, microseconds: 1000 * elapsed[0] / repeats, bytes, flops });
  };
  const make = (words: number) => {
    const buffer = backend.allocate(words, "operand");
    backend.upload(Float32Array.from({ length: words }, () => 0.1 * random.normal()), buffer);
    return buffer;
  };

  const { batch, block } = drawBatch(backend, sizes, random);
  const { sections } = batch;
  const header = backend.view(block, 0, sections.labels), indices = backend.view(block, sections.indices, bags);
  const segmentBags = backend.view(block, sections.segmentBags, bags);
  const segments = backend.view(block, sections.segments, 2 * (bags + 1));
  const table = make(rows * dim), pooled = make(bags * dim), dPooled = make(bags * dim);
  const rowBytes = 4 * dim;
  const gather = () => backend.pool(bags, dim, table, indices, undefined, pooled);
  time("gather", bags * (2 * rowBytes + 4), 0, gather);
  for (const optimizer of ["sgd", "adagrad", "rwsadagrad"] as Optimizer[]) {
    const stateWords = stateWordsPerRow(optimizer, dim);
    const state = stateWords === 0 ? undefined : backend.allocate(rows * stateWords, "optimizer state");
    const bytes = bags * (rowBytes + 4) + batch.distinct * (8 + 2 * rowBytes + 8 * stateWords);
    const shape = { optimizer, dim, rank: 0, ranks: 1 };
    const update = () => backend.updateRows(shape, header, segments, segmentBags, dPooled, table, state);
    time(`update ${optimizer}`, bytes, 0, update);
  }
  const shape = { kind: "dot", tables, dim } as const, width = interactionWidth(shape);
  const bottom = make(batchSize * dim), output = make(batchSize * width), dBottom = make(batchSize * dim);
  const vectorBytes = 4 * batchSize * (tables + 1) * dim, outputBytes = 4 * batchSize * width;
  const interact = () => backend.interact(shape, batchSize, bottom, pooled, output);
  const interactBackward = () => backend.interactBackward(shape, batchSize, bottom, pooled, output, dBottom, dPooled);
  time("interaction", vectorBytes + outputBytes, 0, interact);
  time("interaction backward", 2 * vectorBytes + outputBytes, 0, interactBackward);

  const layer = { inputs: 512, outputs: 256, activation: "relu" } as const, words = 512 * 256;
  const [x, weight, bias, y] = [make(batchSize * 512), make(words), make(256), make(batchSize * 256)];
  const [dX, dWeight, dBias, dY] = [make(batchSize * 512), make(words), make(256), make(batchSize * 256)];
  const linear = () => backend.linear(layer, batchSize, x, weight, bias, y);
  const linearBackward = () => backend.linearBackward(layer, batchSize, x, weight, y, dY, dX, dWeight, dBias);
  time("linear 512-256", 0, 2 * batchSize * words, linear);
  time("linear 512-256 backward", 0, 4 * batchSize * words, linearBackward);

  const sgd = { optimizer: "sgd", dim, rank: 0, ranks: 1 } as const;
  const operations = [gather, interact, linear, linearBackward, interactBackward];
  const step = () => {
    for (const operation of operations) operation();
    backend.updateRows(sgd, header, segments, segmentBags, dPooled, table, undefined);
  };
  time("these together, one by one", 0, 0, step);
  time("these together, one graph", 0, 0, backend.repeatable(step));
  return timings;
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
  batch.learningRate = 1e-6;
  const block = backend.allocate(sections.capacity, "batch");
  backend.upload(words, block);
  return { batch, block };
}

/** GB/s that the GPU's memory can give: clock (kHz) times two edges times the bus (bits); 0 if it does not say. */
function peakGbPerSecond(backend: CudaBackend): number {
  const clock = backend.device.attribute(Cuda.deviceAttributeMemoryClockRate);
  return 2 * clock * 1e3 * backend.device.attribute(Cuda.deviceAttributeGlobalMemoryBusWidth) / 8 / 1e9;
}

/** The table that a person reads. */
export function timingText(timings: readonly Timing[], peak: number): string {
  return timings.map(({ name, microseconds, bytes, flops }) => {
    const rate = bytes > 0
      ? `${(bytes / microseconds / 1e3).toFixed(1)} GB/s`
      : flops > 0
      ? `${(flops / microseconds / 1e3).toFixed(1)} GFLOP/s`
      : "";
    const share = bytes > 0 && peak > 0 ? `${(100 * bytes / microseconds / 1e3 / peak).toFixed(0)} % of peak` : "";
    return `${name.padEnd(28)} ${microseconds.toFixed(1).padStart(10)} us  ${rate.padStart(16)}  ${share}`.trimEnd();
  }).join("\n");
}

function main(): void {
  let backend: CudaBackend;
  try {
    backend = openCuda({ device: "cuda" });
  } catch (error) {
    console.log(`No CUDA timings here. ${messageOf(error)}`);
    return;
  }
  using opened = backend;
  console.log(`${opened.name}, batch ${KAGGLE.batchSize}`);
  console.log(timingText(measureTimes(opened, KAGGLE), peakGbPerSecond(opened)));
}

// Device times need events, so `deno bench` runs this file but its own clock is not used. Not when a test imports it.
if (Deno.mainModule === import.meta.url) main();
