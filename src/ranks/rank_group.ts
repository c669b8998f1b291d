/** The coordinator's side of the ranks: slots for batches, and commands that ranks execute in order. */
import { breaks, inParts, type Parts } from "../breaks.ts";
import type { Backend, BlasName, Buffer, Upload } from "../backend/backend.ts";
import { ONE_RANK } from "../parallel/host_group.ts";
import { Batch } from "../layout/batch.ts";
import type { BatchKind } from "../layout/layout.ts";
import { TableCoordinator } from "../embedding/coordinator.ts";
import { ReplicaCoordinator } from "../embedding/replicated.ts";
import { hiddenUnits } from "../model/shape.ts";
import { type Checkpoint, type CheckpointBody, checkpointBytes, writeModel } from "../checkpoint/checkpoint.ts";
import { type CheckpointPlaces, storeCheckpoint } from "../checkpoint/checkpoint_store.ts";
import type { MovedRows, ProgressEvent, Report } from "../events/events.ts";
import { Command, Rank } from "./rank.ts";
import { Count, type TrainState } from "./train_state.ts";

/** Counters of the devices of a run. */
export interface WorkCounts {
  /** Bytes copied to and from the devices of all ranks. */
  readonly bytesToDevice: number;
  readonly bytesToHost: number;
  /** Bytes that devices received from those of other ranks. */
  readonly bytesFromRanks: number;
  /** Mean launches of a training step on one rank, by kind of batch; a replayed graph is one launch. */
  readonly launchesPerStep: Readonly<Record<BatchKind, number>>;
}

/** Milliseconds of sleep until the event loop turns, and then between looks at commands that take long. */
const PATIENCE_MS = 10;
const LOOK_MS = 5;

/** All ranks of a run, as the coordinator sees them. */
export abstract class RankGroup implements AsyncDisposable {
  readonly memory: TrainState;
  readonly ranks: number;
  /** Name of what computes. */
  device: string;
  /** Host views of the slots. */
  readonly batches: readonly Batch[];
  /** Queues what steps depend on. */
  readonly tables: TableCoordinator;
  /** Number of steps between the announcement of a batch to the tables and its own step. */
  readonly #lookAhead: number;
  /**
   * Slots whose steps are not queued yet: a ring of `#waiting` slots from `#oldest` on, because push and shift on an
   * array would allocate.
   */
  readonly #announced: Int32Array;
  #oldest = 0;
  #waiting = 0;
  #next = 0;

  constructor(memory: TrainState, ranks: number, device: string, lookAhead = 0) {
    this.memory = memory;
    this.ranks = ranks;
    this.device = device;
    this.#lookAhead = lookAhead;
    this.#announced = new Int32Array(memory.slots.length);
    this.tables = this.#openTables();
    this.batches = memory.slots.map((slot) => {
      const { buffer, byteOffset } = memory.host.floats(slot);
      return new Batch(memory.batchShape, buffer, byteOffset);
    });
  }

  /** Library of matrix products on the CPU; null if devices compute. */
  get blas(): BlasName | null {
    const { device, host, mirror } = this.memory;
    return mirror === undefined && (host as Backend) === device ? host.blas : null;
  }

  /** Cores that training threads leave idle: all but one if devices compute, otherwise none. */
  get freeCores(): number {
    return this.memory.hostGradients === undefined ? 0 : navigator.hardwareConcurrency - 1;
  }

  #openTables(): TableCoordinator {
    const { plan: { rows }, hotRows, moveRows, moveHotRows, replicaLists, host } = this.memory;
    if (replicaLists === undefined) return new TableCoordinator();
    const list = (words: Buffer) => host.integers(words);
    return new ReplicaCoordinator({
      ...{ hotRows, rows, moveRows: list(moveRows), moveHotIds: list(moveHotRows), memory: list(replicaLists) },
      move: (direction, first, count) => {
        this.post(direction === "pull" ? Command.pullHot : Command.pushHot, first, count);
      },
      moved: () => this.#settleInParts(),
    });
  }

  /** The next slot, once its last batch is done; slots are used in turn. */
  acquire(): number {
    const slot = this.#next;
    this.#next = (slot + 1) % this.batches.length;
    if (this.#isWaiting(slot)) this.release();
    this.waitForSlot(slot);
    return slot;
  }

  /** False if `acquire` would have to wait longer than a few milliseconds. */
  get isReady(): boolean {
    return this.#isWaiting(this.#next) || this.isDone(this.#next, PATIENCE_MS);
  }

  /** Waits until `acquire` need not, while the event loop turns. */
  async ready(): Promise<void> {
    while (!this.isDone(this.#next, 0)) await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }

  /**
   * Queues the training step over the batch in the slot, and what the tables need before it. If tables look ahead, the
   * step is queued when the batches after it have been announced.
   */
  train(slot: number): void {
    this.tables.beforeStep(this.batches[slot]);
    if (this.#lookAhead > 0) this.send(Command.prefetch, slot, 0);
    this.#announced[(this.#oldest + this.#waiting++) % this.#announced.length] = slot;
    while (this.#waiting > this.#lookAhead) this.#trainNext();
  }

  #isWaiting(slot: number): boolean {
    for (let i = 0; i < this.#waiting; i++) {
      if (this.#announced[(this.#oldest + i) % this.#announced.length] === slot) return true;
    }
    return false;
  }

  #trainNext(): void {
    const slot = this.#announced[this.#oldest];
    this.#oldest = (this.#oldest + 1) % this.#announced.length;
    this.#waiting--;
    this.send(Command.train, slot, this.batches[slot].samples);
  }

  /** Queues the steps of all announced batches. */
  protected release(): void {
    while (this.#waiting > 0) this.#trainNext();
  }

  /** The same with breaks between them: where rows are on disk, each waits for the step before. */
  protected async released(): Promise<void> {
    while (this.#waiting > 0) {
      this.#trainNext();
      if (breaks.due) await breaks.take();
    }
  }

  /**
   * Queues the scoring of the batch in the slot; its logits are in `scores(slot)` when `acquire` returns the slot again,
   * or after `drain`.
   */
  score(slot: number): void {
    this.post(Command.score, slot, this.batches[slot].samples);
  }

  scores(slot: number): Float32Array {
    return this.memory.host.floats(this.memory.scores[slot]);
  }

  /** For each hidden unit: was it nonzero for any sample scored since the last call? Waits for the ranks. */
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

  /** Initialises the model on all ranks: dense parameters are given, tables are drawn from the seed. */
  async initialise(parameters: Float32Array, seed: number): Promise<void> {
    this.memory.device.upload(parameters, this.memory.parameters);
    this.post(Command.fromMirror, 0, 0);
    await this.draw(seed);
    this.tables.invalidate();
  }

  /** Draws the initial rows. */
  protected async draw(seed: number): Promise<void> {
    this.post(Command.initialise, seed, 0);
    await this.drained();
  }

  /** True if host memory has copies of memory on devices that `updateMirror` brings up to date. */
  get hasMirror(): boolean {
    return this.memory.mirror !== undefined;
  }

  /** Updates the host copies of memory on devices, if there are any. Waits for the ranks. */
  updateMirror(): void {
    this.post(Command.toMirror, 0, 0);
    this.drain();
  }

  /** Flags, one per bit, that are set on any rank, as soon as all ranks know them. */
  agree(flags: number): number {
    return flags;
  }

  /** True if threads of this process can read the full tables, or their mirror. */
  get canReadTables(): boolean {
    return this.memory.full.backend === this.memory.host;
  }

  /** Rows that `initialise` draws at once. */
  get drawnRows(): number {
    return this.memory.plan.rows;
  }

  /** The global row at a position of the full tables' matrix; -1 if there is none. */
  rowAt(position: number): number {
    return position;
  }

  /** Copies a checkpoint into the memory of all ranks. Throws HotsetError if it belongs to another model. */
  async load(checkpoint: Checkpoint, onProgress?: (fraction: number) => void): Promise<void> {
    await checkpoint.load(this.memory, this.memory.plan.shape, { onProgress });
    this.post(Command.fromMirror, 0, 0);
    await this.drained();
    this.tables.invalidate();
  }

  /**
   * Writes a checkpoint of the full tables and dense parameters, which must be up to date, while no step is running.
   * Returns its bytes.
   */
  save(places: CheckpointPlaces, body: CheckpointBody): number {
    storeCheckpoint(places, body, (writer, names) => writeModel(writer, this.memory, names));
    return checkpointBytes(this.memory.plan);
  }

  /** Rows moved between memory and disk so far; undefined if all are in memory, or if another process moves them. */
  get moved(): MovedRows | undefined {
    return undefined;
  }

  /** The same since the last call. */
  takeMoved(): ProgressEvent["moved"] {
    return undefined;
  }

  /** Counters of the devices of all ranks. Waits for the ranks. */
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

  /** Waits until all queued commands are done. Throws the first error of a rank. */
  drain(): void {
    this.release();
    this.settle();
  }

  /** The same, while the event loop turns if it takes more than a few milliseconds. */
  async drained(): Promise<void> {
    await this.released();
    for (let wait = PATIENCE_MS; !this.isIdle(wait); wait = 0) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    this.settle();
  }

  /** The same in parts, each of which waits for a few milliseconds. */
  *#settleInParts(): Parts<void> {
    while (!this.isIdle(LOOK_MS)) yield;
    this.drain();
  }

  /** False if other threads carry out queued commands, and still do after some milliseconds. */
  protected isIdle(_milliseconds: number): boolean {
    return true;
  }

  /** False if the last command on this slot is not done, and still is not after some milliseconds. */
  protected isDone(_slot: number, _milliseconds: number): boolean {
    return true;
  }

  /** Queues a command for every rank; each carries it out by `Rank.execute`, on other threads in `rank_worker.ts`. */
  protected abstract send(command: Command, a: number, b: number): void;
  /** Waits until all queued commands are done. */
  protected abstract settle(): void;
  /** Waits until all ranks, but not their devices, have done the last command to move cached rows. */
  waitForMoves(): void {}
  /** Waits until a slot may change: for the last command on it, or the copy of its batch to a device. */
  waitForSlot(_slot: number): void {}
  abstract [Symbol.asyncDispose](): Promise<void>;
}

/** One rank on the calling thread: for short steps, and for a device, which computes beside it. */
export class LocalRank extends RankGroup {
  readonly #rank: Rank;
  readonly #uploads: readonly Upload[] | undefined;

  /** Pins the slots, if there is a device. A note says why the system refuses that. */
  constructor(memory: TrainState, report: Report = () => {}) {
    super(memory, 1, memory.device.name);
    const uploads = memory.device.newUploads?.(memory.slots.map((slot) => memory.host.floats(slot)));
    if (typeof uploads === "string") {
      report({ event: "note", text: `Batches are copied once more before they go to the device: ${uploads}` });
    } else {
      this.#uploads = uploads;
    }
    this.#rank = new Rank(memory, ONE_RANK, this.#uploads);
  }

  override waitForSlot(slot: number): void {
    this.#uploads?.[slot].wait();
  }

  protected override async draw(seed: number): Promise<void> {
    this.release();
    await inParts(this.#rank.initialise(seed));
  }

  protected send(command: Command, a: number, b: number): void {
    this.#rank.execute(command, a, b);
  }

  protected override isIdle(): boolean {
    return this.memory.device.isIdle ?? true;
  }

  /** A device is asked in every turn of the event loop: a timer would let it wait for its next steps. */
  override async drained(): Promise<void> {
    await this.released();
    while (!this.isIdle()) await breaks.take();
    this.settle();
  }

  protected settle(): void {
    this.memory.device.synchronize();
  }

  // deno-lint-ignore require-await
  async [Symbol.asyncDispose](): Promise<void> {
    this.memory.device[Symbol.dispose]();
  }
}
