/**
 * Embedding rows over several hosts. The full tables are sharded: global row r lies on host r % hosts as row
 * floor(r / hosts). Every host has the batch, so all know which rows each host's samples touch, and only numbers travel:
 * - cold batches: each host is sent the rows its samples touch, and sends back the sums of their gradients. Rows that the
 *   step before does not change are on their way while that step computes; the others follow it;
 * - hot batches: either all gradients of pooled rows go to all hosts, or sums for the rows touched go to one host a row
 *   and from there to all, whichever is fewer bytes.
 *
 * The ranks of a host split the work in lanes: the s-th distinct row of a batch belongs to lane s % locals, and each
 * lane talks to the same lane of the other hosts. Sums are taken in the order of hosts, so results do not depend on timing.
 */
import { type Buffer, Header, HEADER_WORDS, type HostBackend, type RowUpdateShape } from "../backend/backend.ts";
import { OPTIMIZER_WORDS } from "../header.ts";
import { DONE } from "../parallel/host_group.ts";
import { consecutive, type Parts, type ProcessGroups, setParts, type Work } from "../parallel/process_group.ts";
import { samplesOfRank } from "../parallel/shares.ts";
import { type Batch, type BatchShape, SEGMENTS_END } from "../layout/batch.ts";
import type { RowMatrix, TableShape } from "./tables.ts";

/** Rows of a sharded table that lie on one host. */
export function rowsOnHost(rows: number, host: number, hosts: number): number {
  return Math.ceil((rows - host) / hosts);
}

/** Rows that can be fetched before the step over the batch before, and those that only can after it. */
const EARLY = 0;
const LATE = 1;
type Phase = typeof EARLY | typeof LATE;

/** What an exchange works on. `fetched` (lookupCapacity, dim) and `pooledGradients` are shared by a host's ranks. */
export interface RowExchangeMemory {
  readonly shape: TableShape;
  readonly batchShape: BatchShape;
  readonly host: HostBackend;
  readonly pooledGradients: Buffer;
  readonly fetched: Buffer;
}

/** One rank's part in the exchange of rows between hosts. */
export class RowExchange {
  /** Rows of staging memory: what `outgoing` and `incoming` hold. */
  readonly capacity: number;
  readonly outgoing: Buffer;
  readonly incoming: Buffer;
  readonly #groups: ProcessGroups;
  readonly #place: { readonly hosts: number; readonly host: number; readonly locals: number; readonly local: number };
  /** Words of rows that are sent and received, in exchanges that are complete at once. */
  readonly #sent: Parts;
  readonly #received: Parts;
  /** The same for those of early and of late rows, which are under way while a step computes. */
  readonly #fetches: readonly [Fetch, Fetch];
  readonly #memory: RowExchangeMemory;
  readonly #dim: number;
  readonly #rowUpdate: RowUpdateShape;
  /** End of each host's bags, and this rank's own. */
  readonly #endBags: number[];
  readonly #ownBags: { readonly first: number; readonly end: number };
  readonly #ownHostBags: { readonly first: number; readonly end: number };
  readonly #ownPooled: Float32Array;
  /** The gradients of pooled rows of this rank and its peers. */
  readonly #pooledParts: Parts;

  /** Index of each lookup of this rank's samples among the fetched rows, in the places of a batch's indices. */
  readonly #indices: Words;
  /** Lookups placed so far in each bag. */
  readonly #filled: Uint32Array;
  /** Hosts that touch segment s: `#touches[#firstTouch[s] .. #firstTouch[s + 1]]`. */
  readonly #touches: Uint16Array;
  readonly #firstTouch: Uint32Array;
  /** 1 for segments whose row the step before changes. */
  readonly #late: Uint8Array;
  /** Rows this host needs: for each lane, early and late, and each owner their number, then the place of the next. */
  readonly #needed: Uint32Array;
  readonly #neededAt: Uint32Array;
  /** Segments of the rows that this lane needs, by owner: the order in which sums of gradients are sent. */
  readonly #neededSegments: Uint32Array;
  /** Rows of this lane that this host needs of each host, and that each host needs of this one: early, late. */
  readonly #fetchedFrom: readonly [Int32Array, Int32Array];
  readonly #fetchedBy: readonly [Int32Array, Int32Array];
  /** The same, early and late together; and all of each owner. */
  readonly #fromHost: Int32Array;
  readonly #toHost: Int32Array;
  readonly #ofOwner: Int32Array;
  /** The batch whose early rows are on their way, and the one whose rows are all here. */
  #begun: Batch | undefined;
  #complete: Batch | undefined;
  /** Place of the next row of each owner. */
  readonly #fromHostAt: Uint32Array;
  /** Place of the next row that goes to each host. */
  readonly #toHostAt: Uint32Array;
  /** Rows to send, and the bags (or other vectors) to add up for each row that gradients are sent for. */
  readonly #rows: Words;
  readonly #bags: Words;
  readonly #offsets: Words;
  /** An update of this lane's rows: a batch's header, segments and vectors to add up. */
  readonly #header: Words;
  readonly #segments: Words;
  readonly #vectors: Words;

  constructor(groups: ProcessGroups, memory: RowExchangeMemory) {
    const { shape, batchShape, host } = memory;
    const { batchSize, tables, lookupCapacity } = batchShape;
    const { world: { rank, size: ranks }, node, peers } = groups;
    const { hosts, host: ownHost, locals, local } = this.#place = {
      ...{ hosts: peers.size, host: peers.rank, locals: node.size, local: node.rank },
    };
    const { dim, optimizer } = shape;
    this.#groups = groups;
    this.#memory = memory;
    this.#dim = dim;
    this.#rowUpdate = { optimizer, dim, rank: 0, ranks: 1 };
    this.capacity = lookupCapacity;
    const parts = () => consecutive(new Array(hosts).fill(0));
    this.#sent = parts();
    this.#received = parts();
    this.#fetches = [{ sent: parts(), received: parts(), work: DONE }, {
      sent: parts(),
      received: parts(),
      work: DONE,
    }];
    const firstSample = (rank: number) => samplesOfRank(batchSize, rank, ranks).first;
    const bagWords = tables * dim;
    const first = Int32Array.from({ length: hosts }, (_, h) => firstSample(h * locals + local) * bagWords);
    const end = first.map((_, h) => firstSample(h * locals + local + 1) * bagWords);
    this.#pooledParts = { firsts: first, counts: end.map((words, h) => words - first[h]) };
    this.#endBags = Array.from({ length: hosts }, (_, h) => tables * firstSample((h + 1) * locals));
    const bagsOf = (first: number, end: number) => ({
      first: tables * firstSample(first),
      end: tables * firstSample(end),
    });
    this.#ownBags = bagsOf(rank, rank + 1);
    this.#ownHostBags = bagsOf(ownHost * locals, (ownHost + 1) * locals);
    this.#ownPooled = new Float32Array((this.#ownBags.end - this.#ownBags.first) * dim);
    const words = (count: number): Words => {
      const buffer = host.allocate(count, "lists of rows to exchange");
      const { buffer: block, byteOffset } = host.floats(buffer);
      return { buffer, list: new Uint32Array(block, byteOffset, count) };
    };
    this.outgoing = host.allocate(lookupCapacity * dim, "rows to send");
    this.incoming = host.allocate(lookupCapacity * dim, "rows received");
    this.#indices = words(lookupCapacity);
    this.#filled = new Uint32Array(batchSize * tables);
    this.#touches = new Uint16Array(lookupCapacity);
    this.#firstTouch = new Uint32Array(lookupCapacity + 1);
    this.#late = new Uint8Array(lookupCapacity);
    this.#needed = new Uint32Array(locals * 2 * hosts);
    this.#neededAt = new Uint32Array(locals * 2 * hosts);
    this.#neededSegments = new Uint32Array(lookupCapacity);
    this.#fetchedFrom = [new Int32Array(hosts), new Int32Array(hosts)];
    this.#fetchedBy = [new Int32Array(hosts), new Int32Array(hosts)];
    this.#fromHostAt = new Uint32Array(hosts);
    this.#fromHost = new Int32Array(hosts);
    this.#toHost = new Int32Array(hosts);
    this.#ofOwner = new Int32Array(hosts);
    this.#toHostAt = new Uint32Array(hosts);
    this.#rows = words(lookupCapacity);
    this.#bags = words(lookupCapacity);
    this.#offsets = words(lookupCapacity + 1);
    this.#header = words(HEADER_WORDS);
    this.#segments = words(2 * (lookupCapacity + 1));
    this.#vectors = words(lookupCapacity);
  }

  /** The fetched rows, (rows, dim). */
  get fetched(): Buffer {
    return this.#memory.fetched;
  }

  /** Index of each lookup of this rank's samples among the fetched rows, in the places of a batch's indices. */
  get indices(): Buffer {
    return this.#indices.buffer;
  }

  /** Updates the rows of the shard that the batch changes, from the gradients of all hosts. */
  updateShard(batch: Batch, shard: RowMatrix): void {
    this.#sendSums(batch);
    this.#listOwned(batch, (s) => Math.floor(batch.row(s) / this.#place.hosts));
    this.#update(batch, shard);
  }

  /**
   * Updates this host's replica of rows that every host has. `update` does so from the gradients of the pooled rows of all
   * samples, where these are fewer bytes.
   */
  updateReplica(batch: Batch, replica: RowMatrix, update: () => void): void {
    if (this.#sumsAreFewer(batch)) return this.#updateBySums(batch, replica);
    this.#gatherPooled();
    update();
  }

  /**
   * Begins to fetch the rows of a cold batch; the step over `changing`, if it is a cold batch, is still to come and will
   * change its rows. `fetch` of the batch completes it.
   */
  begin(batch: Batch, full: RowMatrix, changing?: Batch): void {
    this.#findTouches(batch);
    this.#findLate(batch, changing);
    this.#countRows(batch);
    this.#placeRows(batch);
    this.#send(batch, full, EARLY, 0, this.#laneStart());
    this.#begun = batch;
  }

  /** Waits until the rows of a cold batch are here. */
  fetch(batch: Batch, full: RowMatrix): void {
    if (this.#complete !== batch) this.complete(batch, full);
    this.#complete = undefined;
    this.#groups.node.barrier(); // other lanes have fetched their rows too
  }

  /** Fetches all rows of the batch that the next step is over: no step will change them before. */
  complete(batch: Batch, full: RowMatrix): void {
    if (this.#begun !== batch) this.begin(batch, full);
    this.#begun = undefined;
    this.#complete = batch;
    const sent = sumOf(this.#fetchedBy[EARLY]);
    const received = sumOf(this.#fetchedFrom[EARLY]);
    this.#send(batch, full, LATE, sent, this.#laneStart() + received);
    for (const { work } of this.#fetches) work.wait();
  }

  /** Begins to send early or late rows, packed from row `sent` of the staging memory, and to receive at `received`. */
  #send(batch: Batch, full: RowMatrix, phase: Phase, sent: number, received: number): void {
    const { host, fetched } = this.#memory;
    const dim = this.#dim;
    const count = this.#listRowsToSend(batch, phase);
    const packed = host.view(this.outgoing, sent * dim, count * dim);
    host.packRows(count, dim, full.weights, this.#rows.buffer, packed);
    const target = host.floats(fetched).subarray(received * dim);
    const fetch = this.#fetches[phase];
    setParts(fetch.sent, this.#fetchedBy[phase], dim);
    setParts(fetch.received, this.#fetchedFrom[phase], dim);
    fetch.work = this.#groups.peers.allToAll(host.floats(packed), fetch.sent, target, fetch.received);
  }

  /** Finds the rows that the step over `changing` changes. Rows of both batches ascend. */
  #findLate(batch: Batch, changing: Batch | undefined): void {
    const { distinct } = batch;
    this.#late.fill(0, 0, distinct);
    if (changing === undefined || changing.hot) return;
    for (let s = 0, c = 0, end = changing.distinct; s < distinct && c < end;) {
      const [row, changed] = [batch.row(s), changing.row(c)];
      if (row === changed) this.#late[s] = 1;
      if (row <= changed) s++;
      if (changed <= row) c++;
    }
  }

  /** Finds which hosts touch each distinct row of the batch. */
  #findTouches(batch: Batch): void {
    const { words, distinct, sections: { segments, segmentBags } } = batch;
    let touch = 0;
    for (let s = 0; s < distinct; s++) {
      this.#firstTouch[s] = touch;
      let host = 0;
      let last = -1;
      // Bags of a segment ascend, so hosts do.
      for (let k = words[segments + 2 * s + 1], end = words[segments + 2 * s + 3]; k < end; k++) {
        while (words[segmentBags + k] >= this.#endBags[host]) host++;
        if (host !== last) this.#touches[touch++] = last = host;
      }
    }
    this.#firstTouch[distinct] = touch;
  }

  /** Counts the rows that go from each owner to each host that touches them. */
  #countRows(batch: Batch): void {
    const { hosts, host, locals, local } = this.#place;
    this.#needed.fill(0);
    this.#ofOwner.fill(0);
    for (const phase of [EARLY, LATE] as const) {
      this.#fetchedFrom[phase].fill(0);
      this.#fetchedBy[phase].fill(0);
    }
    for (let s = 0, distinct = batch.distinct; s < distinct; s++) {
      const owner = batch.row(s) % hosts;
      const lane = s % locals;
      const phase = this.#late[s] as Phase;
      if (lane === local) this.#ofOwner[owner]++;
      for (let t = this.#firstTouch[s]; t < this.#firstTouch[s + 1]; t++) {
        if (this.#touches[t] === host) {
          this.#needed[(2 * lane + phase) * hosts + owner]++;
          if (lane === local) this.#fetchedFrom[phase][owner]++;
        }
        if (lane === local && owner === host) this.#fetchedBy[phase][this.#touches[t]]++;
      }
    }
    for (let h = 0; h < hosts; h++) {
      this.#fromHost[h] = this.#fetchedFrom[EARLY][h] + this.#fetchedFrom[LATE][h];
      this.#toHost[h] = this.#fetchedBy[EARLY][h] + this.#fetchedBy[LATE][h];
    }
    startPlaces(this.#needed, this.#neededAt);
    startPlaces(this.#fromHost, this.#fromHostAt);
  }

  /** Where the rows of this lane begin among those this host needs. */
  #laneStart(): number {
    const { hosts, local } = this.#place;
    let first = 0;
    for (let i = 0; i < 2 * local * hosts; i++) first += this.#needed[i];
    return first;
  }

  /** Gives every row that this host needs a place, and this rank's lookups the place of their row. */
  #placeRows(batch: Batch): void {
    const { hosts, host, locals, local } = this.#place;
    const { words, distinct, sections: { segments, segmentBags, offsets }, shape: { bags } } = batch;
    const { first, end } = this.#ownBags;
    if (bags) this.#filled.fill(0);
    for (let s = 0; s < distinct; s++) {
      if (!this.#touchedBy(s, host)) continue;
      const lane = s % locals;
      const owner = batch.row(s) % hosts;
      const place = this.#neededAt[(2 * lane + this.#late[s]) * hosts + owner]++;
      if (lane === local) this.#neededSegments[this.#fromHostAt[owner]++] = s;
      for (let k = words[segments + 2 * s + 1], last = words[segments + 2 * s + 3]; k < last; k++) {
        const bag = words[segmentBags + k];
        if (bag < first || bag >= end) continue;
        this.#indices.list[bags ? words[offsets + bag] + this.#filled[bag]++ : bag] = place;
      }
    }
  }

  #touchedBy(s: number, host: number): boolean {
    for (let t = this.#firstTouch[s]; t < this.#firstTouch[s + 1]; t++) if (this.#touches[t] === host) return true;
    return false;
  }

  /** Lists the early or late rows of this lane that other hosts, or this one, get from here. Returns their number. */
  #listRowsToSend(batch: Batch, phase: Phase): number {
    const { hosts, host, locals, local } = this.#place;
    startPlaces(this.#fetchedBy[phase], this.#toHostAt);
    let count = 0;
    for (let s = local; s < batch.distinct; s += locals) {
      const row = batch.row(s);
      if (row % hosts !== host || this.#late[s] !== phase) continue;
      for (let t = this.#firstTouch[s]; t < this.#firstTouch[s + 1]; t++, count++) {
        this.#rows.list[this.#toHostAt[this.#touches[t]]++] = Math.floor(row / hosts);
      }
    }
    return count;
  }

  /** Adds up this host's gradients of each row of the lane and sends the sums to the rows' owners. */
  #sendSums(batch: Batch): void {
    const { words, sections: { segments, segmentBags } } = batch;
    const { host, pooledGradients } = this.#memory;
    const { first, end } = this.#ownHostBags;
    const rows = sumOf(this.#fromHost);
    let bags = 0;
    for (let i = 0; i < rows; i++) {
      const s = this.#neededSegments[i];
      this.#offsets.list[i] = bags;
      for (let k = words[segments + 2 * s + 1], last = words[segments + 2 * s + 3]; k < last; k++) {
        const bag = words[segmentBags + k];
        if (bag >= first && bag < end) this.#bags.list[bags++] = bag;
      }
    }
    this.#offsets.list[rows] = bags;
    host.pool(rows, this.#dim, pooledGradients, this.#bags.buffer, this.#offsets.buffer, this.outgoing);
    const [sums, received] = [host.floats(this.outgoing), host.floats(this.incoming)];
    setParts(this.#sent, this.#fromHost, this.#dim);
    setParts(this.#received, this.#toHost, this.#dim);
    this.#groups.peers.allToAll(sums, this.#sent, received, this.#received).wait();
  }

  /** Lists the rows of this lane that this host owns, with the sums that came for each, as segments of an update. */
  #listOwned(batch: Batch, rowOf: (s: number) => number): void {
    const { hosts, host, locals, local } = this.#place;
    startPlaces(this.#toHost, this.#toHostAt);
    let rows = 0;
    let vectors = 0;
    for (let s = local; s < batch.distinct; s += locals) {
      if (batch.row(s) % hosts !== host) continue;
      this.#segments.list[2 * rows] = rowOf(s);
      this.#segments.list[2 * rows + 1] = vectors;
      this.#offsets.list[rows++] = vectors;
      for (let t = this.#firstTouch[s]; t < this.#firstTouch[s + 1]; t++) {
        this.#vectors.list[vectors++] = this.#toHostAt[this.#touches[t]]++;
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
    for (let i = Header.optimizer; i < Header.optimizer + OPTIMIZER_WORDS; i++) words[i] = batch.words[i];
    const { buffer: segments } = this.#segments;
    host.updateRows(
      this.#rowUpdate,
      this.#header.buffer,
      segments,
      this.#vectors.buffer,
      this.incoming,
      weights,
      state,
    );
  }

  /** True if sums for the rows touched are fewer bytes than all gradients of pooled rows. Counts what it finds. */
  #sumsAreFewer(batch: Batch): boolean {
    const { hosts } = this.#place;
    const pooled = (hosts - 1) * batch.shape.batchSize * batch.shape.tables;
    const gathered = (hosts - 1) * batch.distinct;
    if (gathered >= pooled) return false;
    this.#findTouches(batch);
    let sent = 0;
    for (let s = 0, distinct = batch.distinct; s < distinct; s++) {
      sent += this.#firstTouch[s + 1] - this.#firstTouch[s];
      if (this.#touchedBy(s, batch.row(s) % hosts)) sent--;
    }
    return sent + gathered < pooled;
  }

  #updateBySums(batch: Batch, hot: RowMatrix): void {
    const { host } = this.#memory;
    const { hosts, locals, local } = this.#place;
    const dim = this.#dim;
    this.#findLate(batch, undefined);
    this.#countRows(batch);
    for (let s = local; s < batch.distinct; s += locals) {
      if (this.#touchedBy(s, this.#place.host)) this.#neededSegments[this.#fromHostAt[batch.row(s) % hosts]++] = s;
    }
    this.#sendSums(batch);
    this.#listOwned(batch, (s) => batch.row(s));
    const owned = this.#ofOwner[this.#place.host];
    host.pool(owned, dim, this.incoming, this.#vectors.buffer, this.#offsets.buffer, this.outgoing);
    const sums = host.floats(this.outgoing).subarray(0, owned * dim);
    setParts(this.#received, this.#ofOwner, dim);
    this.#groups.peers.allGather(sums, host.floats(this.incoming), this.#received);
    startPlaces(this.#ofOwner, this.#toHostAt);
    let rows = 0;
    for (let s = local; s < batch.distinct; s += locals, rows++) {
      const row = batch.row(s);
      this.#segments.list[2 * rows] = row;
      this.#segments.list[2 * rows + 1] = rows;
      this.#vectors.list[rows] = this.#toHostAt[row % hosts]++;
    }
    this.#closeSegments(rows, rows);
    this.#update(batch, hot);
  }

  /** Brings the gradients of pooled rows of all samples to this host; each lane those of its ranks. */
  #gatherPooled(): void {
    const { host, pooledGradients } = this.#memory;
    const all = host.floats(pooledGradients);
    this.#ownPooled.set(all.subarray(this.#ownBags.first * this.#dim, this.#ownBags.end * this.#dim));
    this.#groups.peers.allGather(this.#ownPooled, all, this.#pooledParts);
    this.#groups.node.barrier();
  }
}

/** Rows under way. */
interface Fetch {
  readonly sent: Parts;
  readonly received: Parts;
  work: Work;
}

/** Words that operations take, and the same as a list. */
interface Words {
  readonly buffer: Buffer;
  readonly list: Uint32Array;
}

/** The place of the first of each kind, for kinds that lie one after the other. */
function startPlaces(counts: ArrayLike<number>, places: Uint32Array): void {
  for (let i = 0, next = 0; i < places.length; i++) {
    places[i] = next;
    next += counts[i];
  }
}

function sumOf(counts: Int32Array): number {
  let sum = 0;
  for (let i = 0; i < counts.length; i++) sum += counts[i];
  return sum;
}
