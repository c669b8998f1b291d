/** Finds the cause of a non-finite or very large loss. Reads all parameters, so it runs only when training ends. */
import type { Backend, Buffer } from "../backend/backend.ts";
import { elementsOf } from "../model/layers/layer.ts";
import { rowStateWords } from "../optimizer/optimizers.ts";
import { ROW_FILES } from "../checkpoint/checkpoint.ts";
import { placeOfWord } from "../checkpoint/weights.ts";
import type { TrainState } from "../ranks/train_state.ts";

const CHUNK_WORDS = 1 << 20;

/** A vector of a run, if it exists, and the names of its words. */
interface Tensor {
  readonly backend: Backend | undefined;
  readonly buffer: Buffer | undefined;
  name(index: number): string;
}

/** The worst value of a vector: the first non-finite number, else the largest. */
interface Worst {
  readonly finite: boolean;
  readonly magnitude: number;
  readonly index: number;
}

/**
 * Names the first non-finite value, in the order of the forward pass and then of the optimizer state, or else the
 * largest value of the model.
 */
export function findBadTensor(
  { plan, device, parameters, denseState, full, hot }: TrainState,
  tables: readonly string[],
  rowAt: (position: number) => number = (position) => position,
) {
  const { dim, optimizer } = plan.shape;
  /** The rows of all tables and of the replica. */
  const ofRows = (part: "weights" | "state", width: number): Tensor[] => [
    {
      backend: full.backend,
      buffer: full[part],
      name(index) {
        const row = rowAt(Math.floor(index / width));
        return row < 0 ? "a row that was only scored" : placeOfWord(plan, ROW_FILES[part], row * width, tables);
      },
    },
    {
      backend: hot?.backend,
      buffer: hot?.[part],
      name: (index) =>
        `${part === "state" ? "the optimizer state of " : ""}hot row ${Math.floor(index / width)} of the replica`,
    },
  ];
  const weights: Tensor[] = plan.layers.flatMap(({ inputs, parameters: placed }) => [
    ...(inputs.some((input) => input === plan.inputs.pooled) ? ofRows("weights", dim) : []),
    ...placed.map(({ first, shape }) => ({
      backend: device,
      buffer: device.view(parameters, first, elementsOf(shape)),
      name: (index: number) => placeOfWord(plan, "dense.f32", first + index, tables),
    })),
  ]);
  const states: Tensor[] = [
    ...ofRows("state", rowStateWords(optimizer, dim)),
    { backend: device, buffer: denseState, name: (index) => placeOfWord(plan, "dense_state.f32", index, tables) },
  ];
  let largest = { where: "nothing", magnitude: -1 };
  for (const [i, { backend, buffer, name }] of [...weights, ...states].entries()) {
    if (backend === undefined || buffer === undefined) continue;
    const { finite, magnitude, index } = worstOf(backend, buffer);
    if (!finite) return `first of all ${name(index)} ${Number.isNaN(magnitude) ? "holds NaN" : "holds infinity"}`;
    if (i < weights.length && magnitude > largest.magnitude) largest = { where: name(index), magnitude };
  }
  return `all parameters are finite, the largest is ${largest.magnitude.toPrecision(3)}, in ${largest.where}`;
}

function worstOf(backend: Backend, buffer: Buffer): Worst {
  const chunk = new Float32Array(Math.min(CHUNK_WORDS, buffer.words));
  let worst: Worst = { finite: true, magnitude: 0, index: 0 };
  for (let first = 0; first < buffer.words; first += CHUNK_WORDS) {
    const part = chunk.subarray(0, Math.min(CHUNK_WORDS, buffer.words - first));
    backend.download(backend.view(buffer, first, part.length), part);
    for (let i = 0; i < part.length; i++) {
      const magnitude = Math.abs(part[i]);
      if (!(magnitude < Infinity)) return { finite: false, magnitude, index: first + i };
      if (magnitude > worst.magnitude) worst = { finite: true, magnitude, index: first + i };
    }
  }
  return worst;
}
