/** Stochastic gradient descent: `w -= rate * g`. */
import { Header } from "../batch_header.ts";
import type { Optimizer, UpdateWeights } from "./optimizer.ts";

const update: UpdateWeights = (header, count, weights, at, gradient, gradientAt) => {
  const rate = header[Header.learningRate];
  for (let i = 0; i < count; i++) weights[at + i] -= rate * gradient[gradientAt + i];
};

/** Keeps no state. */
export const SGD: Optimizer = {
  kernel: "sgd",
  code: 0,
  learningRate: 0.1,
  rowStateWords: () => 0,
  denseStateWords: () => 0,
  signedState: false,
  updateRow: update,
  updateDense: update,
};
