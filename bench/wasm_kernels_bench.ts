/**
 * The WASM kernels on one core, at the shapes of the kaggle model (13-512-256-64-16, 367-512-256-1, 26 tables, dim 16).
 * After Deno's table of times it prints the rate of each kernel, from its fastest run.
 *
 *     deno bench -A bench/wasm_kernels_bench.ts
 *
 * Deno compiles a bounds check before every access to WASM memory. What they cost, and what 256-bit vectors would give:
 *
 *     deno bench -A --v8-flags=--no-wasm-bounds-checks,--experimental-wasm-revectorize bench/wasm_kernels_bench.ts
 */
import { Header, HEADER_WORDS } from "../src/backend/backend.ts";
import {
  ACTIVATION_CODES,
  type Address,
  instantiateKernels,
  newMemory,
  NO_ADDRESS,
  OPTIMIZER_CODES,
} from "../src/backend/cpu/wasm/kernels.ts";
import { SEGMENTS_END } from "../src/layout/batch.ts";
import { Random } from "../src/random.ts";

const LAYERS = [[13, 512], [512, 256], [256, 64], [64, 16], [367, 512], [256, 1]];
const TABLES = 26;
const LARGE_TABLE_ROWS = 30e6; // 1.9 GB at dim 16
const LOOKUPS = TABLES * 2048;
/** Different sets of rows, so that one run does not find the rows of the last in the cache. */
const ROUNDS = 16;

const memory = newMemory(45000);
const kernels = instantiateKernels(memory);
const floats = new Float32Array(memory.buffer);
const words = new Uint32Array(memory.buffer);
const random = new Random(1);
let next = 65536;

/** Where an address lies in `floats` and `words`. */
const wordOf = (address: Address): number => Number(address) / 4;

function allocate(count: number): Address {
  const address = BigInt(next);
  next += 64 * Math.ceil(count / 16);
  if (next > memory.buffer.byteLength) throw new RangeError(`Cannot allocate ${count} words: raise the memory's pages`);
  return address;
}

function allocateRandom(count: number): Address {
  const address = allocate(count);
  for (let i = 0; i < count; i++) floats[wordOf(address) + i] = random.uniform() - 0.5;
  return address;
}

const rates: { name: string; fastest: number; rate: (milliseconds: number) => string }[] = [];

/** A bench whose rate is printed at the end; `run` is one call. */
function bench(group: string, name: string, rate: (milliseconds: number) => string, run: () => void): void {
  const result = { name: `${group}: ${name}`, fastest: Infinity, rate };
  rates.push(result);
  Deno.bench(`${group}: ${name}`, { group }, () => {
    const start = performance.now();
    run();
    result.fastest = Math.min(result.fastest, performance.now() - start);
  });
}

const gigaflops = (operations: number) => (milliseconds: number) =>
  `${(operations / milliseconds / 1e6).toFixed(1)} GFLOP/s`;
const gigabytes = (bytes: number) => (milliseconds: number) => `${(bytes / milliseconds / 1e6).toFixed(1)} GB/s`;
const nanoseconds = (items: number, item: string) => (milliseconds: number) =>
  `${(milliseconds * 1e6 / items).toFixed(1)} ns a ${item}`;

const gemmScratch = allocate(kernels.gemmScratchBytes() / 4);
const [a, b, c, bias] = [1024 * 512, 512 * 512, 1024 * 512, 512].map(allocateRandom);
for (const samples of [128, 1024]) {
  for (const [inputs, outputs] of LAYERS) {
    const group = `linear ${inputs}-${outputs}, batch ${samples}`;
    const rate = gigaflops(2 * samples * inputs * outputs);
    bench(
      group,
      "forward",
      rate,
      () => kernels.linear(samples, inputs, outputs, ACTIVATION_CODES.relu, a, b, bias, c, gemmScratch),
    );
    bench(group, "dX", rate, () => kernels.linearInputGradient(samples, inputs, outputs, a, b, c, gemmScratch));
    bench(group, "dWeight", rate, () => kernels.linearWeightGradient(samples, inputs, outputs, a, c, b, gemmScratch));
  }
}

for (const dim of [16, 64]) {
  const samples = 1024;
  const width = dim + TABLES * (TABLES + 1) / 2;
  const [bottom, pooled, output] = [samples * dim, samples * TABLES * dim, samples * width].map(allocateRandom);
  const [dBottom, dPooled] = [samples * dim, samples * TABLES * dim].map(allocate);
  const scratch = allocate(kernels.interactScratchBytes(TABLES, dim) / 4);
  const rate = nanoseconds(samples, "sample");
  const group = `interaction dim ${dim}`;
  bench(group, "forward", rate, () => kernels.interactDot(samples, TABLES, dim, bottom, pooled, output, scratch));
  bench(
    group,
    "backward",
    rate,
    () => kernels.interactDotBackward(samples, TABLES, dim, bottom, pooled, output, dBottom, dPooled, scratch),
  );
}

const header = allocate(HEADER_WORDS);
words[wordOf(header) + Header.samples] = 1024;
words[wordOf(header) + Header.lookups] = LOOKUPS;
words[wordOf(header) + Header.distinct] = LOOKUPS;
floats[wordOf(header) + Header.learningRate] = 1e-3;

const elements = 1024 * 512;
bench(
  "elementwise",
  "bias and relu",
  gigabytes(8 * elements),
  () => kernels.biasActivation(1024, 512, ACTIVATION_CODES.relu, bias, c),
);
bench(
  "elementwise",
  "relu backward and bias gradient",
  gigabytes(12 * elements),
  () => kernels.activationBackward(1024, 512, ACTIVATION_CODES.relu, c, a, bias),
);
const [logits, labels, dLogits, lossSum] = [1024, 1024, 1024, 1].map(allocateRandom);
bench(
  "elementwise",
  "loss",
  nanoseconds(1024, "sample"),
  () => kernels.loss(1024, header, logits, labels, dLogits, lossSum),
);
bench(
  "elementwise",
  "dense sgd",
  gigabytes(12 * elements),
  () => kernels.updateDense(OPTIMIZER_CODES.sgd, elements, header, c, a, NO_ADDRESS),
);
const squares = allocate(elements);
bench(
  "elementwise",
  "dense adagrad",
  gigabytes(20 * elements),
  () => kernels.updateDense(OPTIMIZER_CODES.adagrad, elements, header, c, a, squares),
);
bench("elementwise", "add", gigabytes(12 * elements), () => kernels.add(elements, a, c));

const dim = 16;
const packed = allocate(LOOKUPS * dim);
const table = allocate(LARGE_TABLE_ROWS * dim);
for (let row = 0; row < LARGE_TABLE_ROWS; row += 64) floats[wordOf(table) + row * dim] = 1; // has every page in memory
const bags = allocate(LOOKUPS);
for (let i = 0; i < LOOKUPS; i++) words[wordOf(bags) + i] = random.below(LOOKUPS);
const rowLists = Array.from({ length: ROUNDS }, () => allocate(LOOKUPS));
const segmentLists = Array.from({ length: ROUNDS }, () => allocate(2 * LOOKUPS + 2));
const embeddingScratch = allocate(dim);

for (const rows of [20_000, LARGE_TABLE_ROWS]) {
  const group = `rows of dim ${dim}, table of ${rows}`;
  const rate = nanoseconds(LOOKUPS, "row");
  let round = 0;
  // Both tables begin at the same place, so the lists are made when a group's first bench runs.
  let made = false;
  const lists = () => {
    if (!made) makeLists(rows);
    made = true;
    return ++round % ROUNDS;
  };
  bench(group, "gather", rate, () => kernels.gatherRows(LOOKUPS, dim, table, rowLists[lists()], packed));
  bench(
    group,
    "sgd update of distinct rows",
    rate,
    () =>
      kernels.updateRows(
        OPTIMIZER_CODES.sgd,
        dim,
        0,
        1,
        header,
        segmentLists[lists()],
        bags,
        packed,
        table,
        NO_ADDRESS,
        embeddingScratch,
      ),
  );
}

/** Random rows for every round, as indices and, ascending, as segments of one lookup each. */
function makeLists(rows: number): void {
  for (let round = 0; round < ROUNDS; round++) {
    const list = words.subarray(wordOf(rowLists[round]), wordOf(rowLists[round]) + LOOKUPS);
    for (let i = 0; i < LOOKUPS; i++) list[i] = random.below(rows);
    const segments = words.subarray(wordOf(segmentLists[round]));
    list.slice().sort().forEach((row, i) => segments.set([row, i], 2 * i));
    segments.set([SEGMENTS_END, LOOKUPS], 2 * LOOKUPS);
  }
}

globalThis.addEventListener("unload", () => {
  console.log("\nFastest run of each kernel, one core");
  const width = Math.max(...rates.map(({ name }) => name.length));
  for (const { name, fastest, rate } of rates) {
    if (fastest < Infinity) console.log(`${name.padEnd(width)}  ${rate(fastest).padStart(16)}`);
  }
});
