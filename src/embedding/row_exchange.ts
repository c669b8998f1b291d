/**
 * Embedding rows over several hosts. The full tables are sharded: global row r is on host r % hosts as row
 * floor(r / hosts). Every host has the batch and therefore knows which rows each host's samples look up, so only rows and
 * gradients are sent, no ids:
 * - cold batches: each host receives the rows that its samples look up, and sends back the sums of their gradients. Rows
 *   that the previous step does not change are sent while that step is computed, the others after it;
 * - hot batches: either all hosts receive all gradients of pooled rows, or the gradients of each row are summed on one
 *   host, which sends the sum to all. The variant with fewer bytes is used.
 *
 * The ranks of a host divide the work in lanes: the s-th distinct row of a batch belongs to lane s % locals, and each lane
 * communicates with the same lane of the other hosts. Sums are in the order of hosts, so results do not depend on timing.
 */
import { type Buffer, Header, HEADER_WORDS, type RowUpdateShape } from "../backend/backend.ts";
import { OPTIMIZER_WORDS } from "../batch_header.ts";
import { DONE } from "../parallel/host_group.ts";
import { consecutive, type ProcessGroups, type RankParts, setParts, type Work } from "../parallel/process_group.ts";
import { samplesOfRank } from "../parallel/shares.ts";
import { type Batch, type BatchShape, SEGMENTS_END } from "../layout/batch.ts";
import { EARLY, ExchangePlan, LATE, type Phase, startPlaces } from "./exchange_plan.ts";
import type { RowMatrix, TableContext } from "./tables.ts";

/** Words of lists by lookup, here and in the plan, and of lists of weights. */
const LIST_WORDS = 12, WEIGHT_WORDS = 2;

/** Buffers of an exchange. `fetched` (lookupCapacity, dim) and `pooledGradients` are shared by a host's ranks. */
export interface RowExchangeMemory extends Pick<TableContext, "shape" | "batchShape" | "host" | "pooledGradients"> {
  readonly fetched: Buffer;
  /** True if some rows of the shard are on disk, and a `CachedShard` sets the positions of the others. */
  readonly located: boolean;
}

/** Batches in flight, each with an exchange: the rows of the next one are fetched while one is computed. */
export const FETCHED_BATCHES = 2;

/** Words of the exchanges of a host whose ranks are in `processes` processes. */
export function exchangeWords(
  dim: number,
  { lookupCapacity, weightedLookups }: Pick<BatchShape, "lookupCapacity" | "weightedLookups">,
  processes: number,
): number {
  const lists = LIST_WORDS + (weightedLookups ? WEIGHT_WORDS : 0);
  return FETCHED_BATCHES * lookupCapacity * (dim + processes * (2 * dim + lists));
}

/** One rank's part of the exchange of rows between hosts. */
export class RowExchange {
  /** Rows of staging memory: the capacity of `outgoing` and `incoming`. */
  readonly capacity: number;
  readonly outgoing: Buffer;
  readonly incoming: Buffer;
  /** The fetched rows, (rows, dim). */
  readonly fetched: Buffer;
  /** Index of each lookup of this rank's samples among the fetched rows, in the order of a batch's indices. */
  readonly indices: Words;
  /** The weights of these lookups; undefined if all are 1. */
  readonly lookupWeights: Words | undefined;
  readonly #groups: ProcessGroups;
  readonly #plan: ExchangePlan;
  /** Words of rows sent and received, in blocking exchanges. */
  readonly #sent: RankParts;
  readonly #received: RankParts;
  /** The same for early and late rows, which are in flight while a step computes. */
  readonly #fetches: readonly [Fetch, Fetch];
  readonly #memory: RowExchangeMemory;
  readonly #dim: number;
  readonly #rowUpdate: RowUpdateShape;
  readonly #ownHostBags: { readonly first: number; readonly end: number };
  readonly #ownPooled: Float32Array;
  /** The gradients of pooled rows of this rank and its peers. */
  readonly #pooledParts: RankParts;

  /** Weights of the bags to sum; undefined if all are 1. */
  readonly #bagWeights: Words | undefined;
  /** The batch whose early rows are in flight, and the one whose rows have all arrived. */
  #begun: Batch | undefined;
  #complete: Batch | undefined;
  /** Rows to send, and the bags (or other vectors) to sum for each row whose gradients are sent. */
  readonly #rows: Words;
  readonly #bags: Words;
  readonly #offsets: Words;
  /** An update of this lane's rows: a batch's header, segments and the vectors to sum. */
  readonly #header: Words;
  readonly #segments: Words;
  readonly #vectors: Words;

  constructor(groups: ProcessGroups, memory: RowExchangeMemory) {
    const { shape, batchShape, host } = memory;
    const { batchSize, tables, weightedLookups, lookupCapacity } = batchShape;
    const ranks = groups.world.size;
    this.#plan = new ExchangePlan(groups, batchShape, memory.located);
    const { position: { hosts, host: ownHost, locals, local }, ownBags } = this.#plan;
    const { dim, optimizer } = shape;
    this.#groups = groups;
    this.#memory = memory;
    this.fetched = memory.fetched;
    this.#dim = dim;
    this.#rowUpdate = { optimizer, dim, rank: 0, ranks: 1 };
    this.capacity = lookupCapacity;
    const parts = () => consecutive(new Array(hosts).fill(0));
    this.#sent = parts();
    this.#received = parts();
    const fetch = (): Fetch => ({ sent: parts(), received: parts(), work: DONE });
    this.#fetches = [fetch(), fetch()];
    const firstSample = (rank: number) => samplesOfRank(batchSize, rank, ranks).first;
    const bagWords = tables * dim;
    const first = Int32Array.from({ length: hosts }, (_, h) => firstSample(h * locals + local) * bagWords);
    const end = first.map((_, h) => firstSample(h * locals + local + 1) * bagWords);
    this.#pooledParts = { firsts: first, counts: end.map((words, h) => words - first[h]) };
    this.#ownHostBags = {
      first: tables * firstSample(ownHost * locals),
      end: tables * firstSample((ownHost + 1) * locals),
    };
    this.#ownPooled = new Float32Array((ownBags.end - ownBags.first) * dim);
    const words = (count: number): Words => {
      const buffer = host.allocate(count, "lists of rows to exchange");
      return { buffer, list: host.integers(buffer) };
    };
    this.outgoing = host.allocate(lookupCapacity * dim, "rows to send");
    this.incoming = host.allocate(lookupCapacity * dim, "rows received");
    this.indices = words(lookupCapacity);
    this.lookupWeights = weightedLookups ? words(lookupCapacity) : undefined;
    this.#bagWeights = weightedLookups ? words(lookupCapacity) : undefined;
    this.#rows = words(lookupCapacity);
    this.#bags = words(lookupCapacity);
    this.#offsets = words(lookupCapacity + 1);
    this.#header = words(HEADER_WORDS);
    this.#segments = words(2 * (lookupCapacity + 1));
    this.#vectors = words(lookupCapacity);
  }

  /** Updates the rows of the shard that the batch looks up, from the gradients of all hosts. */
  updateShard(batch: Batch, shard: RowMatrix): void {
    this.#sendSums(batch);
    this.#listOwned(batch, (s) => this.#plan.placeOf(batch, s));
    this.#update(batch, shard);
  }

  /**
   * Updates this host's replica of rows that every host has. `update` does it from the gradients of the pooled rows of
   * all samples, if these are fewer bytes.
   */
  updateReplica(batch: Batch, replica: RowMatrix, update: () => void): void {
    if (this.#plan.sumsAreFewer(batch)) return this.#updateBySums(batch, replica);
    this.#gatherPooled();
    update();
  }

  /**
   * Begins to fetch the rows of a cold batch; the step over `changing`, if it is a cold batch, has not run yet and will
   * change its rows. `fetch` of the batch completes it.
   */
  begin(batch: Batch, full: RowMatrix, changing?: Batch): void {
    this.#plan.findTouches(batch);
    this.#plan.countRows(batch, changing);
    this.#plan.placeRows(batch, this.indices.list, this.lookupWeights?.list);
    this.#send(batch, full, EARLY, 0, this.#plan.laneStart());
    this.#begun = batch;
  }

  /** Waits until the rows of a cold batch have arrived. */
  fetch(batch: Batch, full: RowMatrix): void {
    if (this.#complete !== batch) this.complete(batch, full);
    this.#complete = undefined;
    this.#groups.node.barrier(); // wait until other lanes have fetched their rows too
  }

  /** Fetches all rows of the batch of the next step; no step will change them before. */
  complete(batch: Batch, full: RowMatrix): void {
    if (this.#begun !== batch) this.begin(batch, full);
    this.#begun = undefined;
    this.#complete = batch;
    const sent = sumOf(this.#plan.fetchedBy[EARLY]);
    const received = sumOf(this.#plan.fetchedFrom[EARLY]);
    this.#send(batch, full, LATE, sent, this.#plan.laneStart() + received);
    for (const { work } of this.#fetches) work.wait();
  }

  /**
   * Begins to send early or late rows, packed from row `sent` of the staging memory on, and to receive at `received`.
   */
  #send(batch: Batch, full: RowMatrix, phase: Phase, sent: number, received: number): void {
    const { host } = this.#memory;
    const dim = this.#dim;
    const count = this.#plan.listRowsToSend(batch, phase, this.#rows.list);
    const packed = host.view(this.outgoing, sent * dim, count * dim);
    host.packRows(count, dim, full.weights, this.#rows.buffer, packed);
    const target = host.floats(this.fetched).subarray(received * dim);
    const fetch = this.#fetches[phase];
    setParts(fetch.sent, this.#plan.fetchedBy[phase], dim);
    setParts(fetch.received, this.#plan.fetchedFrom[phase], dim);
    fetch.work = this.#groups.peers.allToAll(host.floats(packed), fetch.sent, target, fetch.received);
  }

  /** Sums this host's gradients of each row of the lane and sends the sums to the rows' owners. */
  #sendSums(batch: Batch): void {
    const { words, sections: { segments, segmentBags, segmentWeights } } = batch;
    const { host, pooledGradients } = this.#memory;
    const { first, end } = this.#ownHostBags;
    const weights = this.#bagWeights?.list;
    const rows = sumOf(this.#plan.fromHost);
    let bags = 0;
    for (let i = 0; i < rows; i++) {
      const s = this.#plan.neededSegments[i];
      this.#offsets.list[i] = bags;
      for (let k = words[segments + 2 * s + 1], last = words[segments + 2 * s + 3]; k < last; k++) {
        const bag = words[segmentBags + k];
        if (bag < first || bag >= end) continue;
        if (weights !== undefined) weights[bags] = words[segmentWeights + k];
        this.#bags.list[bags++] = bag;
      }
    }
    this.#offsets.list[rows] = bags;
    const lists = [this.#bags.buffer, this.#offsets.buffer] as const;
    host.pool(rows, this.#dim, pooledGradients, ...lists, this.outgoing, this.#bagWeights?.buffer);
    const [sums, received] = [host.floats(this.outgoing), host.floats(this.incoming)];
    setParts(this.#sent, this.#plan.fromHost, this.#dim);
    setParts(this.#received, this.#plan.toHost, this.#dim);
    this.#groups.peers.allToAll(sums, this.#sent, received, this.#received).wait();
  }

  /** Lists the rows of this lane that this host owns, with the sums received for each, as segments of an update. */
  #listOwned(batch: Batch, rowOf: (s: number) => number): void {
    const { hosts, host, locals, local } = this.#plan.position;
    startPlaces(this.#plan.toHost, this.#plan.toHostAt);
    let rows = 0;
    let vectors = 0;
    for (let s = local; s < batch.distinct; s += locals) {
      if (batch.row(s) % hosts !== host) continue;
      this.#segments.list[2 * rows] = rowOf(s);
      this.#segments.list[2 * rows + 1] = vectors;
      this.#offsets.list[rows++] = vectors;
      for (let t = this.#plan.firstTouch[s]; t < this.#plan.firstTouch[s + 1]; t++) {
        this.#vectors.list[vectors++] = this.#plan.toHostAt[this.#plan.touches[t]]++;
      }
    }
    this.#offsets.list[rows] = vectors;
    this.#closeSegments(rows, vectors);
  }

  #closeSegments(rows: number, vectors: number): void {
    this.#segments.list[2 * rows] = SEGMENTS_END;
    this.#segments.list[2 * rows + 1] = vectors;
    this.#header.list[Header.distinct] = rows;
    this.#header.list[Header.lookups] = vectors;
  }

  /** Updates the listed rows from the vectors in `incoming`. */
  #update(batch: Batch, { weights, state }: RowMatrix): void {
    const { host } = this.#memory;
    const words = this.#header.list;
    words[Header.learningRate] = batch.words[Header.learningRate];
    words[Header.rowL2] = batch.words[Header.rowL2];
    for (let i = Header.optimizer; i < Header.optimizer + OPTIMIZER_WORDS; i++) words[i] = batch.words[i];
    const { buffer: header } = this.#header;
    const { buffer: segments } = this.#segments;
    const { buffer: vectors } = this.#vectors;
    host.updateRows(this.#rowUpdate, header, segments, vectors, this.incoming, weights, state);
  }

  #updateBySums(batch: Batch, hot: RowMatrix): void {
    const { host } = this.#memory;
    const { hosts, locals, local } = this.#plan.position;
    const dim = this.#dim;
    this.#plan.countRows(batch, undefined);
    this.#plan.listNeeded(batch);
    this.#sendSums(batch);
    this.#listOwned(batch, (s) => batch.row(s));
    const owned = this.#plan.ofOwner[this.#plan.position.host];
    host.pool(owned, dim, this.incoming, this.#vectors.buffer, this.#offsets.buffer, this.outgoing);
    const sums = host.floats(this.outgoing).subarray(0, owned * dim);
    setParts(this.#received, this.#plan.ofOwner, dim);
    this.#groups.peers.allGather(sums, host.floats(this.incoming), this.#received);
    startPlaces(this.#plan.ofOwner, this.#plan.toHostAt);
    let rows = 0;
    for (let s = local; s < batch.distinct; s += locals, rows++) {
      const row = batch.row(s);
      this.#segments.list[2 * rows] = row;
      this.#segments.list[2 * rows + 1] = rows;
      this.#vectors.list[rows] = this.#plan.toHostAt[row % hosts]++;
    }
    this.#closeSegments(rows, rows);
    this.#update(batch, hot);
  }

  /** Gathers the gradients of pooled rows of all samples on this host; each lane gathers those of its ranks. */
  #gatherPooled(): void {
    const { host, pooledGradients } = this.#memory;
    const all = host.floats(pooledGradients);
    this.#ownPooled.set(all.subarray(this.#plan.ownBags.first * this.#dim, this.#plan.ownBags.end * this.#dim));
    this.#groups.peers.allGather(this.#ownPooled, all, this.#pooledParts);
    this.#groups.node.barrier();
  }
}

/** Rows in flight. */
interface Fetch {
  readonly sent: RankParts;
  readonly received: RankParts;
  work: Work;
}

/** Words in a buffer of the backend, and as an array. */
interface Words {
  readonly buffer: Buffer;
  readonly list: Uint32Array;
}

function sumOf(counts: Int32Array): number {
  let sum = 0;
  for (let i = 0; i < counts.length; i++) sum += counts[i];
  return sum;
}
