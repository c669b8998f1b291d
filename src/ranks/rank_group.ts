/** The coordinator's side of the ranks: memory for batches, and commands that ranks carry out in order. */
import type { Backend, BlasName, Buffer, HostBackend } from "../backend/backend.ts";
import { denseStateWords, rowStateWords } from "../optimizer/optimizers.ts";
import { ONE_RANK } from "../parallel/host_group.ts";
import { Batch, batchSections, type BatchShape } from "../layout/batch.ts";
import type { BatchKind } from "../layout/layout.ts";
import { TableCoordinator } from "../embedding/coordinator.ts";
import { ReplicaCoordinator } from "../embedding/replicated.ts";
import type { RowMatrix } from "../embedding/tables.ts";
import { pooledGradientWords } from "../embedding/replica_exchange.ts";
import { hiddenUnits, type ModelPlan } from "../model/shape.ts";
import { type Checkpoint, type CheckpointBody, writeModel } from "../checkpoint/checkpoint.ts";
import { type CheckpointPlaces, storeCheckpoint } from "../checkpoint/checkpoint_store.ts";
import { Command, Count, Rank, type RankSetup } from "./rank.ts";

/** Batches that can be in flight: one computed, the others read ahead. */
const SLOTS = 4;
const NO_ROWS = new Uint32Array(0);

/** Memory of a training run as its coordinator has it. */
export interface RunMemory extends RankSetup {
  /** Global rows of the hot replica, ascending. */
  readonly hotRows: Uint32Array;
}

/** What decides the memory of a run. */
export interface RunMemoryOptions {
  readonly plan: ModelPlan;
  readonly batchShape: BatchShape;
  /** Global rows of the hot replica, ascending; none unless given. */
  readonly hotRows?: Uint32Array | undefined;
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
  const { plan, batchShape, hotRows = NO_ROWS, ranks, device } = options;
  const { dim } = plan.shape;
  return {
    hot: hotRows.length === 0 ? undefined : allocateStore(plan, device, hotRows.length, "the hot rows"),
    parameters: device.allocate(plan.denseWords, "dense parameters"),
    denseState: allocateDenseState(plan, device),
    gradients: Array.from({ length: ranksHere }, () => device.allocate(plan.denseWords, "dense gradients")),
    pooledGradients: device.allocate(pooledGradientWords(batchShape, dim, ranks), "gradients of pooled rows"),
  };
}

/** What the coordinator's process and all its ranks read and write, in host memory. */
export function allocateSlots(
  { plan, batchShape, hotRows = NO_ROWS, mostDistinct, ranks, device, host }: RunMemoryOptions,
) {
  const { lookupCapacity } = batchShape;
  const times = (count: number, words: number, label: string) =>
    Array.from({ length: count }, () => host.allocate(words, label));
  return {
    plan,
    batchShape,
    hotRows,
    mostDistinct: mostDistinct ?? { hot: lookupCapacity, cold: lookupCapacity },
    device,
    host,
    slots: times(SLOTS, batchSections(batchShape).capacity, "batches"),
    scores: times(SLOTS, batchShape.batchSize, "scores"),
    activeUnits: host.allocate(ranks * hiddenUnits(plan), "active units"),
    moveRows: host.allocate(Math.max(hotRows.length, 1), "rows to move"),
    moveHotRows: host.allocate(Math.max(hotRows.length, 1), "rows to move"),
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
  /** Orders what must come before steps. */
  readonly tables: TableCoordinator;
  /** Steps between the announcement of a batch to the tables and its own. */
  readonly #lookAhead: number;
  /** Slots whose steps are still to be queued, a ring of `#waiting` from `#oldest` on: an array that is pushed to and shifted allocates. */
  readonly #announced = new Int32Array(SLOTS);
  #oldest = 0;
  #waiting = 0;
  #next = 0;

  constructor(memory: RunMemory, lookAhead = 0) {
    this.memory = memory;
    this.#lookAhead = lookAhead;
    this.tables = this.#openTables();
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

  #openTables(): TableCoordinator {
    const { plan: { rows }, hotRows, moveRows, moveHotRows, host } = this.memory;
    if (hotRows.length === 0) return new TableCoordinator();
    const list = (words: Buffer) => {
      const { buffer, byteOffset, length } = host.floats(words);
      return new Uint32Array(buffer, byteOffset, length);
    };
    const move = (direction: "pull" | "push", count: number) => {
      this.post(direction === "pull" ? Command.pullHot : Command.pushHot, count, 0);
      this.drain(); // the lists are used again
    };
    return new ReplicaCoordinator({ hotRows, rows, moveRows: list(moveRows), moveHotIds: list(moveHotRows), move });
  }

  /** A slot whose last batch is done with, to be filled; slots come round in turn. */
  acquire(): number {
    const slot = this.#next;
    this.#next = (slot + 1) % SLOTS;
    if (this.#isWaiting(slot)) this.release();
    this.waitForSlot(slot);
    return slot;
  }

  /**
   * Queues the training step over the batch in the slot, and what tables need before it. Where tables look ahead, the
   * step is queued as soon as the batches after it are announced.
   */
  train(slot: number): void {
    this.tables.beforeStep(this.batches[slot]);
    if (this.#lookAhead > 0) this.send(Command.prefetch, slot, 0);
    this.#announced[(this.#oldest + this.#waiting++) % SLOTS] = slot;
    while (this.#waiting > this.#lookAhead) this.#trainNext();
  }

  #isWaiting(slot: number): boolean {
    for (let i = 0; i < this.#waiting; i++) if (this.#announced[(this.#oldest + i) % SLOTS] === slot) return true;
    return false;
  }

  #trainNext(): void {
    const slot = this.#announced[this.#oldest];
    this.#oldest = (this.#oldest + 1) % SLOTS;
    this.#waiting--;
    this.send(Command.train, slot, this.batches[slot].samples);
  }

  /** Queues the steps of all batches that were announced. */
  protected release(): void {
    while (this.#waiting > 0) this.#trainNext();
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
    this.tables.invalidate();
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

  /** Rows that `initialise` draws at once. */
  get drawnRows(): number {
    return this.memory.plan.rows;
  }

  /** The row, over all tables, at a position of the full tables' matrix; -1 if there is none. */
  rowAt(position: number): number {
    return position;
  }

  /** Copies a checkpoint into the memory of all ranks. Throws HotsetError if it is one of another model. */
  load(checkpoint: Checkpoint, onProgress?: (fraction: number) => void): void {
    checkpoint.load(this.memory, this.memory.plan.shape, { onProgress });
    this.post(Command.fromMirror, 0, 0);
    this.drain();
    this.tables.invalidate();
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

  /** Queues a command for every rank, after all steps. Blocks while too many are queued. */
  post(command: Command, a: number, b: number): void {
    this.release();
    this.send(command, a, b);
  }

  /** Waits until all queued commands are done. Throws the first error that a rank met. */
  drain(): void {
    this.release();
    this.settle();
  }

  /** Queues a command for every rank. */
  protected abstract send(command: Command, a: number, b: number): void;
  /** Waits until all commands that were sent are done. */
  protected abstract settle(): void;
  /** Waits until the last command on this slot is done. */
  protected abstract waitForSlot(slot: number): void;
  abstract [Symbol.asyncDispose](): Promise<void>;
}

/** One rank on the calling thread, as devices need it. */
export class LocalRank extends RankGroup {
  readonly ranks = 1;
  readonly device: string;
  protected readonly rank: Rank;

  constructor(memory: RunMemory, lookAhead = 0) {
    super(memory, lookAhead);
    this.device = memory.device.name;
    this.rank = new Rank(memory, ONE_RANK);
  }

  protected send(command: Command, a: number, b: number): void {
    this.rank.execute(command, a, b);
  }

  protected settle(): void {
    this.memory.device.synchronize();
  }

  protected waitForSlot(): void {}

  // deno-lint-ignore require-await
  async [Symbol.asyncDispose](): Promise<void> {
    this.memory.device[Symbol.dispose]();
  }
}
