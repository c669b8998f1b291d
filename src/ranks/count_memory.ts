/** Counts memory and work of a run before it starts, by running its own code. There is no second formula. */
import { type Buffer, CPU_CACHED_WORDS, type CpuPrecision, Header } from "../backend/backend.ts";
import { type CountedWork, CountingBackend } from "../backend/counting.ts";
import { DEVICE_OVERHEAD } from "../backend/open.ts";
import { ALONE, DONE, HostGroup } from "../parallel/host_group.ts";
import type { HostVector, ProcessGroups, Work } from "../parallel/process_group.ts";
import { Batch, batchSections } from "../layout/batch.ts";
import { Command, Rank } from "./rank.ts";
import { DEVICE_LOOK_AHEAD, DeviceCache } from "../embedding/device_cache.ts";
import { RowMoves } from "../embedding/row_moves.ts";
import { rowWords } from "../optimizer/optimizers.ts";
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
  /** Of products on the CPU; default fp32. */
  readonly precision?: CpuPrecision | undefined;
  /** True if products on a device add the bias and compute a ReLU (`--activations cublaslt`); default false. */
  readonly fusedBias?: boolean;
}

/** One rank's side of a group without others, which counts what devices would exchange. */
class CountedGroup extends HostGroup {
  /** Bytes received from the devices of other ranks. */
  received = 0;

  constructor(rank: number, size: number) {
    super({ rank, size, localRank: rank, localSize: size, sharesMemory: true });
  }

  barrier(): void {}

  override allReduce(vector: { readonly words: number } | HostVector): void {
    if ("words" in vector) this.received += 8 * vector.words * (this.size - 1) / this.size;
  }

  allGather(own: { readonly words: number } | HostVector): void {
    if ("words" in own) this.received += 4 * own.words * (this.size - 1);
  }

  allToAll(): Work {
    return DONE;
  }
  abort(): void {}
}

/**
 * Allocates the state of a run and all its ranks on counting backends. Not counted are the process itself with its code
 * and libraries, the readers of data, scratch memory of kernels, and rows that a device pads (`Backend.strideOf`).
 */
export function countMemory(options: CountOptions): CountedMemory {
  const { host, device } = openCounted(options);
  if (options.onDevice) {
    host.bytes.set("copies to and from devices", options.ranks * DEVICE_OVERHEAD.host);
    device.bytes.set("the backend's own", DEVICE_OVERHEAD.device);
    const { plan: { shape: { dim } }, batchShape: { weightedLookups, lookupCapacity } } = options;
    const hasRows = options.tablesOnDevice || options.cache !== undefined || options.hotRows !== undefined;
    // A device allocates them at the first update: the weighted gradient of each lookup, and its position.
    if (weightedLookups && hasRows) device.bytes.set("gradients of lookups", 4 * lookupCapacity * (dim + 1));
  }
  return { host: host.bytes, device: device.bytes };
}

/** A batch that a step is counted over. */
export interface CountedBatch {
  /** Distinct rows among its lookups. */
  readonly distinct: number;
  /** True if all its rows are in the hot replica. */
  readonly hot: boolean;
  /** Rows that the cache on the device does not have, and that as many others make room for; default none. */
  readonly fetched?: number;
}

/** The work of a training step over a full batch. */
export interface CountedStep {
  /** What the host computes for all ranks. */
  readonly host: CountedWork;
  /** What the first device does, which has as many samples as any other; nothing if the host computes. */
  readonly device: CountedWork;
  /** Bytes that a device receives from the others. */
  readonly bytesFromRanks: number;
}

/** Runs a step of all ranks on counting backends. The cache on a device, if there is one, has rows of two batches. */
export function countStep(options: CountOptions, { distinct, hot, fetched = 0 }: CountedBatch): CountedStep {
  const { batchShape, plan: { shape } } = options;
  const cache = options.cache && { slots: 2 * distinct, batchRows: distinct };
  // All views of a host share memory, so that a value written to a slot's header is read with its batch.
  const host = new CountingBackend();
  const pooledWords = batchShape.batchSize * batchShape.tables * shape.dim;
  const cachedWords = distinct * (rowWords(shape) + 4);
  host.floats({ words: Math.max(batchSections(batchShape).capacity, pooledWords, cachedWords) });
  const mostDistinct = { hot: distinct, cold: distinct };
  const { device, state, ranks, groups } = openCounted({ ...options, cache, mostDistinct }, host);
  const start = () => [host, device].forEach((backend) => backend.startStep(distinct));
  start();
  if (cache !== undefined) moveRows(state, ranks, fetched, start);
  const header = host.integers(state.slots[0]);
  header[Header.samples] = batchShape.batchSize;
  header[Header.lookups] = batchShape.lookupCapacity;
  header[Header.distinct] = distinct;
  header[Header.hot] = Number(hot);
  groups[0].received = 0;
  for (const rank of ranks) rank.execute(Command.train, 0, batchShape.batchSize);
  return { host: host.work, device: device.work, bytesFromRanks: groups[0].received };
}

/** Moves the rows of a step in which the cache is full, and those of the step before arrive in host memory. */
function moveRows(state: TrainState, ranks: readonly Rank[], fetched: number, start: () => void): void {
  const { batchShape, cache, cacheMoves, host } = state;
  const { batchRows } = cache!;
  const moves = cacheMoves.map(({ words }) => new RowMoves(new Uint32Array(words)));
  const move = (number: number) => {
    for (const rank of ranks) {
      // All views of a counting host share memory, which the previous rank has overwritten.
      const shared = new RowMoves(host.integers(cacheMoves[number]));
      shared.written = moves[number].written;
      shared.fetched = moves[number].fetched;
      rank.execute(Command.moveCached, number, 0);
    }
  };
  const devices = { moves, move, waitForMoves() {}, drain() {} };
  const planned = new DeviceCache(
    devices,
    undefined,
    { ...cache!, lookAhead: DEVICE_LOOK_AHEAD },
    batchShape.lookupCapacity,
  );
  const batch = new Batch(batchShape);
  for (const firstRow of [0, batchRows, batchRows + fetched, batchRows + 2 * fetched]) {
    batch.words[Header.distinct] = batchRows;
    for (let i = 0; i < batchRows; i++) batch.words[batch.sections.segments + 2 * i] = firstRow + i;
    start();
    planned.announce(batch);
    planned.prepareToTrain(batch);
    planned.finish();
  }
}

function openCounted({ onDevice, precision, fusedBias, ...options }: CountOptions, given?: CountingBackend) {
  const cachedWords = onDevice ? undefined : CPU_CACHED_WORDS;
  const host = given ?? new CountingBackend({ precision, cachedWords });
  const device = new CountingBackend({ fusedBias });
  const { ranks: size } = options;
  const alone = onDevice && size === 1 && options.cache === undefined; // with a cache it has a thread of its own
  const state = allocateTrainState({ ...options, host, device: !onDevice ? host : alone ? device : undefined });
  const members = Array.from({ length: size }, (_, rank) => new CountedGroup(rank, size));
  const ranks = members.map((group, r) => {
    const groups: ProcessGroups<Buffer> = { world: group, node: group, peers: ALONE, devices: undefined };
    if (!onDevice) host.startRank();
    if (!onDevice || alone) return new Rank(state, groups);
    const own = r === 0 ? device : new CountingBackend(); // no other rank has more samples than the first
    const onOwn = allocateOnDevice({ ...state, device: host }, { ...options, host, device: own });
    const devices = size === 1 ? undefined : group as unknown as ProcessGroups<Buffer>["devices"];
    return new Rank(onOwn, { ...groups, devices });
  });
  return { host, device, state, ranks, groups: members };
}
