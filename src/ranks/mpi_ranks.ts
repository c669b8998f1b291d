/**
 * Ranks as processes started by mpirun. Every process runs the whole training loop over the same batches in the same
 * order and computes its rank's part; the processes of a host share the tables.
 */
import type { ArtifactWriter } from "../storage/artifact_writer.ts";
import type { Backend, Buffer, CpuPrecision, DeviceBackend, PagedBackend } from "../backend/backend.ts";
import { rowStateWords } from "../optimizer/optimizers.ts";
import { type Blas, cpuOptions, type DeviceOptions, openDevice, openHost } from "../backend/open.ts";
import type { MpiWorld } from "../parallel/mpi_world.ts";
import { NcclGroup } from "../parallel/nccl.ts";
import { shareMemory } from "../parallel/node_memory.ts";
import { consecutive, gatherParts, type ProcessGroups, type RankParts } from "../parallel/process_group.ts";
import { samplesOfRank } from "../parallel/shares.ts";
import { HotsetError, UsageError } from "../errors.ts";
import { hiddenUnits } from "../model/shape.ts";
import { SegmentSorter } from "../layout/segment_sorter.ts";
import { type Checkpoint, type CheckpointBody, checkpointBytes, writeModel } from "../checkpoint/checkpoint.ts";
import { type CheckpointPlaces, storeCheckpoint } from "../checkpoint/checkpoint_store.ts";
import type { WordNames } from "../checkpoint/weights.ts";
import type { Report } from "../events/events.ts";
import { Command, Rank } from "./rank.ts";
import { RankGroup } from "./rank_group.ts";
import { allocateTrainState, Count, type RankState, type TrainState, type TrainStateOptions } from "./train_state.ts";
import { FETCHED_BATCHES, RowExchange } from "../embedding/row_exchange.ts";
import { rowsOf } from "../embedding/shard.ts";
import { writeSharded } from "../checkpoint/sharded_checkpoint.ts";

/** Steps between exchanges of flags, which cost a round trip each. */
const STEPS_TO_AGREE = 16;

/** Options that are equal on all processes. */
export interface WorldRun extends
  Pick<
    TrainStateOptions,
    "plan" | "batchShape" | "hotRows" | "mostDistinct" | "clipNorm" | "fullRows" | "tablesOnDevice"
  > {
  /** Matrix products on the host. */
  readonly blas: Blas;
  /** Precision of matrix products on the host. */
  readonly precision: CpuPrecision;
  /** A device for each rank, or undefined to compute on the host. */
  readonly devices: Omit<DeviceOptions, "ordinal"> | undefined;
}

/** This process's rank; all others do the same at the same time. */
export class MpiRanks extends RankGroup {
  readonly #world: MpiWorld;
  readonly #groups: ProcessGroups;
  readonly #rank: Rank;
  /** The parts of all ranks in vectors that each fills in part. */
  readonly #losses: RankParts;
  readonly #scores: RankParts;
  readonly #counts: RankParts;
  readonly #activeUnits: RankParts;
  /** Finds the distinct rows of scored batches, which hosts exchange, unless `CachedShard` does. */
  readonly #sorter: SegmentSorter | undefined;
  #agreements = 0;

  private constructor(memory: TrainState, world: MpiWorld, groups: ProcessGroups<Buffer>, located: boolean) {
    const { size } = world;
    // Rows of other hosts arrive while the previous step computes.
    super(memory, size, memory.device.name, memory.exchanges === undefined ? 0 : 1);
    this.#world = world;
    this.#groups = world.groups;
    this.#rank = new Rank(memory, groups);
    this.#sorter = memory.exchanges && !located ? new SegmentSorter(memory.batchShape) : undefined;
    const { batchSize } = memory.batchShape;
    const each = (words: (r: number) => number) => consecutive(Array.from({ length: size }, (_, r) => words(r)));
    this.#losses = each(() => 1);
    this.#scores = each((r) => samplesOfRank(batchSize, r, size).count);
    this.#counts = each(() => 2 * Count.doubles);
    this.#activeUnits = each(() => hiddenUnits(memory.plan));
    world.expectsAnswers(true);
  }

  /** Allocates this rank's memory and that of its node. Collective. */
  static async open(joined: MpiWorld, run: WorldRun, report: Report): Promise<MpiRanks> {
    const { plan, batchShape, blas, precision, devices } = run;
    if (batchShape.batchSize < joined.size) {
      throw new HotsetError(`Cannot train with ${joined.size} ranks on batches of ${batchShape.batchSize} samples`);
    }
    const host = await openHost(await (devices === undefined ? cpuOptions(blas, precision) : cpuOptions("wasm")));
    const { dim, optimizer } = plan.shape;
    const rows = run.fullRows ?? Math.ceil(plan.rows / joined.peers.size);
    const tableBytes = 4 * rows * Math.max(dim, rowStateWords(optimizer, dim));
    const world = joined.node.size > 1 && tableBytes > host.largestTable
      ? joined.withoutSharedMemory(`tables of more than ${host.largestTable / 2 ** 30} GiB cannot be shared`)
      : joined;
    if (run.fullRows !== undefined && world !== joined) {
      throw new UsageError(
        `Cannot store rows on disk for ranks that share no memory: ${world.isolationReason}; choose a smaller --memory, or train ` +
          `without mpirun, with --ranks ${world.size}`,
      );
    }
    if ((run.clipNorm ?? null) !== null && world.peers.size > 1) {
      throw new UsageError(
        `Cannot clip gradients over ${world.peers.size} hosts: their norm is taken in memory that all ranks share; train ` +
          `on one host, or leave out --clip-norm`,
      );
    }
    const device = devices && await openDevice({ ...devices, ordinal: world.localRank });
    const ranks = MpiRanks.#allocate(world, run, host, device);
    const hosts = world.peers.size === 1 ? "1 host" : `${world.peers.size} hosts`;
    const text = `Training on ${ranks.device} with ${world.size} ranks on ${hosts} (${world.library})`;
    report({ event: "note", text });
    if (world.isolationReason !== undefined) {
      report({ event: "note", text: `Ranks share no memory: ${world.isolationReason}` });
    }
    return ranks;
  }

  /** Connects the devices with NCCL, if there are any. */
  static #allocate(world: MpiWorld, run: WorldRun, host: PagedBackend, device: DeviceBackend | undefined): MpiRanks {
    const { groups, node } = world;
    const devices = device && NcclGroup.connect(world, device);
    const tablesOnDevice = device !== undefined && run.tablesOnDevice === true;
    const share = sharingPages(groups, host);
    const memory = allocateTrainState({
      ...run,
      ...{ ranks: world.size, nodeRanks: node.size, device: device ?? host, host, tablesOnDevice, share },
      ...(tablesOnDevice ? {} : shardOf(run, groups)),
    });
    const located = run.fullRows !== undefined;
    const remote = connectShards(world, memory, memory.hostGradients ?? memory.pooledGradients, located);
    return new MpiRanks({ ...memory, ...remote }, world, { ...groups, devices }, located);
  }

  override agree(flags: number): number {
    if (++this.#agreements % STEPS_TO_AGREE !== 0) return 0;
    this.memory.device.synchronize();
    return this.#world.gather(flags).reduce((any, own) => any | own);
  }

  override get canReadTables(): boolean {
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

  /** A rank that waits for others must not delay their devices: it waits for its own device first. */
  #gather(vector: Buffer, parts: RankParts): void {
    this.memory.device.synchronize();
    gatherParts(this.#world, this.memory.host.floats(vector), parts);
  }

  protected settle(): void {
    this.memory.device.synchronize();
    this.#world.barrier();
  }

  /** True if the tables are sharded over hosts. */
  get #isSharded(): boolean {
    return this.memory.exchanges !== undefined;
  }

  override rowAt(position: number): number {
    const { rank: host, size: hosts } = this.#groups.peers;
    return this.#isSharded ? position * hosts + host : position;
  }

  override save(places: CheckpointPlaces, body: CheckpointBody): number {
    const { memory } = this;
    const write = this.#isSharded
      ? (writer: ArtifactWriter | undefined, names: WordNames) => writeSharded(this.#groups, memory, names, writer)
      : (writer: ArtifactWriter | undefined, names: WordNames) => void (writer && writeModel(writer, memory, names));
    if (this.#world.rank === 0) storeCheckpoint(places, body, write);
    else write(undefined, { plan: memory.plan, tables: places.tables });
    this.drain();
    return checkpointBytes(memory.plan);
  }

  override async load(checkpoint: Checkpoint, onProgress?: (fraction: number) => void): Promise<void> {
    const { memory } = this;
    const onHost = (memory.host as Backend) === memory.device;
    const { rank: host, size: hosts } = this.#groups.peers;
    const shard = this.#isSharded ? { host, hosts } : undefined;
    // Each rank loads the memory of its device. One rank of a host loads the memory that its ranks share.
    if (!onHost || this.#world.node.rank === 0) {
      await checkpoint.load(memory, memory.plan.shape, { shard, onProgress });
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

/** One host's shard of the tables. */
function shardOf({ plan, fullRows }: WorldRun, { peers }: ProcessGroups): Partial<TrainStateOptions> {
  return {
    fullRows: fullRows ?? rowsOf({ host: peers.rank, hosts: peers.size }, plan.rows),
    fetchedBatches: peers.size === 1 ? 0 : FETCHED_BATCHES,
  };
}

/** How ranks exchange rows with other hosts; undefined on one host. */
function connectShards(
  world: MpiWorld,
  { plan, batchShape, host, fetched }: TrainState,
  pooledGradients: Buffer,
  located: boolean,
): Pick<RankState, "exchanges" | "poll"> {
  if (fetched.length === 0) return {};
  const { shape } = plan;
  const exchanges = fetched.map((rows) =>
    new RowExchange(world.groups, { shape, batchShape, host, pooledGradients, fetched: rows, located })
  );
  return { exchanges, poll: () => world.poll() };
}

/** Runs allocations in memory that the processes of this host share. */
function sharingPages(groups: ProcessGroups, host: PagedBackend): <T>(allocate: () => T) => T {
  return (allocate) => {
    let shared: ReturnType<typeof allocate> | undefined;
    const pages = host.pagesOf(() => shared = allocate());
    if (groups.node.size > 1 && !shareMemory(groups, pages)) {
      throw new HotsetError(
        `Cannot share ${pages.length} bytes between the ranks of a host: they do not fit in memory`,
      );
    }
    return shared!;
  };
}
