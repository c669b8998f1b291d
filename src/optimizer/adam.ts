/**
 * Adam (Kingma and Ba, ICLR 2015) as `torch.optim.Adam`, and AdamW (Loshchilov and Hutter, ICLR 2019) as
 * `torch.optim.AdamW`, with decoupled weight decay.
 *
 * Embedding rows are updated lazily: a step updates and decays only the rows that its batch looked up. The moments of
 * other rows do not change, while the bias correction counts all steps of the run. A row that every batch looks up is
 * therefore updated as in PyTorch with dense gradients; `torch.optim.SparseAdam` has the same rule, but adds epsilon
 * before the correction.
 */
import { Header } from "../batch_header.ts";
import type { Optimizer, UpdateWeights } from "./optimizer.ts";

const BETA_1 = 0.9;
const BETA_2 = 0.999;
const EPSILON = 1e-8;

/** Positions in the header: the same as in the kernels. */
const Rates = {
  /** Learning rate over `1 - beta1^step`. */
  stepSize: Header.optimizer,
  /** `1 / sqrt(1 - beta2^step)`. */
  rootCorrection: Header.optimizer + 1,
  /** `1 - beta1` and `1 - beta2`. */
  meanGain: Header.optimizer + 2,
  squareGain: Header.optimizer + 3,
  epsilon: Header.optimizer + 4,
  /** L2 factor: weights times this are added to the gradients. */
  l2: Header.optimizer + 5,
  /** Factor of decoupled weight decay: the share of a weight that remains. */
  left: Header.optimizer + 6,
} as const;

function writeHeader(header: Float32Array, learningRate: number, step: number, l2: number, decay: number): void {
  header[Rates.stepSize] = learningRate / (1 - BETA_1 ** step);
  header[Rates.rootCorrection] = 1 / Math.sqrt(1 - BETA_2 ** step);
  header[Rates.meanGain] = 1 - BETA_1;
  header[Rates.squareGain] = 1 - BETA_2;
  header[Rates.epsilon] = EPSILON;
  header[Rates.l2] = l2;
  header[Rates.left] = 1 - learningRate * decay;
}

/**
 * `g += l2 w`, `m += (1 - beta1) (g - m)`, `v += (1 - beta2) (g² - v)`,
 * `w = left w - stepSize m / (sqrt(v) rootCorrection + epsilon)`; state is (m, v) of each weight in turn.
 */
const update: UpdateWeights = (header, count, weights, at, gradient, gradientAt, state, stateAt) => {
  const [stepSize, rootCorrection] = [header[Rates.stepSize], header[Rates.rootCorrection]];
  const [meanGain, squareGain] = [header[Rates.meanGain], header[Rates.squareGain]];
  const [epsilon, l2, left] = [header[Rates.epsilon], header[Rates.l2], header[Rates.left]];
  for (let i = 0; i < count; i++) {
    const weight = weights[at + i];
    const g = gradient[gradientAt + i] + l2 * weight;
    const mean = stateAt + 2 * i, square = mean + 1;
    state[mean] += meanGain * (g - state[mean]);
    state[square] += squareGain * (g * g - state[square]);
    weights[at + i] = left * weight - stepSize * state[mean] / (Math.sqrt(state[square]) * rootCorrection + epsilon);
  }
};

/** State: moving means of each weight's gradient and of its square; weight decay is L2. */
export const ADAM: Optimizer = {
  kernel: "adam",
  code: 3,
  learningRate: 0.001,
  weightDecay: 0,
  rowStateWords: (dim) => 2 * dim,
  denseStateWords: (weights) => 2 * weights,
  signedState: true,
  writeHeader: (header, learningRate, step, weightDecay) => writeHeader(header, learningRate, step, weightDecay, 0),
  updateRow: update,
  updateDense: update,
};

/** Adam with decoupled weight decay. */
export const ADAMW: Optimizer = {
  ...ADAM,
  weightDecay: 0.01,
  writeHeader: (header, learningRate, step, weightDecay) => writeHeader(header, learningRate, step, 0, weightDecay),
};
