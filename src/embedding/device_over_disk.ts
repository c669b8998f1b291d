/** Tables larger than host memory: a device caches the rows that host memory caches from a disk. */
import type { Batch } from "../layout/batch.ts";
import type { CacheCounts, CachedTables, StoredRows } from "./cached.ts";
import type { DeviceCache } from "./device_cache.ts";
import type { SavedRows } from "./stores/log_segments.ts";
import type { RowBlock } from "./tables.ts";

/**
 * Batches announced ahead of the one in training: the device plans which rows to move three steps ahead, and they are
 * read from disk until the copy one step ahead.
 */
export const DISK_LOOK_AHEAD = 3;
/**
 * Groups of rows announced to host memory ahead of the oldest unfinished one: those of the steps that are planned, and two
 * that devices copy, the rows of which may be on their way to the host.
 */
export const GROUPS_AHEAD = DISK_LOOK_AHEAD + 1;

/** Both caches as one. */
export class DeviceOverDisk implements StoredRows {
  readonly #onDevice: DeviceCache;
  readonly #onHost: CachedTables;
  /** Rows that host memory has fetched for batches that are only scored. */
  #fetchedToScore = 0;

  /** The device copies its rows from and to those in host memory. */
  constructor(onDevice: DeviceCache, onHost: CachedTables) {
    this.#onDevice = onDevice;
    this.#onHost = onHost;
  }

  get counts(): CacheCounts {
    const { fetched, written } = this.#onHost.counts;
    return { rows: this.#onDevice.counts.rows, fetched: fetched - this.#fetchedToScore, written };
  }

  initialise(seed: number): void {
    this.#onDevice.clear();
    this.#onHost.initialise(seed);
  }

  adopt(saved: SavedRows): void {
    this.#onDevice.clear();
    this.#onHost.adopt(saved);
  }

  seal(): SavedRows | undefined {
    this.#onDevice.flush();
    return this.#onHost.seal();
  }

  write(rows: Uint32Array, block: RowBlock): void {
    this.#onHost.write(rows, block);
  }

  holds(row: number): boolean {
    return this.#onHost.holds(row);
  }

  rowAt(position: number): number {
    return this.#onHost.rowAt(position);
  }

  flush(): void {
    this.#onDevice.flush();
  }

  announce(batch: Batch): void {
    this.#onDevice.announce(batch);
  }

  prepareToTrain(batch: Batch): void {
    this.#onDevice.prepareToTrain(batch);
  }

  finish(): void {
    this.#onDevice.finish();
  }

  prepareToScore(batch: Batch): void {
    const { fetched } = this.#onHost.counts;
    this.#onDevice.prepareToScore(batch);
    this.#fetchedToScore += this.#onHost.counts.fetched - fetched;
  }
}
