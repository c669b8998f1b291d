import assert from "node:assert/strict";
import { type Activation, ADAGRAD_EPSILON, Header, HEADER_WORDS, type Optimizer } from "../../src/backend/backend.ts";
import {
  ACTIVATION_CODES,
  instantiateKernels,
  type Kernels,
  MAXIMUM_PAGES,
  NO_ADDRESS,
  OPTIMIZER_CODES,
} from "../../src/backend/cpu/wasm/kernels.ts";
import { KERNELS_BASE64 } from "../../src/backend/cpu/wasm/kernels_binary.ts";
import { SEGMENTS_END } from "../../src/layout/batch.ts";
import { Random } from "../../src/random.ts";
import { committedModuleText, compileKernels, kernelsModuleText } from "../../tools/build_wasm.ts";

const GUARD = 0x7fc0beef; // a NaN: operands that leak into results show
const GUARD_WORDS = 16;

/** Operands for one test in a shared memory, with guard words around each that no kernel may change. */
class Operands {
  readonly memory = new WebAssembly.Memory({ initial: 64, maximum: MAXIMUM_PAGES, shared: true });
  readonly kernels: Kernels = instantiateKernels(this.memory);
  readonly #guards: number[] = [];
  #next = 256;

  constructor() {
    this.#guard();
  }

  /** New words, holding `values` if given, else the guard's pattern. */
  words(count: number): Uint32Array {
    const bytes = 4 * (count + GUARD_WORDS);
    if (this.#next + bytes > this.memory.buffer.byteLength) this.memory.grow(Math.ceil(bytes / 65536) + 1);
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
    new Float32Array(words.buffer, words.byteOffset)[Header.learningRate] = fields.rate ?? 0;
    return words;
  }
  scratch(bytes: number): number {
    return this.words(Math.ceil(bytes / 4)).byteOffset;
  }
  gemmScratch(): number {
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

const at = (operand: Float32Array | Uint32Array) => operand.byteOffset;

/** Fails unless every number is within `tolerance` of the expected one, relative to `scale` or to the number itself. */
function assertClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what: string): void {
  assert.equal(actual.length, expected.length, what);
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i] - expected[i]);
    const allowed = tolerance * Math.max(1, Math.abs(expected[i]));
    assert.ok(error <= allowed, `${what}: element ${i} is ${actual[i]}, expected ${expected[i]}`);
  }
}

function product(
  m: number,
  n: number,
  k: number,
  a: (i: number, p: number) => number,
  b: (p: number, j: number) => number,
): Float64Array {
  const c = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let p = 0; p < k; p++) sum += a(i, p) * b(p, j);
      c[i * n + j] = sum;
    }
  }
  return c;
}

function activate(activation: Activation, x: number): number {
  if (activation === "relu") return Math.max(0, x);
  return activation === "sigmoid" ? 1 / (1 + Math.exp(-x)) : x;
}

/** The activation's slope, from its result. */
function slope(activation: Activation, y: number): number {
  if (activation === "relu") return y > 0 ? 1 : 0;
  return activation === "sigmoid" ? y * (1 - y) : 1;
}

const ACTIVATIONS: Activation[] = ["identity", "relu", "sigmoid"];
const OPTIMIZERS: Optimizer[] = ["sgd", "adagrad", "rwsadagrad"];

/** (samples, inputs, outputs): every small size once in each place, and sizes past the blocks of each dimension. */
function linearShapes(): [number, number, number][] {
  const shapes: [number, number, number][] = [];
  for (let size = 1; size <= 70; size++) shapes.push([size, (size * 29) % 71, (size * 43) % 71]);
  shapes.push([128, 13, 512], [7, 515, 9], [5, 6, 523], [301, 33, 101], [67, 367, 129], [1, 1, 1], [515, 3, 5]);
  return shapes;
}

Deno.test("WASM kernels: the committed binary is what the sources compile to", async () => {
  assert.equal(
    committedModuleText(),
    kernelsModuleText(await compileKernels()),
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
    const x = operands.random(samples * inputs, random);
    const weight = operands.random(outputs * inputs, random);
    const bias = operands.random(outputs, random);
    const dY = operands.random(samples * outputs, random);
    const y = operands.floats(samples * outputs);
    const dX = operands.floats(samples * inputs);
    const dWeight = operands.floats(outputs * inputs);
    const scratch = operands.gemmScratch();
    const shape = `${samples} samples, ${inputs} -> ${outputs} ${activation}`;

    kernels.linear(
      samples,
      inputs,
      outputs,
      ACTIVATION_CODES[activation],
      at(x),
      at(weight),
      at(bias),
      at(y),
      scratch,
    );
    const sums = product(samples, outputs, inputs, (i, p) => x[i * inputs + p], (p, j) => weight[j * inputs + p]);
    assertClose(y, sums.map((sum, i) => activate(activation, sum + bias[i % outputs])), 3e-5, `y of ${shape}`);

    kernels.linearInputGradient(samples, inputs, outputs, at(dY), at(weight), at(dX), scratch);
    assertClose(
      dX,
      product(samples, inputs, outputs, (i, p) => dY[i * outputs + p], (p, j) => weight[p * inputs + j]),
      3e-5,
      `dX of ${shape}`,
    );

    kernels.linearWeightGradient(samples, inputs, outputs, at(dY), at(x), at(dWeight), scratch);
    assertClose(
      dWeight,
      product(outputs, inputs, samples, (i, p) => dY[p * outputs + i], (p, j) => x[p * inputs + j]),
      3e-5,
      `dWeight of ${shape}`,
    );
    operands.check();
  }
});

Deno.test("WASM kernels: bias, activation and their gradients", () => {
  const random = new Random(2);
  for (const activation of ACTIVATIONS) {
    for (const [rows, columns] of [[1, 1], [3, 4], [5, 7], [2, 67], [33, 16], [9, 130]]) {
      const operands = new Operands();
      const { kernels } = operands;
      const code = ACTIVATION_CODES[activation];
      const sums = operands.random(rows * columns, random);
      const bias = operands.random(columns, random);
      const before = Float64Array.from(sums, (sum, i) => sum + bias[i % columns]);
      kernels.biasActivation(rows, columns, code, at(bias), at(sums));
      assertClose(sums, before.map((sum) => activate(activation, sum)), 1e-6, `${activation} of ${rows} x ${columns}`);

      const dY = operands.random(rows * columns, random);
      const dBias = operands.floats(columns);
      const expected = Float64Array.from(dY, (gradient, i) => gradient * slope(activation, sums[i]));
      kernels.activationBackward(rows, columns, code, at(sums), at(dY), at(dBias));
      assertClose(dY, expected, 1e-6, `dY of ${activation}`);
      const columnSums = Float64Array.from(
        dBias,
        (_, j) => expected.reduce((sum, gradient, i) => i % columns === j ? sum + gradient : sum, 0),
      );
      assertClose(dBias, columnSums, 1e-5, `dBias of ${activation}`);
      operands.check();
    }
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
  const shapes = [
    [1, 1, 1],
    [2, 1, 3],
    [3, 26, 16],
    [1, 7, 4],
    [2, 8, 5],
    [2, 9, 7],
    [3, 26, 13],
    [1, 31, 32],
    [
      2,
      26,
      64,
    ],
    [1, 3, 128],
    [2, 5, 10],
  ];
  for (const [samples, tables, dim] of shapes) {
    const operands = new Operands();
    const { kernels } = operands;
    const bottom = operands.random(samples * dim, random);
    const pooled = operands.random(samples * tables * dim, random);
    const vector = (sample: number, i: number, d: number) =>
      i === 0 ? bottom[sample * dim + d] : pooled[(sample * tables + i - 1) * dim + d];
    const dotWidth = dim + (tables + 1) * tables / 2;
    const catWidth = dim * (tables + 1);
    const dot = operands.floats(samples * dotWidth);
    const cat = operands.floats(samples * catWidth);
    const scratch = operands.scratch(kernels.interactScratchBytes(tables, dim));
    const shape = `${samples} samples, ${tables} tables, dim ${dim}`;

    kernels.interactDot(samples, tables, dim, at(bottom), at(pooled), at(dot), scratch);
    kernels.interactCat(samples, tables, dim, at(bottom), at(pooled), at(cat));

    const dDot = operands.random(samples * dotWidth, random);
    const dBottom = operands.floats(samples * dim);
    const dPooled = operands.floats(samples * tables * dim);
    const expectedDot: number[] = [];
    const expectedGradients = new Float64Array(samples * (tables + 1) * dim);
    for (let sample = 0; sample < samples; sample++) {
      const gradientOf = (i: number, d: number) => (sample * (tables + 1) + i) * dim + d;
      for (let d = 0; d < dim; d++) {
        expectedDot.push(vector(sample, 0, d));
        expectedGradients[gradientOf(0, d)] += dDot[sample * dotWidth + d];
      }
      for (let i = 1; i <= tables; i++) {
        for (let j = 0; j < i; j++) {
          const gradient = dDot[expectedDot.length];
          let sum = 0;
          for (let d = 0; d < dim; d++) {
            sum += vector(sample, i, d) * vector(sample, j, d);
            expectedGradients[gradientOf(i, d)] += gradient * vector(sample, j, d);
            expectedGradients[gradientOf(j, d)] += gradient * vector(sample, i, d);
          }
          expectedDot.push(sum);
        }
      }
    }
    assertClose(dot, expectedDot, 1e-5, `dot of ${shape}`);
    assert.deepEqual(
      [...cat],
      Array.from({ length: samples * catWidth }, (_, i) => {
        const sample = Math.floor(i / catWidth);
        return vector(sample, Math.floor(i % catWidth / dim), i % dim);
      }),
      `cat of ${shape}`,
    );

    kernels.interactDotBackward(
      samples,
      tables,
      dim,
      at(bottom),
      at(pooled),
      at(dDot),
      at(dBottom),
      at(dPooled),
      scratch,
    );
    const gradients = (index: number, bottomGradients: Float32Array, pooledGradients: Float32Array) => {
      const sample = Math.floor(index / catWidth);
      const within = index % catWidth;
      return within < dim
        ? bottomGradients[sample * dim + within]
        : pooledGradients[sample * tables * dim + within - dim];
    };
    assertClose(
      expectedGradients.map((_, i) => gradients(i, dBottom, dPooled)),
      expectedGradients,
      1e-5,
      `gradients of dot, ${shape}`,
    );

    const dCat = operands.random(samples * catWidth, random);
    kernels.interactCatBackward(samples, tables, dim, at(dCat), at(dBottom), at(dPooled));
    for (let i = 0; i < dCat.length; i++) assert.equal(gradients(i, dBottom, dPooled), dCat[i], `gradients of cat`);
    operands.check();
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
  for (const optimizer of OPTIMIZERS) {
    for (const words of [1, 3, 4, 37, 260]) {
      const operands = new Operands();
      const rate = 0.125;
      const parameters = operands.random(words, random);
      const gradients = operands.random(words, random);
      const state = operands.random(words, random).map((value) => value * value);
      const kept = operands.floats(words);
      kept.set(state);
      const expectedState = Float64Array.from(state, (value, i) => value + gradients[i] ** 2);
      const expected = Float64Array.from(
        parameters,
        (value, i) =>
          value - rate * gradients[i] / (optimizer === "sgd" ? 1 : Math.sqrt(expectedState[i]) + ADAGRAD_EPSILON),
      );
      operands.kernels.updateDense(
        OPTIMIZER_CODES[optimizer],
        words,
        at(operands.header({ rate })),
        at(parameters),
        at(gradients),
        optimizer === "sgd" ? NO_ADDRESS : at(kept),
      );
      assertClose(parameters, expected, 1e-6, `${optimizer} of ${words} words`);
      assertClose(kept, optimizer === "sgd" ? state : expectedState, 1e-6, `state of ${optimizer}`);
      operands.check();
    }
  }
});

Deno.test("WASM kernels: sums over ranks are taken in rank order", () => {
  const random = new Random(5);
  for (const [ranks, words] of [[1, 5], [2, 64], [3, 7], [8, 33]]) {
    const operands = new Operands();
    const stride = words + 3;
    const sources = operands.random(ranks * stride, random);
    const target = operands.floats(words);
    operands.kernels.sumRanks(at(target), at(sources), 4 * stride, ranks, words);
    for (let i = 0; i < words; i++) {
      let sum = sources[i];
      for (let r = 1; r < ranks; r++) sum = Math.fround(sum + sources[r * stride + i]);
      assert.equal(target[i], sum);
    }
    operands.check();
  }
});

Deno.test("WASM kernels: pooling, also of empty and large bags", () => {
  const random = new Random(6);
  for (const dim of [1, 3, 4, 16, 18, 35, 64, 128]) {
    const operands = new Operands();
    const rows = 50;
    const sizes = [1, 0, 3, 1, 0, 700, 2, 0];
    const offsets = operands.indices(sizes.reduce((list, size) => [...list, list[list.length - 1] + size], [0]));
    const indices = operands.indices(Array.from({ length: offsets[sizes.length] }, () => random.below(rows)));
    const table = operands.random(rows * dim, random);
    const pooled = operands.floats(sizes.length * dim);
    operands.kernels.pool(sizes.length, dim, at(table), at(indices), at(offsets), at(pooled));
    const expected = new Float64Array(pooled.length);
    for (let b = 0; b < sizes.length; b++) {
      for (let k = offsets[b]; k < offsets[b + 1]; k++) {
        for (let d = 0; d < dim; d++) expected[b * dim + d] += table[indices[k] * dim + d];
      }
    }
    assertClose(pooled, expected, 1e-4, `pooled, dim ${dim}`);
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

Deno.test("WASM kernels: row updates, each row by exactly one of the ranks", () => {
  const random = new Random(8);
  const rate = 0.25;
  for (const optimizer of OPTIMIZERS) {
    for (const dim of [1, 3, 4, 16, 18, 64]) {
      for (const [rows, lookups, bags] of [[1, 300, 300], [40, 90, 30], [40, 1, 1], [1000, 200, 200], [5, 0, 1]]) {
        for (const ranks of [1, 3]) {
          const operands = new Operands();
          const indices = Array.from({ length: lookups }, () => random.below(rows));
          const [segmentList, bagList] = segmentLists(indices, (lookup) => lookup % bags);
          const segments = operands.indices(segmentList);
          const segmentBags = operands.indices(bagList);
          const dPooled = operands.random(bags * dim, random);
          const table = operands.random(rows * dim, random);
          const stateWords = optimizer === "sgd" ? 0 : optimizer === "adagrad" ? dim : 1;
          const state = operands.random(rows * stateWords, random);
          for (let i = 0; i < state.length; i++) state[i] **= 2;
          const header = operands.header({ lookups, distinct: segmentList.length / 2 - 1, rate });

          const gradients = new Float64Array(rows * dim);
          indices.forEach((row, lookup) => {
            for (let d = 0; d < dim; d++) gradients[row * dim + d] += dPooled[(lookup % bags) * dim + d];
          });
          const expected = Float64Array.from(table);
          const expectedState = Float64Array.from(state);
          for (const row of new Set(indices)) {
            const gradient = gradients.subarray(row * dim, (row + 1) * dim);
            const mean = gradient.reduce((sum, g) => sum + g * g, 0) / dim;
            if (optimizer === "rwsadagrad") expectedState[row] += mean;
            gradient.forEach((g, d) => {
              const i = row * dim + d;
              if (optimizer === "adagrad") expectedState[i] += g * g;
              const square = optimizer === "sgd" ? 1 : expectedState[optimizer === "adagrad" ? i : row];
              expected[i] -= rate * g / (optimizer === "sgd" ? 1 : Math.sqrt(square) + ADAGRAD_EPSILON);
            });
          }

          const scratch = operands.scratch(4 * dim);
          for (let rank = 0; rank < ranks; rank++) {
            operands.kernels.updateRows(
              OPTIMIZER_CODES[optimizer],
              dim,
              rank,
              ranks,
              at(header),
              at(segments),
              at(segmentBags),
              at(dPooled),
              at(table),
              stateWords ? at(state) : NO_ADDRESS,
              scratch,
            );
          }
          const what = `${optimizer}, dim ${dim}, ${rows} rows, ${lookups} lookups, ${ranks} ranks`;
          assertClose(table, expected, 2e-5, what);
          assertClose(state, expectedState, 2e-5, `state of ${what}`);
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
      OPTIMIZER_CODES.sgd,
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
