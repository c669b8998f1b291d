/** Decides how much of tables that may exceed memory is kept in it. */
import { join } from "node:path";
import type { MemoryBudget } from "../config/memory_budget.ts";
import { rowStateWords } from "../optimizer/optimizers.ts";
import { HotsetError, messageOf, UsageError } from "../errors.ts";
import { AtomicDirectory } from "../storage/atomic_directory.ts";
import { bytes } from "../format.ts";
import type { BatchShape } from "../layout/batch.ts";
import type { ModelPlan } from "../model/shape.ts";
import { countMemory } from "./count_memory.ts";

/** A place for rows that memory has no room for. */
export interface Tier {
  /** On whose disk rows are, for people. */
  readonly directory: string;
  /** Makes a directory for them, which is gone when it is disposed; undefined if those of a checkpoint are only read. */
  readonly files: (() => RowFiles) | undefined;
  /** Null to keep all rows in memory where they fit in what is available. */
  readonly memory: MemoryBudget | null;
}

/** A directory for rows. */
export interface RowFiles extends Disposable {
  readonly path: string;
}

/** The place for rows of a run: in its directory, under a name that says that it goes with the process. */
export function tierOf(run: string, memory: MemoryBudget | null): Tier {
  const files = () => {
    try {
      const directory = new AtomicDirectory(join(run, "rows"), () => {});
      const remove = () => {
        directory[Symbol.dispose]();
        if ([...Deno.readDirSync(run)].length === 0) Deno.removeSync(run); // no run has begun
      };
      return { path: directory.temporary, [Symbol.dispose]: remove };
    } catch (error) {
      throw new HotsetError(`Cannot write rows to ${run}: ${messageOf(error)}`, { cause: error });
    }
  };
  return { directory: run, files, memory };
}

/** Rows in memory, and how far ahead they are brought in. */
export interface CacheSizes {
  readonly slots: number;
  readonly batchRows: number;
  readonly lookAhead: number;
}

/** Batches that are brought in ahead of the one that trains: one would do, were all batches and reads alike. */
const LOOK_AHEAD = 2;
/** Bytes of a slot besides its row: what the plan and its table know of it. */
const PLAN_BYTES = 60;
/** Bytes of a row that is not in memory: its place in the log. */
const PLACE_BYTES = 4;
/** Pages on their way, threads, and what else does not depend on the model. */
const FIXED_BYTES = 48 << 20;
/** Of what is available, this much is left to others. */
const AVAILABLE_SHARE = 0.9;

/** What batches of a run are like. */
interface BatchSizes {
  readonly batchShape: BatchShape;
  readonly mostDistinct?: { readonly cold: number } | undefined;
}

/** Bytes of all rows with their optimizer state. */
export function tableBytes({ rows, shape: { dim, optimizer } }: ModelPlan): number {
  return 4 * rows * (dim + rowStateWords(optimizer, dim));
}

/**
 * How many rows are kept in memory; undefined if all are, in plain tables. `resident` is what the process takes already.
 * Throws UsageError if the budget is too small for training at all.
 */
export function sizeCache(
  plan: ModelPlan,
  { batchShape, mostDistinct }: BatchSizes,
  memory: MemoryBudget | null,
  resident: number,
  room: number = memoryRoom(),
): CacheSizes | undefined {
  const { rows, shape: { dim, optimizer } } = plan;
  const rowBytes = 4 * (dim + rowStateWords(optimizer, dim));
  const batchRows = Math.max(1, mostDistinct?.cold ?? batchShape.lookupCapacity);
  const least = 2 * batchRows;
  const sizes = (slots: number) => ({ slots: Math.max(least, slots), batchRows, lookAhead: LOOK_AHEAD });
  const tables = tableBytes(plan);
  const slotBytes = rowBytes + PLAN_BYTES;
  if (memory !== null && "share" in memory) {
    // Tiny tables would need all else, two batches of rows as well.
    const forRows = memory.share * tables - PLACE_BYTES * rows;
    return memory.share === 1 ? undefined : sizes(Math.floor(forRows / slotBytes));
  }
  const rest = resident + FIXED_BYTES + stepBytes(plan, batchShape);
  const budget = memory?.bytes ?? resident + room;
  if (rest + tables <= budget) return undefined;
  const jobs = (LOOK_AHEAD + 2) * 2 * batchRows * (rowBytes + 4);
  const scratch = batchShape.lookupCapacity * (rowBytes + 16);
  const overhead = rest + jobs + scratch + PLACE_BYTES * rows + (LOOK_AHEAD + 1) * batchRows * PLAN_BYTES;
  const slots = Math.floor((budget - overhead) / slotBytes);
  if (slots >= least) return sizes(Math.min(slots, rows));
  const minimum = `${Math.ceil((overhead + least * slotBytes) / 2 ** 20)}MiB`;
  throw new UsageError(
    memory === null
      ? `Cannot work in the ${
        bytes(budget)
      } of memory that are available: the model and its batches need ${minimum}, even ` +
        `with its tables on a disk; to train, choose a smaller --batch-size`
      : `Cannot work within ${
        bytes(budget)
      } of memory: the model and its batches need ${minimum}, of which two batches of ` +
        `rows take ${bytes(least * slotBytes)}; choose --memory ${minimum} or, to train, a smaller --batch-size`,
  );
}

/** Bytes that a step takes besides rows: batches, activations, dense parameters and their gradients. */
function stepBytes(plan: ModelPlan, batchShape: BatchShape): number {
  const { host } = countMemory({ plan, batchShape, fullRows: 0, ranks: 1, onDevice: false });
  return host.values().reduce((sum, bytes) => sum + bytes, 0);
}

/** Bytes that this process may still take, others left their part; Infinity where the system or Deno does not say. */
export function memoryRoom(): number {
  try {
    const { available } = Deno.systemMemoryInfo();
    return AVAILABLE_SHARE * Math.min(available, cgroupRoom());
  } catch {
    return Infinity;
  }
}

/** Files of a control group, of version 2 and of version 1: its limit, what it uses, and the line of its page cache. */
const CGROUPS = [
  { own: /^0::(\/.*)$/m, root: "", limit: "memory.max", usage: "memory.current", cache: "inactive_file" },
  {
    own: /^\d+:memory:(\/.*)$/m,
    root: "/memory",
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    cache: "total_inactive_file",
  },
] as const;
/** Where the system says which group the process is in. */
const OWN_GROUPS = "/proc/self/cgroup";
const GROUPS = "/sys/fs/cgroup";

/** The text of a file; undefined if there is none or Deno may not read it. */
function readIfThere(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return undefined;
  }
}

/**
 * Bytes that are left of the limits of the process's control group and of those that it is in; Infinity without one. Usage counts the page cache
 * of files that were read or written, which the system gives back when memory runs short: that part is free.
 */
export function cgroupRoom(read: (path: string) => string | undefined = readIfThere): number {
  const groups = read(OWN_GROUPS) ?? "";
  const rooms = CGROUPS.flatMap(({ own, root, limit, usage, cache }) => {
    const names = (own.exec(groups)?.[1] ?? "").split("/").filter((name) => name !== "");
    return [...names, ""].map((_, depth) => {
      const folder = [GROUPS + root, ...names.slice(0, depth)].join("/");
      const reclaimable = new RegExp(`^${cache} (\\d+)$`, "m").exec(read(`${folder}/memory.stat`) ?? "")?.[1] ?? "0";
      const used = parseInt(read(`${folder}/${usage}`) ?? "") - Number(reclaimable);
      return parseInt(read(`${folder}/${limit}`) ?? "") - used; // "max" for no limit
    });
  });
  return Math.max(0, Math.min(...rooms.filter((room) => !Number.isNaN(room))));
}
