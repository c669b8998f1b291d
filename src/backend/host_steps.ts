/** Operations over steps on the words of a host's buffers, with sums in double precision: they are small. */
import type { Buffer, HostBackend, StepAttention, StepsShape, WeighedStepsGradients } from "./backend.ts";

/** A norm below this is replaced by it, as in torch.nn.functional.normalize. */
const SMALLEST_NORM = 1e-12;

/** The operations of a host. */
export class HostStepAttention implements StepAttention {
  readonly #host: Pick<HostBackend, "floats">;

  /** Computes on buffers of this host. */
  constructor(host: Pick<HostBackend, "floats">) {
    this.#host = host;
  }

  normalise(rows: number, width: number, x: Buffer, y: Buffer): void {
    const X = this.#host.floats(x);
    const Y = this.#host.floats(y);
    for (let at = 0; at < rows * width; at += width) {
      const norm = Math.max(normOf(X, at, width), SMALLEST_NORM);
      for (let d = at; d < at + width; d++) Y[d] = X[d] / norm;
    }
  }

  normaliseBackward(rows: number, width: number, x: Buffer, dY: Buffer, dX: Buffer): void {
    const X = this.#host.floats(x);
    const DY = this.#host.floats(dY);
    const DX = this.#host.floats(dX);
    for (let at = 0; at < rows * width; at += width) {
      const norm = normOf(X, at, width);
      const divisor = Math.max(norm, SMALLEST_NORM);
      // Below the smallest norm the divisor is constant.
      let along = 0;
      if (!(norm < SMALLEST_NORM)) {
        for (let d = at; d < at + width; d++) along += X[d] * DY[d];
        along /= norm * norm;
      }
      for (let d = at; d < at + width; d++) DX[d] = (DY[d] - along * X[d]) / divisor;
    }
  }

  scoreSteps({ steps, width }: StepsShape, samples: number, x: Buffer, y: Buffer): void {
    const X = this.#host.floats(x);
    const Y = this.#host.floats(y);
    const others = steps - 1;
    for (let s = 0; s < samples; s++) {
      const first = s * steps * width;
      const candidate = first + others * width;
      for (let j = 0; j < others; j++) {
        const at = first + j * width;
        let sum = 0;
        for (let d = 0; d < width; d++) sum += X[at + d] * X[candidate + d];
        Y[s * others + j] = sum;
      }
    }
  }

  scoreStepsBackward({ steps, width }: StepsShape, samples: number, x: Buffer, dY: Buffer, dX: Buffer): void {
    const X = this.#host.floats(x);
    const DY = this.#host.floats(dY);
    const DX = this.#host.floats(dX);
    const others = steps - 1;
    for (let s = 0; s < samples; s++) {
      const first = s * steps * width;
      const candidate = first + others * width;
      for (let d = 0; d < width; d++) {
        let sum = 0;
        for (let j = 0; j < others; j++) {
          const slope = DY[s * others + j];
          const at = first + j * width + d;
          DX[at] = slope * X[candidate + d];
          sum += slope * X[at];
        }
        DX[candidate + d] = sum;
      }
    }
  }

  weighSteps({ steps, width }: StepsShape, samples: number, x: Buffer, weights: Buffer, y: Buffer): void {
    const X = this.#host.floats(x);
    const W = this.#host.floats(weights);
    const Y = this.#host.floats(y);
    const others = steps - 1;
    for (let s = 0; s < samples; s++) {
      const first = s * steps * width;
      for (let d = 0; d < width; d++) {
        let sum = 0;
        for (let j = 0; j < others; j++) sum += W[s * others + j] * X[first + j * width + d];
        Y[2 * s * width + d] = sum;
        Y[2 * s * width + width + d] = X[first + others * width + d];
      }
    }
  }

  weighStepsBackward({ steps, width }: StepsShape, samples: number, buffers: WeighedStepsGradients): void {
    const { x, weights, dY, dX, dWeights } = buffers;
    const X = this.#host.floats(x);
    const W = this.#host.floats(weights);
    const DY = this.#host.floats(dY);
    const DX = this.#host.floats(dX);
    const DW = this.#host.floats(dWeights);
    const others = steps - 1;
    for (let s = 0; s < samples; s++) {
      const first = s * steps * width;
      const context = 2 * s * width;
      for (let j = 0; j < others; j++) {
        const weight = W[s * others + j];
        const at = first + j * width;
        let sum = 0;
        for (let d = 0; d < width; d++) {
          sum += DY[context + d] * X[at + d];
          DX[at + d] = weight * DY[context + d];
        }
        DW[s * others + j] = sum;
      }
      for (let d = 0; d < width; d++) DX[first + others * width + d] = DY[context + width + d];
    }
  }
}

function normOf(x: Float32Array, at: number, width: number): number {
  let sum = 0;
  for (let d = at; d < at + width; d++) sum += x[d] * x[d];
  return Math.sqrt(sum);
}
