/**
 * Tables larger than the memory of a device: a matrix on the device caches the rows in use, and host memory has all
 * rows, or caches them from a disk. A look-ahead plan decides which rows are fetched and evicted; they are copied while
 * steps compute, and the host waits only for the copy before. Kernels see one matrix and positions in it, so a step is the
 * same operations for every batch, and the result is bit for bit that of tables on the device. Several devices have a
 * replica of the cache each: the coordinator plans once for all, and each copies its rows (`row_mover.ts`).
 */
import type { Batch } from "../layout/batch.ts";
import type { CacheCounts } from "./cached.ts";
import { ScoredRows, setPositions } from "./cached_batch.ts";
import { type CacheSizes, LookAheadPlan } from "./look_ahead_plan.ts";
import type { RowMoves } from "./row_moves.ts";
import type { HostRows } from "./tables.ts";

/** Sizes of the cache; the look-ahead depends on whether there is a disk. */
export type DeviceCacheSizes = Omit<CacheSizes, "lookAhead">;

/** Without a disk the host and the copies are one step ahead of the device. */
export const DEVICE_LOOK_AHEAD = 1;
/** With a disk the device plans three steps ahead which rows to move; they are read until the copy one step ahead. */
export const DISK_LOOK_AHEAD = 3;
/**
 * Groups of rows announced to host memory ahead of the oldest unfinished one: those of the steps that are planned, and two
 * that devices copy, the rows of which may be on their way to the host.
 */
export const GROUPS_AHEAD = DISK_LOOK_AHEAD + 1;

/** The devices of all ranks, which cache the same rows. */
export interface CachingDevices {
  /**
   * Lists of rows that the devices read. Those of a step are used again when as many steps after it, less one, are
   * announced; the step is over then. The last one is for rows that are moved outside the plan.
   */
  readonly moves: readonly RowMoves[];
  /** Queues the copies of `moves[number]` on every device, after all steps so far. */
  move(number: number): void;
  /** Waits until all ranks have begun the last of these copies, before which those of earlier moves are over. */
  waitForMoves(): void;
  /** Waits until everything that was queued is done. */
  drain(): void;
}

/** The plan of the rows on devices. Used by the thread that queues their operations. */
export class DeviceCache {
  readonly counts: CacheCounts = { rows: 0, fetched: 0, written: 0 };
  readonly #devices: CachingDevices;
  readonly #tables: HostRows | undefined;
  readonly #sizes: CacheSizes;
  #plan: LookAheadPlan;
  readonly #scored: ScoredRows;
  /** Numbers of steps that are planned, whose moves have begun, and that are over. */
  #planned = 0;
  #begun = 0;
  #finished = 0;
  /** The last of the lists, for moves outside the plan. */
  readonly #own: RowMoves;
  /** Groups of rows that devices copy from and to the tables. */
  #groups = 0;

  /**
   * Without `tables` host memory has all rows, at the positions of their numbers. `lookupCapacity` is that of a batch, also
   * of one that is only scored.
   */
  constructor(
    devices: CachingDevices,
    tables: HostRows | undefined,
    sizes: CacheSizes,
    lookupCapacity: number,
  ) {
    this.#devices = devices;
    this.#tables = tables;
    this.#sizes = sizes;
    this.#plan = new LookAheadPlan(sizes);
    this.#scored = new ScoredRows(lookupCapacity);
    this.#own = devices.moves[this.#ownNumber];
  }

  get #ownNumber(): number {
    return this.#devices.moves.length - 1;
  }

  /** Forgets all cached rows: those in host memory will be replaced. */
  clear(): void {
    this.#expectIdle();
    this.#arriveOnHost();
    this.#plan = new LookAheadPlan(this.#sizes);
  }

  /** Copies all changed rows to host memory. */
  flush(): void {
    this.#expectIdle();
    const moves = this.#emptyOwn();
    this.#plan.clean((row, position) => {
      moves.rows[moves.written] = row;
      moves.positions[moves.written++] = position;
      if (moves.written < this.#sizes.batchRows) return;
      this.#moveNow();
      this.#emptyOwn();
    });
    this.#moveNow();
    this.#arriveOnHost();
  }

  /** Announces a batch that will be trained after those before, and begins to fetch its rows if there is space. */
  announce({ words, sections: { segments }, distinct }: Batch): void {
    this.#plan.announce(words, segments, 2, distinct);
    this.#advance();
  }

  /** Sets the positions of the batch that is trained next; its rows are there before any operation that is queued now. */
  prepareToTrain(batch: Batch): void {
    if (this.#plan.announced === 0) this.announce(batch);
    setPositions(this.#plan, 0, batch);
    this.counts.rows += batch.distinct;
  }

  /** Ends the step over the batch, all operations of which are queued. */
  finish(): void {
    this.#plan.finish();
    this.#finished++;
    this.#advance();
  }

  /** Fetches the rows of a batch that is only scored, without evicting any, and sets their positions in it. */
  prepareToScore({ words, sections: { indices }, lookups }: Batch): void {
    this.#expectIdle();
    const { positions } = this.#own;
    const next = () => this.#emptyOwn().rows.subarray(0, this.#sizes.batchRows);
    this.#scored.locate(words, indices, lookups, this.#plan, next, (fetched, first) => {
      this.#own.fetched = fetched;
      for (let i = 0; i < fetched; i++) positions[i] = first + i;
      this.#moveNow();
    });
  }

  /** Plans steps for which there is space, and begins to move the rows of the next step and of the one after it. */
  #advance(): void {
    for (let planned = this.#plan.next(); planned !== undefined; planned = this.#plan.next()) {
      const moves = this.#devices.moves[this.#planned++ % this.#ownNumber];
      moves.set(planned);
      this.#announceGroup(moves);
      this.counts.fetched += moves.fetched;
      this.counts.written += moves.written;
    }
    while (this.#begun < this.#planned && this.#begun <= this.#finished + 1) {
      this.#move(this.#begun++ % this.#ownNumber);
    }
  }

  #announceGroup({ rows, count, written }: RowMoves): void {
    if (count > 0) this.#tables?.announceGroup(rows, count, written);
  }

  /** The last list, without rows, once no device reads it. */
  #emptyOwn(): RowMoves {
    this.#devices.drain();
    this.#own.written = this.#own.fetched = 0;
    return this.#own;
  }

  /** Announces and moves the rows of the last list. */
  #moveNow(): void {
    this.#announceGroup(this.#own);
    this.#move(this.#ownNumber);
  }

  /** Queues copies of announced rows. */
  #move(number: number): void {
    const { rows, count } = this.#devices.moves[number];
    if (count === 0) return;
    if (this.#tables !== undefined) {
      this.#finishGroups(1);
      this.#tables.locateGroup(rows, count);
      this.#groups++;
    }
    this.#devices.move(number);
  }

  /** Ends the groups whose rows are in host memory: all but the last, after which none has been moved. */
  #finishGroups(left: 0 | 1): void {
    if (this.#groups > left) this.#devices.waitForMoves();
    for (; this.#groups > left; this.#groups--) this.#tables!.finishGroup();
  }

  /** Waits until all rows that left the devices are in host memory. */
  #arriveOnHost(): void {
    this.#emptyOwn();
    this.#devices.move(this.#ownNumber);
    this.#devices.drain();
    this.#finishGroups(0);
  }

  #expectIdle(): void {
    if (this.#plan.announced > 0) throw new Error("rows are read while a step is announced");
  }
}
