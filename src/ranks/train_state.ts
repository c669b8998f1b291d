/**
 * All memory of a training run. `allocateTrainState` allocates what exists for the whole run; a `Rank` allocates its
 * activations. `countMemory` runs both on counting backends, so nothing else needs to know how much memory a run takes.
 */
import type { Backend, Buffer, HostBackend } from "../backend/backend.ts";
import type { TableMemory } from "../embedding/open.ts";
import { pooledGradientWords } from "../embedding/replica_exchange.ts";
import type { DeviceCacheSizes } from "../embedding/device_cache.ts";
import { replicaListWords } from "../embedding/replicated.ts";
import { rowMovesWords } from "../embedding/row_moves.ts";
import type { RowMatrix } from "../embedding/tables.ts";
import { batchSections, type BatchShape } from "../layout/batch.ts";
import type { BatchKind } from "../layout/layout.ts";
import type { ModelBuffers } from "../model/model.ts";
import { hiddenUnits, type ModelPlan } from "../model/shape.ts";
import { denseStateWords, rowStateWords } from "../optimizer/optimizers.ts";

/** Batches in flight: one is computed, the others are prefetched. A device is faster than one thread that reads. */
export const HOST_SLOTS = 4, DEVICE_SLOTS = 8;
const NO_ROWS = new Uint32Array(0);

/** Positions of a rank's counters, which are doubles; steps and launches are those of cold, then of hot batches. */
export const Count = {
  bytesToDevice: 0,
  bytesToHost: 1,
  bytesFromRanks: 2,
  steps: 3,
  launches: 5,
  doubles: 7,
} as const;

/** The buffers of ranks, each of type `B`; matrices of embedding rows of type `M`. */
export interface TrainBuffers<B, M> extends ModelBuffers<B> {
  /** The full tables, or the rows of them on this host or in memory. */
  readonly full: M;
  /** The hot replica, on the device that computes the dense part; undefined if no row is hot. */
  readonly hot: M | undefined;
  /**
   * Host copy of the parameters of ranks with devices: initial values and results; shared. Undefined without devices.
   */
  readonly mirror: Mirror<B, M> | undefined;
  /** Batch blocks in host memory that the coordinator fills; shared. */
  readonly slots: readonly B[];
  /** Logits of each slot's batch after `score`, in host memory, (batchSize) each; shared. */
  readonly scores: readonly B[];
  /**
   * Whether hidden units were nonzero for any sample that a rank scored: 1 or 0, (ranks, hiddenUnits), in host memory;
   * shared.
   */
  readonly activeUnits: B;
  /** Lists of rows to copy, in host memory: global rows and hot-row ids, (hot rows) each; shared. */
  readonly moveRows: B;
  readonly moveHotRows: B;
  /** Lists of rows that move to and from a cache on devices, in host memory; shared. None without a cache. */
  readonly cacheMoves: readonly B[];
  /** Each rank's sum of losses when requested, (ranks), in host memory; shared. */
  readonly losses: B;
  /** Each rank's counters of its device when requested, `Count.doubles` per rank, in host memory; shared. */
  readonly counts: B;
}

/** Vectors of a run that checkpoints contain. */
interface Mirror<B, M> {
  readonly parameters: B;
  readonly denseState: B | undefined;
  /** The full tables; undefined if those that ranks use are in host memory. */
  readonly full: M | undefined;
}

/** The same buffers in another representation. */
export function mapBuffers<A, MA, B, MB>(
  buffers: TrainBuffers<A, MA>,
  one: (buffer: A) => B,
  matrix: (matrix: MA) => MB,
): TrainBuffers<B, MB> {
  const maybe = (buffer: A | undefined) => buffer && one(buffer);
  return {
    full: matrix(buffers.full),
    hot: buffers.hot && matrix(buffers.hot),
    parameters: one(buffers.parameters),
    denseState: maybe(buffers.denseState),
    gradients: buffers.gradients.map(one),
    pooledGradients: one(buffers.pooledGradients),
    hostGradients: maybe(buffers.hostGradients),
    clip: buffers.clip && { ...buffers.clip, squares: one(buffers.clip.squares) },
    mirror: buffers.mirror && {
      parameters: one(buffers.mirror.parameters),
      denseState: maybe(buffers.mirror.denseState),
      full: buffers.mirror.full && matrix(buffers.mirror.full),
    },
    slots: buffers.slots.map(one),
    scores: buffers.scores.map(one),
    activeUnits: one(buffers.activeUnits),
    moveRows: one(buffers.moveRows),
    moveHotRows: one(buffers.moveHotRows),
    cacheMoves: buffers.cacheMoves.map(one),
    losses: one(buffers.losses),
    counts: one(buffers.counts),
  };
}

export interface RankState extends TrainBuffers<Buffer, RowMatrix>, TableMemory {
  readonly plan: ModelPlan;
  readonly batchShape: BatchShape;
  /** The backend of the dense part of the model. */
  readonly device: Backend;
  readonly host: HostBackend;
  /** Sizes of the cache of rows on the device; the full tables are in host memory then. Undefined without a cache. */
  readonly cache: DeviceCacheSizes | undefined;
  /** Progresses messages to and from other hosts, between long operations; undefined if there are none. */
  readonly poll?: (() => void) | undefined;
}

/** The buffers of a run, as the coordinator sees them. */
export interface TrainState extends RankState {
  /** Global rows of the hot replica, ascending. */
  readonly hotRows: Uint32Array;
  /**
   * The coordinator's record of changes in the replica, `replicaListWords`, in host memory; undefined if no row is hot.
   */
  readonly replicaLists: Buffer | undefined;
  /** Space for rows of other hosts, in host memory, shared; undefined if the full tables are on this host. */
  readonly fetched: readonly Buffer[];
}

/** What determines the memory of a run. */
export interface TrainStateOptions {
  readonly plan: ModelPlan;
  readonly batchShape: BatchShape;
  /** Global rows of the hot replica, ascending; default none. */
  readonly hotRows?: Uint32Array | undefined;
  /** Maximum number of distinct rows of a batch of each kind; default the number of lookups. */
  readonly mostDistinct?: Readonly<Record<BatchKind, number>> | undefined;
  /** Sizes of the cache of rows on each device; default none. */
  readonly cache?: DeviceCacheSizes | undefined;
  /** Number of rows of the full tables on this host or in memory, if not all. */
  readonly fullRows?: number | undefined;
  /** Batches whose rows of other hosts are in flight at a time; default 0. */
  readonly fetchedBatches?: number;
  /** True if ranks on the host only score: without gradients and optimizer state. Default false. */
  readonly scoring?: boolean | undefined;
  /** Maximum norm of a step's gradients; default no limit. */
  readonly clipNorm?: number | null | undefined;
  /** Ranks of the run. */
  readonly ranks: number;
  /** Number of ranks of this node; default all. */
  readonly nodeRanks?: number;
  /**
   * The backend of the dense part of the model; undefined if each rank has a device and allocates its buffers itself.
   */
  readonly device: Backend | undefined;
  readonly host: HostBackend;
  /** True if the full tables are on the device, or on that of each rank. */
  readonly tablesOnDevice?: boolean | undefined;
  /** Runs allocations of host memory that all processes of a node share. */
  readonly share?: <T>(allocate: () => T) => T;
}

/** Allocates everything that exists for the whole run, except what each rank allocates itself. */
export function allocateTrainState(options: TrainStateOptions): TrainState {
  const { device, host, tablesOnDevice = false, share = (allocate) => allocate(), fetchedBatches = 0 } = options;
  const { plan: { shape: { dim } }, batchShape: { batchSize, tables, lookupCapacity } } = options;
  const onHost = device === (host as Backend);
  const tablesOnHost = !tablesOnDevice || device === undefined;
  const shared = share(() => ({
    full: tablesOnHost ? allocateTables(options, host) : undefined,
    dense: onHost ? allocateDense(options, host) : undefined,
    hostGradients: onHost ? undefined : host.allocate(batchSize * tables * dim, "gradients of pooled rows"),
    clip: allocateClip(options),
    fetched: Array.from({ length: fetchedBatches }, () => host.allocate(lookupCapacity * dim, "rows of other hosts")),
  }));
  const { hostGradients, clip, fetched } = shared;
  const full = shared.full ?? allocateTables(options, device!);
  const slots = allocateSlots(options);
  if (device !== undefined) {
    const dense = shared.dense ?? allocateDense({ ...options, nodeRanks: 1 }, device);
    return { ...slots, ...dense, device, full, hostGradients, clip, mirror: undefined, fetched };
  }
  const vectors = allocateVectors(options, host);
  return {
    ...slots,
    ...vectors,
    ...{ device: host, full, hot: undefined, gradients: [], pooledGradients: hostGradients!, hostGradients },
    ...{ clip, fetched },
    mirror: { ...vectors, full: tablesOnDevice ? full : undefined },
  };
}

/** The buffers that a rank with its own device has instead of shared ones. */
export function allocateOnDevice(shared: RankState, options: TrainStateOptions & { readonly device: Backend }) {
  const { device, tablesOnDevice, cache } = options;
  const dense = allocateDense({ ...options, nodeRanks: 1 }, device);
  return { ...shared, ...dense, device, cache, full: tablesOnDevice ? allocateTables(options, device) : shared.full };
}

function allocateTables(options: TrainStateOptions, backend: Backend): RowMatrix {
  const { plan, fullRows = plan.rows, scoring } = options;
  return allocateMatrix(plan, backend, fullRows, "embedding tables", scoring);
}

/** Allocates a matrix of rows, with their optimizer state unless ranks only score. */
export function allocateMatrix(
  { shape }: ModelPlan,
  backend: Backend,
  rows: number,
  label: string,
  scoring = false,
): RowMatrix {
  const stateWords = scoring ? 0 : rowStateWords(shape.optimizer, shape.dim);
  return {
    backend,
    rows,
    weights: backend.allocateTable(rows * shape.dim, label),
    state: stateWords === 0 ? undefined : backend.allocateTable(rows * stateWords, `optimizer state of ${label}`),
  };
}

function allocateVectors({ plan: { shape, denseWords }, scoring }: TrainStateOptions, backend: Backend) {
  const stateWords = scoring ? 0 : denseStateWords(shape.optimizer, denseWords);
  return {
    parameters: backend.allocate(denseWords, "dense parameters"),
    denseState: stateWords === 0 ? undefined : backend.allocate(stateWords, "dense optimizer state"),
  };
}

/** The hot replica, dense parameters, and gradients of the ranks of this node, which share the backend. */
function allocateDense(options: TrainStateOptions, backend: Backend) {
  const { plan, batchShape, hotRows = NO_ROWS, ranks, nodeRanks = ranks, scoring } = options;
  const gradients = () => backend.allocate(plan.denseWords, "dense gradients");
  const pooledGradients = pooledGradientWords(batchShape, plan.shape.dim, ranks);
  return {
    hot: hotRows.length === 0 ? undefined : allocateMatrix(plan, backend, hotRows.length, "hot rows"),
    ...allocateVectors(options, backend),
    gradients: Array.from({ length: scoring ? 0 : nodeRanks }, gradients),
    pooledGradients: backend.allocate(pooledGradients, "gradients of pooled rows"),
  };
}

function allocateClip({ clipNorm: maxNorm = null, host, ranks, nodeRanks = ranks }: TrainStateOptions) {
  return maxNorm === null ? undefined : { maxNorm, squares: host.allocate(2 * nodeRanks, "squares of gradients") };
}

/** What the coordinator's process and all its ranks read and write, in host memory. */
function allocateSlots(options: TrainStateOptions) {
  const { plan, batchShape, hotRows = NO_ROWS, mostDistinct, cache, ranks, device, host } = options;
  const { lookupCapacity } = batchShape;
  const slots = device === (host as Backend) ? HOST_SLOTS : DEVICE_SLOTS;
  const times = (count: number, words: number, label: string) =>
    Array.from({ length: count }, () => host.allocate(words, label));
  const replicaWords = replicaListWords(plan.rows, hotRows.length);
  return {
    plan,
    batchShape,
    hotRows,
    cache,
    mostDistinct: mostDistinct ?? { hot: lookupCapacity, cold: lookupCapacity },
    host,
    slots: times(slots, batchSections(batchShape).capacity, "batches"),
    scores: times(slots, batchShape.batchSize, "scores"),
    activeUnits: host.allocate(ranks * hiddenUnits(plan), "active units"),
    moveRows: host.allocate(Math.max(hotRows.length, 1), "rows to move"),
    moveHotRows: host.allocate(Math.max(hotRows.length, 1), "rows to move"),
    // Those of each slot's batch, and of rows that are moved for no batch.
    cacheMoves: cache === undefined ? [] : times(slots + 1, rowMovesWords(cache.batchRows), "rows to move"),
    replicaLists: hotRows.length === 0 ? undefined : host.allocate(replicaWords, "changed rows"),
    losses: host.allocate(ranks, "losses"),
    counts: host.allocate(2 * Count.doubles * ranks, "counts"),
  };
}
