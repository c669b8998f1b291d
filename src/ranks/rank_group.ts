/** The coordinator's side of the ranks: memory for batches, and commands that ranks carry out in order. */
import type { Backend, BlasName, Buffer, HostBackend } from "../backend/backend.ts";
import { denseStateWords, rowStateWords } from "../optimizer/optimizers.ts";
import { ONE_RANK } from "../parallel/host_group.ts";
import { Batch, batchSections, type BatchShape } from "../layout/batch.ts";
import type { BatchKind } from "../layout/layout.ts";
import type { RowMatrix } from "../embedding/tables.ts";
import { pooledGradientWords } from "../embedding/replica_exchange.ts";
import { hiddenUnits, type ModelPlan } from "../model/shape.ts";
import { type Checkpoint, type CheckpointBody, writeModel } from "../checkpoint/checkpoint.ts";
import { type CheckpointPlaces, storeCheckpoint } from "../checkpoint/checkpoint_store.ts";
import { Command, Count, Rank, type RankSetup } from "./rank.ts";

/** Batches that can be in flight: one computed, the others read ahead. */
const SLOTS = 4;

/** Memory of a training run as its coordinator has it. */
export type RunMemory = RankSetup;

/** What decides the memory of a run. */
export interface RunMemoryOptions {
  readonly plan: ModelPlan;
  readonly batchShape: BatchShape;
  /** Rows of the hot replica; 0 for none. */
  readonly hotRows: number;
  /** The most distinct rows of a batch of each kind; unless given, as many as lookups. */
  readonly mostDistinct?: Readonly<Record<BatchKind, number>>;
  /** Rows of the full tables that lie here, if not all. */
  readonly fullRows?: number;
  readonly ranks: number;
  readonly device: Backend;
  readonly host: HostBackend;
  /** Where the full tables lie. */
  readonly tables: Backend;
}

/** Allocates everything that lives as long as a run, but for each rank's activations. */
export function allocateRunMemory(options: RunMemoryOptions): RunMemory {
  const { ranks, device, host } = options;
  const onHost = (host as Backend) === device;
  return {
    ...allocateSlots(options),
    ...allocateOnDevice(options, ranks),
    full: allocateTables(options),
    hostGradients: onHost ? undefined : allocateHostGradients(options),
    mirror: undefined,
  };
}

/**
 * The part of the memory of a run whose ranks have a device each that they share: tables that lie on the host, and a
 * mirror of what lies on the devices, which takes the place of the device's memory for the coordinator.
 */
export function allocateMirroredMemory(
  options: Omit<RunMemoryOptions, "device" | "tables">,
  tablesOnDevices: boolean,
): RunMemory {
  const { plan, host } = options;
  const onHost = { ...options, device: host, tables: host };
  const { denseWords } = plan;
  const full = allocateTables(onHost);
  const parameters = host.allocate(denseWords, "dense parameters");
  const denseState = allocateDenseState(plan, host);
  const hostGradients = allocateHostGradients(onHost);
  return {
    ...allocateSlots(onHost),
    ...{ full, hot: undefined, parameters, denseState, gradients: [], pooledGradients: hostGradients, hostGradients },
    mirror: { parameters, denseState, full: tablesOnDevices ? full : undefined },
  };
}

/** All tables with their optimizer state. */
export function allocateTables({ plan, tables, fullRows = plan.rows }: RunMemoryOptions): RowMatrix {
  return allocateStore(plan, tables, fullRows, "the embedding tables");
}

function allocateStore({ shape }: ModelPlan, backend: Backend, rows: number, label: string): RowMatrix {
  const stateWords = rowStateWords(shape.optimizer, shape.dim);
  return {
    backend,
    rows,
    weights: backend.allocateTable(rows * shape.dim, label),
    state: stateWords === 0 ? undefined : backend.allocateTable(rows * stateWords, `optimizer state of ${label}`),
  };
}

function allocateDenseState({ shape, denseWords: weights }: ModelPlan, backend: Backend): Buffer | undefined {
  const words = denseStateWords(shape.optimizer, weights);
  return words === 0 ? undefined : backend.allocate(words, "dense optimizer state");
}

/** Gradients of the pooled rows of a batch whose rows lie on the host. */
export function allocateHostGradients({ plan, batchShape, host }: RunMemoryOptions): Buffer {
  const { batchSize, tables } = batchShape;
  return host.allocate(batchSize * tables * plan.shape.dim, "gradients of pooled rows");
}

/** What lies on a device: the hot replica, the dense parameters, and gradients for so many ranks that use it. */
export function allocateOnDevice(options: RunMemoryOptions, ranksHere: number) {
  const { plan, batchShape, hotRows, ranks, device } = options;
  const { dim } = plan.shape;
  return {
    hot: hotRows === 0 ? undefined : allocateStore(plan, device, hotRows, "the hot rows"),
    parameters: device.allocate(plan.denseWords, "dense parameters"),
    denseState: allocateDenseState(plan, device),
    gradients: Array.from({ length: ranksHere }, () => device.allocate(plan.denseWords, "dense gradients")),
    pooledGradients: device.allocate(pooledGradientWords(batchShape, dim, ranks), "gradients of pooled rows"),
  };
}

/** What the coordinator's process and all its ranks read and write, in host memory. */
export function allocateSlots({ plan, batchShape, hotRows, mostDistinct, ranks, device, host }: RunMemoryOptions) {
  const { lookupCapacity } = batchShape;
  const times = (count: number, words: number, label: string) =>
    Array.from({ length: count }, () => host.allocate(words, label));
  return {
    plan,
    batchShape,
    mostDistinct: mostDistinct ?? { hot: lookupCapacity, cold: lookupCapacity },
    device,
    host,
    slots: times(SLOTS, batchSections(batchShape).capacity, "batches"),
    scores: times(SLOTS, batchShape.batchSize, "scores"),
    activeUnits: host.allocate(ranks * hiddenUnits(plan), "active units"),
    moveRows: host.allocate(Math.max(hotRows, 1), "rows to move"),
    moveHotRows: host.allocate(Math.max(hotRows, 1), "rows to move"),
    losses: host.allocate(ranks, "losses"),
    counts: host.allocate(2 * Count.doubles * ranks, "counts"),
  };
}

/** What devices did in a run. */
export interface WorkCounts {
  /** Bytes copied to and from the devices of all ranks. */
  readonly bytesToDevice: number;
  readonly bytesToHost: number;
  /** Bytes that devices received from those of other ranks. */
  readonly bytesFromRanks: number;
  /** Mean launches of a training step on one rank, by kind of batch; a replayed graph is one launch. */
  readonly launchesPerStep: Readonly<Record<BatchKind, number>>;
}

/** All ranks of a run, seen from the coordinator. */
export abstract class RankGroup implements AsyncDisposable {
  readonly memory: RunMemory;
  /** Ranks of the run. */
  abstract readonly ranks: number;
  /** What computes, for people. */
  abstract readonly device: string;
  /** Host views of the slots. */
  readonly batches: readonly Batch[];
  #next = 0;

  constructor(memory: RunMemory) {
    this.memory = memory;
    this.batches = memory.slots.map((slot) => {
      const { buffer, byteOffset } = memory.host.floats(slot);
      return new Batch(memory.batchShape, buffer, byteOffset);
    });
  }

  /** What multiplies matrices on the CPU; null where devices do. */
  get blas(): BlasName | null {
    const { device, host, mirror } = this.memory;
    return mirror === undefined && (host as Backend) === device ? host.blas : null;
  }

  /** Cores beside this thread's: all if devices compute, else none. */
  get freeCores(): number {
    return this.memory.hostGradients === undefined ? 0 : navigator.hardwareConcurrency - 1;
  }

  /** A slot whose last batch is done with, to be filled; slots come round in turn. */
  acquire(): number {
    const slot = this.#next;
    this.#next = (slot + 1) % SLOTS;
    this.waitForSlot(slot);
    return slot;
  }

  /** Queues the training step over the batch in the slot. */
  train(slot: number): void {
    this.post(Command.train, slot, this.batches[slot].samples);
  }

  /** Queues the scoring of the batch in the slot; its logits are in `scores(slot)` after `drain`. */
  score(slot: number): void {
    this.post(Command.score, slot, this.batches[slot].samples);
  }

  scores(slot: number): Float32Array {
    return this.memory.host.floats(this.memory.scores[slot]);
  }

  /** For each hidden unit: was it other than 0 for some sample scored since the last call? Waits for the ranks. */
  takeActiveUnits(): boolean[] {
    this.drain();
    const active = this.memory.host.floats(this.memory.activeUnits);
    const units = hiddenUnits(this.memory.plan);
    const taken = Array.from({ length: units }, (_, unit) => {
      for (let at = unit; at < active.length; at += units) if (active[at] !== 0) return true;
      return false;
    });
    active.fill(0);
    return taken;
  }

  /** Sum of the losses of all samples since the last call. Waits for the ranks. */
  takeLoss(): number {
    this.post(Command.takeLoss, 0, 0);
    this.drain();
    return this.memory.host.floats(this.memory.losses).reduce((sum, loss) => sum + loss, 0);
  }

  /** Gives all ranks the initial model: dense parameters, and tables drawn from the seed. */
  initialise(parameters: Float32Array, seed: number): void {
    this.memory.device.upload(parameters, this.memory.parameters);
    this.post(Command.fromMirror, 0, 0);
    this.post(Command.initialise, seed, 0);
    this.drain();
  }

  /** Brings the mirror of what lies on the ranks' devices up to date, where there is one. Waits for the ranks. */
  updateMirror(): void {
    this.post(Command.toMirror, 0, 0);
    this.drain();
  }

  /** The flags, one a bit, that are set on any rank, as soon as all know. */
  agree(flags: number): number {
    return flags;
  }

  /** True if the full tables, or their mirror, lie in this process's memory, where its threads can read them. */
  get tablesAreOurs(): boolean {
    return this.memory.full.backend === this.memory.host;
  }

  /** Copies a checkpoint into the memory of all ranks. Throws HotsetError if it is one of another model. */
  load(checkpoint: Checkpoint, onProgress?: (fraction: number) => void): void {
    checkpoint.load(this.memory, this.memory.plan.shape, { onProgress });
    this.post(Command.fromMirror, 0, 0);
    this.drain();
  }

  /** Writes a checkpoint of the full tables and dense parameters, which must be up to date, while training stands still. */
  save(places: CheckpointPlaces, body: CheckpointBody): void {
    storeCheckpoint(places, body, (writer, names) => writeModel(writer, this.memory, names));
  }

  /** What the devices of all ranks did so far. Waits for the ranks. */
  takeCounts(): WorkCounts {
    this.post(Command.count, 0, 0);
    this.drain();
    const { buffer, byteOffset, length } = this.memory.host.floats(this.memory.counts);
    const counts = new Float64Array(buffer, byteOffset, length / 2);
    const sum = (position: number) => {
      let total = 0;
      for (let at = position; at < counts.length; at += Count.doubles) total += counts[at];
      return total;
    };
    const launchesPerStep = (kind: 0 | 1) => sum(Count.launches + kind) / Math.max(1, sum(Count.steps + kind));
    return {
      bytesToDevice: sum(Count.bytesToDevice),
      bytesToHost: sum(Count.bytesToHost),
      bytesFromRanks: sum(Count.bytesFromRanks),
      launchesPerStep: { cold: launchesPerStep(0), hot: launchesPerStep(1) },
    };
  }

  /** Queues a command for every rank. Blocks while too many are queued. */
  abstract post(command: Command, a: number, b: number): void;
  /** Waits until all queued commands are done. Throws the first error that a rank met. */
  abstract drain(): void;
  /** Waits until the last command on this slot is done. */
  protected abstract waitForSlot(slot: number): void;
  abstract [Symbol.asyncDispose](): Promise<void>;
}

/** One rank on the calling thread, as devices need it. */
export class LocalRank extends RankGroup {
  readonly ranks = 1;
  readonly device: string;
  readonly #rank: Rank;

  constructor(memory: RunMemory) {
    super(memory);
    this.device = memory.device.name;
    this.#rank = new Rank(memory, ONE_RANK);
  }

  post(command: Command, a: number, b: number): void {
    this.#rank.execute(command, a, b);
  }

  drain(): void {
    this.memory.device.synchronize();
  }

  protected waitForSlot(): void {}

  // deno-lint-ignore require-await
  async [Symbol.asyncDispose](): Promise<void> {
    this.memory.device[Symbol.dispose]();
  }
}
