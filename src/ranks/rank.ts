/**
 * A rank: one worker's part of the model, and the few commands that the coordinator gives it. All ranks get the same
 * commands in the same order.
 */
import type { Backend, Buffer, HostBackend } from "../backend/backend.ts";
import { nodeBarrier } from "../parallel/node_barrier.ts";
import type { ProcessGroups } from "../parallel/process_group.ts";
import { Batch, batchSections, type BatchShape } from "../layout/batch.ts";
import { openTables, type TableMemory } from "../embedding/open.ts";
import type { ReplicatedTables } from "../embedding/replicated.ts";
import type { EmbeddingTables, RowMatrix } from "../embedding/tables.ts";
import { Model, type StepInput } from "../model/model.ts";
import { hiddenUnits, type ModelPlan } from "../model/shape.ts";

/** Vectors of a run that a checkpoint keeps, in host memory. */
export interface Mirror {
  readonly parameters: Buffer;
  readonly denseState: Buffer | undefined;
  /** The full tables; undefined if those that ranks use are in host memory. */
  readonly full: Pick<RowMatrix, "weights" | "state"> | undefined;
}

/** Everything a rank works on. What is marked shared is the same memory for every rank that shares its host's. */
export interface RankSetup extends TableMemory {
  readonly plan: ModelPlan;
  readonly batchShape: BatchShape;
  readonly device: Backend;
  readonly host: HostBackend;
  /** Dense parameters and their optimizer state, on the device; shared or one on each. */
  readonly parameters: Buffer;
  readonly denseState: Buffer | undefined;
  /** Dense gradients: shared, one vector a rank; or on a device, the one of this rank. */
  readonly gradients: readonly Buffer[];
  /** Gradients of pooled rows of a whole batch, on the device; shared or one on each. */
  readonly pooledGradients: Buffer;
  /** What ranks with devices of their own begin from and leave their results in; shared; else undefined. */
  readonly mirror: Mirror | undefined;
  /** Moves messages to and from other hosts on, between operations that take long; undefined if there are none. */
  readonly poll?: (() => void) | undefined;
  /** Batch blocks in host memory that the coordinator fills; shared. */
  readonly slots: readonly Buffer[];
  /** Logits of each slot's batch after `score`, in host memory, (batchSize) each; shared. */
  readonly scores: readonly Buffer[];
  /** Which hidden units were not 0 for some sample that a rank scored: 1 or 0, (ranks, hiddenUnits), in host memory; shared. */
  readonly activeUnits: Buffer;
  /** Lists of rows to move, in host memory: global rows and hot-row ids, (hot rows) each; shared. */
  readonly moveRows: Buffer;
  readonly moveHotRows: Buffer;
  /** Each rank's sum of losses when taken, (ranks), in host memory; shared. */
  readonly losses: Buffer;
  /** What each rank's device did so far when asked, `Count.doubles` a rank, in host memory; shared. */
  readonly counts: Buffer;
}

/** Positions of a rank's counts, which are doubles; steps and launches in them are those of cold, then of hot batches. */
export const Count = {
  bytesToDevice: 0,
  bytesToHost: 1,
  bytesFromRanks: 2,
  steps: 3,
  launches: 5,
  doubles: 7,
} as const;

/** What a rank can be told to do; `a` and `b` are plain numbers. */
export enum Command {
  /** Train on the batch of `b` samples in slot `a`. */
  train,
  /** Begin to bring the rows of the batch in slot `a`, which is trained after those announced before. */
  prefetch,
  /** Score the batch of `b` samples in slot `a`. */
  score,
  /** Initialise this rank's part of the full tables from seed `a`; the dense parameters are there already. */
  initialise,
  /** Copy the mirror to the devices of all ranks, or from the first rank's. */
  fromMirror,
  toMirror,
  /** Copy the first `a` rows of the move lists from the full tables to the hot replica, or back. */
  pullHot,
  pushHot,
  /** Put the sum of losses into `losses` and begin a new sum. */
  takeLoss,
  /** Put what the device did so far into `counts`. */
  count,
  /** Wait for the device. */
  synchronize,
  /** End the rank. */
  stop,
}

/** A place for batches, bound to the model. */
interface Slot {
  readonly input: StepInput;
  readonly logits: Float32Array;
}

/** One rank, ready for commands. */
export class Rank {
  readonly #setup: RankSetup;
  readonly #groups: ProcessGroups<Buffer>;
  readonly #model: Model;
  readonly #lossSum: Buffer;
  readonly #slots: Slot[];
  readonly #zero = new Float32Array(1);
  readonly #unitSums: Float32Array;
  readonly #activeUnits: Float32Array;
  /** Steps over cold and hot batches, and launches in them. */
  readonly #steps = [0, 0];
  readonly #launches = [0, 0];

  /** Allocates the rank's activations on the device. */
  constructor(setup: RankSetup, groups: ProcessGroups<Buffer>) {
    const { device, host, plan, batchShape } = setup;
    this.#setup = setup;
    this.#groups = groups;
    this.#lossSum = device.allocate(1, "sum of losses");
    this.#model = new Model(
      plan,
      batchShape,
      { ...setup, lossSum: this.#lossSum },
      groups,
      (context) => openTables(context, setup),
    );
    const { firstSample, capacity } = this.#model;
    const onHost = (host as Backend) === device;
    this.#slots = setup.slots.map((hostBlock, s) => {
      const deviceBlock = onHost ? hostBlock : device.allocate(batchSections(batchShape).capacity, "batch");
      const { buffer, byteOffset } = host.floats(hostBlock);
      const batch = new Batch(batchShape, buffer, byteOffset);
      return {
        input: this.#model.input({ batch, hostBlock, deviceBlock }),
        logits: host.floats(setup.scores[s]).subarray(firstSample, firstSample + capacity),
      };
    });
    const units = hiddenUnits(plan);
    const { rank } = groups.world;
    this.#unitSums = new Float32Array(units);
    this.#activeUnits = host.floats(setup.activeUnits).subarray(units * rank, units * (rank + 1));
  }

  /** The embedding rows, as this rank uses them. */
  get tables(): EmbeddingTables {
    return this.#model.tables;
  }

  /** Carries out one command; with several ranks, returns when this rank's part is done. */
  execute(command: Command, a: number, b: number): void {
    switch (command) {
      case Command.train:
        this.#train(a, b);
        break;
      case Command.prefetch:
        this.#slots[a].input.tables.prefetch?.();
        break;
      case Command.score:
        this.#score(a, b);
        break;
      case Command.initialise:
        this.#model.tables.initialise(a);
        break;
      case Command.pullHot:
      case Command.pushHot:
        this.#move(command, a);
        break;
      case Command.takeLoss:
        this.#setup.device.download(this.#lossSum, this.#zero);
        this.#setup.host.floats(this.#setup.losses)[this.#groups.world.rank] = this.#zero[0];
        this.#zero[0] = 0;
        this.#setup.device.upload(this.#zero, this.#lossSum);
        break;
      case Command.fromMirror:
      case Command.toMirror:
        this.#mirror(command);
        break;
      case Command.count:
        this.#count();
        break;
      case Command.synchronize:
        this.#setup.device.synchronize();
        break;
      case Command.stop:
        break;
      default:
        command satisfies never;
    }
  }

  #train(slot: number, samples: number): void {
    const before = this.#launched();
    const { input } = this.#slots[slot];
    this.#model.load(input, true);
    this.#model.train(input, samples);
    const kind = input.place.batch.hot ? 1 : 0;
    this.#steps[kind]++;
    this.#launches[kind] += this.#launched() - before;
  }

  /** Launches so far; a replayed graph is one. */
  #launched(): number {
    const { launches = 0, graphLaunches = 0 } = this.#setup.device.counters ?? {};
    return launches + graphLaunches;
  }

  #count(): void {
    const { device, host, counts } = this.#setup;
    const { buffer, byteOffset } = host.floats(counts);
    const own = new Float64Array(buffer, byteOffset + 8 * Count.doubles * this.#groups.world.rank, Count.doubles);
    own[Count.bytesToDevice] = device.counters?.bytesToDevice ?? 0;
    own[Count.bytesToHost] = device.counters?.bytesToHost ?? 0;
    own[Count.bytesFromRanks] = device.counters?.bytesFromRanks ?? 0;
    own.set(this.#steps, Count.steps);
    own.set(this.#launches, Count.launches);
  }

  #score(slot: number, samples: number): void {
    const { device } = this.#setup;
    const { input } = this.#slots[slot];
    this.#model.load(input, false);
    this.#model.score(input, samples);
    const own = this.#model.samplesOf(samples);
    if (own === 0) return;
    device.download(this.#model.logits, this.#slots[slot].logits.subarray(0, own));
    device.download(this.#model.unitSums, this.#unitSums);
    // Outputs of ReLU are not below 0, so a sum of 0 is one of zeros. What is no number counts as active.
    for (let unit = 0; unit < this.#unitSums.length; unit++) {
      if (this.#unitSums[unit] !== 0) this.#activeUnits[unit] = 1;
    }
  }

  #mirror(command: Command.fromMirror | Command.toMirror): void {
    const { device, host, mirror, parameters, denseState, full } = this.#setup;
    if (mirror === undefined) return;
    const pairs: [Buffer | undefined, Buffer | undefined][] = [
      [mirror.parameters, parameters],
      [mirror.denseState, denseState],
      [mirror.full?.weights, full.weights],
      [mirror.full?.state, full.state],
    ];
    for (const [onHost, onDevice] of pairs) {
      if (onHost === undefined || onDevice === undefined) continue;
      const floats = host.floats(onHost);
      if (command === Command.fromMirror) device.upload(floats, onDevice);
      else if (this.#groups.world.rank === 0) device.download(onDevice, floats);
    }
    nodeBarrier(this.#groups, device);
  }

  #move(command: Command.pullHot | Command.pushHot, count: number): void {
    const { host, moveRows, moveHotRows } = this.#setup;
    const list = (words: Buffer) => {
      const { buffer, byteOffset } = host.floats(words);
      return new Uint32Array(buffer, byteOffset, count);
    };
    const tables = this.#model.tables as ReplicatedTables;
    tables[command === Command.pullHot ? "pull" : "push"](list(moveRows), list(moveHotRows));
  }
}
