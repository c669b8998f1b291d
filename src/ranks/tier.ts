/** Decides how many rows of tables that may exceed memory are kept in memory. */
import { join } from "node:path";
import type { CpuPrecision } from "../backend/backend.ts";
import type { MemoryBudget } from "../config/memory_budget.ts";
import { rowWords } from "../optimizer/optimizers.ts";
import { attempt, UsageError } from "../errors.ts";
import { AtomicDirectory } from "../storage/atomic_directory.ts";
import { removeIfEmpty } from "../storage/disk.ts";
import { bytes } from "../format.ts";
import type { BatchShape } from "../layout/batch.ts";
import type { ModelPlan } from "../model/shape.ts";
import type { CacheSizes } from "../embedding/look_ahead_plan.ts";
import { exchangeWords } from "../embedding/row_exchange.ts";
import { countMemory } from "./count_memory.ts";
import { memoryRoom } from "./memory_room.ts";

/** A place on disk for rows that do not fit in memory. */
export interface Tier {
  /** Whose disk it is, for messages. */
  readonly directory: string;
  /** Creates a directory for a host's rows, removed when disposed; undefined if rows of a checkpoint are only read. */
  readonly files: ((host: number) => RowFiles) | undefined;
  /** Null to keep all rows in memory if they fit in the available memory. */
  readonly memory: MemoryBudget | null;
  /** Bytes of the numbers of the rows of the checkpoint that is loaded, if its tables have grown; default 0. */
  readonly numberBytes?: number | undefined;
}

/** A directory for rows. */
export interface RowFiles extends Disposable {
  readonly path: string;
}

/** The place for rows of a run: a directory in the run's, whose name identifies the process that it ends with. */
export function tierOf(run: string, memory: MemoryBudget | null, numberBytes?: number): Tier {
  const files = (host: number) =>
    attempt(`Cannot write rows to ${run}`, () => {
      // Of another name for each host: all begin at once, and each removes what it left.
      const directory = new AtomicDirectory(join(run, host === 0 ? "rows" : `rows-${host}`), () => {});
      const remove = () => {
        directory[Symbol.dispose]();
        removeIfEmpty(run); // no run has begun
      };
      return { path: directory.temporary, [Symbol.dispose]: remove };
    });
  return { directory: run, files, memory, numberBytes };
}

/**
 * Batches prefetched ahead of the one in training: 1 would be enough if all batches and reads took the same time. With
 * several ranks, the step before may still run.
 */
const lookAheadOf = (ranks: number) => ranks === 1 ? 2 : 3;
/** Bytes of a slot besides its row: half a group of entries in the plan, and places in its logs. */
export const PLAN_BYTES = 50;
/** The same for a row of an announced batch, with its places in the lists of the batch. */
const ANNOUNCED_BYTES = 72;
/** Bytes of a row that is not in memory: its position in the log. */
const PLACE_BYTES = 4;
/** Bytes of pages in flight, threads and whatever else does not depend on the model. */
const FIXED_BYTES = 48 << 20;
/** Bytes of the thread of a rank, its libraries, and the scratch of its kernels. */
const THREAD_BYTES = 48 << 20;

/** Properties of a run's batches. */
interface BatchSizes {
  readonly batchShape: BatchShape;
  readonly mostDistinct?: { readonly cold: number } | undefined;
  readonly ranks: number;
  /** Of matrix products; default fp32. */
  readonly precision?: CpuPrecision | undefined;
  /** Hosts that shard the rows; default one. */
  readonly hosts?: number | undefined;
  /** Processes of one of them that the ranks are in; default one. */
  readonly processes?: number | undefined;
  /** Threads of ranks, beside the one that queues their steps; default one for each of several in a process. */
  readonly threads?: number;
  /** The same if all rows are in memory; default as many. */
  readonly threadsInMemory?: number;
  /** Batches whose rows are prefetched; default what the ranks need. */
  readonly lookAhead?: number;
  /** True if ranks only score: they need neither gradients nor optimizer state if all rows are in memory. Default false. */
  readonly scoring?: boolean | undefined;
}

/** Bytes of all rows with their optimizer state. */
export function tableBytes({ rows, shape }: ModelPlan): number {
  return 4 * rows * rowWords(shape);
}

/**
 * The number of rows kept in memory on one host; undefined if all are, in ordinary tables. `resident` is the present memory
 * of its processes. Throws UsageError if the budget is too small for training at all.
 */
export function sizeCache(
  plan: ModelPlan,
  {
    batchShape,
    mostDistinct,
    ranks,
    precision,
    hosts = 1,
    processes = 1,
    lookAhead = lookAheadOf(ranks),
    threads = ranks > hosts * processes ? ranks : 0,
    threadsInMemory = threads,
    scoring = false,
  }: BatchSizes,
  { memory, numberBytes = 0 }: Pick<Tier, "memory" | "numberBytes">,
  resident: number,
  room: number = memoryRoom(),
): CacheSizes | undefined {
  const rows = Math.ceil(plan.rows / hosts);
  const rowBytes = 4 * rowWords(plan.shape);
  const batchRows = Math.max(1, mostDistinct?.cold ?? batchShape.lookupCapacity);
  const least = 2 * batchRows;
  const sizes = (slots: number) => ({ slots: Math.max(least, slots), batchRows, lookAhead });
  const tables = rowBytes * rows;
  const slotBytes = rowBytes + processes * PLAN_BYTES;
  if (memory !== null && "share" in memory) {
    // Tiny tables need everything else, including two batches of rows.
    const forRows = memory.share * tables - PLACE_BYTES * rows;
    return memory.share === 1 ? undefined : sizes(Math.floor(forRows / slotBytes));
  }
  const exchanges = hosts > 1 ? 4 * exchangeWords(plan.shape.dim, batchShape, processes) : 0;
  const steps = (scoring: boolean) => processes * stepBytes(plan, { batchShape, ranks, precision, scoring });
  const rest = resident + FIXED_BYTES + exchanges;
  const budget = memory?.bytes ?? resident + room;
  const inMemory = scoring ? 4 * plan.shape.dim * rows : tables;
  if (rest + steps(scoring) + threadsInMemory * THREAD_BYTES + inMemory <= budget) return undefined;
  const jobs = (lookAhead + 1) * batchRows * (rowBytes + 8);
  const scratch = batchShape.lookupCapacity * (rowBytes + 16);
  const plans = processes * (lookAhead + 1) * batchRows * ANNOUNCED_BYTES;
  const overhead = rest + steps(false) + threads * THREAD_BYTES + jobs + scratch + PLACE_BYTES * rows + numberBytes +
    plans;
  const slots = Math.floor((budget - overhead) / slotBytes);
  if (slots >= least) return sizes(Math.min(slots, rows));
  const minimum = `${Math.ceil((overhead + least * slotBytes) / 2 ** 20)}MiB`;
  throw new UsageError(
    memory === null
      ? `Cannot work in the ${
        bytes(budget)
      } of memory that are available: the model and its batches need ${minimum}, ` +
        `even with its tables on a disk; to train, choose a smaller --batch-size`
      : `Cannot work within ${
        bytes(budget)
      } of memory: the model and its batches need ${minimum}, of which two batches ` +
        `of rows take ${bytes(least * slotBytes)}; choose --memory ${minimum} or, to train, a smaller --batch-size`,
  );
}

/** Bytes of a step besides rows: batches, activations, dense parameters and their gradients. */
function stepBytes(
  plan: ModelPlan,
  sizes: Pick<BatchSizes, "batchShape" | "ranks" | "precision" | "scoring">,
): number {
  const { host } = countMemory({ plan, ...sizes, fullRows: 0, onDevice: false });
  return host.values().reduce((sum, bytes) => sum + bytes, 0);
}
