import { writeSteps } from "./operands.ts";
import assert from "node:assert/strict";
import { type Activation, type Buffer, Header, HEADER_WORDS, interactionWidth } from "../../src/backend/backend.ts";
import { denseStateWords, OPTIMIZER_NAMES, OPTIMIZERS, rowStateWords } from "../../src/optimizer/optimizers.ts";
import {
  ACTIVATION_CODES,
  type Address,
  growMemory,
  instantiateKernels,
  type Kernels,
  newMemory,
  NO_ADDRESS,
  PAGE_BYTES,
} from "../../src/backend/cpu/wasm/kernels.ts";
import { KERNELS_BASE64 } from "../../src/backend/cpu/wasm/kernels_binary.ts";
import { ReferenceBackend } from "../../src/backend/reference/reference.ts";
import { SEGMENTS_END } from "../../src/layout/batch.ts";
import { Random } from "../../src/random.ts";
import { committedModuleText, compileKernels, kernelsModuleText } from "../../tools/build_wasm.ts";

const GUARD = 0x7fc0beef; // a NaN: operands that leak into results show
const GUARD_WORDS = 16;

/** Operands for one test in a shared memory, with guard words around each that no kernel may change. */
class Operands {
  readonly memory = newMemory(64);
  readonly kernels: Kernels = instantiateKernels(this.memory);
  readonly #guards: number[] = [];
  #next = 256;

  constructor() {
    this.#guard();
  }

  /** New words, holding `values` if given, else the guard's pattern. */
  words(count: number): Uint32Array {
    const bytes = 4 * (count + GUARD_WORDS);
    if (this.#next + bytes > this.memory.buffer.byteLength) growMemory(this.memory, Math.ceil(bytes / PAGE_BYTES) + 1);
    const words = new Uint32Array(this.memory.buffer, this.#next, count).fill(GUARD);
    this.#next += 4 * count;
    this.#guard();
    return words;
  }
  floats(count: number): Float32Array {
    const words = this.words(count);
    return new Float32Array(words.buffer, words.byteOffset, count);
  }
  random(count: number, random: Random): Float32Array {
    const floats = this.floats(count);
    for (let i = 0; i < count; i++) floats[i] = random.normal();
    return floats;
  }
  /** What optimizer state looks like: sums of squares. */
  squares(count: number, random: Random): Float32Array {
    const floats = this.random(count, random);
    for (let i = 0; i < count; i++) floats[i] **= 2;
    return floats;
  }
  indices(values: number[]): Uint32Array {
    const words = this.words(values.length);
    words.set(values);
    return words;
  }
  header(fields: { samples?: number; lookups?: number; distinct?: number; rate?: number }): Uint32Array {
    const words = this.words(HEADER_WORDS).fill(0);
    words[Header.samples] = fields.samples ?? 0;
    words[Header.lookups] = fields.lookups ?? 0;
    words[Header.distinct] = fields.distinct ?? 0;
    writeSteps(new Float32Array(words.buffer, words.byteOffset), fields.rate ?? 0);
    return words;
  }
  scratch(bytes: number): Address {
    return at(this.words(Math.ceil(bytes / 4)));
  }
  gemmScratch(): Address {
    return this.scratch(this.kernels.gemmScratchBytes());
  }
  /** Fails if a kernel wrote outside its operands. */
  check(): void {
    for (const at of this.#guards) {
      const guard = new Uint32Array(this.memory.buffer, at, GUARD_WORDS);
      assert.ok(guard.every((word) => word === GUARD), `words written outside an operand, near byte ${at}`);
    }
  }
  #guard(): void {
    new Uint32Array(this.memory.buffer, this.#next, GUARD_WORDS).fill(GUARD);
    this.#guards.push(this.#next);
    this.#next += 4 * GUARD_WORDS;
  }
}

const at = (operand: Float32Array | Uint32Array): Address => BigInt(operand.byteOffset);

/** Fails unless every number is within `tolerance` of the expected one, relative to `scale` or to the number itself. */
function assertClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what: string): void {
  assert.equal(actual.length, expected.length, what);
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i] - expected[i]);
    const allowed = tolerance * Math.max(1, Math.abs(expected[i]));
    assert.ok(error <= allowed, `${what}: element ${i} is ${actual[i]}, expected ${expected[i]}`);
  }
}

const reference = new ReferenceBackend();

/** A buffer of the reference backend with a copy of the operand. */
function copyOf(operand: Float32Array | Uint32Array): Buffer {
  return reference.wrap(operand.slice());
}

const ACTIVATIONS: Activation[] = ["identity", "relu", "sigmoid"];

/** (samples, inputs, outputs): every small size once in each place, and sizes past the blocks of each dimension. */
function linearShapes(): [number, number, number][] {
  const shapes: [number, number, number][] = [];
  for (let size = 1; size <= 70; size++) shapes.push([size, (size * 29) % 71, (size * 43) % 71]);
  shapes.push([128, 13, 512], [7, 515, 9], [5, 6, 523], [301, 33, 101], [67, 367, 129], [1, 1, 1], [515, 3, 5], [
    0,
    5,
    7,
  ]);
  return shapes;
}

Deno.test("WASM kernels: the committed binary is what the sources compile to", () => {
  assert.equal(
    committedModuleText(),
    kernelsModuleText(compileKernels()),
    "kernels_binary.ts is stale: run `deno run -A tools/build_wasm.ts`",
  );
});

Deno.test("WASM kernels: the module owns no memory, data, mutable globals or start code", () => {
  const binary = Uint8Array.fromBase64(KERNELS_BASE64);
  const sections = new Set<number>();
  for (let i = 8; i < binary.length;) {
    const section = binary[i++];
    let length = 0;
    for (let shift = 0;; shift += 7) {
      const byte = binary[i++];
      length += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) break;
    }
    sections.add(section);
    i += length;
  }
  const [memory, globals, start, data] = [5, 6, 8, 11];
  for (const section of [memory, globals, start, data]) assert.ok(!sections.has(section), `section ${section}`);
  const module = new WebAssembly.Module(binary);
  assert.deepEqual(WebAssembly.Module.imports(module), [{ module: "env", name: "memory", kind: "memory" }]);
});

Deno.test("WASM kernels: linear and its gradients on odd shapes", () => {
  const random = new Random(1);
  for (const [index, [samples, inputs, outputs]] of linearShapes().entries()) {
    const operands = new Operands();
    const { kernels } = operands;
    const activation = ACTIVATIONS[index % 3];
    const code = ACTIVATION_CODES[activation];
    const shape = { inputs, outputs, activation };
    const what = `${samples} samples, ${inputs} -> ${outputs} ${activation}`;
    const x = operands.random(samples * inputs, random);
    const weight = operands.random(outputs * inputs, random);
    const bias = operands.random(outputs, random);
    const y = operands.floats(samples * outputs);
    const scratch = operands.gemmScratch();

    kernels.linear(samples, inputs, outputs, code, at(x), at(weight), at(bias), at(y), scratch);
    const expectedY = reference.allocate(y.length, "y");
    reference.linear(shape, samples, copyOf(x), copyOf(weight), copyOf(bias), expectedY);
    assertClose(y, reference.floats(expectedY), 3e-5, `y of ${what}`);

    const dY = operands.random(samples * outputs, random);
    const dX = operands.floats(samples * inputs);
    const dWeight = operands.floats(outputs * inputs);
    const dBias = operands.floats(outputs);
    const [expectedDY, expectedDX, expectedDWeight, expectedDBias] = [dY, dX, dWeight, dBias].map(copyOf);
    reference.linearBackward(
      shape,
      samples,
      copyOf(x),
      copyOf(weight),
      copyOf(y),
      expectedDY,
      expectedDX,
      expectedDWeight,
      expectedDBias,
    );
    kernels.activationBackward(samples, outputs, code, at(y), at(dY), at(dBias));
    kernels.linearInputGradient(samples, inputs, outputs, at(dY), at(weight), at(dX), scratch);
    kernels.linearWeightGradient(samples, inputs, outputs, at(dY), at(x), at(dWeight), scratch);
    assertClose(dY, reference.floats(expectedDY), 1e-6, `dY of ${what}`);
    assertClose(dX, reference.floats(expectedDX), 3e-5, `dX of ${what}`);
    assertClose(dWeight, reference.floats(expectedDWeight), 3e-5, `dWeight of ${what}`);
    assertClose(dBias, reference.floats(expectedDBias), 3e-5, `dBias of ${what}`);
    operands.check();
  }
});

Deno.test("WASM kernels: bias and activation after a product give what linear gives", () => {
  const random = new Random(2);
  for (const activation of ACTIVATIONS) {
    for (const [samples, outputs] of [[1, 1], [3, 4], [5, 7], [2, 67], [33, 16], [9, 130]]) {
      const operands = new Operands();
      const y = operands.random(samples * outputs, random);
      const bias = operands.random(outputs, random);
      const identity = new Float32Array(outputs * outputs);
      for (let i = 0; i < outputs; i++) identity[i * outputs + i] = 1;
      const expected = reference.allocate(y.length, "y");
      const shape = { inputs: outputs, outputs, activation };
      reference.linear(shape, samples, copyOf(y), reference.wrap(identity), copyOf(bias), expected);
      operands.kernels.biasActivation(samples, outputs, ACTIVATION_CODES[activation], at(bias), at(y));
      assertClose(y, reference.floats(expected), 1e-6, `${activation} of ${samples} x ${outputs}`);
      operands.check();
    }
  }
});

Deno.test("WASM kernels: words are rounded to the nearest bf16, ties to even, and NaN stays NaN", () => {
  const special = [0, -0, 1, -1, Infinity, -Infinity, NaN, 2 ** -149, 2 ** -126, 3.4028234663852886e38, 1 + 2 ** -8];
  const patterns = [0x3f808000, 0x3f818000, 0x3f808001, 0x3f807fff, 0x7f7fffff, 0x7f800001, 0x7fffffff, 0xffffffff];
  const random = new Random(4);
  for (const length of [0, 1, 15, 16, 17, 40, 200]) {
    const operands = new Operands();
    const words = operands.words(length);
    new Float32Array(words.buffer, words.byteOffset, length).forEach((_, i, floats) => floats[i] = random.normal());
    new Float32Array(words.buffer, words.byteOffset, length).set(special.slice(0, length));
    words.set(patterns.slice(0, length), Math.max(0, length - patterns.length)); // also behind the last whole vector
    const rounded = operands.words(Math.ceil(length / 2));
    operands.kernels.roundToBf16(length, at(words), at(rounded));
    const halves = new Uint16Array(rounded.buffer, rounded.byteOffset, length);
    for (let i = 0; i < length; i++) {
      const isNaN = (words[i] & 0x7fffffff) > 0x7f800000;
      const [below, rest] = [words[i] >>> 16, words[i] & 0xffff];
      const nearest = below + (rest > 0x8000 || (rest === 0x8000 && below % 2 === 1) ? 1 : 0);
      if (isNaN) assert.ok((halves[i] & 0x7fff) > 0x7f80, `NaN ${words[i].toString(16)} is ${halves[i].toString(16)}`);
      else assert.equal(halves[i], nearest, words[i].toString(16));
    }
    operands.check();
  }
});

Deno.test("WASM kernels: sigmoid stays exact and finite for large inputs", () => {
  const operands = new Operands();
  const inputs = [-1000, -100, -88, -20, -1e-3, 0, 1e-3, 20, 88, 100, 1000];
  const y = operands.floats(inputs.length);
  y.set(inputs);
  operands.kernels.biasActivation(1, inputs.length, ACTIVATION_CODES.sigmoid, NO_ADDRESS, at(y));
  for (const [i, x] of inputs.entries()) {
    const expected = Math.fround(1 / (1 + Math.exp(-x)));
    assert.ok(Math.abs(y[i] - expected) <= 1e-7 * expected + 1e-45, `sigmoid(${x}) is ${y[i]}`);
  }
});

Deno.test("WASM kernels: dot and cat interaction, forward and backward", () => {
  const random = new Random(3);
  const shapes = [[0, 3, 4], [1, 1, 1], [2, 1, 3], [3, 26, 16], [1, 7, 4], [2, 8, 5], [2, 9, 7], [3, 26, 13]];
  shapes.push([1, 31, 32], [2, 26, 64], [1, 3, 128], [2, 5, 10], [1, 40, 8]);
  for (const [samples, tables, dim] of shapes) {
    for (const kind of ["dot", "cat"] as const) {
      const operands = new Operands();
      const { kernels } = operands;
      const shape = { kind, bottom: true, tables, dim };
      const what = `${kind} of ${samples} samples, ${tables} tables, dim ${dim}`;
      const bottom = operands.random(samples * dim, random);
      const pooled = operands.random(samples * tables * dim, random);
      const output = operands.floats(samples * interactionWidth(shape));
      const dOutput = operands.random(output.length, random);
      const dBottom = operands.floats(bottom.length);
      const dPooled = operands.floats(pooled.length);
      if (kind === "dot") {
        const scratch = operands.scratch(kernels.interactScratchBytes(tables, dim));
        kernels.interactDot(samples, tables, dim, at(bottom), at(pooled), at(output), scratch);
        kernels.interactDotBackward(
          samples,
          tables,
          dim,
          at(bottom),
          at(pooled),
          at(dOutput),
          at(dBottom),
          at(dPooled),
          scratch,
        );
      } else {
        kernels.interactCat(samples, tables, dim, at(bottom), at(pooled), at(output));
        kernels.interactCatBackward(samples, tables, dim, at(dOutput), at(dBottom), at(dPooled));
      }
      const [expected, expectedBottom, expectedPooled] = [output, dBottom, dPooled].map(copyOf);
      reference.interact(shape, samples, copyOf(bottom), copyOf(pooled), expected);
      reference.interactBackward(
        shape,
        samples,
        copyOf(bottom),
        copyOf(pooled),
        copyOf(dOutput),
        expectedBottom,
        expectedPooled,
      );
      assertClose(output, reference.floats(expected), 1e-5, what);
      assertClose(dBottom, reference.floats(expectedBottom), 1e-5, `dBottom, ${what}`);
      assertClose(dPooled, reference.floats(expectedPooled), 1e-5, `dPooled, ${what}`);
      operands.check();
    }
  }
});

Deno.test("WASM kernels: loss and its gradient, also for extreme logits", () => {
  const operands = new Operands();
  const extremes = [-1000, -200, -60, -20, -3, -1, -1e-4, 0, 1e-4, 0.5, 1, 3, 20, 60, 200, 1000];
  for (const label of [0, 1, 0.25]) {
    for (const count of [1, extremes.length]) {
      const logits = operands.floats(count);
      logits.set(extremes.slice(0, count));
      const labels = operands.floats(count).fill(label);
      const dLogits = operands.floats(count);
      const lossSum = operands.floats(1).fill(2.5);
      const header = operands.header({ samples: 37 });
      operands.kernels.loss(count, at(header), at(logits), at(labels), at(dLogits), at(lossSum));
      let sum = 2.5;
      for (let i = 0; i < count; i++) {
        const z = logits[i];
        sum += Math.max(z, 0) - z * label + Math.log1p(Math.exp(-Math.abs(z)));
        const probability = z >= 0 ? 1 / (1 + Math.exp(-z)) : Math.exp(z) / (1 + Math.exp(z));
        const expected = Math.fround((probability - label) / 37);
        assert.ok(Math.abs(dLogits[i] - expected) <= 1e-6 * Math.abs(expected) + 1e-38, `gradient at logit ${z}`);
      }
      assert.ok(Math.abs(lossSum[0] - sum) <= 1e-7 * sum, `loss ${lossSum[0]}, expected ${sum}`);
    }
  }
  // One loss at a time, where a sum would hide an error.
  for (let z = -30; z <= 30; z += 0.37) {
    const logits = operands.floats(1).fill(z);
    const labels = operands.floats(1).fill(0);
    const lossSum = operands.floats(1).fill(0);
    const header = operands.header({ samples: 1 });
    operands.kernels.loss(1, at(header), at(logits), at(labels), at(operands.floats(1)), at(lossSum));
    const expected = Math.max(logits[0], 0) + Math.log1p(Math.exp(-Math.abs(logits[0])));
    assert.ok(Math.abs(lossSum[0] - expected) <= 1e-7 * expected, `loss of ${z}: ${lossSum[0]}, expected ${expected}`);
  }
  operands.check();
});

Deno.test("WASM kernels: dense updates", () => {
  const random = new Random(4);
  for (const optimizer of OPTIMIZER_NAMES) {
    for (const words of [1, 3, 4, 37, 260]) {
      const operands = new Operands();
      const header = operands.header({ rate: 0.125 });
      const parameters = operands.random(words, random);
      const gradients = operands.random(words, random);
      const state = operands.squares(denseStateWords(optimizer, words), random);
      const [expected, expectedState] = [parameters, state].map(copyOf);
      reference.updateDense(optimizer, words, copyOf(header), expected, copyOf(gradients), expectedState);
      const code = OPTIMIZERS[optimizer].code;
      operands.kernels.updateDense(code, words, at(header), at(parameters), at(gradients), at(state));
      assertClose(parameters, reference.floats(expected), 1e-6, `${optimizer} of ${words} words`);
      assertClose(state, reference.floats(expectedState), 1e-6, `state of ${optimizer}`);
      operands.check();
    }
  }
});

Deno.test("WASM kernels: adding vectors", () => {
  const random = new Random(5);
  for (const words of [1, 4, 7, 64, 133]) {
    const operands = new Operands();
    const source = operands.random(words, random);
    const target = operands.random(words, random);
    const expected = copyOf(target);
    reference.add(words, copyOf(source), expected);
    operands.kernels.add(words, at(source), at(target));
    assertClose(target, reference.floats(expected), 0, `sum of ${words} words`);
    operands.check();
  }
});

Deno.test("WASM kernels: scaling a vector, and the sum of its squares", () => {
  const random = new Random(7);
  for (const words of [0, 1, 4, 7, 64, 133]) {
    const operands = new Operands();
    const x = operands.random(words, random);
    const expected = copyOf(x);
    const squares = reference.squares(words, expected);
    assert.ok(Math.abs(operands.kernels.squares(words, at(x)) - squares) <= 1e-14 * squares);
    reference.scale(words, 0.75, expected);
    operands.kernels.scale(words, 0.75, at(x));
    assertClose(x, reference.floats(expected), 0, `${words} words`);
    operands.check();
  }
  const operands = new Operands();
  for (const word of [Infinity, NaN, -Infinity]) {
    assert.ok(!Number.isFinite(operands.kernels.squares(5, at(operands.floats(5).fill(word, 3, 4)))));
  }
  // Squares of single precision would overflow.
  assert.equal(operands.kernels.squares(5, at(operands.floats(5).fill(2 ** 100))), 5 * 2 ** 200);
});

Deno.test("WASM kernels: pooling, also of empty and large bags", () => {
  const random = new Random(6);
  for (const dim of [1, 3, 4, 16, 18, 35, 64, 128]) {
    const operands = new Operands();
    const sizes = [1, 0, 3, 1, 0, 700, 2, 0];
    const offsets = operands.indices(sizes.reduce((list, size) => [...list, list[list.length - 1] + size], [0]));
    const indices = operands.indices(Array.from({ length: offsets[sizes.length] }, () => random.below(50)));
    const table = operands.random(50 * dim, random);
    const pooled = operands.floats(sizes.length * dim);
    const expected = copyOf(pooled);
    reference.pool(sizes.length, dim, copyOf(table), copyOf(indices), copyOf(offsets), expected);
    operands.kernels.pool(sizes.length, dim, at(table), at(indices), at(offsets), at(pooled));
    assertClose(pooled, reference.floats(expected), 1e-4, `pooled, dim ${dim}`);
    operands.check();
  }
});

Deno.test("WASM kernels: gathered rows scattered back leave the table as it was", () => {
  const random = new Random(7);
  for (const dim of [1, 3, 16, 18, 64]) {
    for (const count of [1, 7, 40]) {
      const operands = new Operands();
      const table = operands.random(40 * dim, random);
      const rows = operands.indices(random.shuffle(Array.from({ length: 40 }, (_, i) => i)).slice(0, count));
      const packed = operands.floats(count * dim);
      operands.kernels.gatherRows(count, dim, at(table), at(rows), at(packed));
      for (let i = 0; i < packed.length; i++) {
        assert.equal(packed[i], table[rows[Math.floor(i / dim)] * dim + i % dim]);
      }
      const before = table.slice();
      for (const row of rows) table.fill(0, row * dim, (row + 1) * dim);
      operands.kernels.scatterRows(count, dim, at(packed), at(rows), at(table));
      assert.deepEqual(table, before);
      operands.check();
    }
  }
});

Deno.test("WASM kernels: rows of a table that reaches past 4 GiB", () => {
  const memory = newMemory(65536 + 16); // pages that no test touches take no memory
  const floats = new Float32Array(memory.buffer);
  const dim = 16;
  const rows = new Uint32Array(memory.buffer, 64, 2);
  rows.set([floats.length / dim - 1, 65536]); // the last row, and one where the low 32 bits of its address are small
  floats.fill(1, rows[0] * dim, (rows[0] + 1) * dim);
  floats.fill(2, rows[1] * dim, (rows[1] + 1) * dim);
  const packed = new Float32Array(memory.buffer, 128, 2 * dim);
  const kernels = instantiateKernels(memory);
  kernels.gatherRows(2, dim, 0n, at(rows), at(packed));
  assert.deepEqual([packed[0], packed[dim - 1], packed[dim], packed[2 * dim - 1]], [1, 1, 2, 2]);
  packed.fill(3);
  kernels.scatterRows(2, dim, at(packed), at(rows), 0n);
  assert.equal(floats[rows[0] * dim], 3);
  assert.throws(() => kernels.gatherRows(1, dim, 64n, at(rows), at(packed)), WebAssembly.RuntimeError);
});

/** A batch's segment list from its lookups: (row, first position) pairs and the bag of each lookup. */
function segmentLists(indices: number[], bagOf: (lookup: number) => number): [number[], number[]] {
  const byRow = new Map<number, number[]>();
  indices.forEach((row, lookup) => byRow.set(row, [...byRow.get(row) ?? [], bagOf(lookup)]));
  const segments: number[] = [];
  const bags: number[] = [];
  for (const row of [...byRow.keys()].sort((a, b) => a - b)) {
    segments.push(row, bags.length);
    bags.push(...byRow.get(row)!);
  }
  return [[...segments, SEGMENTS_END, indices.length], bags];
}

Deno.test("WASM kernels: row updates by one rank and by three", () => {
  const random = new Random(8);
  const sizes = [[1, 300, 300], [40, 90, 30], [40, 1, 1], [1000, 200, 200], [5, 0, 1]];
  for (const optimizer of OPTIMIZER_NAMES) {
    for (const dim of [1, 3, 4, 16, 18, 64]) {
      for (const [rows, lookups, bags] of sizes) {
        for (const ranks of [1, 3]) {
          const operands = new Operands();
          const indices = Array.from({ length: lookups }, () => random.below(rows));
          const [segmentList, bagList] = segmentLists(indices, (lookup) => lookup % bags);
          const segments = operands.indices(segmentList);
          const segmentBags = operands.indices(bagList);
          const dPooled = operands.random(bags * dim, random);
          const table = operands.random(rows * dim, random);
          const state = operands.squares(rows * rowStateWords(optimizer, dim), random);
          const header = operands.header({ lookups, distinct: segmentList.length / 2 - 1, rate: 0.25 });
          const scratch = operands.scratch(4 * dim);

          const [expected, expectedState] = [table, state].map(copyOf);
          const inputs = [header, segments, segmentBags, dPooled] as const;
          const [h, s, b, d] = inputs.map(copyOf);
          reference.updateRows({ optimizer, dim, rank: 0, ranks: 1 }, h, s, b, d, expected, expectedState);
          const [headerAt, segmentsAt, bagsAt, dPooledAt] = inputs.map(at);
          for (let rank = 0; rank < ranks; rank++) {
            operands.kernels.updateRows(
              OPTIMIZERS[optimizer].code,
              rowStateWords(optimizer, dim),
              dim,
              rank,
              ranks,
              headerAt,
              segmentsAt,
              bagsAt,
              dPooledAt,
              at(table),
              at(state),
              scratch,
            );
          }
          const what = `${optimizer}, dim ${dim}, ${rows} rows, ${lookups} lookups, ${ranks} ranks`;
          const lists = [headerAt, segmentsAt, bagsAt, dPooledAt] as const;
          for (let rank = 0; rank < ranks; rank++) {
            const squares = reference.rowSquares({ optimizer, dim, rank, ranks }, h, s, b, d);
            const found = operands.kernels.rowSquares(dim, rank, ranks, ...lists, scratch);
            assert.ok(Math.abs(found - squares) <= 2e-5 * squares, `${found} instead of ${squares}, ${what}`);
          }
          assertClose(table, reference.floats(expected), 2e-5, what);
          assertClose(state, reference.floats(expectedState), 2e-5, `state of ${what}`);
          operands.check();
        }
      }
    }
  }
});

Deno.test("WASM kernels: a rank updates the segments that begin within its share of the lookups", () => {
  const operands = new Operands();
  // Lookups 0..9: row 3 has 0..6, row 5 has 7 and 8, row 9 has 9. Of two ranks the first has 0..4.
  const segments = operands.indices([3, 0, 5, 7, 9, 9, SEGMENTS_END, 10]);
  const segmentBags = operands.indices([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  const dPooled = operands.floats(10).fill(1);
  const header = operands.header({ lookups: 10, distinct: 3, rate: -1 });
  const changed = (rank: number, ranks: number) => {
    const table = operands.floats(10).fill(0);
    const scratch = operands.scratch(4);
    operands.kernels.updateRows(
      OPTIMIZERS.sgd.code,
      0,
      1,
      rank,
      ranks,
      at(header),
      at(segments),
      at(segmentBags),
      at(dPooled),
      at(table),
      NO_ADDRESS,
      scratch,
    );
    return [table[3], table[5], table[9]];
  };
  assert.deepEqual(changed(0, 2), [7, 0, 0]);
  assert.deepEqual(changed(1, 2), [0, 2, 1]);
  assert.deepEqual(changed(7, 10), [0, 2, 0]);
  assert.deepEqual(changed(8, 10), [0, 0, 0]);
});

Deno.test("WASM kernels: two threads over one memory do not disturb each other", async () => {
  const operands = new Operands();
  const random = new Random(9);
  const [samples, inputs, outputs, repeats] = [65, 131, 77, 40];
  const x = operands.random(samples * inputs, random);
  const weight = operands.random(outputs * inputs, random);
  const bias = operands.random(outputs, random);
  const alone = operands.floats(samples * outputs);
  const shape = [samples, inputs, outputs, ACTIVATION_CODES.relu] as const;
  operands.kernels.linear(...shape, at(x), at(weight), at(bias), at(alone), operands.gemmScratch());

  const source = `
    import { instantiateKernels } from ${JSON.stringify(import.meta.resolve("../../src/backend/cpu/wasm/kernels.ts"))};
    self.onmessage = ({ data: { memory, repeats, call } }) => {
      const kernels = instantiateKernels(memory);
      for (let i = 0; i < repeats; i++) kernels.linear(...call);
      self.postMessage("done");
    };`;
  const results = [operands.floats(alone.length), operands.floats(alone.length)];
  const calls = results.map((y) => [...shape, at(x), at(weight), at(bias), at(y), operands.gemmScratch()]);
  const module = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  await Promise.all(calls.map((call) =>
    new Promise<void>((resolve, reject) => {
      const worker = new Worker(module, { type: "module" });
      worker.onmessage = () => resolve(worker.terminate());
      worker.onerror = (event) => reject(new Error(event.message));
      worker.postMessage({ memory: operands.memory, repeats, call });
    })
  ));
  URL.revokeObjectURL(module);
  for (const y of results) assert.deepEqual(y, alone);
  operands.check();
});
