/**
 * Every operation of a training step on one core, through the CPU backend, at the shapes of the kaggle model
 * (13-512-256-64-16, 367-512-256-1, 26 tables, dim 16) and one rank's half of a batch of 2,048. After Deno's table of
 * times it prints the rate of each operation's fastest run next to the limit of the machine, which is measured in the
 * same run: the largest rate of OpenBLAS, and of copying memory. Data that fits the caches can exceed the rate of
 * memory.
 *
 *     deno bench -A bench/cpu_bench.ts
 *
 * Deno compiles a bounds check into every access to WASM memory. To measure their cost, and the gain of 256-bit
 * vectors:
 *
 *     deno bench -A --v8-flags=--no-wasm-bounds-checks,--experimental-wasm-revectorize bench/cpu_bench.ts
 */
import Table from "cli-table3";
import { type Buffer, Header, HEADER_WORDS, type HostBackend } from "../src/backend/backend.ts";
import type { OptimizerName } from "../src/optimizer/optimizers.ts";
import { poolFar, updateRowsFar } from "../src/backend/cpu/far_rows.ts";
import { cpuOptions, openHost } from "../src/backend/open.ts";
import { SEGMENTS_END } from "../src/layout/batch.ts";
import { Random } from "../src/random.ts";

const SAMPLES = 1024;
const LAYERS = [[13, 512], [512, 256], [256, 64], [64, 16], [367, 512], [256, 1]];
const TABLES = 26;
const LOOKUPS = TABLES * SAMPLES;
const HOT_ROWS = 20_000;
const ALL_ROWS = 30e6; // 1.9 GB at dim 16
/** Number of different sets of rows, so that a run does not find the rows of the previous one in the cache. */
const ROUNDS = 16;
const PEAK_SIZE = 1024;
const COPY_WORDS = 32 << 20;

/** Work of an operation in one run, and the limit that applies to it. */
interface Work {
  readonly kind: "flops" | "bytes";
  readonly amount: number;
}
/** An operation and its fastest time so far, in milliseconds. */
interface Measured extends Work {
  readonly name: string;
  fastest: number;
}

const measured: Measured[] = [];
const limits: Record<Work["kind"], Measured | undefined> = { flops: undefined, bytes: undefined };

function bench(group: string, name: string, work: Work, run: () => void): Measured {
  const result: Measured = { ...work, name: `${group}: ${name}`, fastest: Infinity };
  measured.push(result);
  Deno.bench(result.name, { group }, () => {
    const begin = performance.now();
    run();
    result.fastest = Math.min(result.fastest, performance.now() - begin);
  });
  return result;
}

const flops = (amount: number): Work => ({ kind: "flops", amount });
const bytes = (amount: number): Work => ({ kind: "bytes", amount });

const random = new Random(1);
const wasm = await openHost(await cpuOptions("wasm"));
const openBlas = await openHost(await cpuOptions("openblas")).catch((error) => {
  console.error(`Skipped: everything with OpenBLAS, and with it the limit of matrix products: ${error.message}`);
});

const oneDnn = await openHost(await cpuOptions("onednn")).catch((error) => {
  console.error(`Skipped: the interaction with oneDNN: ${error.message}`);
});
const onnxRuntime = await openHost(await cpuOptions("ort")).catch((error) => {
  console.error(`Skipped: everything with ONNX Runtime: ${error.message}`);
});

function allocate(host: HostBackend, words: number): Buffer {
  const buffer = host.allocate(words, "a bench");
  const floats = host.floats(buffer);
  for (let i = 0; i < words; i++) floats[i] = random.uniform() - 0.5;
  return buffer;
}

function words(buffer: Buffer): Uint32Array {
  const { buffer: memory, byteOffset, length } = wasm.floats(buffer);
  return new Uint32Array(memory, byteOffset, length);
}

if (openBlas !== undefined) {
  const shape = { inputs: PEAK_SIZE, outputs: PEAK_SIZE, activation: "identity" } as const;
  const [x, weight, bias, y] = [PEAK_SIZE ** 2, PEAK_SIZE ** 2, PEAK_SIZE, PEAK_SIZE ** 2]
    .map((count) => allocate(openBlas, count));
  const run = () => openBlas.linear(shape, PEAK_SIZE, x, weight, bias, y);
  limits.flops = bench("limit", `OpenBLAS, ${PEAK_SIZE} cubed`, flops(2 * PEAK_SIZE ** 3), run);
}
{
  const source = new Float32Array(COPY_WORDS).fill(1);
  const target = new Float32Array(COPY_WORDS);
  limits.bytes = bench("limit", "copying 128 MB", bytes(8 * COPY_WORDS), () => target.set(source));
}

for (const [gemm, host] of [["OpenBLAS", openBlas], ["ONNX Runtime", onnxRuntime], ["WASM", wasm]] as const) {
  if (host === undefined) continue;
  for (const [inputs, outputs] of LAYERS) {
    const shape = { inputs, outputs, activation: "relu" } as const;
    const [x, dX, y, dY] = [inputs, inputs, outputs, outputs].map((width) => allocate(host, SAMPLES * width));
    const [weight, dWeight, bias, dBias] = [inputs * outputs, inputs * outputs, outputs, outputs]
      .map((count) => allocate(host, count));
    const group = `linear ${inputs}-${outputs}`;
    const work = 2 * SAMPLES * inputs * outputs;
    bench(group, `forward, ${gemm}`, flops(work), () => host.linear(shape, SAMPLES, x, weight, bias, y));
    const backward = () => host.linearBackward(shape, SAMPLES, { x, weight, y, dY, dX, dWeight, dBias });
    bench(group, `backward, ${gemm}`, flops(2 * work), backward);
  }
}

for (const [name, host] of [["oneDNN", oneDnn], ["WASM", wasm]] as const) {
  if (host === undefined) continue;
  for (const dim of [16, 64]) {
    const shape = { kind: "dot", bottom: true, tables: TABLES, dim } as const;
    const pairs = TABLES * (TABLES + 1) / 2;
    const [bottom, dBottom] = [dim, dim].map((width) => allocate(host, SAMPLES * width));
    const [pooled, dPooled] = [dim, dim].map((width) => allocate(host, SAMPLES * TABLES * width));
    const [output, dOutput] = [0, 1].map(() => allocate(host, SAMPLES * (dim + pairs)));
    const group = `interaction, dim ${dim}`;
    const work = 2 * SAMPLES * pairs * dim;
    bench(group, `forward, ${name}`, flops(work), () => host.interact(shape, SAMPLES, bottom, pooled, output));
    const backward = () => host.interactBackward(shape, SAMPLES, { bottom, pooled, dOutput, dBottom, dPooled });
    bench(group, `backward, ${name}`, flops(2 * work), backward);
  }
}

const header = allocate(wasm, HEADER_WORDS);
words(header)[Header.samples] = SAMPLES;
words(header)[Header.lookups] = LOOKUPS;
words(header)[Header.distinct] = LOOKUPS;
wasm.floats(header)[Header.learningRate] = 1e-3;

const [logits, labels, dLogits, lossSum] = [SAMPLES, SAMPLES, SAMPLES, 1].map((count) => allocate(wasm, count));
bench(
  "elementwise",
  "loss",
  bytes(12 * SAMPLES),
  () => wasm.loss(SAMPLES, header, logits, labels, dLogits, lossSum),
);
const denseWords = LAYERS.reduce((sum, [inputs, outputs]) => sum + (inputs + 1) * outputs, 0);
const [parameters, gradients, denseState] = [0, 1, 2].map(() => allocate(wasm, denseWords));
wasm.floats(denseState).fill(1);
for (const [optimizer, touched] of [["sgd", 12], ["adagrad", 20]] as const) {
  bench(
    "elementwise",
    `dense update, ${optimizer}`,
    bytes(touched * denseWords),
    () => wasm.updateDense(optimizer, denseWords, header, parameters, gradients, denseState),
  );
}
bench(
  "elementwise",
  "adding gradients of ranks",
  bytes(12 * denseWords),
  () => wasm.add(denseWords, gradients, parameters),
);

const DIM = 16;
const table = wasm.allocateTable(ALL_ROWS * DIM, "the table of a bench");
const state = wasm.allocateTable(ALL_ROWS * DIM, "the optimizer state of a bench");
for (const buffer of [table, state]) wasm.floats(buffer).fill(1); // makes every page resident
const packed = allocate(wasm, LOOKUPS * DIM);
const bags = allocate(wasm, LOOKUPS);
for (let i = 0; i < LOOKUPS; i++) words(bags)[i] = random.below(LOOKUPS);
const rowLists = Array.from({ length: ROUNDS }, () => wasm.allocate(LOOKUPS, "rows of a bench"));
const segmentLists = Array.from({ length: ROUNDS }, () => wasm.allocate(2 * LOOKUPS + 2, "segments of a bench"));
const gradient = new Float32Array(DIM);
const rowBytes = 4 * DIM * LOOKUPS;

for (const [what, rows] of [[`hot rows (${HOT_ROWS})`, HOT_ROWS], ["a table of 30 M rows", ALL_ROWS]] as const) {
  let round = 0;
  let made = false;
  const next = () => {
    if (!made) makeLists(rows);
    made = true;
    return ++round % ROUNDS;
  };
  bench(
    what,
    "gather",
    bytes(2 * rowBytes),
    () => wasm.pool(LOOKUPS, DIM, table, rowLists[next()], undefined, packed),
  );
  bench(
    what,
    "gather, plain loops",
    bytes(2 * rowBytes),
    () => poolFar(LOOKUPS, DIM, wasm.floats(table), words(rowLists[next()]), undefined, wasm.floats(packed)),
  );
  bench(what, "unpack", bytes(2 * rowBytes), () => wasm.unpackRows(LOOKUPS, DIM, packed, rowLists[next()], table));
  for (const [optimizer, touched] of [["sgd", 3], ["adagrad", 5]] satisfies [OptimizerName, number][]) {
    const shape = { optimizer, dim: DIM, rank: 0, ranks: 1 };
    bench(
      what,
      `update, ${optimizer}`,
      bytes(touched * rowBytes),
      () => wasm.updateRows(shape, header, segmentLists[next()], bags, packed, table, state),
    );
  }
  bench(what, "update, sgd, plain loops", bytes(3 * rowBytes), () =>
    updateRowsFar(
      { optimizer: "sgd", dim: DIM, rank: 0, ranks: 1 },
      words(header),
      wasm.floats(header),
      words(segmentLists[next()]),
      words(bags),
      undefined,
      wasm.floats(packed),
      wasm.floats(table),
      new Float32Array(0),
      gradient,
    ));
}

/** Random rows for every round, as indices and as ascending segments of one lookup each. */
function makeLists(rows: number): void {
  for (let round = 0; round < ROUNDS; round++) {
    const list = words(rowLists[round]);
    for (let i = 0; i < LOOKUPS; i++) list[i] = random.below(rows);
    const segments = words(segmentLists[round]);
    list.slice().sort().forEach((row, i) => segments.set([row, i], 2 * i));
    segments.set([SEGMENTS_END, LOOKUPS], 2 * LOOKUPS);
  }
}

globalThis.addEventListener("unload", () => {
  const rateOf = ({ amount, fastest }: Measured) => amount / fastest / 1e6;
  const output = new Table({
    head: ["fastest run, one core", "us", "rate", "share of the limit"],
    colAligns: ["left", "right", "right", "right"],
    style: { head: [], border: [], compact: true },
  });
  for (const one of measured.filter(({ fastest }) => fastest < Infinity)) {
    const limit = limits[one.kind];
    const share = limit === undefined || limit.fastest === Infinity ? "" : rateOf(one) / rateOf(limit);
    output.push([
      one.name,
      (1000 * one.fastest).toFixed(1),
      `${rateOf(one).toFixed(1)} ${one.kind === "flops" ? "GFLOP/s" : "GB/s"}`,
      share === "" ? "" : `${(100 * share).toFixed(0)} %`,
    ]);
  }
  console.log(`\n${output}`);
});
