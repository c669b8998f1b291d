/** Counts the memory of a run before it starts, by running its own allocations. There is no second formula. */
import { CountingBackend } from "../backend/counting.ts";
import { DEVICE_OVERHEAD } from "../backend/open.ts";
import { ALONE, DONE, HostGroup } from "../parallel/host_group.ts";
import type { ProcessGroup, ProcessGroups, Work } from "../parallel/process_group.ts";
import { Rank } from "./rank.ts";
import { allocateDeviceCache, type DeviceCacheSizes } from "../embedding/device_cache.ts";
import type { RowMatrix } from "../embedding/tables.ts";
import { allocateCachedRows } from "./device_cached_rank.ts";
import { allocateOnDevice, allocateTrainState, type TrainState, type TrainStateOptions } from "./train_state.ts";

/** Bytes by purpose. */
export type BytesByPurpose = ReadonlyMap<string, number>;

/** The memory of a run. */
export interface CountedMemory {
  /** Bytes of host memory, of all ranks together. */
  readonly host: BytesByPurpose;
  /** Bytes of memory of each device, one per rank; none if the host computes. */
  readonly device: BytesByPurpose;
}

/** What determines the memory of a run in one process. */
export interface CountOptions extends Omit<TrainStateOptions, "device" | "host" | "share" | "nodeRanks"> {
  /** True if each rank computes on a device of its own. */
  readonly onDevice: boolean;
  /** The cache of rows on the only device; undefined if there is none. */
  readonly cache?: DeviceCacheSizes | undefined;
}

/** One rank's side of a group that is never used. */
class CountedGroup extends HostGroup implements ProcessGroup {
  readonly rank: number;
  readonly size: number;
  readonly localRank: number;
  readonly localSize: number;
  readonly sharesMemory = true;

  constructor(rank: number, size: number) {
    super();
    [this.rank, this.size, this.localRank, this.localSize] = [rank, size, rank, size];
  }

  barrier(): void {}
  allGather(): void {}
  allToAll(): Work {
    return DONE;
  }
  abort(): void {}
}

/** Allocates the memory of a cache on the device, and returns its matrix. */
function allocateCache(state: TrainState & { readonly device: CountingBackend }, sizes: DeviceCacheSizes): RowMatrix {
  const { device, host, plan } = state;
  allocateDeviceCache({ device, host, shape: plan.shape }, sizes);
  return allocateCachedRows(state, sizes);
}

/**
 * Allocates the state of a run and all its ranks on counting backends. Not counted are the process itself with its code
 * and libraries, the readers of data, and scratch memory of kernels.
 */
export function countMemory({ onDevice, cache, ...options }: CountOptions): CountedMemory {
  const host = new CountingBackend();
  const device = new CountingBackend();
  const { ranks } = options;
  const alone = onDevice && ranks === 1;
  const state = allocateTrainState({ ...options, host, device: !onDevice ? host : alone ? device : undefined });
  for (let r = 0; r < ranks; r++) {
    const group = new CountedGroup(r, ranks);
    const groups: ProcessGroups = { world: group, node: group, peers: ALONE, devices: undefined };
    if (!onDevice || alone) {
      const full = cache === undefined ? state.full : allocateCache({ ...state, device }, cache);
      new Rank({ ...state, full }, groups);
      continue;
    }
    const own = r === 0 ? device : new CountingBackend(); // no other rank has more samples than the first
    new Rank(allocateOnDevice({ ...state, device: host }, { ...options, host, device: own }), {
      ...groups,
      devices: group as unknown as ProcessGroups["devices"],
    });
  }
  if (onDevice) {
    host.bytes.set("copies to and from devices", ranks * DEVICE_OVERHEAD.host);
    device.bytes.set("the backend's own", DEVICE_OVERHEAD.device);
  }
  return { host: host.bytes, device: device.bytes };
}
