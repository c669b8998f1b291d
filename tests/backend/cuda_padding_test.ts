/**
 * Layers with padded inputs have the results of those without, whatever their operands hold: the words behind the inputs
 * stay 0, and what is computed from them is not seen.
 */
import assert from "node:assert/strict";
import { type Activation, type Backend, type Buffer, interactionWidth } from "../../src/backend/backend.ts";
import { openCuda } from "../../src/backend/cuda/open.ts";
import { ReferenceBackend } from "../../src/backend/reference/reference.ts";
import { Random } from "../../src/random.ts";
import { testDevice } from "../support/cuda_device.ts";
import { normals } from "./operands.ts";

const BACKENDS = [
  { name: "the reference", open: () => new ReferenceBackend(), tolerance: 0 },
  // A GPU multiplies padded inputs by another algorithm.
  ...([["tf32", "ptx", 2e-3], ["tf32", "auto", 2e-3], ["bf16", "cudnn", 2e-2]] as const).map((
    [precision, activations, tolerance],
  ) => ({
    name: `${precision}, activations ${activations}`,
    open: () => openCuda({ device: testDevice, precision, activations }),
    tolerance: testDevice === "emulated" ? 0 : tolerance,
  })),
];

/** Rows of `width` values, `stride` words apart, with `behind` after each. */
function strided(values: Float32Array, width: number, stride: number, behind: number): Float32Array<ArrayBuffer> {
  const rows = values.length / width, result = new Float32Array(rows * stride).fill(behind);
  for (let row = 0; row < rows; row++) result.set(values.subarray(row * width, (row + 1) * width), row * stride);
  return result;
}

/** The first `width` columns, and all others. */
function split(values: Float32Array, width: number, stride: number): [columns: number[], behind: number[]] {
  return [[...values].filter((_, i) => i % stride < width), [...values].filter((_, i) => i % stride >= width)];
}

function upload(backend: Backend, values: Float32Array): Buffer {
  const buffer = backend.allocate(values.length, "operand");
  if (values.length > 0) backend.upload(values, buffer);
  return buffer;
}

function download(backend: Backend, buffer: Buffer): Float32Array<ArrayBuffer> {
  const values = new Float32Array(buffer.words);
  backend.download(buffer, values);
  return values;
}

function assertSame(actual: readonly number[], expected: readonly number[], tolerance: number, what: string): void {
  assert.equal(actual.length, expected.length, what);
  actual.forEach((value, i) => {
    const near = Math.abs(value - expected[i]) <= tolerance * Math.max(1, Math.abs(expected[i]));
    if (near || Object.is(value, expected[i])) return;
    assert.fail(`${what}: element ${i} is ${value}, without padding ${expected[i]}`);
  });
}

type Operands = Record<"x" | "weight" | "bias" | "dY", Float32Array>;

/** A layer whose inputs are `stride` words apart, run once for each of `steps` on the same buffers. */
function runLayer(
  backend: Backend,
  shape: { inputs: number; outputs: number; activation: Activation; stride: number },
  samples: number,
  steps: readonly Operands[],
) {
  const { inputs, outputs, stride } = shape;
  const empty = (words: number) => upload(backend, new Float32Array(words));
  const x = empty(samples * stride), weight = empty(outputs * inputs), bias = empty(outputs);
  const y = empty(samples * outputs), dY = empty(samples * outputs), dX = empty(samples * stride);
  const dWeight = empty(outputs * inputs), dBias = empty(outputs);
  backend.prepareLinear(shape, x, weight);
  return steps.map((step) => {
    if (samples > 0) {
      backend.upload(strided(step.x, inputs, stride, 0), x);
      backend.upload(step.dY, dY);
    }
    backend.upload(step.weight, weight);
    backend.upload(step.bias, bias);
    backend.linear(shape, samples, x, weight, bias, y);
    backend.linearBackward(shape, samples, { x, weight, y, dY, dX, dWeight, dBias });
    const [xColumns, behind] = split(download(backend, x), inputs, stride);
    assert.ok(behind.every((word) => word === 0), "words behind the inputs are 0");
    const results = { y, dY, dWeight, dBias, weight };
    return {
      x: xColumns,
      dX: split(download(backend, dX), inputs, stride)[0],
      ...Object.fromEntries(Object.entries(results).map(([name, buffer]) => [name, [...download(backend, buffer)]])),
    } as Record<string, number[]>;
  });
}

const LAYERS = [[1, 1, 1], [5, 7, 9], [9, 13, 16], [3, 367, 2], [3, 6, 4], [0, 5, 3]];

for (const { name, open, tolerance } of BACKENDS) {
  Deno.test(`a layer with padded inputs, after NaN and infinity in each operand too: ${name}`, () => {
    using backend = open();
    const random = new Random(1);
    for (const [samples, inputs, outputs] of LAYERS) {
      for (const activation of ["identity", "relu", "sigmoid"] as const) {
        const operands: Operands = {
          x: normals(samples * inputs, random),
          weight: normals(inputs * outputs, random).map((w) => w / Math.sqrt(inputs)),
          bias: normals(outputs, random),
          dY: normals(samples * outputs, random).map((g) => g / Math.max(samples, outputs)),
        };
        const steps = (["x", "weight", "dY"] as const).flatMap((operand) =>
          [NaN, Infinity, -Infinity].flatMap((value) => {
            const values = operands[operand];
            return values.length === 0 ? [] : [{ ...operands, [operand]: values.with(values.length - 1, value) }];
          })
        );
        const all = [operands, ...steps, operands];
        const shape = { inputs, outputs, activation };
        const plain = runLayer(backend, { ...shape, stride: inputs }, samples, all);
        const padded = runLayer(backend, { ...shape, stride: Math.ceil(inputs / 4) * 4 }, samples, all);
        plain.forEach((expected, step) => {
          for (const [operand, values] of Object.entries(expected)) {
            const what = `${operand} of ${samples} samples, ${inputs} to ${outputs}, ${activation}, step ${step}`;
            assertSame(padded[step][operand], values, tolerance, what);
          }
        });
      }
    }
  });

  Deno.test(`an interaction writes and reads rows with a stride, and touches nothing behind them: ${name}`, () => {
    using backend = open();
    const random = new Random(2);
    for (const [kind, bottom] of [["dot", true], ["cat", true], ["dot", false]] as const) {
      for (const [samples, tables, dim] of [[1, 1, 1], [3, 2, 5], [2, 26, 16], [4, 7, 4]]) {
        const shape = { kind, bottom, tables, dim }, width = interactionWidth(shape);
        const x = bottom ? upload(backend, normals(samples * dim, random)) : undefined;
        const pooled = upload(backend, normals(samples * tables * dim, random));
        const gradients = normals(samples * width, random);
        const run = (stride: number) => {
          const output = upload(backend, new Float32Array(samples * stride).fill(7));
          const dOutput = upload(backend, strided(gradients, width, stride, NaN));
          const dX = x && upload(backend, new Float32Array(samples * dim)),
            dPooled = upload(backend, new Float32Array(pooled.words));
          backend.interact({ ...shape, stride }, samples, x, pooled, output);
          backend.interactBackward({ ...shape, stride }, samples, { bottom: x, pooled, dOutput, dBottom: dX, dPooled });
          const [columns, behind] = split(download(backend, output), width, stride);
          assert.ok(behind.every((word) => word === 7));
          return [columns, dX === undefined ? [] : [...download(backend, dX)], [...download(backend, dPooled)]];
        };
        assert.deepEqual(run(width + 1), run(width));
        assert.deepEqual(run(width + 3), run(width));
      }
    }
  });
}

Deno.test("inputs are padded to whole 16 bytes in tf32 and bf16, and not in fp32 or on a host", () => {
  using reference = new ReferenceBackend();
  assert.equal(reference.strideOf(367), 367);
  for (const [precision, stride] of [["fp32", 367], ["tf32", 368], ["bf16", 368]] as const) {
    using backend = openCuda({ device: testDevice, precision });
    assert.deepEqual([1, 367, 368].map((width) => backend.strideOf(width)), [
      precision === "fp32" ? 1 : 4,
      stride,
      368,
    ]);
  }
});
