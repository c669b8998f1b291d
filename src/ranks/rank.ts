/**
 * A rank: one worker's part of the model, and the commands that the coordinator gives it. All ranks execute the same
 * commands in the same order.
 */
import { atOnce, type Parts } from "../breaks.ts";
import type { Backend, Buffer, Upload } from "../backend/backend.ts";
import { nodeBarrier } from "../parallel/node_barrier.ts";
import type { ProcessGroups } from "../parallel/process_group.ts";
import { Batch, batchSections } from "../layout/batch.ts";
import { openTables } from "../embedding/open.ts";
import type { ReplicatedTables } from "../embedding/replicated.ts";
import { Model, type StepInput } from "../model/model.ts";
import { hiddenUnits } from "../model/shape.ts";
import { ActiveUnits } from "./active_units.ts";
import { type CachedOnDevice, openDeviceCache } from "./device_cache_memory.ts";
import { Count, type RankState } from "./train_state.ts";

/** Commands to a rank; `a` and `b` are numbers. */
export enum Command {
  /** Train on the batch of `b` samples in slot `a`. */
  train,
  /** Prefetch the rows of the batch in slot `a`, which will be trained after those announced before. */
  prefetch,
  /** Score the batch of `b` samples in slot `a`. */
  score,
  /** Initialise this rank's part of the full tables from seed `a`; the dense parameters are already initialised. */
  initialise,
  /** Copy the mirror to the devices of all ranks, or from that of the first rank. */
  fromMirror,
  toMirror,
  /** Copy `b` rows of the move lists, from `a` on, from the full tables to the hot replica, or back. */
  pullHot,
  pushHot,
  /** Copy the rows of list `a` from the cache on the device, and to it. */
  moveCached,
  /** Store the sum of losses in `losses` and restart it at 0. */
  takeLoss,
  /** Store the counters of the device in `counts`. */
  count,
  /** Wait for the device. */
  synchronize,
  /** End the rank. */
  stop,
}

/** A slot for batches, bound to the model. */
interface Slot {
  readonly input: StepInput;
  readonly logits: Float32Array;
}

export class Rank {
  readonly #state: RankState;
  readonly #groups: ProcessGroups<Buffer>;
  readonly #model: Model;
  readonly #cache: CachedOnDevice | undefined;
  readonly #lossSum: Buffer;
  readonly #slots: Slot[];
  readonly #zero = new Float32Array(1);
  readonly #activeUnits: ActiveUnits;
  /** Steps over cold and hot batches, and launches in them. */
  readonly #steps = [0, 0];
  readonly #launches = [0, 0];

  /**
   * Allocates the rank's activations on the device. With `uploads`, one from each slot, a batch is copied from there,
   * and the caller waits for that before it changes the slot; otherwise slots may change after each command.
   */
  constructor(state: RankState, groups: ProcessGroups<Buffer>, uploads?: readonly Upload[]) {
    const { device, host, plan, batchShape } = state;
    this.#state = state;
    this.#groups = groups;
    this.#lossSum = device.allocate(1, "losses");
    this.#cache = openDeviceCache(state, groups);
    this.#model = new Model(
      plan,
      batchShape,
      { ...state, lossSum: this.#lossSum },
      groups,
      (context) => openTables(context, this.#cache === undefined ? state : { ...state, full: this.#cache.matrix }),
    );
    const { firstSample, capacity } = this.#model;
    const onHost = (host as Backend) === device;
    this.#slots = state.slots.map((hostBlock, s) => {
      const deviceBlock = onHost ? hostBlock : device.allocate(batchSections(batchShape).capacity, "batches");
      const { buffer, byteOffset } = host.floats(hostBlock);
      const batch = new Batch(batchShape, buffer, byteOffset);
      return {
        input: this.#model.input({ batch, hostBlock, deviceBlock, upload: uploads?.[s] }),
        logits: host.floats(state.scores[s]).subarray(firstSample, firstSample + capacity),
      };
    });
    const units = hiddenUnits(plan);
    const { rank } = groups.world;
    this.#activeUnits = new ActiveUnits(
      plan,
      host.floats(state.activeUnits).subarray(units * rank, units * (rank + 1)),
    );
  }

  /** Initialises this rank's part of the full tables, in parts. */
  initialise(seed: number): Parts<void> {
    return this.#model.tables.rows.initialise(seed);
  }

  /** Executes one command; with several ranks, returns when this rank's part is done. */
  execute(command: Command, a: number, b: number): void {
    this.#state.device.keepWeights?.(command === Command.score);
    switch (command) {
      case Command.train:
        return this.#train(a, b);
      case Command.prefetch:
        return this.#slots[a].input.tables.prefetch?.();
      case Command.score:
        return this.#score(a, b);
      case Command.initialise:
        return atOnce(this.initialise(a));
      case Command.pullHot:
      case Command.pushHot:
        return this.#move(command, a, b);
      case Command.moveCached:
        return this.#cache!.mover.move(a);
      case Command.takeLoss:
        return this.#takeLoss();
      case Command.fromMirror:
      case Command.toMirror:
        return this.#mirror(command);
      case Command.count:
        return this.#count();
      case Command.synchronize:
        return this.#state.device.synchronize();
      case Command.stop:
        return;
      default:
        command satisfies never;
    }
  }

  #takeLoss(): void {
    const { device, host, losses } = this.#state;
    device.download(this.#lossSum, this.#zero);
    host.floats(losses)[this.#groups.world.rank] = this.#zero[0];
    this.#zero[0] = 0;
    device.upload(this.#zero, this.#lossSum);
  }

  #train(slot: number, samples: number): void {
    const before = this.#launched();
    const { input } = this.#slots[slot];
    this.#model.load(input, true);
    this.#model.train(input, samples);
    const kind = input.slot.batch.hot ? 1 : 0;
    this.#steps[kind]++;
    this.#launches[kind] += this.#launched() - before;
  }

  /** Launches so far; a replayed graph is one. */
  #launched(): number {
    const { launches = 0, graphLaunches = 0 } = this.#state.device.counters ?? {};
    return launches + graphLaunches;
  }

  #count(): void {
    const { device, host, counts } = this.#state;
    const { buffer, byteOffset } = host.floats(counts);
    const own = new Float64Array(buffer, byteOffset + 8 * Count.doubles * this.#groups.world.rank, Count.doubles);
    own[Count.bytesToDevice] = device.counters?.bytesToDevice ?? 0;
    own[Count.bytesToHost] = device.counters?.bytesToHost ?? 0;
    own[Count.bytesFromRanks] = device.counters?.bytesFromRanks ?? 0;
    own.set(this.#steps, Count.steps);
    own.set(this.#launches, Count.launches);
  }

  #score(slot: number, samples: number): void {
    const { device } = this.#state;
    const { input } = this.#slots[slot];
    this.#model.load(input, false);
    this.#model.score(input, samples, this.#activeUnits.look());
    const own = this.#model.samplesOf(samples);
    if (own === 0) return;
    device.download(this.#model.logits, this.#slots[slot].logits.subarray(0, own));
    this.#activeUnits.take(device, this.#model.unitSums);
  }

  #mirror(command: Command.fromMirror | Command.toMirror): void {
    const { device, host, mirror, parameters, denseState, full } = this.#state;
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

  #move(command: Command.pullHot | Command.pushHot, first: number, count: number): void {
    const { host, moveRows, moveHotRows } = this.#state;
    const list = (words: Buffer) => host.integers(words).subarray(first, first + count);
    const tables = this.#model.tables as ReplicatedTables;
    tables[command === Command.pullHot ? "pull" : "push"](list(moveRows), list(moveHotRows));
  }
}
