/** Decides which devices compute a run and where its rows are. */
import { breaks } from "../breaks.ts";
import { chooseBlas, cpuOptions, type HostOptions, openDevice, openHost } from "../backend/open.ts";
import type { CpuPrecision, DeviceBackend } from "../backend/backend.ts";
import type { MpiWorld } from "../parallel/mpi_world.ts";
import { together, togetherAsync } from "../parallel/process_group.ts";
import type { ModelPlan } from "../model/shape.ts";
import { CachedTables } from "../embedding/cached.ts";
import { CachedShard } from "../embedding/cached_shard.ts";
import { type DeviceCacheSizes, DISK_LOOK_AHEAD, GROUPS_AHEAD } from "../embedding/device_cache.ts";
import type { CacheSizes } from "../embedding/look_ahead_plan.ts";
import { type Shard, WHOLE } from "../embedding/shard.ts";
import { StoreThread } from "../embedding/stores/store_thread.ts";
import { HotsetError, UsageError } from "../errors.ts";
import { count, percent } from "../format.ts";
import type { TrainConfig } from "../config/config.ts";
import { cpuPrecision, needsDevice } from "../config/placement_options.ts";
import type { Report } from "../events/events.ts";
import { sizeDeviceCache } from "./device_cache_memory.ts";
import { DeviceCachedRanks, planDeviceCache } from "./device_cached_ranks.ts";
import { LocalRank, type RankGroup } from "./rank_group.ts";
import { rankThreads } from "./rank_threads.ts";
import { CachedRanks } from "./cached_ranks.ts";
import { memoryRoom } from "./memory_room.ts";
import { MpiRanks } from "./mpi_ranks.ts";
import { sizeCache, type Tier } from "./tier.ts";
import { allocateTrainState, type TrainStateOptions } from "./train_state.ts";
import { WorkerRanks } from "./worker_ranks.ts";

/** The part of a configuration that determines the placement. */
export type PlacementConfig =
  & Pick<TrainConfig, "mode" | "device" | "ranks" | "blas" | "precision" | "activations">
  & Partial<Pick<TrainConfig, "clipNorm" | "hotMemory" | "model">>;

/** An option of the configuration that only a device supports; undefined if the CPU supports all. */
function onlyOnDevice({ precision, activations }: PlacementConfig): string | undefined {
  if (precision === "tf32") return `precision ${precision}`;
  return activations === "auto" || activations === "ptx" ? undefined : `activations ${activations}`;
}

/**
 * Throws UsageError if mode, device and precision contradict each other, or are not available over MPI, where `auto`
 * means the CPU because processes must agree. Cheap: called before any stage.
 */
export function expectPlacement(config: PlacementConfig, world?: MpiWorld): void {
  const { mode, device } = config;
  if (mode === "cached" && world !== undefined) {
    throw new UsageError("Cannot train in mode cached over MPI: choose --ranks without mpirun, or --mode gpu or fae");
  }
  if (world !== undefined && device === "auto" && needsDevice(mode)) {
    throw new UsageError(`Cannot train in mode ${mode} over MPI on the CPU: choose --device cuda`);
  }
  if (device === "cpu" && needsDevice(mode)) {
    throw new UsageError(`Cannot train in mode ${mode} on the CPU: choose --mode fae or cpu`);
  }
  if (mode === "cpu" && (device === "cuda" || device === "emulated")) {
    throw new UsageError(`Cannot train in mode cpu on ${device}: choose --mode cached, fae, hybrid or gpu`);
  }
  const only = onlyOnDevice(config);
  const onCpu = mode === "cpu" || device === "cpu" || (world !== undefined && device === "auto");
  if (only !== undefined && onCpu) {
    throw new UsageError(`Cannot use ${only} on the CPU: it applies to GPUs only; leave it out`);
  }
  const { blas, precision } = config;
  if (onCpu && precision === "bf16" && blas !== "auto" && blas !== "onednn") {
    throw new UsageError(
      `Cannot use precision bf16 with blas ${blas}: on a CPU only oneDNN multiplies in bf16; choose --blas onednn, or ` +
        `--precision fp32`,
    );
  }
  if (blas !== "auto" && !onCpu) {
    const where = device === "auto" ? `${device}, which may be a GPU` : device;
    throw new UsageError(
      `Cannot use blas ${blas} on device ${where}: it applies to CPUs only; leave it out, or choose --device cpu`,
    );
  }
}

/**
 * Opens and closes the GPUs, or the library of matrix products, that the configuration requires: called before long
 * stages.
 */
export async function expectDevice(config: PlacementConfig, report: Report): Promise<void> {
  const { mode, device, blas, precision } = config;
  const only = onlyOnDevice(config);
  if (device === "cuda" || (device === "auto" && (needsDevice(mode) || only !== undefined))) {
    using _device = await openWanted(config, only);
  } else if (blas !== "auto" || precision === "bf16") {
    using found = await findDevice(config, () => {});
    if (found === undefined) await chooseBlas(blas, cpuPrecision(config), notesTo(report));
  }
}

/**
 * Throws HotsetError, with a message after `refusal`, unless the library that a run began with is available: another
 * one would give other bits.
 */
export async function expectLibrary(config: PlacementConfig, report: Report, refusal: string): Promise<void> {
  if (config.blas === "auto") return;
  try {
    await chooseBlas(config.blas, cpuPrecision(config), notesTo(report));
  } catch (error) {
    throw error instanceof HotsetError ? new HotsetError(`${refusal}. ${error.message}`, { cause: error }) : error;
  }
}

function notesTo(report: Report): (text: string) => void {
  return (text) => report({ event: "note", text });
}

/** Opens a GPU. If there is none, the error names the option that needs one. */
async function openWanted(config: PlacementConfig, only: string | undefined) {
  try {
    return await openLast({ ...config, device: "cuda" });
  } catch (error) {
    if (only === undefined || config.device !== "auto" || !(error instanceof HotsetError)) throw error;
    throw new HotsetError(`Cannot use ${only} on the CPU: leave it out, or train on a GPU. ${error.message}`, {
      cause: error,
    });
  }
}

/** Opens the last of the devices that the ranks need, which implies that the others exist. */
async function openLast({ device, precision, activations, ranks }: PlacementConfig & { device: "cuda" | "emulated" }) {
  const count = ranks ?? 1;
  using opening = new DisposableStack();
  const last = opening.use(await openDevice({ device, precision, activations, ordinal: count - 1 }));
  if (count > 1) last.communicatorId(); // so that a missing library is noticed now
  opening.move();
  return last;
}

/**
 * Bytes that can be allocated on the devices of a configuration, on the last of several; undefined if it computes on the
 * CPU. A note says why there is no GPU. Throws HotsetError if one was asked for.
 */
export async function deviceRoom(config: PlacementConfig, report: Report): Promise<number | undefined> {
  using device = await findDevice(config, report);
  return device?.freeBytes();
}

/** Properties of a run's batches. */
export type PlacementBatches = Pick<TrainStateOptions, "batchShape" | "hotRows" | "mostDistinct" | "scoring">;

/**
 * Opens the backends of a run, allocates its memory and starts its ranks: one per core on the CPU, or one per GPU.
 * Device auto means GPUs if there are enough; else the CPU, with a note why. Without `report` there are no notes, and
 * no library is fetched. Throws HotsetError if the mode needs a device that does not exist.
 */
export async function openRanks(
  config: PlacementConfig,
  plan: ModelPlan,
  batches: PlacementBatches,
  { report, world, tier }: { report?: Report; world?: MpiWorld | undefined; tier?: Tier | undefined } = {},
): Promise<RankGroup> {
  expectPlacement(config, world);
  const tell = report ?? (() => {});
  if (world !== undefined) return await openWorld(config, plan, batches, tell, world, tier);
  const device = await findDevice(config, tell);
  const hostOptions = device === undefined
    ? await cpuOptions(config.blas, cpuPrecision(config), report && notesTo(report))
    : await cpuOptions("wasm"); // a device has its own matrix products
  if (breaks.due) await breaks.take();
  const host = await openHost(hostOptions);
  if (breaks.due) await breaks.take();
  const wanted = config.ranks ?? (device === undefined ? navigator.hardwareConcurrency : 1);
  const ranks = Math.min(wanted, batches.batchShape.batchSize);
  const options = { plan, ...batches, ranks, host, clipNorm: config.clipNorm };
  const tablesOnDevice = config.mode === "gpu";
  const threads = rankThreads(ranks, plan, batches.batchShape);
  const onHost = { ...batches, ranks, precision: cpuPrecision(config), threadsInMemory: threads };
  const cache = tier && config.mode === "cpu" && plan.rows > 0
    ? sizeCache(plan, onHost, tier, Deno.memoryUsage().rss)
    : undefined;
  if (breaks.due) await breaks.take();
  if (device === undefined && cache !== undefined) return await openCached(options, hostOptions, cache, tier!, tell);
  await using opening = new AsyncDisposableStack(); // ends the ranks if something fails after they have started
  let group: RankGroup;
  if (device === undefined) {
    group = opening.use(await startOnHost({ ...options, device: host }, hostOptions, threads > 0));
  } else if (config.mode === "cached") {
    const sizes = sizeDeviceCache(plan, batches, config.hotMemory ?? 0);
    const cached = { ...options, device, cache: sizes };
    group = opening.use(await openDeviceCached(cached, config, hostOptions, tier, tell, true));
    const onDevice = Math.min(sizes.slots, plan.rows);
    const who = ranks === 1 ? "The device caches" : "Each device caches the same";
    const text = `${who} ${count(onDevice)} of ${count(plan.rows)} rows (${percent(onDevice / plan.rows)})`;
    tell({ event: "note", text });
  } else {
    group = opening.use(await startOnDevices({ ...options, device, tablesOnDevice }, config, hostOptions, tell));
  }
  tell({ event: "note", text: `Training on ${group.device} with ${ranks} rank${ranks === 1 ? "" : "s"}` });
  opening.move();
  return group;
}

/** Starts ranks that compute on the cores: a worker for each, or this thread for one. */
async function startOnHost(
  options: TrainStateOptions,
  hostOptions: HostOptions,
  workers: boolean = options.ranks > 1,
): Promise<RankGroup> {
  const memory = allocateTrainState(options);
  return workers ? await WorkerRanks.start(memory, hostOptions) : new LocalRank(memory);
}

/** Starts ranks that compute on devices: a worker for each, or this thread for one. Owns the first device. */
async function startOnDevices(
  options: TrainStateOptions & { readonly device: DeviceBackend },
  { device: kind, precision, activations }: PlacementConfig,
  hostOptions: HostOptions,
  tell: Report,
  workers: boolean = options.ranks > 1,
): Promise<RankGroup> {
  const { device, hotRows, tablesOnDevice, cache } = options;
  using opening = new DisposableStack();
  opening.use(device);
  if (!workers) {
    const rank = new LocalRank(allocateTrainState(options), tell);
    opening.move();
    return rank;
  }
  opening.dispose(); // every rank opens its own device
  return await WorkerRanks.start(allocateTrainState({ ...options, device: undefined }), hostOptions, {
    options: { device: kind === "emulated" ? kind : "cuda", precision, activations },
    ...{ hotRows, tablesOnDevice, cache },
  });
}

/** Ranks that store on disk the rows for which there is no memory. */
async function openCached(
  options: Omit<TrainStateOptions, "device">,
  hostOptions: HostOptions,
  sizes: CacheSizes,
  tier: Tier,
  tell: Report,
): Promise<RankGroup> {
  const { plan, batchShape, ranks } = options;
  await using opening = new AsyncDisposableStack();
  const owned = opening.use(new DisposableStack());
  const store = await startStore(plan, sizes, tier, WHOLE, owned);
  const fullRows = sizes.slots + batchShape.lookupCapacity;
  // Rows move together with their optimizer state, even if ranks only score.
  const training = { ...options, device: options.host, fullRows, scoring: false };
  const onHost = opening.use(await startOnHost(training, hostOptions));
  const group = new CachedRanks(onHost, { ...sizes, store }, owned);
  const text = `Training on ${group.device} with ${ranks} rank${ranks === 1 ? "" : "s"}`;
  tell({ event: "note", text: `${text}; ${placeOfRows(plan, sizes, tier, store)}` });
  opening.move();
  return group;
}

/**
 * Ranks that cache rows on devices; rows for which there is no host memory either are stored on disk. With `workers` the
 * rank of a single device has a thread of its own too, beside this one, which plans the cache.
 */
export async function openDeviceCached(
  options: TrainStateOptions & { readonly device: DeviceBackend; readonly cache: DeviceCacheSizes },
  config: PlacementConfig,
  hostOptions: HostOptions,
  tier: Tier | undefined,
  tell: Report,
  workers: boolean = options.ranks > 1,
): Promise<RankGroup> {
  const { plan, batchShape, host, ranks, device, cache: { batchRows } } = options;
  using unused = new DisposableStack();
  unused.use(device);
  await using opening = new AsyncDisposableStack();
  // Host memory sees the rows that move to and from the devices as its batches.
  const mostDistinct = { cold: 2 * batchRows };
  const groups = { batchShape, mostDistinct, ranks, lookAhead: GROUPS_AHEAD, threads: workers ? ranks : 0 };
  const onHost = tier && sizeCache(plan, groups, tier, Deno.memoryUsage().rss);
  if (onHost === undefined) {
    unused.move();
    const group = new DeviceCachedRanks(opening.use(await startOnDevices(options, config, hostOptions, tell, workers)));
    opening.move();
    return group;
  }
  const owned = opening.use(new DisposableStack());
  const cache = { ...onHost, store: await startStore(plan, onHost, tier!, WHOLE, owned) };
  unused.move();
  const withRows = { ...options, fullRows: onHost.slots };
  const group = opening.use(await startOnDevices(withRows, config, hostOptions, tell, workers));
  const tables = new CachedTables({ host, shape: plan.shape, batchShape }, group.memory.full, cache);
  const onDevices = planDeviceCache(group, tables, DISK_LOOK_AHEAD);
  tell({ event: "note", text: `There are ${placeOfRows(plan, onHost, tier!, cache.store)}` });
  const cached = new CachedRanks(group, cache, owned, { tables, onDevices });
  opening.move();
  return cached;
}

/** Starts the store of a host's rows that are not in memory. */
async function startStore(
  { shape: { dim, optimizer, rowInit, tableRows } }: ModelPlan,
  { batchRows, lookAhead }: CacheSizes,
  { files }: Tier,
  shard: Shard,
  opening: DisposableStack,
): Promise<StoreThread> {
  const directory = files && opening.use(files(shard.host)).path;
  const options = { directory, tableRows, shard, dim, optimizer, rowInit };
  return opening.use(await StoreThread.start(options, { jobs: lookAhead + 1, rows: batchRows }));
}

/** Where rows are, for a note. */
function placeOfRows(
  { rows }: ModelPlan,
  { slots }: CacheSizes,
  { directory }: Tier,
  { name }: StoreThread,
  hosts = 1,
): string {
  const inMemory = Math.min(slots * hosts, rows);
  const share = percent(inMemory / rows);
  return `${count(inMemory)} of ${
    count(rows)
  } rows (${share}) in memory, all others on the disk of ${directory} (${name})`;
}

/** The same for processes: all compute on the CPU, or each on a GPU of its host. */
async function openWorld(
  config: PlacementConfig,
  plan: ModelPlan,
  batches: PlacementBatches,
  report: Report,
  world: MpiWorld,
  tier: Tier | undefined,
): Promise<RankGroup> {
  const { mode, device, blas, precision, activations, clipNorm } = config;
  const devices = device === "cuda" || device === "emulated" ? { device, precision, activations } : undefined;
  const run = {
    plan,
    ...batches,
    blas,
    precision: cpuPrecision(config),
    devices,
    tablesOnDevice: mode === "gpu",
    clipNorm,
  };
  const sizes = tier && mode === "cpu" && plan.rows > 0
    ? sizeShared(world, plan, { ...batches, precision: run.precision }, tier)
    : undefined;
  if (sizes === undefined) return await MpiRanks.open(world, run, report);
  await using opening = new AsyncDisposableStack();
  const { batchShape } = batches;
  const withRows = { ...run, fullRows: sizes.slots + batchShape.lookupCapacity };
  const ranks = opening.use(await MpiRanks.open(world, withRows, report));
  const owned = opening.use(new DisposableStack());
  const shard = { host: world.peers.rank, hosts: world.peers.size };
  const store = await togetherAsync(
    world,
    async () => world.node.rank === 0 ? await startStore(plan, sizes, tier!, shard, owned) : undefined,
  );
  if (store !== undefined) {
    report({ event: "note", text: `There are ${placeOfRows(plan, sizes, tier!, store, shard.hosts)}` });
  }
  const cache = { ...sizes, store };
  const { full, host } = ranks.memory;
  const memory = [{ host, shape: plan.shape, batchShape }, full, cache] as const;
  const tables = shard.hosts > 1 ? new CachedShard(...memory, shard) : new CachedTables(...memory);
  const group = new CachedRanks(ranks, cache, owned, { tables, world });
  opening.move();
  return group;
}

/**
 * Sizes of the cache that the processes of a host share, on the host with the fewest rows in memory; undefined if all rows
 * fit. The budget is that of each machine, whose processes may be several hosts because they share no memory.
 */
function sizeShared(
  world: MpiWorld,
  plan: ModelPlan,
  batches: PlacementBatches & { readonly precision: CpuPrecision },
  tier: Tier,
): CacheSizes | undefined {
  const { node, peers, machine } = world;
  const resident = node.gather(Deno.memoryUsage().rss).reduce((sum, rss) => sum + rss, 0);
  const sizes = { ...batches, ranks: world.size, hosts: peers.size, processes: node.size };
  const share = node.size / machine.size;
  const memory = tier.memory !== null && "bytes" in tier.memory ? { bytes: share * tier.memory.bytes } : tier.memory;
  const own = together(world, () => sizeCache(plan, sizes, { ...tier, memory }, resident, share * memoryRoom()));
  const least = (a: CacheSizes, b: CacheSizes) => b.slots < a.slots ? b : a;
  const some = world.gather(own ?? null).filter((sizes) => sizes !== null);
  return some.length === 0 ? undefined : some.reduce(least);
}

/** The device of the configuration, with several ranks the last one's; undefined for the CPU. */
async function findDevice(config: PlacementConfig, report: Report): Promise<DeviceBackend | undefined> {
  const { mode, device } = config;
  if (mode === "cpu" || device === "cpu") return undefined;
  if (device !== "auto") return await openLast({ ...config, device });
  const only = onlyOnDevice(config);
  try {
    return await openWanted(config, only);
  } catch (error) {
    if (needsDevice(mode) || only !== undefined || !(error instanceof HotsetError)) throw error;
    report({ event: "note", text: "No GPU found; training on the CPU (doctor says why)" });
    return undefined;
  }
}
