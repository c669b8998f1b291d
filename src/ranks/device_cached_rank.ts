/** A rank on a device whose memory is smaller than the tables: rows are cached on the device, host memory has all. */
import type { DeviceBackend } from "../backend/backend.ts";
import { AllRows, DEVICE_LOOK_AHEAD, DeviceCache, type DeviceCacheSizes } from "../embedding/device_cache.ts";
import type { RowMatrix } from "../embedding/tables.ts";
import { initialiseMatrix } from "../embedding/initialise.ts";
import type { Checkpoint, CheckpointBody } from "../checkpoint/checkpoint.ts";
import type { CheckpointPlaces } from "../checkpoint/checkpoint_store.ts";
import { UsageError } from "../errors.ts";
import { bytes, count } from "../format.ts";
import type { ModelPlan } from "../model/shape.ts";
import { rowStateWords } from "../optimizer/optimizers.ts";
import { ONE_RANK } from "../parallel/host_group.ts";
import { Command, Rank } from "./rank.ts";
import { RankGroup } from "./rank_group.ts";
import { allocateMatrix, type TrainState, type TrainStateOptions } from "./train_state.ts";

/** Rows of the cache within a budget. Throws UsageError if two batches of rows do not fit. */
export function sizeDeviceCache(
  { rows, shape: { dim, optimizer } }: ModelPlan,
  { batchShape, mostDistinct }: Pick<TrainStateOptions, "batchShape" | "mostDistinct">,
  budget: number,
): DeviceCacheSizes {
  const rowBytes = 4 * (dim + rowStateWords(optimizer, dim));
  const batchRows = Math.max(1, mostDistinct?.cold ?? batchShape.lookupCapacity);
  const least = 2 * batchRows;
  const slots = Math.floor(budget / rowBytes);
  if (slots >= Math.min(least, rows)) return { slots: Math.max(least, Math.min(slots, rows)), batchRows };
  throw new UsageError(
    `Cannot cache rows in ${bytes(budget)}: two batches of up to ${count(batchRows)} distinct rows take ` +
      `${bytes(least * rowBytes)}; choose --hot-memory ${
        Math.ceil(least * rowBytes / 2 ** 20)
      }MiB or a smaller --batch-size`,
  );
}

/** The matrix of the cache: its slots, and rows for a batch that is only scored. */
export function allocateCachedRows({ plan, device, batchShape }: TrainState, { slots }: DeviceCacheSizes): RowMatrix {
  return allocateMatrix(plan, device, slots + batchShape.lookupCapacity, "cached rows");
}

/** One rank on the calling thread, which also moves the rows. */
export class DeviceCachedRank extends RankGroup {
  readonly ranks = 1;
  readonly device: string;
  readonly #rank: Rank;
  readonly #cache: DeviceCache;

  /** The full tables of `memory` are in host memory; everything else of the model is on the device. */
  constructor(memory: TrainState & { readonly device: DeviceBackend }, sizes: DeviceCacheSizes) {
    super(memory, DEVICE_LOOK_AHEAD);
    const { device, host, plan, batchShape, full, mostDistinct } = memory;
    const matrix = allocateCachedRows(memory, sizes);
    this.device = device.name;
    this.#cache = new DeviceCache({ device, host, shape: plan.shape, batchShape }, matrix, new AllRows(full), sizes);
    this.#rank = new Rank({ ...memory, full: matrix, mostDistinct }, ONE_RANK);
  }

  protected send(command: Command, a: number, b: number): void {
    switch (command) {
      case Command.prefetch:
        return this.#cache.announce(this.batches[a]);
      case Command.initialise:
        initialiseMatrix(this.memory.host, this.memory.plan.shape, this.memory.full, a);
        return this.#cache.clear();
      case Command.train:
        this.#cache.prepareToTrain(this.batches[a]);
        this.#rank.execute(command, a, b);
        return this.#cache.finish();
      case Command.score:
        this.#cache.prepareToScore(this.batches[a]);
    }
    this.#rank.execute(command, a, b);
  }

  protected settle(): void {
    this.memory.device.synchronize();
  }

  waitForSlot(): void {}

  /** Rows and moved rows of all steps so far. */
  get cached(): Readonly<DeviceCache["counts"]> {
    return this.#cache.counts;
  }

  override load(checkpoint: Checkpoint, onProgress?: (fraction: number) => void): void {
    super.load(checkpoint, onProgress);
    this.#cache.clear();
  }

  override get hasMirror(): boolean {
    return true;
  }

  /** Host memory gets all changed rows. */
  override updateMirror(): void {
    this.drain();
    this.#cache.flush();
  }

  override save(places: CheckpointPlaces, body: CheckpointBody): number {
    this.updateMirror();
    return super.save(places, body);
  }

  // deno-lint-ignore require-await
  async [Symbol.asyncDispose](): Promise<void> {
    this.memory.device[Symbol.dispose]();
  }
}
