/**
 * Measures the phases of a step: runs a few steps on backends that measure the time of every operation. Changed rows
 * are restored, and dense parameters are copies, so training can continue as if nothing had happened.
 */
import type { Backend, Buffer, HostBackend } from "../backend/backend.ts";
import { writeStep } from "../optimizer/optimizers.ts";
import { ONE_RANK } from "../parallel/host_group.ts";
import { Batch, batchSections } from "../layout/batch.ts";
import { BATCH_KINDS, type BatchKind, type Layout } from "../layout/layout.ts";
import { openTables } from "../embedding/open.ts";
import { matricesOf, type RowMatrix } from "../embedding/tables.ts";
import { Model } from "../model/model.ts";
import type { Layer } from "../model/layers/layer.ts";
import type { ModelShape } from "../model/shape.ts";
import type { PhasesEvent } from "../events/events.ts";
import type { TrainState } from "../ranks/train_state.ts";

/** Steps of each kind: warm-up, then those that are measured. */
const WARM_UP_STEPS = 3;
const MEASURED_STEPS = 40;

/** Milliseconds of each phase, in the order in which they first ran. */
type Clock = Map<string, number>;

/** Measures steps over the first batches of each kind, on one rank; there is no event for kinds without batches. */
export function measurePhases(layout: Layout, memory: TrainState): PhasesEvent[] {
  const clock: Clock = new Map();
  const device = timed(memory.device, clock);
  const host = (memory.host as Backend) === memory.device ? device as HostBackend : timed(memory.host, clock);
  const onTimed = <M extends RowMatrix | undefined>(matrix: M): M =>
    matrix && { ...matrix, backend: matrix.backend === memory.device ? device : host };
  const { plan, batchShape, pooledGradients } = memory;
  const copy = (vector: Buffer) => copyOf(memory.device, vector);
  const layers = plan.layers.map((placed) => ({ ...placed, layer: timedLayer(placed.layer, clock) }));
  const model = new Model(
    { ...plan, layers },
    batchShape,
    {
      device,
      host,
      parameters: copy(memory.parameters),
      denseState: memory.denseState && copy(memory.denseState),
      gradients: [memory.device.allocate(plan.denseWords, "dense gradients")],
      pooledGradients,
      clip: memory.clip,
      hostGradients: memory.hostGradients,
      lossSum: memory.device.allocate(1, "sum of losses"),
    },
    ONE_RANK,
    (context) => openTables(context, { ...memory, full: onTimed(memory.full), hot: onTimed(memory.hot) }),
  );
  const { capacity } = batchSections(batchShape);
  const hostBlock = memory.slots[0];
  const deviceBlock = host === device ? hostBlock : memory.device.allocate(capacity, "batch");
  const { buffer, byteOffset } = memory.host.floats(hostBlock);
  const batch = new Batch(batchShape, buffer, byteOffset);
  const input = model.input({ batch, hostBlock, deviceBlock });
  const read = (kind: BatchKind, step: number) => {
    layout.readBatch(kind, step % layout.batches(kind), batch);
    writeStep(memory.plan.shape.optimizer, batch.floats, 0);
    batch.step = step + 1;
    return batch;
  };

  return BATCH_KINDS.filter((kind) => layout.batches(kind) > 0).map((kind): PhasesEvent => {
    const matrix = kind === "hot" ? memory.hot! : memory.full;
    // All rows are saved before the first step: reading a batch's rows just before its step would warm the caches.
    const steps = Array.from({ length: WARM_UP_STEPS + MEASURED_STEPS }, (_, step) => step);
    const putBack = keepRows(matrix, plan.shape, distinctRows(steps.values().map((step) => read(kind, step))));
    let samples = 0;
    for (const step of steps) {
      if (step === WARM_UP_STEPS) clock.clear();
      read(kind, step);
      model.load(input, true);
      model.train(input, batch.samples);
      if (step >= WARM_UP_STEPS) samples += batch.samples;
    }
    putBack();
    const phases = [...clock].map(([name, ms]) => ({ name, seconds: ms / 1000 / MEASURED_STEPS }));
    return { event: "phases", kind, samples: samples / MEASURED_STEPS, phases };
  });
}

/** The phase of each operation. Operations that are not listed, such as those of layers, are not measured. */
const PHASES: Readonly<Record<string, string>> = {
  upload: "copies",
  download: "copies",
  pool: "pooling",
  add: "sums of gradients",
  loss: "loss",
  squares: "gradient clipping",
  rowSquares: "gradient clipping",
  scale: "gradient clipping",
  updateRows: "row update",
  updateDense: "dense update",
};

/** Runs an operation, waits for its end and adds its time to a phase. */
function addTime(clock: Clock, phase: string, backend: Backend, work: () => void): void {
  const begin = performance.now();
  work();
  backend.synchronize();
  clock.set(phase, (clock.get(phase) ?? 0) + performance.now() - begin);
}

/** The same backend, but every operation is waited for and its time is added to its phase. */
function timed<B extends Backend>(backend: B, clock: Clock): B {
  return new Proxy(backend, {
    get(target, name) {
      const member = Reflect.get(target, name, target);
      if (typeof member !== "function") return member;
      const phase = PHASES[String(name)];
      if (phase === undefined) return (...values: unknown[]) => member.apply(target, values);
      return (...values: unknown[]) => addTime(clock, phase, target, () => member.apply(target, values));
    },
  });
}

/** The same layer, measured as the phase of its part of the model. */
function timedLayer(layer: Layer, clock: Clock): Layer {
  const { title } = layer.part;
  return {
    ...layer,
    bind(buffers) {
      const { device } = buffers;
      const bound = layer.bind(buffers);
      return {
        forward: (samples) => addTime(clock, title, device, () => bound.forward(samples)),
        backward: (samples) => addTime(clock, title, device, () => bound.backward(samples)),
      };
    },
  };
}

function copyOf(device: Backend, vector: Buffer): Buffer {
  const copy = device.allocate(vector.words, "a copy of the dense parameters");
  const words = new Float32Array(vector.words);
  device.download(vector, words);
  device.upload(words, copy);
  return copy;
}

/** Distinct rows of some batches, ascending. */
function distinctRows(batches: Iterable<Batch>): Uint32Array {
  const rows = new Set<number>();
  for (const batch of batches) {
    for (let s = 0; s < batch.distinct; s++) rows.add(batch.row(s));
  }
  return Uint32Array.from(rows).sort();
}

/** Copies rows with their optimizer state; the returned function restores them. */
function keepRows(matrix: RowMatrix, shape: ModelShape, rows: Uint32Array) {
  const { backend } = matrix;
  const count = rows.length;
  const room = (words: number) => backend.allocate(words, "rows to put back");
  const list = room(count);
  backend.upload(rows, list);
  const kept = [...matricesOf(shape, matrix)].map((of) => ({ ...of, packed: room(count * of.width) }));
  for (const { buffer, width, packed } of kept) backend.packRows(count, width, buffer, list, packed);
  return () => {
    for (const { buffer, width, packed } of kept) backend.unpackRows(count, width, packed, list, buffer);
  };
}
