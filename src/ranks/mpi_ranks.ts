/**
 * Ranks as processes that mpirun started. Every process runs the whole training loop over the same batches in the same
 * order and computes its rank's part; the processes of a host share the tables.
 */
import type { ArtifactWriter } from "../storage/artifact_writer.ts";
import type { Backend, Buffer, DeviceBackend, PagedBackend } from "../backend/backend.ts";
import { COMMUNICATOR_ID_BYTES } from "../backend/backend.ts";
import { rowStateWords } from "../optimizer/optimizers.ts";
import { type Blas, cpuOptions, type CpuPrecision, type DeviceOptions, openDevice, openHost } from "../backend/open.ts";
import type { Cluster } from "../collective/cluster.ts";
import { type Collective, samplesOfRank } from "../collective/collective.ts";
import { Gathering, MpiCollective } from "../collective/mpi.ts";
import { NcclCollective } from "../collective/nccl.ts";
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
import { RowExchange, rowsOnHost } from "../embedding/row_exchange.ts";
import { writeSharded } from "../checkpoint/sharded_checkpoint.ts";

/** Steps between the exchanges of flags, which cost a round trip each. */
const STEPS_TO_AGREE = 16;

/** What all processes know of a run. */
export interface ClusterRun extends Pick<RunMemoryOptions, "plan" | "batchShape" | "hotRows" | "mostDistinct"> {
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
  readonly #cluster: Cluster;
  readonly #rank: Rank;
  readonly #losses: Gathering;
  readonly #scores: Gathering;
  readonly #counts: Gathering;
  readonly #activeUnits: Gathering;
  /** Finds the distinct rows of batches that are scored: what hosts send each other. */
  readonly #sorter: SegmentSorter | undefined;
  #waiting: { readonly slot: number; readonly samples: number } | undefined;
  #agreements = 0;

  private constructor(setup: RankSetup, memory: RunMemory, cluster: Cluster, collective: Collective) {
    super(memory);
    const { ranks } = cluster;
    this.ranks = ranks;
    this.device = memory.device.name;
    this.#cluster = cluster;
    this.#rank = new Rank(setup, collective);
    this.#sorter = setup.hosts && new SegmentSorter(setup.batchShape);
    const { batchSize } = memory.batchShape;
    const each = (words: (r: number) => number) =>
      new Gathering(cluster, Array.from({ length: ranks }, (_, r) => words(r)));
    this.#losses = each(() => 1);
    this.#scores = each((r) => samplesOfRank(batchSize, r, ranks).count);
    this.#counts = each(() => 2 * Count.doubles);
    this.#activeUnits = each(() => hiddenUnits(memory.plan));
    cluster.expectsAnswers(true);
  }

  /** Allocates this rank's memory and that of its host. All ranks must call it. */
  static async open(joined: Cluster, run: ClusterRun, report: Report): Promise<MpiRanks> {
    const { plan, batchShape, blas, precision, devices } = run;
    if (batchShape.batchSize < joined.ranks) {
      throw new HotsetError(`Cannot train with ${joined.ranks} ranks on batches of ${batchShape.batchSize} samples`);
    }
    const host = await openHost(await (devices === undefined ? cpuOptions(blas, precision) : cpuOptions("wasm")));
    const { dim, optimizer } = plan.shape;
    const tableBytes = 4 * Math.ceil(plan.rows / joined.hosts) * Math.max(dim, rowStateWords(optimizer, dim));
    const cluster = joined.locals > 1 && tableBytes > host.largestTable
      ? joined.apart(`tables of more than ${host.largestTable / 2 ** 30} GiB cannot be shared`)
      : joined;
    const { ranks, hosts } = cluster;
    const group = devices === undefined
      ? MpiRanks.#onHost(cluster, run, host)
      : MpiRanks.#onDevice(cluster, run, host, await openDevice({ ...devices, ordinal: cluster.machine.local }));
    report({
      event: "note",
      text: `Training on ${group.device} with ${ranks} ranks on ${hosts} host${
        hosts === 1 ? "" : "s"
      } (${cluster.library})`,
    });
    if (cluster.apartBecause !== undefined) {
      report({ event: "note", text: `Ranks share no memory: ${cluster.apartBecause}` });
    }
    return group;
  }

  static #onHost(cluster: Cluster, run: ClusterRun, host: PagedBackend): MpiRanks {
    const { ranks, hosts, local, locals } = cluster;
    const options = withShard({ ...run, ranks, device: host, host, tables: host }, cluster);
    const { fetched, ...shared } = sharePages(cluster, host, () => ({
      full: allocateTables(options),
      ...allocateOnDevice(options, locals),
      fetched: hosts === 1 ? [] : roomForRows(options),
    }));
    const memory = { ...shared, ...allocateSlots(options), hostGradients: undefined, mirror: undefined };
    const setup = { ...memory, ...connectShards(cluster, memory, fetched), gradients: memory.gradients[local] };
    return new MpiRanks(setup, memory, cluster, new MpiCollective(host, cluster, memory.gradients));
  }

  /** The first rank's id of the communicator reaches the others over MPI; from then on NCCL connects the devices. */
  static #onDevice(cluster: Cluster, run: ClusterRun, host: PagedBackend, device: DeviceBackend): MpiRanks {
    const { rank, ranks, hosts, local, locals } = cluster;
    const { tablesOnDevices } = run;
    const isSharded = hosts > 1 && !tablesOnDevices;
    const options = { ...run, ranks, device, host, tables: tablesOnDevices ? device : host };
    const shared = sharePages(cluster, host, () => ({
      full: tablesOnDevices ? undefined : allocateTables(isSharded ? withShard(options, cluster) : options),
      hostGradients: allocateHostGradients(options),
      fetched: isSharded ? roomForRows(options) : [],
    }));
    const { hostGradients } = shared;
    const full = shared.full ?? allocateTables(options);
    const id = cluster.first ? device.communicatorId() : new Uint8Array(COMMUNICATOR_ID_BYTES);
    cluster.broadcast(id);
    const communicator = device.connect(id, rank, ranks);
    const own = allocateOnDevice(options, 1);
    const memory = { ...own, ...allocateSlots(options), full, hostGradients, mirror: undefined };
    const wait = () => cluster.hostBarrier();
    const collective = new NcclCollective(device, communicator, { writer: local, writers: locals, wait });
    const remote = connectShards(cluster, { ...memory, pooledGradients: hostGradients }, shared.fetched);
    return new MpiRanks({ ...memory, ...remote, gradients: memory.gradients[0] }, memory, cluster, collective);
  }

  override agree(flags: number): number {
    if (++this.#agreements % STEPS_TO_AGREE !== 0) return 0;
    this.memory.device.synchronize();
    return this.#cluster.anyBits(flags);
  }

  override get tablesAreOurs(): boolean {
    return false; // other processes change them
  }

  /** A training step waits for the next command, so that what it needs from other hosts is on its way before. */
  post(command: Command, a: number, b: number): void {
    if (command === Command.train) {
      this.#rank.prefetch(a);
      this.#trainWaiting();
      this.#waiting = { slot: a, samples: b };
      return;
    }
    this.#trainWaiting();
    if (command === Command.score) this.#sorter?.write(this.batches[a]);
    this.#rank.execute(command, a, b);
    const { losses, scores, counts } = this.memory;
    if (command === Command.takeLoss) this.#gather(this.#losses, losses);
    if (command === Command.score) this.#gather(this.#scores, scores[a]);
    if (command === Command.count) this.#gather(this.#counts, counts);
  }

  override takeActiveUnits(): boolean[] {
    this.#trainWaiting();
    this.#gather(this.#activeUnits, this.memory.activeUnits);
    return super.takeActiveUnits();
  }

  /** A rank that waits for others must not hold up their devices: its own is done first. */
  #gather(gathering: Gathering, vector: Buffer): void {
    this.memory.device.synchronize();
    gathering.gather(this.memory.host.floats(vector));
  }

  #trainWaiting(): void {
    if (this.#waiting === undefined) return;
    const { slot, samples } = this.#waiting;
    this.#waiting = undefined;
    this.#rank.execute(Command.train, slot, samples);
  }

  drain(): void {
    this.#trainWaiting();
    this.memory.device.synchronize();
    this.#cluster.barrier();
  }

  protected waitForSlot(): void {}

  /** True if each host has a part of the tables. */
  get #isSharded(): boolean {
    return this.#sorter !== undefined;
  }

  override save(places: CheckpointPlaces, body: CheckpointBody): void {
    const { memory } = this;
    const cluster = this.#cluster;
    const write = this.#isSharded
      ? (writer: ArtifactWriter | undefined, names: WordNames) => writeSharded(cluster, memory, names, writer)
      : (writer: ArtifactWriter | undefined, names: WordNames) => void (writer && writeModel(writer, memory, names));
    if (cluster.first) storeCheckpoint(places, body, write);
    else write(undefined, { plan: memory.plan, tables: places.tables });
    this.drain();
  }

  override load(checkpoint: Checkpoint, onProgress?: (fraction: number) => void): void {
    const { memory } = this;
    const onHost = (memory.host as Backend) === memory.device;
    // What lies on a device every rank loads; what a host's ranks share could be loaded by any of them.
    if (!onHost || this.#cluster.local === 0) {
      checkpoint.load(memory, memory.plan.shape, { shard: this.#isSharded ? this.#cluster : undefined, onProgress });
    }
    this.drain();
  }

  // deno-lint-ignore require-await
  async [Symbol.asyncDispose](): Promise<void> {
    this.#cluster.expectsAnswers(false);
    this.memory.device[Symbol.dispose]();
  }
}

/** The tables of one host of several: its rows alone. */
function withShard(options: RunMemoryOptions, { host, hosts }: Cluster): RunMemoryOptions {
  return { ...options, fullRows: rowsOnHost(options.plan.rows, host, hosts) };
}

/** Two batches are under way at a time: one is computed, the rows of the next are fetched. */
function roomForRows({ plan, batchShape, host }: RunMemoryOptions): Buffer[] {
  const room = () => host.allocate(batchShape.lookupCapacity * plan.shape.dim, "rows of other hosts");
  return [room(), room()];
}

/** How ranks reach the rows of other hosts, for which they have `fetched`; nothing on one host. */
function connectShards(
  cluster: Cluster,
  { plan, batchShape, host, pooledGradients }: Pick<RankSetup, "plan" | "batchShape" | "host" | "pooledGradients">,
  fetched: readonly Buffer[],
): Pick<RankSetup, "hosts" | "poll"> {
  if (fetched.length === 0) return {};
  const { shape } = plan;
  const exchanges = fetched.map((rows) =>
    new RowExchange(cluster, { shape, batchShape, host, pooledGradients, fetched: rows })
  );
  return { hosts: { cluster, exchanges }, poll: () => exchanges[0].peers.poll() };
}

/** Runs `allocate` in memory that the processes of this host share. */
function sharePages<T>(cluster: Cluster, host: PagedBackend, allocate: () => T): T {
  let shared: T | undefined;
  const pages = host.pagesOf(() => shared = allocate());
  if (cluster.locals > 1 && !cluster.shareMemory(pages)) {
    throw new HotsetError(
      `Cannot share ${pages.length} bytes between the ranks of a host: they do not fit in memory`,
    );
  }
  return shared!;
}
