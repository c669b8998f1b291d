/**
 * Ranks as processes that mpirun started. Every process runs the whole training loop over the same batches in the same
 * order and computes its rank's part; the processes of a host share the tables.
 */
import type { ArtifactWriter } from "../storage/artifact_writer.ts";
import type { Backend, Buffer, DeviceBackend, PagedBackend } from "../backend/backend.ts";
import { rowStateWords } from "../optimizer/optimizers.ts";
import { type Blas, cpuOptions, type CpuPrecision, type DeviceOptions, openDevice, openHost } from "../backend/open.ts";
import type { MpiWorld } from "../parallel/mpi_world.ts";
import { NcclGroup } from "../parallel/nccl.ts";
import { shareMemory } from "../parallel/node_memory.ts";
import { consecutive, gatherParts, type Parts, type ProcessGroups } from "../parallel/process_group.ts";
import { samplesOfRank } from "../parallel/shares.ts";
import { HotsetError } from "../errors.ts";
import { hiddenUnits } from "../model/shape.ts";
import { SegmentSorter } from "../layout/segment_sorter.ts";
import { type Checkpoint, type CheckpointBody, writeModel } from "../checkpoint/checkpoint.ts";
import { type CheckpointPlaces, storeCheckpoint } from "../checkpoint/checkpoint_store.ts";
import type { WordNames } from "../checkpoint/weights.ts";
import type { Report } from "../events/events.ts";
import { Command, Count, Rank, type RankSetup } from "./rank.ts";
import {
  allocateHostGradients,
  allocateOnDevice,
  allocateSlots,
  allocateTables,
  RankGroup,
  type RunMemory,
  type RunMemoryOptions,
} from "./rank_group.ts";
import { rowsOnHost } from "../embedding/exchange_plan.ts";
import { RowExchange } from "../embedding/row_exchange.ts";
import { writeSharded } from "../checkpoint/sharded_checkpoint.ts";

/** Steps between the exchanges of flags, which cost a round trip each. */
const STEPS_TO_AGREE = 16;

/** What all processes know of a run. */
export interface WorldRun extends Pick<RunMemoryOptions, "plan" | "batchShape" | "hotRows" | "mostDistinct"> {
  /** What multiplies matrices on the host. */
  readonly blas: Blas;
  /** Precision of what is multiplied on the host. */
  readonly precision: CpuPrecision;
  /** A device for each rank, or undefined to compute on the host. */
  readonly devices: Omit<DeviceOptions, "ordinal"> | undefined;
  /** True if the full tables are on the devices as well. */
  readonly tablesOnDevices: boolean;
}

/** This process's rank; all others do the same at the same time. */
export class MpiRanks extends RankGroup {
  readonly ranks: number;
  readonly device: string;
  readonly #world: MpiWorld;
  readonly #groups: ProcessGroups;
  readonly #rank: Rank;
  /** The parts of all ranks in what each fills in. */
  readonly #losses: Parts;
  readonly #scores: Parts;
  readonly #counts: Parts;
  readonly #activeUnits: Parts;
  /** Finds the distinct rows of batches that are scored: what hosts send each other. */
  readonly #sorter: SegmentSorter | undefined;
  #agreements = 0;

  private constructor(memory: RunMemory, world: MpiWorld, groups: ProcessGroups<Buffer>) {
    super(memory, memory.hosts === undefined ? 0 : 1); // rows of other hosts travel while the step before computes
    const { size } = world;
    this.ranks = size;
    this.device = memory.device.name;
    this.#world = world;
    this.#groups = world.groups;
    this.#rank = new Rank(memory, groups);
    this.#sorter = memory.hosts && new SegmentSorter(memory.batchShape);
    const { batchSize } = memory.batchShape;
    const each = (words: (r: number) => number) => consecutive(Array.from({ length: size }, (_, r) => words(r)));
    this.#losses = each(() => 1);
    this.#scores = each((r) => samplesOfRank(batchSize, r, size).count);
    this.#counts = each(() => 2 * Count.doubles);
    this.#activeUnits = each(() => hiddenUnits(memory.plan));
    world.expectsAnswers(true);
  }

  /** Allocates this rank's memory and that of its node. All ranks must call it. */
  static async open(joined: MpiWorld, run: WorldRun, report: Report): Promise<MpiRanks> {
    const { plan, batchShape, blas, precision, devices } = run;
    if (batchShape.batchSize < joined.size) {
      throw new HotsetError(`Cannot train with ${joined.size} ranks on batches of ${batchShape.batchSize} samples`);
    }
    const host = await openHost(await (devices === undefined ? cpuOptions(blas, precision) : cpuOptions("wasm")));
    const { dim, optimizer } = plan.shape;
    const tableBytes = 4 * Math.ceil(plan.rows / joined.peers.size) * Math.max(dim, rowStateWords(optimizer, dim));
    const world = joined.node.size > 1 && tableBytes > host.largestTable
      ? joined.apart(`tables of more than ${host.largestTable / 2 ** 30} GiB cannot be shared`)
      : joined;
    const ranks = devices === undefined
      ? MpiRanks.#onHost(world, run, host)
      : MpiRanks.#onDevice(world, run, host, await openDevice({ ...devices, ordinal: world.localRank }));
    const hosts = world.peers.size;
    report({
      event: "note",
      text: `Training on ${ranks.device} with ${world.size} ranks on ${hosts} host${
        hosts === 1 ? "" : "s"
      } (${world.library})`,
    });
    if (world.apartBecause !== undefined) {
      report({ event: "note", text: `Ranks share no memory: ${world.apartBecause}` });
    }
    return ranks;
  }

  static #onHost(world: MpiWorld, run: WorldRun, host: PagedBackend): MpiRanks {
    const { groups, node, peers } = world;
    const options = withShard({ ...run, ranks: world.size, device: host, host, tables: host }, groups);
    const { fetched, ...shared } = sharePages(groups, host, () => ({
      full: allocateTables(options),
      ...allocateOnDevice(options, node.size),
      fetched: peers.size === 1 ? [] : roomForRows(options),
    }));
    const memory = { ...shared, ...allocateSlots(options), hostGradients: undefined, mirror: undefined };
    return new MpiRanks({ ...memory, ...connectShards(world, memory, fetched) }, world, groups);
  }

  /** NCCL connects the devices. */
  static #onDevice(world: MpiWorld, run: WorldRun, host: PagedBackend, device: DeviceBackend): MpiRanks {
    const { groups, peers } = world;
    const { tablesOnDevices } = run;
    const isSharded = peers.size > 1 && !tablesOnDevices;
    const options = { ...run, ranks: world.size, device, host, tables: tablesOnDevices ? device : host };
    const shared = sharePages(groups, host, () => ({
      full: tablesOnDevices ? undefined : allocateTables(isSharded ? withShard(options, groups) : options),
      hostGradients: allocateHostGradients(options),
      fetched: isSharded ? roomForRows(options) : [],
    }));
    const { hostGradients } = shared;
    const full = shared.full ?? allocateTables(options);
    const devices = NcclGroup.connect(world, device);
    const own = allocateOnDevice(options, 1);
    const memory = { ...own, ...allocateSlots(options), full, hostGradients, mirror: undefined };
    const remote = connectShards(world, { ...memory, pooledGradients: hostGradients }, shared.fetched);
    return new MpiRanks({ ...memory, ...remote }, world, { ...groups, devices });
  }

  override agree(flags: number): number {
    if (++this.#agreements % STEPS_TO_AGREE !== 0) return 0;
    this.memory.device.synchronize();
    return this.#world.gather(flags).reduce((any, own) => any | own);
  }

  override get tablesAreOurs(): boolean {
    return false; // other processes change them
  }

  protected send(command: Command, a: number, b: number): void {
    if (command === Command.score) this.#sorter?.write(this.batches[a]);
    this.#rank.execute(command, a, b);
    const { losses, scores, counts } = this.memory;
    if (command === Command.takeLoss) this.#gather(losses, this.#losses);
    if (command === Command.score) this.#gather(scores[a], this.#scores);
    if (command === Command.count) this.#gather(counts, this.#counts);
  }

  override takeActiveUnits(): boolean[] {
    this.release();
    this.#gather(this.memory.activeUnits, this.#activeUnits);
    return super.takeActiveUnits();
  }

  /** A rank that waits for others must not hold up their devices: its own is done first. */
  #gather(vector: Buffer, parts: Parts): void {
    this.memory.device.synchronize();
    gatherParts(this.#world, this.memory.host.floats(vector), parts);
  }

  protected settle(): void {
    this.memory.device.synchronize();
    this.#world.barrier();
  }

  protected waitForSlot(): void {}

  /** True if each host has a part of the tables. */
  get #isSharded(): boolean {
    return this.#sorter !== undefined;
  }

  override save(places: CheckpointPlaces, body: CheckpointBody): void {
    const { memory } = this;
    const write = this.#isSharded
      ? (writer: ArtifactWriter | undefined, names: WordNames) => writeSharded(this.#groups, memory, names, writer)
      : (writer: ArtifactWriter | undefined, names: WordNames) => void (writer && writeModel(writer, memory, names));
    if (this.#world.rank === 0) storeCheckpoint(places, body, write);
    else write(undefined, { plan: memory.plan, tables: places.tables });
    this.drain();
  }

  override load(checkpoint: Checkpoint, onProgress?: (fraction: number) => void): void {
    const { memory } = this;
    const onHost = (memory.host as Backend) === memory.device;
    const { rank: host, size: hosts } = this.#groups.peers;
    const shard = this.#isSharded ? { host, hosts } : undefined;
    // What lies on a device every rank loads; what a host's ranks share could be loaded by any of them.
    if (!onHost || this.#world.node.rank === 0) {
      checkpoint.load(memory, memory.plan.shape, { shard, onProgress });
    }
    this.drain();
    this.tables.invalidate();
  }

  // deno-lint-ignore require-await
  async [Symbol.asyncDispose](): Promise<void> {
    this.#world.expectsAnswers(false);
    this.memory.device[Symbol.dispose]();
  }
}

/** The tables of one host of several: its rows alone. */
function withShard(options: RunMemoryOptions, { peers }: ProcessGroups): RunMemoryOptions {
  return { ...options, fullRows: rowsOnHost(options.plan.rows, peers.rank, peers.size) };
}

/** Two batches are under way at a time: one is computed, the rows of the next are fetched. */
function roomForRows({ plan, batchShape, host }: RunMemoryOptions): Buffer[] {
  const room = () => host.allocate(batchShape.lookupCapacity * plan.shape.dim, "rows of other hosts");
  return [room(), room()];
}

/** How ranks reach the rows of other hosts, for which they have `fetched`; nothing on one host. */
function connectShards(
  world: MpiWorld,
  { plan, batchShape, host, pooledGradients }: Pick<RankSetup, "plan" | "batchShape" | "host" | "pooledGradients">,
  fetched: readonly Buffer[],
): Pick<RankSetup, "hosts" | "poll"> {
  if (fetched.length === 0) return {};
  const { shape } = plan;
  const exchanges = fetched.map((rows) =>
    new RowExchange(world.groups, { shape, batchShape, host, pooledGradients, fetched: rows })
  );
  return { hosts: { exchanges }, poll: () => world.poll() };
}

/** Runs `allocate` in memory that the processes of this host share. */
function sharePages<T>(groups: ProcessGroups, host: PagedBackend, allocate: () => T): T {
  let shared: T | undefined;
  const pages = host.pagesOf(() => shared = allocate());
  if (groups.node.size > 1 && !shareMemory(groups, pages)) {
    throw new HotsetError(
      `Cannot share ${pages.length} bytes between the ranks of a host: they do not fit in memory`,
    );
  }
  return shared!;
}
