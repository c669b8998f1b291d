/**
 * Adagrad (Duchi, Hazan and Singer, JMLR 12, 2011) as `torch.optim.Adagrad`, and its row-wise form, which keeps one sum of
 * squares for an embedding row.
 */
import { Header } from "../batch_header.ts";
import type { Optimizer, UpdateWeights } from "./optimizer.ts";

/** Added to the root of the accumulated squares, as PyTorch does. */
const EPSILON = 1e-10;

/** `s += g²`, `w -= rate * g / (sqrt(s) + epsilon)`. */
const update: UpdateWeights = (header, count, weights, at, gradient, gradientAt, state, stateAt) => {
  const rate = header[Header.learningRate];
  for (let i = 0; i < count; i++) {
    const g = gradient[gradientAt + i];
    state[stateAt + i] += g * g;
    weights[at + i] -= rate * g / (Math.sqrt(state[stateAt + i]) + EPSILON);
  }
};

/** `s += mean of g²`, `w -= rate * g / (sqrt(s) + epsilon)`. */
const updateRow: UpdateWeights = (header, count, weights, at, gradient, gradientAt, state, stateAt) => {
  const rate = header[Header.learningRate];
  let squares = 0;
  for (let i = 0; i < count; i++) squares += gradient[gradientAt + i] * gradient[gradientAt + i];
  state[stateAt] += squares / count;
  const scale = Math.sqrt(state[stateAt]) + EPSILON;
  for (let i = 0; i < count; i++) weights[at + i] -= rate * gradient[gradientAt + i] / scale;
};

/** State: the sum of squared gradients of each weight. */
export const ADAGRAD: Optimizer = {
  kernel: "adagrad",
  code: 1,
  learningRate: 0.01,
  rowStateWords: (dim) => dim,
  denseStateWords: (weights) => weights,
  signedState: false,
  updateRow: update,
  updateDense: update,
};

/** State: one sum per row, of the mean squares of its gradients; dense parameters are updated as by Adagrad. */
export const ROW_WISE_ADAGRAD: Optimizer = {
  ...ADAGRAD,
  kernel: "rwsadagrad",
  code: 2,
  learningRate: 0.03,
  rowStateWords: () => 1,
  updateRow,
};
