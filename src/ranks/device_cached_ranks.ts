/** Ranks on devices whose memory is smaller than the tables: rows are cached on every device, host memory has all. */
import { atOnce } from "../breaks.ts";
import { type CachingDevices, DEVICE_LOOK_AHEAD, DeviceCache } from "../embedding/device_cache.ts";
import { initialiseMatrix } from "../embedding/initialise.ts";
import { RowMoves } from "../embedding/row_moves.ts";
import type { HostRows } from "../embedding/tables.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { Command } from "./rank.ts";
import { RankGroup } from "./rank_group.ts";

/** The plan of the cache on the devices of ranks. Without `tables` the full tables of the ranks have all rows. */
export function planDeviceCache(
  ranks: RankGroup,
  tables?: HostRows,
  lookAhead = DEVICE_LOOK_AHEAD,
): DeviceCache {
  const { cache, cacheMoves, host, batchShape } = ranks.memory;
  const devices: CachingDevices = {
    moves: cacheMoves.map((words) => new RowMoves(host.integers(words))),
    move: (number) => ranks.post(Command.moveCached, number, 0),
    waitForMoves: () => ranks.waitForMoves(),
    drain: () => ranks.drain(),
  };
  return new DeviceCache(devices, tables, { ...cache!, lookAhead }, batchShape.lookupCapacity);
}

/** Ranks with rows on devices. This thread plans the cache and sets the positions of rows in each batch. */
export class DeviceCachedRanks extends RankGroup {
  readonly #ranks: RankGroup;
  readonly #cache: DeviceCache;

  /** The full tables of the ranks are in host memory, everything else of the model is on their devices. */
  constructor(ranks: RankGroup) {
    super(ranks.memory, ranks.ranks, ranks.device, DEVICE_LOOK_AHEAD);
    this.#ranks = ranks;
    this.#cache = planDeviceCache(ranks);
  }

  protected send(command: Command, a: number, b: number): void {
    switch (command) {
      case Command.prefetch:
        return this.#cache.announce(this.batches[a]);
      case Command.initialise:
        this.#cache.clear();
        return atOnce(initialiseMatrix(this.memory.host, this.memory.plan.shape, this.memory.full, a));
      case Command.train:
        this.#cache.prepareToTrain(this.batches[a]);
        this.#ranks.post(command, a, b);
        return this.#cache.finish();
      case Command.score:
        this.#cache.prepareToScore(this.batches[a]);
    }
    this.#ranks.post(command, a, b);
  }

  protected settle(): void {
    this.#ranks.drain();
  }

  override waitForSlot(slot: number): void {
    this.#ranks.waitForSlot(slot);
  }

  /** Rows and moved rows of all steps so far. */
  get cached(): Readonly<DeviceCache["counts"]> {
    return this.#cache.counts;
  }

  override async load(checkpoint: Checkpoint, onProgress?: (fraction: number) => void): Promise<void> {
    this.drain();
    this.#cache.clear();
    await super.load(checkpoint, onProgress);
  }

  override get hasMirror(): boolean {
    return true;
  }

  /** Host memory also gets all changed rows. */
  override updateMirror(): void {
    this.drain();
    this.#cache.flush();
    super.updateMirror();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ranks[Symbol.asyncDispose]();
  }
}
