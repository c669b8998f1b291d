/**
 * A rank: one worker's part of the model, and the few commands that the coordinator gives it. All ranks get the same
 * commands in the same order.
 */
import type { Backend, Buffer, HostBackend } from "../backend/backend.ts";
import { rowStateWords } from "../optimizer/optimizers.ts";
import type { Collective } from "../collective/collective.ts";
import { Batch, batchSections, type BatchShape } from "../layout/batch.ts";
import type { BatchKind } from "../layout/layout.ts";
import { Dlrm, type EmbeddingStore, type StepInput } from "../model/dlrm.ts";
import { initialiseChunk, rowChunks } from "../model/initialise.ts";
import { RowMover } from "../model/row_mover.ts";
import { hiddenUnits, type ModelPlan } from "../model/shape.ts";
import type { RowExchange } from "./row_exchange.ts";
import type { ShardedTables } from "./sharded_tables.ts";

/** Vectors of a run that a checkpoint keeps, in host memory. */
export interface Mirror {
  readonly parameters: Buffer;
  readonly denseState: Buffer | undefined;
  /** The full tables; undefined if those that ranks use are in host memory. */
  readonly full: Pick<EmbeddingStore, "weights" | "state"> | undefined;
}

/** Everything a rank works on. What is marked shared is the same memory for every rank that shares its host's. */
export interface RankSetup {
  readonly plan: ModelPlan;
  readonly batchShape: BatchShape;
  readonly device: Backend;
  readonly host: HostBackend;
  /** All tables, on the host or on the device; shared, or a replica on each device. */
  readonly full: EmbeddingStore;
  /** Replica of the hot rows, on the device; shared or one on each; undefined if no row is hot. */
  readonly hot: EmbeddingStore | undefined;
  /** Dense parameters and their optimizer state, on the device; shared or one on each. */
  readonly parameters: Buffer;
  readonly denseState: Buffer | undefined;
  /** Dense gradients, this rank's own. */
  readonly gradients: Buffer;
  /** Gradients of pooled rows of a whole batch, on the device; shared or one on each. */
  readonly pooledGradients: Buffer;
  /** The same in host memory; undefined if the host is the device; shared. */
  readonly hostGradients: Buffer | undefined;
  /** What ranks with devices of their own begin from and leave their results in; shared; else undefined. */
  readonly mirror: Mirror | undefined;
  /** Moves messages to and from other hosts on, between operations that take long; undefined if there are none. */
  readonly poll?: (() => void) | undefined;
  /** The most distinct rows of a batch of each kind that is trained on. */
  readonly mostDistinct: Readonly<Record<BatchKind, number>>;
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
  /** How the rows of slot s travel, `exchanges[s % 2]`, where `full` is this host's shard of the tables. */
  readonly exchanges?: readonly RowExchange[] | undefined;
  readonly sharded?: ShardedTables | undefined;
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

/** A batch's place: on the host, on the device, and bound to the stores. */
interface Slot {
  readonly batch: Batch;
  readonly deviceBlock: Buffer;
  readonly full: StepInput;
  readonly hot: StepInput | undefined;
  readonly logits: Float32Array;
}

/** One rank, ready for commands. */
export class Rank {
  readonly #setup: RankSetup;
  readonly #collective: Collective;
  readonly #model: Dlrm;
  readonly #lossSum: Buffer;
  readonly #slots: Slot[];
  readonly #mover: RowMover;
  readonly #zero = new Float32Array(1);
  readonly #unitSums: Float32Array;
  readonly #activeUnits: Float32Array;
  /** Steps over cold and hot batches, and launches in them. */
  readonly #steps = [0, 0];
  readonly #launches = [0, 0];

  /** Allocates the rank's activations on the device. */
  constructor(setup: RankSetup, collective: Collective) {
    const { device, host, plan, batchShape, full, hot, exchanges } = setup;
    this.#setup = setup;
    this.#collective = collective;
    this.#lossSum = device.allocate(1, "sum of losses");
    this.#model = new Dlrm(plan, batchShape, { ...setup, lossSum: this.#lossSum }, collective);
    const { firstSample, capacity } = this.#model;
    const onHost = (host as Backend) === device;
    this.#slots = setup.slots.map((hostBlock, s) => {
      const deviceBlock = onHost ? hostBlock : device.allocate(batchSections(batchShape).capacity, "batch");
      const { buffer, byteOffset } = host.floats(hostBlock);
      const batch = new Batch(batchShape, buffer, byteOffset);
      const exchange = exchanges?.[s % exchanges.length];
      // Replicas on devices are updated from gradients that NCCL combines.
      const ofHot = hot?.backend === host
        ? exchange?.hot(batch, hot, () => this.#model.updateRows(hotInput!))
        : undefined;
      const hotInput = hot && this.#model.input(hot, deviceBlock, hostBlock, setup.mostDistinct.hot, ofHot);
      return {
        batch,
        deviceBlock,
        full: this.#model.input(full, deviceBlock, hostBlock, setup.mostDistinct.cold, exchange?.cold(batch, full)),
        hot: hotInput,
        logits: host.floats(setup.scores[s]).subarray(firstSample, firstSample + capacity),
      };
    });
    this.#mover = new RowMover(plan.shape, host);
    const units = hiddenUnits(plan);
    this.#unitSums = new Float32Array(units);
    this.#activeUnits = host.floats(setup.activeUnits).subarray(units * collective.rank, units * (collective.rank + 1));
  }

  /**
   * Begins to fetch the rows of a slot's batch from other hosts, before the step over another slot's, whose own rows are
   * waited for first: they would come behind these.
   */
  prefetch(slot: number, before: number | undefined): void {
    const { batch } = this.#slots[slot];
    const { exchanges, full } = this.#setup;
    if (exchanges === undefined || batch.hot) return;
    const changing = before === undefined ? undefined : this.#slots[before].batch;
    if (changing?.hot === false) exchanges[before! % exchanges.length].complete(changing, full);
    exchanges[slot % exchanges.length].begin(batch, full, changing);
  }

  /** Carries out one command; with several ranks, returns when this rank's part is done. */
  execute(command: Command, a: number, b: number): void {
    switch (command) {
      case Command.train:
        this.#train(a, b);
        break;
      case Command.score:
        this.#score(a, b);
        break;
      case Command.initialise:
        this.#initialise(a);
        break;
      case Command.pullHot:
      case Command.pushHot:
        this.#move(command, a);
        break;
      case Command.takeLoss:
        this.#setup.device.download(this.#lossSum, this.#zero);
        this.#setup.host.floats(this.#setup.losses)[this.#collective.rank] = this.#zero[0];
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

  /**
   * Brings a slot's batch to the device: all of it, or header, labels and dense features if the rows are on the host, or
   * all but its segments if the exchange of gradients has lists of its own.
   */
  #load(slot: number): StepInput {
    const { batch, deviceBlock, full, hot } = this.#slots[slot];
    const { device, host } = this.#setup;
    const input = batch.hot ? hot! : full;
    if ((host as Backend) !== device) {
      const { indices, segments } = batch.sections;
      const onDevice = input.lists === undefined ? batch.usedWords : segments;
      device.upload(batch.words.subarray(0, input.store.backend === device ? onDevice : indices), deviceBlock);
    }
    return input;
  }

  #train(slot: number, samples: number): void {
    const before = this.#launched();
    const input = this.#load(slot);
    if (input.lists !== undefined) input.exchange!.load(this.#slots[slot].batch, input.lists);
    this.#model.train(input, samples);
    const kind = this.#slots[slot].batch.hot ? 1 : 0;
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
    const own = new Float64Array(buffer, byteOffset + 8 * Count.doubles * this.#collective.rank, Count.doubles);
    own[Count.bytesToDevice] = device.counters?.bytesToDevice ?? 0;
    own[Count.bytesToHost] = device.counters?.bytesToHost ?? 0;
    own[Count.bytesFromRanks] = device.counters?.bytesFromRanks ?? 0;
    own.set(this.#steps, Count.steps);
    own.set(this.#launches, Count.launches);
  }

  #score(slot: number, samples: number): void {
    const { device } = this.#setup;
    this.#model.score(this.#load(slot), samples);
    const own = this.#model.samplesOf(samples);
    if (own === 0) return;
    device.download(this.#model.logits, this.#slots[slot].logits.subarray(0, own));
    device.download(this.#model.unitSums, this.#unitSums);
    // Outputs of ReLU are not below 0, so a sum of 0 is one of zeros. What is no number counts as active.
    for (let unit = 0; unit < this.#unitSums.length; unit++) {
      if (this.#unitSums[unit] !== 0) this.#activeUnits[unit] = 1;
    }
  }

  #initialise(seed: number): void {
    const { full, host, plan, sharded } = this.#setup;
    if (sharded !== undefined) return sharded.initialise(seed);
    const { dim, optimizer } = plan.shape;
    const stateWords = rowStateWords(optimizer, dim);
    const { writer, writers } = this.#writersOf(full);
    let index = 0;
    for (const chunk of rowChunks(plan)) {
      if (index++ % writers !== writer) continue;
      const words = chunk.rows * dim;
      if (full.backend === host) {
        const weights = host.floats(full.weights);
        initialiseChunk(plan, seed, chunk, weights.subarray(chunk.row * dim, chunk.row * dim + words));
        // It is zero already, but has no memory yet: the system would find that page by page, while steps wait.
        const state = full.state && host.floats(full.state);
        state?.fill(0, chunk.row * stateWords, (chunk.row + chunk.rows) * stateWords);
      } else {
        const weights = new Float32Array(words);
        initialiseChunk(plan, seed, chunk, weights);
        full.backend.upload(weights, full.backend.view(full.weights, chunk.row * dim, words));
      }
    }
  }

  /** The ranks that write to one store: those that share it, or this one to its replica. */
  #writersOf(store: EmbeddingStore): { writer: number; writers: number } {
    const { host } = this.#setup;
    const { devices, writer, writers } = this.#collective;
    return devices !== undefined && store.backend !== host ? { writer: 0, writers: 1 } : { writer, writers };
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
      else if (this.#collective.rank === 0) device.download(onDevice, floats);
    }
    this.#collective.barrier();
  }

  #move(command: Command.pullHot | Command.pushHot, count: number): void {
    const { full, hot, host, moveRows, moveHotRows, sharded } = this.#setup;
    const [source, target] = command === Command.pullHot ? [full, hot!] : [hot!, full];
    const { writer, writers } = this.#writersOf(target);
    const part = (list: Buffer) => {
      const { buffer, byteOffset } = host.floats(list);
      return new Uint32Array(buffer, byteOffset, count)
        .subarray(Math.floor(count * writer / writers), Math.floor(count * (writer + 1) / writers));
    };
    const [rows, hotRows] = [part(moveRows), part(moveHotRows)];
    if (sharded !== undefined) sharded[command === Command.pullHot ? "pull" : "push"](rows, hotRows);
    else if (command === Command.pullHot) this.#mover.move(source, rows, target, hotRows);
    else this.#mover.move(source, hotRows, target, rows);
    // The next step of any rank may read any of these rows.
    this.#collective.barrier();
  }
}
