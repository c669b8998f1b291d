/** Estimates the memory of a training run before it starts: the run's own allocations, and the process itself. */
import type { CpuPrecision } from "../backend/backend.ts";
import type { TrainConfig } from "../config/config.ts";
import type { BatchShape } from "../layout/batch.ts";
import type { ModelPlan } from "../model/shape.ts";
import { TALLY_BYTES } from "../profile/tally.ts";
import { countMemory } from "../ranks/count_memory.ts";
import { rankThreads } from "../ranks/rank_threads.ts";
import { PLAN_BYTES } from "../ranks/tier.ts";

/** What determines a run's memory. */
export interface MemoryOptions {
  readonly model: ModelPlan;
  readonly batchShape: BatchShape;
  /** Of matrix products on the CPU; default fp32. */
  readonly precision?: CpuPrecision | undefined;
  /** Rows of the hot replica in mode fae. */
  readonly hotRows: number;
  /** Rows in the memory of the device in mode cached. */
  readonly cachedRows: number;
  /** Number of ranks on the CPU, and on devices, one device each. */
  readonly ranks: { readonly cpu: number; readonly devices: number };
}

/** A mode and the device of its MLPs. */
export interface Placement {
  /** Placement of rows and MLPs. */
  readonly mode: TrainConfig["mode"];
  /** True if MLPs are computed on devices with memory of their own. */
  readonly onDevice: boolean;
}

/** All placements. */
export const PLACEMENTS: readonly Placement[] = [
  { mode: "cpu", onDevice: false },
  { mode: "fae", onDevice: false },
  { mode: "hybrid", onDevice: true },
  { mode: "fae", onDevice: true },
  { mode: "cached", onDevice: true },
  { mode: "gpu", onDevice: true },
];

/** The memory of one purpose, in bytes; for an allocation, the name that errors use. */
export interface MemoryPart {
  /** The purpose. */
  readonly name: string;
  /** Bytes of host memory. */
  readonly host: number;
  /** Bytes of the memory of each device. */
  readonly device: number;
}

/** The memory of one placement, in bytes; the parts add up to the totals. */
export interface MemoryPlan extends Placement {
  /** All purposes. */
  readonly parts: readonly MemoryPart[];
  /** Bytes of host memory. */
  readonly host: number;
  /** Bytes of the memory of each device. */
  readonly device: number;
}

/** Measured in small runs: the process with its libraries, and each thread of a rank. */
const PROCESS_BYTES = 244 * 2 ** 20;
const THREAD_BYTES = 20 * 2 ** 20;

/** Memory of a run with one placement. */
export function planMemory(options: MemoryOptions, { mode, onDevice }: Placement): MemoryPlan {
  const { model: plan, batchShape, precision } = options;
  const { batchSize, tables } = batchShape;
  const ranks = Math.min(onDevice ? options.ranks.devices : options.ranks.cpu, batchSize);
  const hotRows = mode === "fae" ? new Uint32Array(options.hotRows) : undefined;
  const tablesOnDevice = mode === "gpu";
  const cache = mode === "cached"
    ? { slots: Math.max(options.cachedRows, 2 * batchShape.lookupCapacity), batchRows: batchShape.lookupCapacity }
    : undefined;
  const { host, device } = countMemory({
    ...{ plan, batchShape, hotRows, ranks, onDevice, tablesOnDevice, cache },
    precision: onDevice ? undefined : precision,
  });
  const names = new Set([...host.keys(), ...device.keys()]);
  const parts: MemoryPart[] = Array.from(names, (name) => ({
    ...{ name, host: host.get(name) ?? 0, device: device.get(name) ?? 0 },
  })).filter(({ host, device }) => host + device > 0);
  if (mode === "fae") parts.push({ name: "profiling", host: 4 * plan.rows + tables * TALLY_BYTES, device: 0 });
  if (cache !== undefined) parts.push({ name: "plan of the cache", host: PLAN_BYTES * cache.slots, device: 0 });
  // In mode cached the calling thread plans the cache.
  const onDevices = ranks > 1 || mode === "cached" ? ranks : 0;
  const threads = onDevice ? onDevices : rankThreads(ranks, plan, batchShape);
  parts.push({ name: "the process", host: PROCESS_BYTES + threads * THREAD_BYTES, device: 0 });
  const sum = (where: "host" | "device") => parts.reduce((total, part) => total + part[where], 0);
  return { mode, onDevice, parts, host: sum("host"), device: sum("device") };
}
