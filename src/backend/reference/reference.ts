/**
 * The reference backend: plain TypeScript with sums in double precision. It defines every operation; the other backends
 * are tested against it. It is slow by design.
 */
import {
  type Buffer,
  type DropoutShape,
  Header,
  type HostBackend,
  type InteractionGradients,
  type InteractionShape,
  interactionWidth,
  type LinearGradients,
  type LinearShape,
  type MachineGradients,
  type MachineShape,
  type MultiplyAddGradients,
  type MultiplyAddOperands,
  type MultiplyAddShape,
  type RowUpdateShape,
  vectorsPassedOn,
} from "../backend.ts";
import { type OptimizerName, OPTIMIZERS, rowStateWords } from "../../optimizer/optimizers.ts";
import { mix } from "../../random.ts";
import { type HostBuffer, HostMemory } from "../host_memory.ts";

/** See backend.ts for the operations. */
export class ReferenceBackend extends HostMemory implements HostBackend {
  readonly blas = null;
  readonly addsProducts = true;
  readonly name: string = "reference (plain TypeScript)";

  linear(shape: LinearShape, samples: number, x: Buffer, weight: Buffer, bias: Buffer | undefined, y: Buffer): void {
    const { inputs, outputs, activation, stride = inputs } = shape;
    const [X, W, B, Y] = [floats(x), floats(weight), bias && floats(bias), floats(y)];
    for (let i = 0; i < samples; i++) {
      for (let o = 0; o < outputs; o++) {
        let sum = B?.[o] ?? 0;
        for (let k = 0; k < inputs; k++) sum += X[i * stride + k] * W[o * inputs + k];
        if (activation === "relu") sum = Math.max(sum, 0);
        if (activation === "sigmoid") sum = sigmoid(sum);
        Y[i * outputs + o] = sum;
      }
    }
  }

  linearBackward(shape: LinearShape, samples: number, buffers: LinearGradients): void {
    const { x, weight, y, dY, dX, dWeight, dBias, addsX = false, addsWeight = false } = buffers;
    const { inputs, outputs, activation, stride = inputs } = shape;
    const [X, W, Y, DY, DW] = [x, weight, y, dY, dWeight].map(floats);
    const DB = dBias && floats(dBias);
    for (let i = 0; i < samples * outputs; i++) {
      if (activation === "relu" && Y[i] <= 0) DY[i] = 0;
      if (activation === "sigmoid") DY[i] *= Y[i] * (1 - Y[i]);
    }
    for (let o = 0; o < outputs; o++) {
      let sum = 0;
      for (let i = 0; i < samples; i++) sum += DY[i * outputs + o];
      if (DB !== undefined) DB[o] = sum;
      for (let k = 0; k < inputs; k++) {
        sum = 0;
        for (let i = 0; i < samples; i++) sum += DY[i * outputs + o] * X[i * stride + k];
        DW[o * inputs + k] = (addsWeight ? DW[o * inputs + k] : 0) + sum;
      }
    }
    if (dX === undefined) return;
    const DX = floats(dX);
    for (let i = 0; i < samples; i++) {
      for (let k = 0; k < inputs; k++) {
        let sum = 0;
        for (let o = 0; o < outputs; o++) sum += DY[i * outputs + o] * W[o * inputs + k];
        DX[i * stride + k] = (addsX ? DX[i * stride + k] : 0) + sum;
      }
    }
  }

  columnSums(samples: number, columns: number, x: Buffer, sums: Buffer): void {
    for (let c = 0; c < columns; c++) {
      let sum = 0;
      for (let i = 0; i < samples; i++) sum += floats(x)[i * columns + c];
      floats(sums)[c] = sum;
    }
  }

  pool(
    bags: number,
    dim: number,
    table: Buffer,
    indices: Buffer,
    offsets: Buffer | undefined,
    pooled: Buffer,
    weights?: Buffer,
  ): void {
    const [T, I, P, W] = [floats(table), integers(indices), floats(pooled), weights && floats(weights)];
    for (let bag = 0; bag < bags; bag++) {
      const begin = offsets === undefined ? bag : integers(offsets)[bag];
      const end = offsets === undefined ? bag + 1 : integers(offsets)[bag + 1];
      for (let d = 0; d < dim; d++) {
        let sum = 0;
        for (let k = begin; k < end; k++) sum += weighted(W, k, T[I[k] * dim + d]);
        P[bag * dim + d] = sum;
      }
    }
  }

  meanOfBags(bags: number, dim: number, offsets: Buffer, x: Buffer, y: Buffer): void {
    const [X, O, Y] = [floats(x), integers(offsets), floats(y)];
    for (let bag = 0; bag < bags; bag++) {
      const lookups = Math.max(O[bag + 1] - O[bag], 1);
      for (let d = bag * dim; d < (bag + 1) * dim; d++) Y[d] = X[d] / lookups;
    }
  }

  interact(shape: InteractionShape, samples: number, bottom: Buffer | undefined, pooled: Buffer, output: Buffer): void {
    const { kind, dim, stride = interactionWidth(shape) } = shape;
    const passed = vectorsPassedOn(shape);
    const out = floats(output);
    for (let sample = 0; sample < samples; sample++) {
      const vectors = vectorsOf(shape, sample, bottom, pooled);
      let next = sample * stride;
      for (let v = 0; v < passed; v++) {
        for (let d = 0; d < dim; d++) out[next++] = vectors[v][d];
      }
      if (kind === "cat") continue;
      for (let i = 1; i < vectors.length; i++) {
        for (let j = 0; j < i; j++) {
          let sum = 0;
          for (let d = 0; d < dim; d++) sum += vectors[i][d] * vectors[j][d];
          out[next++] = sum;
        }
      }
    }
  }

  interactBackward(shape: InteractionShape, samples: number, buffers: InteractionGradients): void {
    const { bottom, pooled, dOutput, dBottom, dPooled } = buffers;
    const { kind, dim, stride = interactionWidth(shape) } = shape;
    const passed = vectorsPassedOn(shape);
    const dOut = floats(dOutput);
    for (let sample = 0; sample < samples; sample++) {
      const vectors = vectorsOf(shape, sample, bottom, pooled);
      const gradients = vectorsOf(shape, sample, dBottom, dPooled);
      const sums = gradients.map(() => new Float64Array(dim));
      let next = sample * stride;
      for (let v = 0; v < passed; v++) {
        for (let d = 0; d < dim; d++) sums[v][d] = dOut[next++];
      }
      for (let i = 1; i < vectors.length && kind === "dot"; i++) {
        for (let j = 0; j < i; j++) {
          const g = dOut[next++];
          for (let d = 0; d < dim; d++) {
            sums[i][d] += g * vectors[j][d];
            sums[j][d] += g * vectors[i][d];
          }
        }
      }
      gradients.forEach((gradient, v) => gradient.set(sums[v]));
    }
  }

  factorise(shape: MachineShape, samples: number, pooled: Buffer, bias: Buffer, y: Buffer): void {
    const { degree, sharedBias, tables, dim } = shape;
    const [P, B, Y] = [pooled, bias, y].map(floats);
    for (let sample = 0; sample < samples; sample++) {
      let sum = B[sharedBias ? 0 : sample];
      for (let d = 0; d < dim; d++) {
        let before = 0;
        for (let t = 0; t < tables; t++) {
          const value = P[(sample * tables + t) * dim + d];
          if (d === dim - 1) sum += value;
          else if (degree === 2) sum += before * value;
          before += value;
        }
      }
      Y[sample] = sum;
    }
  }

  factoriseBackward(shape: MachineShape, samples: number, buffers: MachineGradients): void {
    const { pooled, dY, dPooled, dBias } = buffers;
    const { degree, tables, dim } = shape;
    const [P, DY, DP] = [pooled, dY, dPooled].map(floats);
    for (let sample = 0; sample < samples; sample++) {
      for (let d = 0; d < dim; d++) {
        const at = (t: number) => (sample * tables + t) * dim + d;
        let total = 0;
        for (let t = 0; t < tables; t++) total += P[at(t)];
        for (let t = 0; t < tables; t++) {
          if (d === dim - 1) DP[at(t)] = DY[sample];
          else DP[at(t)] = degree === 2 ? DY[sample] * (total - P[at(t)]) : 0;
        }
      }
      if (dBias !== undefined) floats(dBias)[sample] = DY[sample];
    }
  }

  loss(samples: number, header: Buffer, logits: Buffer, labels: Buffer, dLogits: Buffer, lossSum: Buffer): void {
    const [Z, L, D] = [floats(logits), floats(labels), floats(dLogits)];
    const batch = integers(header)[Header.samples];
    const { [Header.positiveWeight]: extra, [Header.labelSmoothing]: smoothing } = floats(header);
    let sum = 0;
    for (let i = 0; i < samples; i++) {
      const raw = Number(L[i] > 0);
      const weight = L[i] === 0 ? 1 : Math.abs(L[i]);
      const label = raw + smoothing * (0.5 - raw);
      const positive = (1 + extra) * label;
      const both = 1 + extra * label;
      sum += weight * (both * Math.max(Z[i], 0) - Z[i] * positive + both * Math.log1p(Math.exp(-Math.abs(Z[i]))));
      D[i] = weight * (both * sigmoid(Z[i]) - positive) / batch;
    }
    floats(lossSum)[0] += sum;
  }

  updateRows(
    shape: RowUpdateShape,
    header: Buffer,
    segments: Buffer,
    segmentBags: Buffer,
    dPooled: Buffer,
    table: Buffer,
    state: Buffer | undefined,
    segmentWeights?: Buffer,
  ): void {
    const { optimizer, dim } = shape;
    const { updateRow } = OPTIMIZERS[optimizer];
    const stateWords = rowStateWords(optimizer, dim);
    const kept = state === undefined ? NO_STATE : floats(state);
    const l2 = floats(header)[Header.rowL2];
    for (const { row, gradient } of rowGradients(shape, header, segments, segmentBags, dPooled, segmentWeights)) {
      for (let d = 0; l2 !== 0 && d < dim; d++) gradient[d] += l2 * floats(table)[row * dim + d];
      updateRow(floats(header), dim, floats(table), row * dim, gradient, 0, kept, row * stateWords);
    }
  }

  updateDense(
    optimizer: OptimizerName,
    words: number,
    header: Buffer,
    parameters: Buffer,
    gradients: Buffer,
    state: Buffer | undefined,
  ): void {
    const kept = state === undefined ? NO_STATE : floats(state);
    OPTIMIZERS[optimizer].updateDense(floats(header), words, floats(parameters), 0, floats(gradients), 0, kept, 0);
  }

  packRows(count: number, dim: number, table: Buffer, rows: Buffer, packed: Buffer): void {
    for (let i = 0; i < count; i++) {
      const row = integers(rows)[i];
      floats(packed).set(floats(table).subarray(row * dim, (row + 1) * dim), i * dim);
    }
  }

  unpackRows(count: number, dim: number, packed: Buffer, rows: Buffer, table: Buffer): void {
    for (let i = 0; i < count; i++) {
      const row = integers(rows)[i];
      floats(table).set(floats(packed).subarray(i * dim, (i + 1) * dim), row * dim);
    }
  }

  add(words: number, source: Buffer, target: Buffer): void {
    for (let i = 0; i < words; i++) floats(target)[i] += floats(source)[i];
  }

  dropout(
    { width, rate, key, firstSample }: DropoutShape,
    samples: number,
    header: Buffer,
    x: Buffer,
    y: Buffer,
  ): void {
    const step = integers(header)[Header.step];
    const mask = mix(key + Math.imul(0x9e3779b9, step));
    const dropped = rate * 2 ** 32;
    for (let i = 0; i < samples * width; i++) {
      const bits = mix((firstSample * width + i) ^ mask) >>> 0;
      floats(y)[i] = floats(x)[i] * (step === 0 ? 1 : bits < dropped ? 0 : 1 / (1 - rate));
    }
  }

  multiplyAdd({ width }: MultiplyAddShape, samples: number, { a, b, bias, c }: MultiplyAddOperands, y: Buffer): void {
    const [A, B, BIAS, C, Y] = [a, b, bias, c, y].map(floats);
    for (let i = 0; i < samples * width; i++) Y[i] = A[i] * (B[i] + BIAS[i % width]) + C[i];
  }

  multiplyAddBackward(
    { width, addsA = false, addsC = false }: MultiplyAddShape,
    samples: number,
    { a, b, bias, dY, dA, dB, dBias, dC }: MultiplyAddGradients,
  ): void {
    const [A, B, BIAS, DY, DA, DB] = [a, b, bias, dY, dA, dB].map(floats);
    const DC = dC && floats(dC);
    for (let i = 0; i < samples * width; i++) {
      const gradient = DY[i];
      if (DC !== undefined && !addsC) DC[i] = gradient;
      DA[i] = (B[i] + BIAS[i % width]) * gradient + (addsA ? DA[i] : 0);
      if (DC !== undefined && addsC) DC[i] += gradient;
      DB[i] = A[i] * gradient;
    }
    this.columnSums(samples, width, dB, dBias);
  }

  scale(words: number, factor: number, x: Buffer): void {
    for (let i = 0; i < words; i++) floats(x)[i] *= factor;
  }

  squares(words: number, x: Buffer): number {
    return sumOfSquares(floats(x).subarray(0, words));
  }

  rowSquares(
    shape: RowUpdateShape,
    header: Buffer,
    segments: Buffer,
    segmentBags: Buffer,
    dPooled: Buffer,
    segmentWeights?: Buffer,
  ): number {
    let sum = 0;
    for (const { gradient } of rowGradients(shape, header, segments, segmentBags, dPooled, segmentWeights)) {
      sum += sumOfSquares(Float32Array.from(gradient));
    }
    return sum;
  }
}

/** State of optimizers without state. */
const NO_STATE = new Float32Array(0);

/** The rows of a batch that one rank updates, each with the sum of the gradients of its bags. The array is reused. */
function* rowGradients(
  { dim, rank, ranks }: RowUpdateShape,
  header: Buffer,
  segments: Buffer,
  segmentBags: Buffer,
  dPooled: Buffer,
  segmentWeights: Buffer | undefined,
): Generator<{ readonly row: number; readonly gradient: Float64Array }> {
  const [S, bags, D] = [integers(segments), integers(segmentBags), floats(dPooled)];
  const W = segmentWeights && floats(segmentWeights);
  const lookups = integers(header)[Header.lookups];
  const from = Math.floor(lookups * rank / ranks);
  const to = Math.floor(lookups * (rank + 1) / ranks);
  const gradient = new Float64Array(dim);
  for (let s = 0; s < integers(header)[Header.distinct]; s++) {
    const [row, begin, end] = [S[2 * s], S[2 * s + 1], S[2 * s + 3]];
    if (begin < from || begin >= to) continue;
    gradient.fill(0);
    for (let k = begin; k < end; k++) {
      for (let d = 0; d < dim; d++) gradient[d] += weighted(W, k, D[bags[k] * dim + d]);
    }
    yield { row, gradient };
  }
}

/** x times weight k, if there are weights. */
function weighted(weights: Float32Array | undefined, k: number, x: number): number {
  return weights === undefined ? x : weights[k] * x;
}

function sumOfSquares(values: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] * values[i];
  return sum;
}

function floats(buffer: Buffer): Float32Array {
  return (buffer as HostBuffer).floats;
}

function integers(buffer: Buffer): Uint32Array {
  return (buffer as HostBuffer).integers;
}

/** The vectors that interact in one sample: the bottom vector, if there is one, and one vector per table. */
function vectorsOf({ tables, dim }: InteractionShape, sample: number, bottom: Buffer | undefined, pooled: Buffer) {
  const vector = (buffer: Buffer, index: number) => floats(buffer).subarray(index * dim, (index + 1) * dim);
  const vectors = bottom === undefined ? [] : [vector(bottom, sample)];
  for (let t = 0; t < tables; t++) vectors.push(vector(pooled, sample * tables + t));
  return vectors;
}

function sigmoid(x: number): number {
  return x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x));
}
