/** Operations over steps for `special_values.ts`. */
import { operand, output } from "./operands.ts";
import { type Case, define, powers, SAMPLES } from "./special_case.ts";

/** Those of vectors of a width. */
export function* stepsOf(width: number): Generator<Case> {
  const steps = 3;
  const shape = { steps, width };
  const words = SAMPLES * steps * width;
  const x = operand(powers(words));
  const weights = operand(powers(SAMPLES * (steps - 1)));
  yield define({
    what: `norms, width ${width}`,
    operands: { x, y: output(words) },
    inputs: ["x"],
    run: (backend, b) => backend.stepAttention.normalise(SAMPLES * steps, width, b.x, b.y),
  });
  yield define({
    what: `gradients of norms, width ${width}`,
    // Not parallel to x, where the gradient would be 0 up to rounding.
    operands: { x, dY: operand(powers(words + 3).subarray(3)), dX: output(words) },
    inputs: ["x", "dY"],
    run: (backend, b) => backend.stepAttention.normaliseBackward(SAMPLES * steps, width, b.x, b.dY, b.dX),
  });
  yield define({
    what: `scores of steps, width ${width}`,
    operands: { x, y: output(SAMPLES * (steps - 1)) },
    inputs: ["x"],
    run: (backend, b) => backend.stepAttention.scoreSteps(shape, SAMPLES, b.x, b.y),
  });
  yield define({
    what: `gradients of scores of steps, width ${width}`,
    operands: { x, dY: weights, dX: output(words) },
    inputs: ["x", "dY"],
    run: (backend, b) => backend.stepAttention.scoreStepsBackward(shape, SAMPLES, b.x, b.dY, b.dX),
  });
  yield define({
    what: `weighted sums of steps, width ${width}`,
    operands: { x, weights, y: output(2 * SAMPLES * width) },
    inputs: ["x", "weights"],
    run: (backend, b) => backend.stepAttention.weighSteps(shape, SAMPLES, b.x, b.weights, b.y),
  });
  yield define({
    what: `gradients of weighted sums of steps, width ${width}`,
    operands: {
      ...{ x, weights, dY: operand(powers(2 * SAMPLES * width)) },
      ...{ dX: output(words), dWeights: output(SAMPLES * (steps - 1)) },
    },
    inputs: ["x", "weights", "dY"],
    run: (backend, b) => backend.stepAttention.weighStepsBackward(shape, SAMPLES, b),
  });
}
