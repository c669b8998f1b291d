/** Comparison of numbers from different computations. */
import assert from "node:assert/strict";

/** Fails unless every number is within `tolerance` of the expected one, relative to the larger of its size and 1. */
export function assertClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
  what: string,
): void {
  assert.equal(actual.length, expected.length, `${what}: length`);
  for (let i = 0; i < expected.length; i++) {
    const allowed = tolerance * Math.max(1, Math.abs(expected[i]));
    if (Math.abs(actual[i] - expected[i]) <= allowed) continue; // a message takes longer than a comparison
    assert.fail(`${what}: element ${i} is ${actual[i]}, expected ${expected[i]}`);
  }
}

/** The largest relative difference of two lists of numbers. */
export function largestError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  assert.equal(actual.length, expected.length);
  let most = 0;
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i] - expected[i]) / Math.abs(expected[i]);
    if (!(error <= most)) most = error; // NaN counts as the largest
  }
  return most;
}
