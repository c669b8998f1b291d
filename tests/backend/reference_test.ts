/**
 * The reference backend defines the results of all others, so it is compared with formulas and numerical gradients.
 */
import assert from "node:assert/strict";
import {
  type Activation,
  type Buffer,
  Header,
  HEADER_WORDS,
  type InteractionShape,
  interactionWidth,
} from "../../src/backend/backend.ts";
import { type LossSettings, writeLoss } from "../../src/model/loss.ts";
import { ReferenceBackend } from "../../src/backend/reference/reference.ts";
import { SEGMENTS_END } from "../../src/layout/batch.ts";
import { Random } from "../../src/random.ts";
import { assertClose } from "../support/close.ts";

const reference = new ReferenceBackend();
/** Step of the finite differences: balances their error, which grows with its square, with that of f32, 6e-8 / step. */
const STEP = 2 ** -7;
const TOLERANCE = 1e-3;

function normals(words: number, random: Random): Float32Array {
  return Float32Array.from({ length: words }, () => random.normal());
}

function buffer(words: Float32Array | Uint32Array): Buffer {
  return reference.wrap(words);
}

function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, x, i) => sum + x * b[i], 0);
}

/** Derivatives of a function by each element of `at`, by central differences. */
function differences(at: Float32Array, value: () => number): Float32Array {
  return at.map((x, i) => {
    at[i] = x + STEP;
    const above = value();
    at[i] = x - STEP;
    const below = value();
    at[i] = x;
    return (above - below) / (2 * STEP);
  });
}

for (const activation of ["identity", "relu", "sigmoid"] as Activation[]) {
  Deno.test(`reference: gradients of linear with ${activation} by finite differences`, () => {
    const random = new Random(1);
    const [samples, inputs, outputs] = [3, 4, 5];
    const shape = { inputs, outputs, activation };
    const x = normals(samples * inputs, random);
    const weight = normals(inputs * outputs, random);
    const bias = normals(outputs, random);
    const y = new Float32Array(samples * outputs);
    const forward = () => reference.linear(shape, samples, buffer(x), buffer(weight), buffer(bias), buffer(y));
    const dY = normals(samples * outputs, random);
    const value = () => (forward(), dot(y, dY));
    forward();
    // No output may cross the kink of relu within a step.
    assert.ok(activation !== "relu" || y.every((v) => v === 0 || v > 6 * STEP));
    const expected = [x, weight, bias].map((operand) => differences(operand, value));
    forward();
    const gradients = [x, weight, bias].map((operand) => new Float32Array(operand.length));
    const [dX, dWeight, dBias] = gradients.map(buffer);
    const changed = buffer(dY.slice());
    const operands = { x: buffer(x), weight: buffer(weight), y: buffer(y), dY: changed };
    reference.linearBackward(shape, samples, { ...operands, dX, dWeight, dBias });
    gradients.forEach((gradient, i) => assertClose(gradient, expected[i], TOLERANCE, ["dX", "dWeight", "dBias"][i]));
  });
}

for (const kind of ["dot", "cat"] as const) {
  Deno.test(`reference: gradients of the ${kind} interaction by finite differences`, () => {
    const random = new Random(2);
    const shape: InteractionShape = { kind, bottom: true, tables: 3, dim: 5 };
    const samples = 2;
    const bottom = normals(samples * 5, random);
    const pooled = normals(samples * 15, random);
    const output = new Float32Array(samples * interactionWidth(shape));
    const dOutput = normals(output.length, random);
    const value = () => {
      reference.interact(shape, samples, buffer(bottom), buffer(pooled), buffer(output));
      return dot(output, dOutput);
    };
    const dBottom = new Float32Array(bottom.length);
    const dPooled = new Float32Array(pooled.length);
    reference.interactBackward(shape, samples, {
      ...{ bottom: buffer(bottom), pooled: buffer(pooled), dOutput: buffer(dOutput) },
      ...{ dBottom: buffer(dBottom), dPooled: buffer(dPooled) },
    });
    assertClose(dBottom, differences(bottom, value), TOLERANCE, "dBottom");
    assertClose(dPooled, differences(pooled, value), TOLERANCE, "dPooled");
  });
}

Deno.test("reference: dropout leaves the mean, and depends on the step, the place and the position in the batch alone", () => {
  const [samples, width, rate] = [500, 40, 0.3];
  const drop = (step: number, key: number, first = 0) => {
    const header = new Uint32Array(HEADER_WORDS);
    header[Header.step] = step;
    const y = new Float32Array((samples - first) * width);
    const x = new Float32Array(y.length).fill(1);
    const shape = { width, rate, key, firstSample: first };
    reference.dropout(shape, samples - first, buffer(header), buffer(x), buffer(y));
    return y;
  };
  const y = drop(3, 7);
  const count = (values: Float32Array) => values.reduce((sum, value) => sum + Number(value === 0), 0);
  const deviation = Math.sqrt(rate * (1 - rate) / y.length);
  assert.ok(Math.abs(count(y) / y.length - rate) < 4 * deviation);
  assert.ok(y.every((value) => value === 0 || value === Math.fround(1 / 0.7)));
  for (let unit = 0; unit < width; unit++) {
    const column = y.filter((_, i) => i % width === unit);
    assert.ok(Math.abs(count(column) / samples - rate) < 4 * Math.sqrt(rate * (1 - rate) / samples), `unit ${unit}`);
  }
  assert.deepEqual(drop(3, 7, 123), y.subarray(123 * width), "ranks drop the same values");
  for (const other of [drop(4, 7), drop(3, 8)]) {
    const both = other.filter((value, i) => value === 0 && y[i] === 0).length / y.length;
    assert.ok(Math.abs(both - rate * rate) < 4 * Math.sqrt(rate * rate * (1 - rate * rate) / y.length));
  }
  assert.ok(drop(0, 7).every((value) => value === 1), "a batch that is only scored keeps all values");
});

Deno.test("reference: the order of the dot interaction's products", () => {
  const bottom = Float32Array.of(1, 10);
  const pooled = Float32Array.of(2, 3, 5, 7);
  const output = new Float32Array(5);
  const shape: InteractionShape = { kind: "dot", bottom: true, tables: 2, dim: 2 };
  reference.interact(shape, 1, buffer(bottom), buffer(pooled), buffer(output));
  assert.deepEqual([...output], [1, 10, 1 * 2 + 10 * 3, 1 * 5 + 10 * 7, 2 * 5 + 3 * 7]);
  const alone = { ...shape, bottom: false };
  assert.equal(interactionWidth(alone), 5);
  reference.interact(alone, 1, undefined, buffer(pooled), buffer(output));
  assert.deepEqual([...output], [2, 3, 5, 7, 2 * 5 + 3 * 7]);
});

Deno.test("reference: loss and its gradient, against the formula and finite differences", () => {
  for (const settings of [{ positiveWeight: 1, labelSmoothing: 0 }, { positiveWeight: 3, labelSmoothing: 0.25 }]) {
    checkLoss(settings);
  }
});

function checkLoss({ positiveWeight, labelSmoothing }: LossSettings): void {
  const logits = Float32Array.of(-3, -0.5, 0, 0.25, 4, 1);
  const labels = Float32Array.of(0, 1, 1, 0, 1, 0);
  const weights = Float32Array.of(1, 1, 0.25, 3, 8, 0.5);
  const words = labels.map((label, i) => i < 2 ? label : label === 1 ? weights[i] : -weights[i]);
  const header = new Uint32Array(HEADER_WORDS);
  header[Header.samples] = 10; // of which these are a rank's share
  writeLoss(new Float32Array(header.buffer), { positiveWeight, labelSmoothing });
  const dLogits = new Float32Array(6);
  const sum = new Float32Array(1);
  const value = () => {
    sum[0] = 0;
    reference.loss(6, buffer(header), buffer(logits), buffer(words), buffer(dLogits), buffer(sum));
    return sum[0];
  };
  const formula = labels.reduce((total, label, i) => {
    const p = 1 / (1 + Math.exp(-logits[i]));
    const y = label * (1 - labelSmoothing) + labelSmoothing / 2;
    return total - weights[i] * (positiveWeight * y * Math.log(p) + (1 - y) * Math.log(1 - p));
  }, 0);
  assertClose([value()], [formula], 1e-6, "loss");
  const expected = differences(logits, value).map((d) => d / 10);
  value();
  assertClose(dLogits, expected, 1e-4, "dLogits");
}

Deno.test("reference: pooling adds the rows of a bag, and gives zeros for an empty one", () => {
  const table = Float32Array.of(1, 2, 10, 20, 100, 200);
  const pooled = new Float32Array(6).fill(9);
  const indices = buffer(Uint32Array.of(2, 0, 2, 1));
  reference.pool(3, 2, buffer(table), indices, buffer(Uint32Array.of(0, 3, 3, 4)), buffer(pooled));
  assert.deepEqual([...pooled], [201, 402, 0, 0, 10, 20]);
  reference.pool(2, 2, buffer(table), indices, undefined, buffer(pooled));
  assert.deepEqual([...pooled].slice(0, 4), [100, 200, 1, 2]);
});

/** Three bags of dim 2: row 4 is looked up by bags 0, 2 and again 2, row 1 by bag 1. */
function repeatedRows() {
  const header = new Uint32Array(HEADER_WORDS);
  header[Header.lookups] = 4;
  header[Header.distinct] = 2;
  new Float32Array(header.buffer)[Header.learningRate] = 0.5;
  return {
    header: buffer(header),
    segments: buffer(Uint32Array.of(1, 0, 4, 1, SEGMENTS_END, 4)),
    segmentBags: buffer(Uint32Array.of(1, 0, 2, 2)),
    dPooled: buffer(Float32Array.of(1, -2, 0.25, 4, 3, 0.5)),
    // row 1: bag 1; row 4: bag 0 + twice bag 2
    gradients: { 1: [0.25, 4], 4: [1 + 3 + 3, -2 + 0.5 + 0.5] } as Record<number, number[]>,
  };
}

const STATES: Record<"sgd" | "adagrad" | "rwsadagrad", (gradient: number[], state: number[]) => number[]> = {
  sgd: () => [],
  adagrad: (gradient, state) => state.map((s, d) => s + gradient[d] ** 2),
  rwsadagrad: (gradient, [s]) => [s + (gradient[0] ** 2 + gradient[1] ** 2) / 2],
};

for (const optimizer of ["sgd", "adagrad", "rwsadagrad"] as const) {
  Deno.test(`reference: ${optimizer} of rows that repeat in a batch updates each once with its whole gradient`, () => {
    const { header, segments, segmentBags, dPooled, gradients } = repeatedRows();
    const stateWords = { sgd: 0, adagrad: 2, rwsadagrad: 1 }[optimizer];
    const table = Float32Array.from({ length: 12 }, (_, i) => i / 4);
    const state = Float32Array.from({ length: 6 * stateWords }, (_, i) => i / 8);
    const expectedTable = [...table];
    const expectedState = [...state];
    for (const row of [1, 4]) {
      const before = expectedState.slice(row * stateWords, (row + 1) * stateWords);
      const after = STATES[optimizer](gradients[row], before);
      expectedState.splice(row * stateWords, stateWords, ...after);
      gradients[row].forEach((g, d) => {
        const root = optimizer === "sgd" ? 1 : Math.sqrt(after[optimizer === "adagrad" ? d : 0]);
        expectedTable[2 * row + d] -= 0.5 * g / root;
      });
    }
    const shape = { optimizer, dim: 2, rank: 0, ranks: 1 };
    reference.updateRows(shape, header, segments, segmentBags, dPooled, buffer(table), buffer(state));
    assertClose(table, expectedTable, 1e-6, "table");
    assertClose(state, expectedState, 1e-6, "state");
  });

  Deno.test(`reference: dense ${optimizer}`, () => {
    const { header } = repeatedRows();
    const parameters = Float32Array.of(1, 2, 3);
    const state = Float32Array.of(0, 1, 4);
    const gradients = Float32Array.of(0.5, -1, 0);
    reference.updateDense(optimizer, 3, header, buffer(parameters), buffer(gradients), buffer(state));
    // Row-wise Adagrad has no rows here and is Adagrad.
    const squares = optimizer === "sgd" ? [0, 1, 4] : [0.25, 2, 4];
    const expected = optimizer === "sgd"
      ? [0.75, 2.5, 3]
      : [1 - 0.5 * 0.5 / Math.sqrt(0.25), 2 + 0.5 / Math.sqrt(2), 3];
    assertClose(state, squares, 1e-7, "state");
    assertClose(parameters, expected, 1e-6, "parameters");
  });
}

Deno.test("reference: a gradient of zero changes no row and no parameter without state", () => {
  const { header, segments, segmentBags } = repeatedRows();
  for (const optimizer of ["adagrad", "rwsadagrad"] as const) {
    const table = new Float32Array(12).fill(1);
    const state = new Float32Array(12);
    const zero = buffer(new Float32Array(12));
    const shape = { optimizer, dim: 2, rank: 0, ranks: 1 };
    reference.updateRows(shape, header, segments, segmentBags, zero, buffer(table), buffer(state));
    reference.updateDense(optimizer, 12, header, buffer(table), zero, buffer(state));
    assert.ok(table.every((x) => x === 1) && state.every((x) => x === 0));
  }
});
