/** Ranks as Deno Workers over shared memory, one per core. Commands are queued in a ring of words, without messages. */
import { GROUP_WORDS, type ThreadGroupMemory, threadGroupMemory } from "../parallel/threads.ts";
import type { Buffer, HostBackend, SharedWords } from "../backend/backend.ts";
import type { DeviceOptions, HostOptions } from "../backend/open.ts";
import type { RowBuffers } from "../embedding/tables.ts";
import type { BatchShape } from "../layout/batch.ts";
import type { ModelShape } from "../model/shape.ts";
import { HotsetError } from "../errors.ts";
import { Mailbox } from "../threads/mailbox.ts";
import { answerOf, startWorker } from "../threads/start_worker.ts";
import { Command } from "./rank.ts";
import { RankGroup } from "./rank_group.ts";
import { mapBuffers, type TrainBuffers, type TrainState, type TrainStateOptions } from "./train_state.ts";

/** Maximum number of queued commands. */
const RING_COMMANDS = 64;
const COMMAND_WORDS = 4;
/**
 * Milliseconds to wait at the end for ranks, which finish the command that they carry out. On the CPU they are more than
 * steps take, because libraries crash when a thread is terminated that computes with them. A GPU may wait for ever for
 * another one that has failed.
 */
const END_TIMEOUT_MS = { cpu: 10_000, devices: 1000 };
/** Milliseconds between looks at whether they have ended. */
const LOOK_MS = 5;

/** Position in the mailbox of the number of queued commands, after the group's words. */
export const POSTED = GROUP_WORDS;

/** Position of the number of commands that rank r has done; each in its own cache line. */
export function doneAt(rank: number): number {
  return POSTED + 16 * (1 + rank);
}

/** Position of the ring, after the counters of all ranks. */
export function ringAt(ranks: number, command: number): number {
  return doneAt(ranks) + COMMAND_WORDS * (command % RING_COMMANDS);
}

/** Devices of a group with one device per rank, and what they store. */
export interface RankDevices extends Pick<TrainStateOptions, "hotRows" | "tablesOnDevice" | "cache"> {
  readonly options: DeviceOptions;
}

/** The message that starts a worker. */
export interface RankMessage {
  readonly host: HostOptions;
  readonly rank: number;
  /** The thread group; its mailbox also has the commands. */
  readonly group: ThreadGroupMemory;
  readonly mostDistinct: TrainState["mostDistinct"];
  /** Undefined if ranks compute on the host. */
  readonly devices: RankDevices | undefined;
  /** The shape of the model, with its dropout. */
  readonly model: ModelShape;
  readonly batchShape: BatchShape;
  readonly memory: SharedBuffers;
}

/** The buffers of a run in a form that can be posted to a worker. */
export type SharedBuffers = TrainBuffers<SharedWords, RowBuffers<SharedWords>>;

function shareAll(host: HostBackend, memory: TrainState): SharedBuffers {
  const one = (buffer: Buffer) => host.share(buffer);
  const matrix = ({ weights, state }: RowBuffers<Buffer>) => ({ weights: one(weights), state: state && one(state) });
  return mapBuffers(memory, one, matrix);
}

/** A group of workers. The calling thread is the coordinator; it sleeps when it must wait. */
export class WorkerRanks extends RankGroup {
  /** Workers that have not ended. */
  readonly #running = new Set<Worker>();
  readonly #mail: Mailbox;
  readonly #slotCommand: number[];
  /** Number of commands up to the last one that moves cached rows. */
  #moveCommand = 0;
  #posted = 0;

  private constructor(memory: TrainState, ranks: number, mail: Mailbox) {
    super(memory, ranks, memory.device.name);
    this.#mail = mail;
    this.#slotCommand = memory.slots.map(() => 0);
  }

  /** Starts a worker for each rank, with devices if given, and waits until all are ready. Throws the first error. */
  static async start(
    memory: TrainState,
    options: HostOptions,
    devices?: RankDevices,
  ): Promise<WorkerRanks> {
    const ranks = memory.losses.words;
    const group = threadGroupMemory(ranks, ringAt(ranks, 0) + COMMAND_WORDS * RING_COMMANDS - GROUP_WORDS);
    const { plan: { shape, dropout }, batchShape, mostDistinct } = memory;
    const model = { ...shape, dropout };
    const message = {
      ...{ host: options, group, devices, model, batchShape, mostDistinct, memory: shareAll(memory.host, memory) },
    };
    const started = new WorkerRanks(memory, ranks, new Mailbox(group.mailbox));
    const opening: Promise<string>[] = [];
    try {
      const module = new URL("./rank_worker.ts", import.meta.url);
      for (let rank = 0; rank < ranks; rank++) {
        const worker = await startWorker(module, `rank ${rank}`);
        const opened = started.#openRank(worker, { ...message, rank });
        opened.catch(() => {}); // it is thrown below, when all have started
        opening.push(opened);
      }
      [started.device] = await Promise.all(opening);
    } catch (error) {
      await started[Symbol.asyncDispose]();
      throw error;
    }
    return started;
  }

  /** Returns the name of the device or library with which the rank computes. */
  async #openRank(worker: Worker, message: RankMessage): Promise<string> {
    this.#running.add(worker);
    const { device, error } = await answerOf<{ device: string; error?: string }>(worker, message, (reason) => {
      this.#mail.fail(reason);
      this.#running.delete(worker);
      return new HotsetError(`Cannot start rank ${message.rank}: ${reason}`);
    });
    worker.onmessage = () => this.#running.delete(worker);
    if (error === undefined) return device;
    this.#running.delete(worker);
    throw new HotsetError(this.#mail.failure?.message ?? error);
  }

  protected send(command: Command, a: number, b: number): void {
    this.#waitFor(this.#posted - RING_COMMANDS + 1);
    this.#queue(command, a, b);
    if (command === Command.train || command === Command.score) this.#slotCommand[a] = this.#posted;
    if (command === Command.moveCached) this.#moveCommand = this.#posted;
  }

  #queue(command: Command, a: number, b: number): void {
    const at = ringAt(this.ranks, this.#posted);
    const { words } = this.#mail;
    words[at] = command;
    words[at + 1] = a;
    words[at + 2] = b;
    this.#mail.put(POSTED, ++this.#posted);
  }

  protected settle(): void {
    this.#waitForDevices();
    this.#waitFor(this.#posted);
  }

  override async drained(): Promise<void> {
    await this.released();
    this.#waitForDevices();
    await super.drained();
  }

  /** A device may be behind its rank, and a device that waits for another one needs that one's rank to wait as well. */
  #waitForDevices(): void {
    if (this.memory.mirror !== undefined) this.send(Command.synchronize, 0, 0);
  }

  protected override isIdle(milliseconds: number): boolean {
    return this.#areDone(this.#posted, milliseconds);
  }

  protected override isDone(slot: number, milliseconds: number): boolean {
    return this.#areDone(this.#slotCommand[slot], milliseconds);
  }

  /** True if every rank has done the first `count` commands, or one has failed; sleeps for some milliseconds at most. */
  #areDone(count: number, milliseconds: number): boolean {
    const end = performance.now() + milliseconds;
    for (let rank = 0; rank < this.ranks; rank++) {
      const at = doneAt(rank);
      for (let done = this.#mail.get(at); done < count && !this.#mail.failed; done = this.#mail.get(at)) {
        const left = end - performance.now();
        if (left <= 0) return false;
        this.#mail.sleep(at, done, left);
      }
    }
    return true;
  }

  override waitForMoves(): void {
    this.#waitFor(this.#moveCommand);
  }

  override waitForSlot(slot: number): void {
    this.#waitFor(this.#slotCommand[slot]);
  }

  /** Sleeps until every rank has done the first `count` commands. */
  #waitFor(count: number): void {
    for (let rank = 0; rank < this.ranks; rank++) {
      const at = doneAt(rank);
      for (let done = this.#mail.get(at); done < count; done = this.#mail.get(at)) {
        const { failure } = this.#mail;
        if (failure !== undefined) throw new HotsetError(`Cannot continue training: a rank failed: ${failure.message}`);
        this.#mail.waitUnlessFailed(at, done);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#queue(Command.stop, 0, 0);
    for (
      let left = END_TIMEOUT_MS[this.hasMirror ? "devices" : "cpu"];
      this.#running.size > 0 && left > 0;
      left -= LOOK_MS
    ) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    for (const worker of this.#running) worker.terminate(); // the others close themselves
  }
}
