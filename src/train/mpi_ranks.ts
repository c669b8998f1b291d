/**
 * Ranks as processes that mpirun started. Every process runs the whole training loop over the same batches in the same
 * order and computes its rank's part; the processes of a host share the tables.
 */
import type { Buffer, PagedBackend } from "../backend/backend.ts";
import { stateWordsPerRow } from "../backend/backend.ts";
import { cpuOptions, openHost } from "../backend/open.ts";
import type { Cluster } from "../collective/cluster.ts";
import { Gathering, MpiCollective } from "../collective/mpi.ts";
import { HotsetError } from "../errors.ts";
import type { BatchShape } from "../layout/batch.ts";
import { SegmentSorter } from "../layout/segment_sorter.ts";
import type { ModelPlan } from "../model/shape.ts";
import { type Checkpoint, type CheckpointBody, saveCheckpoint } from "./checkpoint.ts";
import type { Report } from "./events.ts";
import { Command, Rank } from "./rank.ts";
import { RowExchange, rowsOnHost } from "./row_exchange.ts";
import { saveSharded } from "./sharded_checkpoint.ts";
import { ShardedTables } from "./sharded_tables.ts";
import { allocateOwn, allocateShared, RankGroup, type RunMemory } from "./rank_group.ts";

/** Steps between the exchanges of flags, which cost a round trip each. */
const STEPS_TO_AGREE = 16;

/** This process's rank; all others do the same at the same time. */
export class MpiRanks extends RankGroup {
  readonly ranks: number;
  readonly #cluster: Cluster;
  readonly #rank: Rank;
  readonly #losses: Gathering;
  readonly #scores: Gathering;
  /** Finds the distinct rows of batches that are scored: what hosts send each other. */
  readonly #sorter: SegmentSorter | undefined;
  #waiting: { readonly slot: number; readonly samples: number } | undefined;
  #agreements = 0;

  /** `fetched` hold rows of the shards of other hosts; none on one host. */
  private constructor(memory: RunMemory, cluster: Cluster, host: PagedBackend, fetched: readonly Buffer[]) {
    super(memory);
    const { ranks, hosts } = cluster;
    this.ranks = ranks;
    this.#cluster = cluster;
    const { plan, batchShape, full, hot } = memory;
    // Two batches are under way at a time: one is computed, the rows of the next are fetched.
    const exchanges = fetched.map((rows) => new RowExchange(cluster, { ...memory, fetched: rows }));
    const sharded = hosts === 1 ? undefined : new ShardedTables(cluster, plan, host, full, hot, exchanges[0]);
    this.#sorter = sharded && new SegmentSorter(batchShape, plan.rows);
    this.#rank = new Rank(
      { ...memory, gradients: memory.gradients[cluster.local], exchanges: sharded && exchanges, sharded },
      new MpiCollective(host, cluster, memory.gradients),
    );
    const firstSample = (r: number) => Math.floor(memory.batchShape.batchSize * r / ranks);
    this.#losses = new Gathering(cluster, new Array(ranks).fill(1));
    this.#scores = new Gathering(cluster, Array.from({ length: ranks }, (_, r) => firstSample(r + 1) - firstSample(r)));
    cluster.expectsAnswers(true);
  }

  /** Allocates this rank's memory and that of its host. All ranks must call it. */
  static async open(
    joined: Cluster,
    plan: ModelPlan,
    batchShape: BatchShape,
    hotRows: number,
    report: Report,
  ): Promise<MpiRanks> {
    if (batchShape.batchSize < joined.ranks) {
      throw new HotsetError(`Cannot train with ${joined.ranks} ranks on batches of ${batchShape.batchSize} samples`);
    }
    const host = await openHost(await cpuOptions("auto"));
    const { dim, optimizer } = plan.shape;
    const tableBytes = 4 * Math.ceil(plan.rows / joined.hosts) * Math.max(dim, stateWordsPerRow(optimizer, dim));
    const cluster = joined.locals > 1 && tableBytes > host.largestTable
      ? joined.apart(`tables of more than ${host.largestTable / 2 ** 30} GiB cannot be shared`)
      : joined;
    const { ranks, hosts, locals } = cluster;
    const fullRows = rowsOnHost(plan.rows, cluster.host, hosts);
    const options = { plan, batchShape, hotRows, fullRows, device: host, host, tables: host };
    let shared: ReturnType<typeof allocateShared> | undefined;
    const fetched: Buffer[] = [];
    const pages = host.pagesOf(() => {
      shared = allocateShared({ ...options, ranks: locals });
      const batches = hosts === 1 ? 0 : 2;
      for (let i = 0; i < batches; i++) {
        fetched.push(host.allocate(batchShape.lookupCapacity * dim, "rows of other hosts"));
      }
    });
    if (locals > 1 && !cluster.shareMemory(pages)) {
      throw new HotsetError(
        `Cannot share ${pages.length} bytes between the ranks of a host: they do not fit in memory`,
      );
    }
    const memory = { ...shared!, ...allocateOwn({ ...options, ranks }) };
    const group = new MpiRanks(memory, cluster, host, fetched);
    report({
      event: "note",
      text: `Training on ${host.name} with ${ranks} ranks on ${hosts} host${
        hosts === 1 ? "" : "s"
      } (${cluster.library})`,
    });
    if (cluster.apartBecause !== undefined) {
      report({ event: "note", text: `Ranks share no memory: ${cluster.apartBecause}` });
    }
    return group;
  }

  override agree(flag: boolean): boolean {
    return ++this.#agreements % STEPS_TO_AGREE === 0 && this.#cluster.anyone(flag);
  }

  /** A training step waits for the next command, so that what it needs from other hosts is on its way before. */
  post(command: Command, a: number, b: number): void {
    if (command === Command.train) {
      this.#rank.prefetch(a, this.#waiting?.slot);
      this.#trainWaiting();
      this.#waiting = { slot: a, samples: b };
      return;
    }
    this.#trainWaiting();
    if (command === Command.score) this.#sorter?.write(this.batches[a]);
    this.#rank.execute(command, a, b);
    const { host, losses, scores } = this.memory;
    if (command === Command.takeLoss) this.#losses.gather(host.floats(losses));
    if (command === Command.score) this.#scores.gather(host.floats(scores[a]));
  }

  #trainWaiting(): void {
    if (this.#waiting === undefined) return;
    const { slot, samples } = this.#waiting;
    this.#waiting = undefined;
    this.#rank.execute(Command.train, slot, samples);
  }

  drain(): void {
    this.#trainWaiting();
    this.#cluster.barrier();
  }

  protected waitForSlot(): void {}

  override save(directory: string, body: CheckpointBody): void {
    this.#trainWaiting();
    if (this.#cluster.hosts > 1) saveSharded(this.#cluster, directory, this.memory, body);
    else if (this.#cluster.first) saveCheckpoint(directory, this.memory, body);
    this.drain();
  }

  override load(checkpoint: Checkpoint): void {
    if (this.#cluster.local === 0) checkpoint.load(this.memory, this.memory.plan.shape, this.#cluster);
    this.drain();
  }

  // deno-lint-ignore require-await
  async [Symbol.asyncDispose](): Promise<void> {
    this.#cluster.expectsAnswers(false);
    this.memory.device[Symbol.dispose]();
  }
}
