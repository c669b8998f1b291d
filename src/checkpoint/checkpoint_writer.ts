/**
 * Writes checkpoints beside training: the coordinator's side. Tables in host memory are written by a worker from a
 * snapshot (table_snapshot.ts), so training stops only for copying what is small. Tables on a device, or shared with
 * other processes, are read and written while training stands still.
 */
import { HotsetError, messageOf } from "../errors.ts";
import { Mailbox } from "../threads/mailbox.ts";
import type { TableCoordinator } from "../embedding/coordinator.ts";
import type { RowMatrix } from "../embedding/tables.ts";
import type { ModelPlan } from "../model/shape.ts";
import type { CheckpointBody, ModelMemory } from "./checkpoint.ts";
import type { CheckpointPlaces } from "./checkpoint_store.ts";
import { newSnapshotMemory, SnapshotKeeper, type SnapshotMemory } from "./table_snapshot.ts";
import { NotFinite } from "./weights.ts";

/**
 * Where ranks keep every core busy, the worker takes rows at most this share of the time, and sleeps in between unless the
 * disk makes it wait anyway: what it does besides costs more than that again, and all ranks wait for the one it holds up.
 */
const TAKING_SHARE = 1 / 36;

/** Words of the mailbox, by position. Once the worker has failed or died no other checkpoint will be written. */
export const Mail = {
  /** Checkpoints that are written. */
  done: 0,
  /** 1 if the coordinator waits, so that nothing is gained by sparing the processor. */
  hurry: 1,
} as const;
const MAIL_WORDS = 2;

/** What the coordinator and the worker share; can be posted. */
export interface WriterMemory {
  readonly snapshot: SnapshotMemory;
  /** The dense parameters and their optimizer state at the step of the checkpoint. */
  readonly dense: Float32Array;
  readonly denseState: Float32Array | undefined;
  /** Memory of the mailbox. */
  readonly mailbox: SharedArrayBuffer;
  /** The most of its time that the worker takes rows; 1 for no limit. */
  readonly takingShare: number;
  /** Bytes of the last checkpoint, and the seconds it took. */
  readonly figures: Float64Array;
}

/** The model that is written, and those who train it: a RankGroup. */
export interface TrainedModel {
  readonly memory: ModelMemory & {
    readonly plan: ModelPlan;
    /** The replica of the hot rows. */
    readonly hot: RowMatrix | undefined;
  };
  /** Tells which rows are about to change. */
  readonly tables: Pick<TableCoordinator, "onWrite">;
  /** How many train it. */
  readonly ranks: number;
  /** True if threads of this process can read the full tables, or their mirror. */
  readonly tablesAreOurs: boolean;
  /** Brings the mirror of what lies on several devices up to date, where there is one. Waits for the ranks. */
  updateMirror(): void;
  /** Writes a checkpoint while training stands still; returns the bytes that it takes. */
  save(places: CheckpointPlaces, body: CheckpointBody): number;
}

/** A checkpoint to write. */
export interface WriterOrder {
  readonly places: CheckpointPlaces;
  readonly body: CheckpointBody;
}

/** A checkpoint that is complete. */
export interface WrittenCheckpoint {
  readonly step: number;
  readonly bytes: number;
  /** From the snapshot until it was on the disk. */
  readonly seconds: number;
}

/** Writes the checkpoints of a run, one at a time. */
export class CheckpointWriter implements Disposable {
  readonly #group: TrainedModel;
  readonly #onWritten: (written: WrittenCheckpoint) => void;
  #beside:
    | {
      readonly shared: WriterMemory;
      readonly mail: Mailbox;
      readonly keeper: SnapshotKeeper;
      readonly worker: Worker;
    }
    | undefined;
  /** Checkpoints begun, and the step of the last one; undefined when none is under way. */
  #begun = 0;
  #step: number | undefined;

  private constructor(group: TrainedModel, onWritten: (written: WrittenCheckpoint) => void) {
    this.#group = group;
    this.#onWritten = onWritten;
  }

  /** A writer for the model of a run; `onWritten` hears of each checkpoint at the next `poll` or `finish`. */
  static async start(group: TrainedModel, onWritten: (written: WrittenCheckpoint) => void): Promise<CheckpointWriter> {
    const writer = new CheckpointWriter(group, onWritten);
    if (!group.tablesAreOurs) return writer;
    const shared = allocate(group);
    const worker = new Worker(new URL("./checkpoint_worker.ts", import.meta.url), {
      type: "module",
      name: "checkpoints",
    });
    await new Promise<void>((resolve, reject) => {
      worker.onmessage = () => resolve();
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new HotsetError(`Cannot start the checkpoint writer: ${event.message}`));
      };
      worker.postMessage(shared);
    });
    const mail = new Mailbox(shared.mailbox);
    worker.onerror = (event) => {
      event.preventDefault();
      mail.fail(new HotsetError(`Cannot write checkpoints: the writer died: ${event.message}`));
    };
    const keeper = new SnapshotKeeper(shared.snapshot);
    writer.#beside = { shared, mail, keeper, worker };
    group.tables.onWrite = (words, at, stride, count) => keeper.keep(words, at, stride, count, writer.#waitForTables);
    return writer;
  }

  /**
   * Begins a checkpoint of the memory as it is: the full tables are up to date and no step is under way. Waits for the
   * one before, if that is still being written. Throws HotsetError if that one failed.
   */
  begin(places: CheckpointPlaces, body: CheckpointBody): void {
    this.finish();
    this.#group.updateMirror();
    const { device, parameters, denseState } = this.#group.memory;
    const { step } = body.state;
    if (this.#beside === undefined) {
      const begin = performance.now();
      const bytes = this.#group.save(places, body);
      const seconds = (performance.now() - begin) / 1000;
      return this.#onWritten({ step, bytes, seconds });
    }
    const { shared, keeper, worker } = this.#beside;
    device.download(parameters, shared.dense);
    if (denseState !== undefined) device.download(denseState, shared.denseState!);
    keeper.begin();
    this.#begun++;
    this.#step = step;
    worker.postMessage({ places, body } satisfies WriterOrder);
  }

  /** True while a checkpoint is being written. */
  get busy(): boolean {
    if (this.#beside === undefined) return false;
    const { mail } = this.#beside;
    return mail.get(Mail.done) < this.#begun && !mail.failed;
  }

  /** Tells of the checkpoint that has become complete, if any. Throws HotsetError if it failed, or the worker died. */
  poll(): void {
    this.#expectSuccess();
    if (this.#step === undefined || this.busy) return;
    const step = this.#step;
    const { keeper, shared: { figures: [bytes, seconds] } } = this.#beside!;
    this.#step = undefined;
    keeper.end();
    this.#onWritten({ step, bytes, seconds });
  }

  /** Waits until the checkpoint that was begun is on the disk. Throws HotsetError if it failed. */
  finish(): void {
    this.settle();
    this.poll();
  }

  /** Waits until nothing is being written, whatever comes of it. */
  settle(): void {
    if (!this.busy) return;
    const { mail } = this.#beside!;
    this.#hurry(() => mail.waitUnlessFailed(Mail.done, this.#begun - 1));
  }

  /** Waits until the worker has taken all tables. Throws HotsetError if it fails before. */
  readonly #waitForTables = (): void => {
    const { mail, shared: { snapshot: { taken } } } = this.#beside!;
    const lastChunk = taken.length - 1;
    this.#hurry(() => mail.waitUnlessFailed(lastChunk, 0, taken));
    if (Atomics.load(taken, lastChunk) === 0) this.#expectSuccess();
  };

  /** Waits for the worker, which meanwhile spares no processor. */
  #hurry(wait: () => void): void {
    const { mail } = this.#beside!;
    mail.put(Mail.hurry, 1);
    try {
      wait();
    } finally {
      mail.put(Mail.hurry, 0);
    }
  }

  #expectSuccess(): void {
    const failure = this.#beside?.mail.failure;
    if (failure === undefined) return;
    throw failure.code === "diverged" ? new NotFinite(failure.message) : new HotsetError(failure.message, failure);
  }

  /** Waits until nothing is half written, and ends the worker. */
  [Symbol.dispose](): void {
    this.settle();
    this.#group.tables.onWrite = () => {};
    this.#beside?.worker.terminate();
  }
}

function allocate({ memory, ranks }: TrainedModel): WriterMemory {
  const { plan, full, host, hot } = memory;
  const shared = (bytes: number) => new SharedArrayBuffer(bytes);
  try {
    return {
      snapshot: newSnapshotMemory(plan.shape, full, host, hot?.rows ?? 0),
      dense: new Float32Array(shared(4 * memory.parameters.words)),
      denseState: memory.denseState && new Float32Array(shared(4 * memory.denseState.words)),
      mailbox: new Mailbox(MAIL_WORDS).memory,
      takingShare: ranks < navigator.hardwareConcurrency ? 1 : TAKING_SHARE,
      figures: new Float64Array(shared(16)),
    };
  } catch (error) {
    throw new HotsetError(`Cannot allocate memory for checkpoints: ${messageOf(error)}`, { cause: error });
  }
}
