/** The coordinator's side of the ranks: memory for batches, and commands that ranks carry out in order. */
import type { Backend, Buffer, HostBackend } from "../backend/backend.ts";
import { stateWordsPerRow } from "../backend/backend.ts";
import { Solo } from "../collective/collective.ts";
import { Batch, batchSections, type BatchShape } from "../layout/batch.ts";
import type { EmbeddingStore } from "../model/dlrm.ts";
import type { ModelPlan } from "../model/shape.ts";
import { type Checkpoint, type CheckpointBody, saveCheckpoint } from "./checkpoint.ts";
import { Command, Rank, type RankSetup } from "./rank.ts";

/** Batches that can be in flight: one computed, the others read ahead. */
const SLOTS = 4;

/** Memory of a training run that ranks share; `gradients` has one vector for each rank that shares it. */
export interface RunMemory extends Omit<RankSetup, "gradients"> {
  readonly gradients: readonly Buffer[];
}

/** What decides the memory of a run. */
export interface RunMemoryOptions {
  readonly plan: ModelPlan;
  readonly batchShape: BatchShape;
  /** Rows of the hot replica; 0 for none. */
  readonly hotRows: number;
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
  return { ...allocateShared(options), ...allocateOwn(options) };
}

/** The part of a run's memory that ranks compute in together: tables, dense parameters and gradients. */
export function allocateShared(options: RunMemoryOptions) {
  const { plan, batchShape, hotRows, ranks, device, tables } = options;
  const { dim, optimizer } = plan.shape;
  const stateWords = stateWordsPerRow(optimizer, dim);
  const store = (backend: Backend, rows: number, label: string): EmbeddingStore => ({
    backend,
    rows,
    weights: backend.allocateTable(rows * dim, label),
    state: stateWords === 0 ? undefined : backend.allocateTable(rows * stateWords, `optimizer state of ${label}`),
  });
  return {
    full: store(tables, options.fullRows ?? plan.rows, "the embedding tables"),
    hot: hotRows === 0 ? undefined : store(device, hotRows, "the hot rows"),
    parameters: device.allocate(plan.denseWords, "dense parameters"),
    denseState: optimizer === "sgd" ? undefined : device.allocate(plan.denseWords, "dense optimizer state"),
    gradients: Array.from({ length: ranks }, () => device.allocate(plan.denseWords, "dense gradients")),
    pooledGradients: device.allocate(batchShape.batchSize * batchShape.tables * dim, "gradients of pooled rows"),
  };
}

/** The part that the coordinator's process reads and writes. */
export function allocateOwn(options: RunMemoryOptions) {
  const { plan, batchShape, hotRows, ranks, device, host } = options;
  const times = (count: number, words: number, label: string) =>
    Array.from({ length: count }, () => host.allocate(words, label));
  return {
    plan,
    batchShape,
    device,
    host,
    slots: times(SLOTS, batchSections(batchShape).capacity, "batches"),
    scores: times(SLOTS, batchShape.batchSize, "scores"),
    moveRows: host.allocate(Math.max(hotRows, 1), "rows to move"),
    moveHotRows: host.allocate(Math.max(hotRows, 1), "rows to move"),
    losses: host.allocate(ranks, "losses"),
  };
}

/** All ranks of a run, seen from the coordinator. */
export abstract class RankGroup implements AsyncDisposable {
  readonly memory: RunMemory;
  /** All ranks of the run. */
  abstract readonly ranks: number;
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

  /** Sum of the losses of all samples since the last call. Waits for the ranks. */
  takeLoss(): number {
    this.post(Command.takeLoss, 0, 0);
    this.drain();
    return this.memory.host.floats(this.memory.losses).reduce((sum, loss) => sum + loss, 0);
  }

  /** True if a flag is true on any rank, as soon as all know. */
  agree(flag: boolean): boolean {
    return flag;
  }

  /** Writes a checkpoint of the full tables and dense parameters, which must be up to date. */
  save(directory: string, body: CheckpointBody): void {
    saveCheckpoint(directory, this.memory, body);
  }

  /** Copies a checkpoint into the memory of all ranks. Throws HotsetError if it is one of another model. */
  load(checkpoint: Checkpoint): void {
    checkpoint.load(this.memory, this.memory.plan.shape);
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
  readonly #rank: Rank;

  constructor(memory: RunMemory) {
    super(memory);
    this.#rank = new Rank({ ...memory, gradients: memory.gradients[0] }, new Solo());
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
