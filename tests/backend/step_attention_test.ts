/** Operations over steps: their gradients are those of finite differences, and vectors of zeros stay finite. */
import assert from "node:assert/strict";
import { openHost } from "../../src/backend/open.ts";
import type { Buffer, StepAttention } from "../../src/backend/backend.ts";
import { Random } from "../../src/random.ts";

const SHAPE = { steps: 4, width: 3 };
const SAMPLES = 2;
const WORDS = SAMPLES * SHAPE.steps * SHAPE.width;
const WEIGHTS = SAMPLES * (SHAPE.steps - 1);

interface Case {
  readonly outputs: number;
  forward(ops: StepAttention, x: Buffer, weights: Buffer, y: Buffer): void;
  backward(ops: StepAttention, x: Buffer, weights: Buffer, dY: Buffer, dX: Buffer, dWeights: Buffer): void;
}

const CASES: Record<string, Case> = {
  normalise: {
    outputs: WORDS,
    forward: (ops, x, _, y) => ops.normalise(SAMPLES * SHAPE.steps, SHAPE.width, x, y),
    backward: (ops, x, _, dY, dX) => ops.normaliseBackward(SAMPLES * SHAPE.steps, SHAPE.width, x, dY, dX),
  },
  scoreSteps: {
    outputs: WEIGHTS,
    forward: (ops, x, _, y) => ops.scoreSteps(SHAPE, SAMPLES, x, y),
    backward: (ops, x, _, dY, dX) => ops.scoreStepsBackward(SHAPE, SAMPLES, x, dY, dX),
  },
  weighSteps: {
    outputs: SAMPLES * 2 * SHAPE.width,
    forward: (ops, x, weights, y) => ops.weighSteps(SHAPE, SAMPLES, x, weights, y),
    backward: (ops, x, weights, dY, dX, dWeights) =>
      ops.weighStepsBackward(SHAPE, SAMPLES, { x, weights, dY, dX, dWeights }),
  },
};

for (const [name, { outputs, forward, backward }] of Object.entries(CASES)) {
  Deno.test(`${name}: its gradients are those of finite differences`, async () => {
    using host = await openHost({ kind: "reference" });
    const random = new Random(1);
    const filled = (words: number) => {
      const buffer = host.allocate(words, "operand");
      host.floats(buffer).forEach((_, i, floats) => floats[i] = random.normal());
      return buffer;
    };
    const [x, weights, dY] = [filled(WORDS), filled(WEIGHTS), filled(outputs)];
    const [y, dX, dWeights] = [outputs, WORDS, WEIGHTS].map((words) => host.allocate(words, "result"));
    backward(host.stepAttention, x, weights, dY, dX, dWeights);
    const value = () => {
      forward(host.stepAttention, x, weights, y);
      return host.floats(y).reduce((sum, value, i) => sum + value * host.floats(dY)[i], 0);
    };
    const operands: [Buffer, Buffer][] = [
      [x, dX],
      ...(name === "weighSteps" ? [[weights, dWeights] as [Buffer, Buffer]] : []),
    ];
    for (const [operand, gradient] of operands) {
      host.floats(operand).forEach((at, i, floats) => {
        const step = 2 ** -7;
        floats[i] = at + step;
        const above = value();
        floats[i] = at - step;
        const slope = (above - value()) / (2 * step);
        floats[i] = at;
        const found = host.floats(gradient)[i];
        assert.ok(Math.abs(found - slope) < 2e-3, `${i}: ${found}, not ${slope}`);
      });
    }
  });
}

Deno.test("a vector of zeros is normalised to zeros, with a finite gradient, and NaN stays NaN", async () => {
  using host = await openHost({ kind: "reference" });
  const { stepAttention } = host;
  const [x, y, dY, dX] = Array.from({ length: 4 }, () => host.allocate(6, "operand"));
  host.floats(x)[4] = NaN;
  host.floats(dY).fill(1e-13);
  stepAttention.normalise(2, 3, x, y);
  assert.deepEqual([...host.floats(y)], [0, 0, 0, NaN, NaN, NaN]);
  stepAttention.normaliseBackward(2, 3, x, dY, dX);
  assert.ok(host.floats(dX).subarray(0, 3).every((gradient) => Math.abs(gradient - 0.1) < 1e-6));
  assert.ok(host.floats(dX).subarray(3).every(Number.isNaN));
});
