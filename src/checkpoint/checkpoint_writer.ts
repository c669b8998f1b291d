/**
 * Writes checkpoints during training: the coordinator's side. Tables in host memory are written by a worker from a
 * snapshot (table_snapshot.ts), so training stops only while the dense parameters are copied. For tables on a device, or
 * shared with other processes, training stops until the checkpoint is written.
 */
import { attempt, HotsetError } from "../errors.ts";
import { Mailbox } from "../threads/mailbox.ts";
import { answerOf, startWorker } from "../threads/start_worker.ts";
import type { TableCoordinator } from "../embedding/coordinator.ts";
import type { RowMatrix } from "../embedding/tables.ts";
import type { ModelPlan } from "../model/shape.ts";
import type { CheckpointBody, ModelMemory } from "./checkpoint.ts";
import type { CheckpointPlaces } from "./checkpoint_store.ts";
import { newSnapshotMemory, SnapshotKeeper, type SnapshotMemory } from "./table_snapshot.ts";
import { NotFinite } from "./weights.ts";

/**
 * Maximum share of its time that the worker spends copying rows when ranks keep every core busy; it sleeps the rest,
 * minus the time that the disk takes. Small, because all ranks wait for the rank whose core the worker uses.
 */
const TAKING_SHARE = 1 / 36;

/** Positions of words in the mailbox. After the worker failed or died, no further checkpoint is written. */
export const Mail = {
  /** Number of checkpoints written. */
  done: 0,
  /** 1 while the coordinator waits for the worker, which then does not limit its processor time. */
  coordinatorWaiting: 1,
} as const;
const MAIL_WORDS = 2;

/** What the coordinator and the worker share; can be posted. */
export interface WriterMemory {
  readonly snapshot: SnapshotMemory;
  /** The dense parameters and their optimizer state at the step of the checkpoint. */
  readonly dense: Float32Array;
  readonly denseState: Float32Array | undefined;
  readonly mailbox: SharedArrayBuffer;
  /** Maximum share of its time that the worker spends copying rows; 1 for no limit. */
  readonly takingShare: number;
  /** Bytes of the last checkpoint, and the seconds that writing it took. */
  readonly figures: Float64Array;
}

/** The model in training, and the ranks that train it; `RankGroup` implements it. */
export interface TrainedModel {
  readonly memory: ModelMemory & {
    readonly plan: ModelPlan;
    /** The replica of the hot rows. */
    readonly hot: RowMatrix | undefined;
  };
  /** Its `onWrite` is called with the rows that are about to change. */
  readonly tables: Pick<TableCoordinator, "onWrite">;
  readonly ranks: number;
  /** True if threads of this process can read the full tables, or their mirror. */
  readonly canReadTables: boolean;
  /** Updates the host copy of tables on several devices, if there is one. Waits for the ranks. */
  updateMirror(): void;
  /** Writes a checkpoint while no step is running; returns its bytes. */
  save(places: CheckpointPlaces, body: CheckpointBody): number;
}

/** Milliseconds between two looks at a checkpoint in progress. */
const LOOK_MS = 5;

export interface WriterOrder {
  readonly places: CheckpointPlaces;
  readonly body: CheckpointBody;
}

export interface WrittenCheckpoint {
  readonly step: number;
  readonly bytes: number;
  /** From the snapshot until the checkpoint was on disk. */
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
  /** Number of checkpoints begun, and the step of the one in progress. */
  #begun = 0;
  #step: number | undefined;

  private constructor(group: TrainedModel, onWritten: (written: WrittenCheckpoint) => void) {
    this.#group = group;
    this.#onWritten = onWritten;
  }

  /** A writer for the model of a run; `poll` and `finish` call `onWritten` for each completed checkpoint. */
  static async start(group: TrainedModel, onWritten: (written: WrittenCheckpoint) => void): Promise<CheckpointWriter> {
    const writer = new CheckpointWriter(group, onWritten);
    if (!group.canReadTables) return writer;
    const shared = allocate(group);
    const worker = await startWorker(new URL("./checkpoint_worker.ts", import.meta.url), "checkpoints");
    const mail = new Mailbox(shared.mailbox);
    await answerOf(worker, shared, (reason) => {
      mail.fail(new HotsetError(`Cannot write checkpoints: the writer died: ${reason}`));
      return new HotsetError(`Cannot start the checkpoint writer: ${reason}`);
    });
    const keeper = new SnapshotKeeper(shared.snapshot);
    writer.#beside = { shared, mail, keeper, worker };
    group.tables.onWrite = (words, at, stride, count) => keeper.keep(words, at, stride, count, writer.#waitForTables);
    return writer;
  }

  /**
   * Begins a checkpoint of the present memory; the full tables must be up to date and no step running. First waits for
   * the previous checkpoint, and throws HotsetError if that failed.
   */
  async begin(places: CheckpointPlaces, body: CheckpointBody): Promise<void> {
    await this.finish();
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

  /** Reports a checkpoint that has completed. Throws HotsetError if it failed, or if the worker died. */
  poll(): void {
    this.#expectSuccess();
    if (this.#step === undefined || this.busy) return;
    const step = this.#step;
    const { keeper, shared: { figures: [bytes, seconds] } } = this.#beside!;
    this.#step = undefined;
    keeper.end();
    this.#onWritten({ step, bytes, seconds });
  }

  /**
   * Waits until the checkpoint in progress is on disk. The event loop turns meanwhile, because a worker that dies tells
   * so by an event. Throws HotsetError if the checkpoint failed.
   */
  async finish(): Promise<void> {
    if (this.busy) {
      const { mail } = this.#beside!;
      mail.put(Mail.coordinatorWaiting, 1);
      while (this.busy) await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      mail.put(Mail.coordinatorWaiting, 0);
    }
    this.poll();
  }

  /** Waits until nothing is being written; does not throw if that failed. */
  settle(): void {
    if (!this.busy) return;
    const { mail } = this.#beside!;
    this.#waitWithoutLimit(() => mail.waitUnlessFailed(Mail.done, this.#begun - 1));
  }

  /** Waits until the worker has copied all tables. Throws HotsetError if it fails. */
  readonly #waitForTables = (): void => {
    const { mail, shared: { snapshot: { taken } } } = this.#beside!;
    const lastChunk = taken.length - 1;
    this.#waitWithoutLimit(() => mail.waitUnlessFailed(lastChunk, 0, taken));
    if (Atomics.load(taken, lastChunk) === 0) this.#expectSuccess();
  };

  /** Waits for the worker, which meanwhile does not limit its processor time. */
  #waitWithoutLimit(wait: () => void): void {
    const { mail } = this.#beside!;
    mail.put(Mail.coordinatorWaiting, 1);
    try {
      wait();
    } finally {
      mail.put(Mail.coordinatorWaiting, 0);
    }
  }

  #expectSuccess(): void {
    const failure = this.#beside?.mail.failure;
    if (failure === undefined) return;
    throw failure.code === "diverged" ? new NotFinite(failure.message) : new HotsetError(failure.message, failure);
  }

  /** Waits until nothing is being written, and ends the worker. */
  [Symbol.dispose](): void {
    this.settle();
    this.#group.tables.onWrite = () => {};
    this.#beside?.worker.terminate();
  }
}

function allocate({ memory, ranks }: TrainedModel): WriterMemory {
  const { plan, full, host, hot } = memory;
  const shared = (bytes: number) => new SharedArrayBuffer(bytes);
  return attempt("Cannot allocate memory for checkpoints", () => ({
    snapshot: newSnapshotMemory(plan.shape, full, host, hot?.rows ?? 0),
    dense: new Float32Array(shared(4 * memory.parameters.words)),
    denseState: memory.denseState && new Float32Array(shared(4 * memory.denseState.words)),
    mailbox: new Mailbox(MAIL_WORDS).memory,
    takingShare: ranks < navigator.hardwareConcurrency ? 1 : TAKING_SHARE,
    figures: new Float64Array(shared(16)),
  }));
}
