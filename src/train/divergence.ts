/** Finds what is wrong with a model whose loss is no number, or far too large. Looks at everything: only for the end. */
import type { Backend, Buffer } from "../backend/backend.ts";
import type { RunMemory } from "./ranks/rank_group.ts";

/**
 * A mean loss above this, in nats, is an explosion: the model gives the labels a probability of e^-20. Always predicting
 * one half costs 0.69. The first steps of a run may go
 * that far and come back.
 */
export const EXPLODED_LOSS = 20;
/** Training ends when the loss has stayed above that for so many steps. */
export const EXPLOSION_STEPS = 100;
const CHUNK_WORDS = 1 << 20;

/** The worst value of a vector: the first that is no finite number, else the largest. */
interface Worst {
  readonly finite: boolean;
  readonly magnitude: number;
  readonly index: number;
}

/** Names the first tensor with a value that is no finite number, in the order of the forward pass, or the largest value. */
export function findBadTensor(memory: RunMemory, tableNames: readonly string[]): string {
  const { plan, device, parameters, full, hot } = memory;
  let largest = { where: "nothing", magnitude: -1 };
  const tensors: { backend: Backend; buffer: Buffer; name: (index: number) => string }[] = [];
  const row = (global: number) => {
    let table = 0;
    for (; global >= plan.shape.tableRows[table]; table++) global -= plan.shape.tableRows[table];
    return `row ${global} of table ${tableNames[table]}`;
  };
  for (const [name, layers] of [["bottom", plan.bottom], ["top", plan.top]] as const) {
    layers.forEach(({ shape: { inputs, outputs }, weight, bias }, i) => {
      const layer = `layer ${i + 1} of the ${name} MLP`;
      const part = (what: string, first: number, words: number) =>
        tensors.push({
          backend: device,
          buffer: device.view(parameters, first, words),
          name: () => `the ${what} of ${layer}`,
        });
      part("weights", weight, inputs * outputs);
      part("biases", bias, outputs);
    });
    if (name === "top") continue;
    const { dim } = plan.shape;
    tensors.push({ backend: full.backend, buffer: full.weights, name: (index) => row(Math.floor(index / dim)) });
    if (hot === undefined) continue;
    const replica = (index: number) => `hot row ${Math.floor(index / dim)} of the replica`;
    tensors.push({ backend: hot.backend, buffer: hot.weights, name: replica });
  }
  for (const { backend, buffer, name } of tensors) {
    const { finite, magnitude, index } = worstOf(backend, buffer);
    if (!finite) return `first of all ${name(index)} ${Number.isNaN(magnitude) ? "holds NaN" : "holds infinity"}`;
    if (magnitude > largest.magnitude) largest = { where: name(index), magnitude };
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
