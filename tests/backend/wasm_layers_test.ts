/** WASM kernels of layers and of the loss, against the reference. */
import assert from "node:assert/strict";
import { type Activation, interactionWidth } from "../../src/backend/backend.ts";
import { ACTIVATION_CODES, NO_ADDRESS } from "../../src/backend/cpu/wasm/kernels.ts";
import { Random } from "../../src/random.ts";

import { assertClose } from "../support/close.ts";
import { at, copyOf, Operands, reference } from "./wasm_operands.ts";

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
    reference.linearBackward(shape, samples, {
      ...{ x: copyOf(x), weight: copyOf(weight), y: copyOf(y), dY: expectedDY },
      ...{ dX: expectedDX, dWeight: expectedDWeight, dBias: expectedDBias },
    });
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

Deno.test("WASM kernels: a product with a packed weight has the bits of linear", () => {
  const random = new Random(3);
  for (const [index, [samples, inputs, outputs]] of linearShapes().entries()) {
    const operands = new Operands();
    const { kernels } = operands;
    const [x, weight, bias] = [samples * inputs, outputs * inputs, outputs].map((size) =>
      operands.random(size, random)
    );
    // Sums that are infinite, not a number and -0 are those of linear, too.
    for (const values of index % 2 === 0 ? [x, weight, bias] : []) {
      for (const value of [NaN, -Infinity, Infinity, -0, 1e38]) values[random.below(values.length)] = value;
    }
    const biasAt = index % 3 === 0 ? NO_ADDRESS : at(bias);
    const code = ACTIVATION_CODES[ACTIVATIONS[index % ACTIVATIONS.length]];
    const [expected, y] = [samples * outputs, samples * outputs].map((size) => operands.floats(size));
    const scratch = operands.gemmScratch();
    kernels.linear(samples, inputs, outputs, code, at(x), at(weight), biasAt, at(expected), scratch);

    const packed = operands.scratch(4 * kernels.packedWords(inputs, outputs));
    const own = operands.scratch(kernels.packedScratchBytes(outputs));
    kernels.packWeight(inputs, outputs, at(weight), packed);
    kernels.linearPacked(samples, inputs, outputs, code, at(x), packed, biasAt, at(y), own);
    assert.deepEqual(y, expected, `${samples} samples, ${inputs} -> ${outputs}`);
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
      reference.interactBackward(shape, samples, {
        ...{ bottom: copyOf(bottom), pooled: copyOf(pooled), dOutput: copyOf(dOutput) },
        ...{ dBottom: expectedBottom, dPooled: expectedPooled },
      });
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
  for (const word of [0, 1, 0.25, -3]) { // the weight, negative if the label is 0
    const label = Number(word > 0);
    const weight = word === 0 ? 1 : Math.abs(word);
    for (const count of [1, extremes.length]) {
      const logits = operands.floats(count);
      logits.set(extremes.slice(0, count));
      const labels = operands.floats(count).fill(word);
      const dLogits = operands.floats(count);
      const lossSum = operands.floats(1).fill(2.5);
      const header = operands.header({ samples: 37 });
      operands.kernels.loss(count, at(header), at(logits), at(labels), at(dLogits), at(lossSum));
      let sum = 2.5;
      for (let i = 0; i < count; i++) {
        const z = logits[i];
        sum += weight * (Math.max(z, 0) - z * label + Math.log1p(Math.exp(-Math.abs(z))));
        const probability = z >= 0 ? 1 / (1 + Math.exp(-z)) : Math.exp(z) / (1 + Math.exp(z));
        const expected = Math.fround(weight * (probability - label) / 37);
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
