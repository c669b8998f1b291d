/**
 * Where the time of a step goes: runs a few steps on backends that take the time of every operation. Rows that these
 * steps change are put back after each, and dense parameters are copies, so training can go on as if nothing happened.
 */
import type { Backend, Buffer, HostBackend } from "../backend/backend.ts";
import { stateWordsPerRow } from "../backend/backend.ts";
import { Solo } from "../collective/collective.ts";
import { Batch, batchSections } from "../layout/batch.ts";
import { BATCH_KINDS, type Layout } from "../layout/layout.ts";
import { Dlrm, type EmbeddingStore } from "../model/dlrm.ts";
import type { ModelPlan } from "../model/shape.ts";
import type { PhasesEvent } from "./events.ts";
import type { RunMemory } from "./rank_group.ts";

/** Steps of each kind: some to warm up, then those that count. */
const WARM_UP_STEPS = 3;
const MEASURED_STEPS = 20;

/** Milliseconds of each phase, in the order in which they first ran. */
type Clock = Map<string, number>;

/** Measures steps over the first batches of each kind, on one rank; kinds without batches give no event. */
export function measurePhases(layout: Layout, memory: RunMemory): PhasesEvent[] {
  const clock: Clock = new Map();
  const device = timed(memory.device, memory.plan, clock);
  const host = (memory.host as Backend) === memory.device
    ? device as HostBackend
    : timed(memory.host, memory.plan, clock);
  const onTimed = (store: EmbeddingStore): EmbeddingStore => ({
    ...store,
    backend: store.backend === memory.device ? device : host,
  });
  const { plan, batchShape, pooledGradients } = memory;
  const copy = (vector: Buffer) => copyOf(memory.device, vector);
  const model = new Dlrm(plan, batchShape, {
    device,
    host,
    parameters: copy(memory.parameters),
    denseState: memory.denseState && copy(memory.denseState),
    gradients: memory.device.allocate(plan.denseWords, "dense gradients"),
    pooledGradients,
    lossSum: memory.device.allocate(1, "sum of losses"),
  }, new Solo());
  const { capacity } = batchSections(batchShape);
  const hostBlock = memory.slots[0];
  const deviceBlock = host === device ? hostBlock : memory.device.allocate(capacity, "batch");
  const { buffer, byteOffset } = memory.host.floats(hostBlock);
  const batch = new Batch(batchShape, buffer, byteOffset);
  const saved = new SavedRows(memory);

  return BATCH_KINDS.flatMap((kind): PhasesEvent[] => {
    const batches = layout.batches(kind);
    if (batches === 0) return [];
    const store = kind === "hot" ? memory.hot! : memory.full;
    const input = model.input(onTimed(store), deviceBlock, hostBlock);
    let samples = 0;
    for (let step = 0; step < WARM_UP_STEPS + MEASURED_STEPS; step++) {
      if (step === WARM_UP_STEPS) clock.clear();
      layout.readBatch(kind, step % batches, batch);
      batch.learningRate = 0;
      saved.save(store, batch);
      if (host !== device) device.upload(batch.words.subarray(0, batch.usedWords), deviceBlock);
      model.train(input, batch.samples);
      saved.putBack(store);
      if (step >= WARM_UP_STEPS) samples += batch.samples;
    }
    const phases = [...clock].map(([name, ms]) => ({ name, seconds: ms / 1000 / MEASURED_STEPS }));
    return [{ event: "phases", kind, samples: samples / MEASURED_STEPS, phases }];
  });
}

/** The phase that each operation belongs to; layers belong to their MLP. What is not named here takes no time. */
const PHASES: Readonly<Record<string, string>> = {
  upload: "copies",
  download: "copies",
  pool: "pooling",
  interact: "interaction",
  interactBackward: "interaction",
  loss: "loss",
  updateRows: "row update",
  updateDense: "dense update",
};

/** The same backend, but every operation waits for its end and adds its time to its phase. */
function timed<B extends Backend>(backend: B, plan: ModelPlan, clock: Clock): B {
  const bottom = new Set<unknown>(plan.bottom.map((layer) => layer.shape));
  const phaseOf = (operation: string, shape: unknown) =>
    operation.startsWith("linear") ? (bottom.has(shape) ? "bottom MLP" : "top MLP") : PHASES[operation];
  return new Proxy(backend, {
    get(target, name) {
      const member = Reflect.get(target, name, target);
      if (typeof member !== "function") return member;
      return (...values: unknown[]) => {
        const phase = phaseOf(String(name), values[0]);
        if (phase === undefined) return member.apply(target, values);
        const begin = performance.now();
        member.apply(target, values);
        target.synchronize();
        clock.set(phase, (clock.get(phase) ?? 0) + performance.now() - begin);
      };
    },
  });
}

function copyOf(device: Backend, vector: Buffer): Buffer {
  const copy = device.allocate(vector.words, "a copy of the dense parameters");
  const words = new Float32Array(vector.words);
  device.download(vector, words);
  device.upload(words, copy);
  return copy;
}

/** Keeps the rows that a batch changes, with their optimizer state. */
class SavedRows {
  readonly #memory: RunMemory;
  readonly #dim: number;
  readonly #stateWords: number;
  readonly #rows: Uint32Array;
  readonly #places = new Map<Backend, { rows: Buffer; weights: Buffer; state: Buffer }>();
  #count = 0;

  constructor(memory: RunMemory) {
    const { dim, optimizer } = memory.plan.shape;
    this.#memory = memory;
    this.#dim = dim;
    this.#stateWords = stateWordsPerRow(optimizer, dim);
    this.#rows = new Uint32Array(memory.batchShape.lookupCapacity);
  }

  save({ backend, weights, state }: EmbeddingStore, batch: Batch): void {
    this.#count = batch.distinct;
    for (let s = 0; s < this.#count; s++) this.#rows[s] = batch.row(s);
    const place = this.#placeOn(backend);
    backend.upload(this.#rows.subarray(0, this.#count), place.rows);
    backend.packRows(this.#count, this.#dim, weights, place.rows, place.weights);
    if (state !== undefined) backend.packRows(this.#count, this.#stateWords, state, place.rows, place.state);
  }

  putBack({ backend, weights, state }: EmbeddingStore): void {
    const place = this.#placeOn(backend);
    backend.unpackRows(this.#count, this.#dim, place.weights, place.rows, weights);
    if (state !== undefined) backend.unpackRows(this.#count, this.#stateWords, place.state, place.rows, state);
  }

  #placeOn(backend: Backend) {
    let place = this.#places.get(backend);
    if (place === undefined) {
      const { lookupCapacity } = this.#memory.batchShape;
      const room = (width: number, label: string) => backend.allocate(lookupCapacity * width, label);
      place = {
        rows: room(1, "rows to put back"),
        weights: room(this.#dim, "rows to put back"),
        state: room(Math.max(1, this.#stateWords), "rows to put back"),
      };
      this.#places.set(backend, place);
    }
    return place;
  }
}
