/** Sizes and memory of the cache of rows on a device. */
import type { Buffer } from "../backend/backend.ts";
import type { DeviceCacheSizes } from "../embedding/device_cache.ts";
import { type MoverContext, RowMover } from "../embedding/row_mover.ts";
import { RowMoves } from "../embedding/row_moves.ts";
import type { RowMatrix } from "../embedding/tables.ts";
import { UsageError } from "../errors.ts";
import { bytes, count } from "../format.ts";
import type { ModelPlan } from "../model/shape.ts";
import { rowWords } from "../optimizer/optimizers.ts";
import type { ProcessGroups } from "../parallel/process_group.ts";
import { allocateMatrix, type RankState, type TrainStateOptions } from "./train_state.ts";

/** Rows of the cache within a budget. Throws UsageError if two batches of rows do not fit. */
export function sizeDeviceCache(
  { rows, shape }: ModelPlan,
  { batchShape, mostDistinct }: Pick<TrainStateOptions, "batchShape" | "mostDistinct">,
  budget: number,
): DeviceCacheSizes {
  const rowBytes = 4 * rowWords(shape);
  const batchRows = Math.max(1, mostDistinct?.cold ?? batchShape.lookupCapacity);
  const least = 2 * batchRows;
  const slots = Math.floor(budget / rowBytes);
  if (slots >= Math.min(least, rows)) return { slots: Math.max(least, Math.min(slots, rows)), batchRows };
  const mebibytes = Math.ceil(least * rowBytes / 2 ** 20);
  throw new UsageError(
    `Cannot cache rows in ${bytes(budget)}: two batches of up to ${count(batchRows)} distinct rows take ` +
      `${bytes(least * rowBytes)}; choose --hot-memory ${mebibytes}MiB or a smaller --batch-size`,
  );
}

export interface CachedOnDevice {
  /** Its slots, and rows for a batch that is only scored. */
  readonly matrix: RowMatrix;
  readonly mover: RowMover;
}

/** Allocates the cache of a rank; undefined if it has none. */
export function openDeviceCache(
  { plan, batchShape, device, host, full, cache, cacheMoves }: RankState,
  { node }: ProcessGroups<Buffer>,
): CachedOnDevice | undefined {
  if (cache === undefined) return undefined;
  const matrix = allocateMatrix(plan, device, cache.slots + batchShape.lookupCapacity, "cached rows");
  // Only ranks on devices have a cache.
  const context = { device: device as MoverContext["device"], host, shape: plan.shape, node };
  const moves = cacheMoves.map((words) => new RowMoves(host.integers(words)));
  return { matrix, mover: new RowMover(context, matrix, full, moves, cache.batchRows) };
}
