/**
 * Which rows of a batch hosts send to each other, and their positions: computed by every rank from the batch alone.
 * Moves nothing; `RowExchange` does.
 */
import type { Batch, BatchShape } from "../layout/batch.ts";
import type { ProcessGroups } from "../parallel/process_group.ts";
import { samplesOfRank } from "../parallel/shares.ts";

/** Rows that can be fetched before the previous step ends (early), and those that change in it (late). */
export const EARLY = 0;
export const LATE = 1;
export type Phase = typeof EARLY | typeof LATE;

/** The plan of one rank, for one batch at a time. */
export class ExchangePlan {
  /** This rank's host among all, and its lane among those of the host. */
  readonly position: { readonly hosts: number; readonly host: number; readonly locals: number; readonly local: number };
  readonly #located: boolean;
  /** End of each host's bags, and this rank's own. */
  readonly #endBags: number[];
  readonly ownBags: { readonly first: number; readonly end: number };
  /** Lookups placed so far in each bag. */
  readonly #filled: Uint32Array;
  /** Hosts that look up segment s: `touches[firstTouch[s] .. firstTouch[s + 1]]`. */
  readonly touches: Uint16Array;
  readonly firstTouch: Uint32Array;
  /** 1 for segments whose row the previous step changes. */
  readonly #late: Uint8Array;
  /**
   * Rows that this host needs: their number for each lane, early and late, and owner; then the position of the next
   * row.
   */
  readonly #needed: Uint32Array;
  readonly #neededAt: Uint32Array;
  /** Segments of the rows that this lane needs, by owner: the order in which sums of gradients are sent. */
  readonly neededSegments: Uint32Array;
  /** Rows of this lane that this host needs of each host, and that each host needs of this one: early, late. */
  readonly fetchedFrom: readonly [Int32Array, Int32Array];
  readonly fetchedBy: readonly [Int32Array, Int32Array];
  /** The same, early and late together; and all rows of each owner. */
  readonly fromHost: Int32Array;
  readonly toHost: Int32Array;
  readonly ofOwner: Int32Array;
  /** Position of the next row of each owner. */
  readonly #fromHostAt: Uint32Array;
  /** Position of the next row for each host. */
  readonly toHostAt: Uint32Array;

  /** `located`: see `placeOf`. */
  constructor(
    { world, node, peers }: ProcessGroups,
    { batchSize, tables, lookupCapacity }: BatchShape,
    located: boolean,
  ) {
    this.#located = located;
    this.position = { hosts: peers.size, host: peers.rank, locals: node.size, local: node.rank };
    const { hosts, locals } = this.position;
    const firstBag = (rank: number) => tables * samplesOfRank(batchSize, rank, world.size).first;
    this.#endBags = Array.from({ length: hosts }, (_, h) => firstBag((h + 1) * locals));
    this.ownBags = { first: firstBag(world.rank), end: firstBag(world.rank + 1) };
    this.#filled = new Uint32Array(batchSize * tables);
    this.touches = new Uint16Array(lookupCapacity);
    this.firstTouch = new Uint32Array(lookupCapacity + 1);
    this.#late = new Uint8Array(lookupCapacity);
    this.#needed = new Uint32Array(locals * 2 * hosts);
    this.#neededAt = new Uint32Array(locals * 2 * hosts);
    this.neededSegments = new Uint32Array(lookupCapacity);
    this.fetchedFrom = [new Int32Array(hosts), new Int32Array(hosts)];
    this.fetchedBy = [new Int32Array(hosts), new Int32Array(hosts)];
    this.#fromHostAt = new Uint32Array(hosts);
    this.fromHost = new Int32Array(hosts);
    this.toHost = new Int32Array(hosts);
    this.ofOwner = new Int32Array(hosts);
    this.toHostAt = new Uint32Array(hosts);
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

  /** Finds which hosts look up each distinct row of the batch. */
  findTouches(batch: Batch): void {
    const { words, distinct, sections: { segments, segmentBags } } = batch;
    let touch = 0;
    for (let s = 0; s < distinct; s++) {
      this.firstTouch[s] = touch;
      let host = 0;
      let last = -1;
      // Bags of a segment ascend, and therefore hosts do.
      for (let k = words[segments + 2 * s + 1], end = words[segments + 2 * s + 3]; k < end; k++) {
        while (words[segmentBags + k] >= this.#endBags[host]) host++;
        if (host !== last) this.touches[touch++] = last = host;
      }
    }
    this.firstTouch[distinct] = touch;
  }

  /**
   * Counts the rows that each owner sends to each host that looks them up; the step over `changing` has not run yet.
   */
  countRows(batch: Batch, changing: Batch | undefined): void {
    this.#findLate(batch, changing);
    const { hosts, host, locals, local } = this.position;
    this.#needed.fill(0);
    this.ofOwner.fill(0);
    for (const phase of [EARLY, LATE] as const) {
      this.fetchedFrom[phase].fill(0);
      this.fetchedBy[phase].fill(0);
    }
    for (let s = 0, distinct = batch.distinct; s < distinct; s++) {
      const owner = batch.row(s) % hosts;
      const lane = s % locals;
      const phase = this.#late[s] as Phase;
      if (lane === local) this.ofOwner[owner]++;
      for (let t = this.firstTouch[s]; t < this.firstTouch[s + 1]; t++) {
        if (this.touches[t] === host) {
          this.#needed[(2 * lane + phase) * hosts + owner]++;
          if (lane === local) this.fetchedFrom[phase][owner]++;
        }
        if (lane === local && owner === host) this.fetchedBy[phase][this.touches[t]]++;
      }
    }
    for (let h = 0; h < hosts; h++) {
      this.fromHost[h] = this.fetchedFrom[EARLY][h] + this.fetchedFrom[LATE][h];
      this.toHost[h] = this.fetchedBy[EARLY][h] + this.fetchedBy[LATE][h];
    }
    startPlaces(this.#needed, this.#neededAt);
    startPlaces(this.fromHost, this.#fromHostAt);
  }

  /** Position of this lane's first row among those that this host needs. */
  laneStart(): number {
    const { hosts, local } = this.position;
    let first = 0;
    for (let i = 0; i < 2 * local * hosts; i++) first += this.#needed[i];
    return first;
  }

  /**
   * Assigns a position to every row that this host needs, and writes the positions of this rank's lookups by bag, as in a
   * batch's indices, but within a bag in the order of rows; and the words of their weights, if there are any.
   */
  placeRows(batch: Batch, indices: Uint32Array, weights?: Uint32Array): void {
    const { hosts, host, locals, local } = this.position;
    const { words, distinct, sections: { segments, segmentBags, segmentWeights, offsets }, shape: { bags } } = batch;
    const { first, end } = this.ownBags;
    if (bags) this.#filled.fill(0);
    for (let s = 0; s < distinct; s++) {
      if (!this.touchedBy(s, host)) continue;
      const lane = s % locals;
      const owner = batch.row(s) % hosts;
      const position = this.#neededAt[(2 * lane + this.#late[s]) * hosts + owner]++;
      if (lane === local) this.neededSegments[this.#fromHostAt[owner]++] = s;
      for (let k = words[segments + 2 * s + 1], last = words[segments + 2 * s + 3]; k < last; k++) {
        const bag = words[segmentBags + k];
        if (bag < first || bag >= end) continue;
        const at = bags ? words[offsets + bag] + this.#filled[bag]++ : bag;
        indices[at] = position;
        if (weights !== undefined) weights[at] = words[segmentWeights + k];
      }
    }
  }

  /** Lists the segments of this lane that this host looks up, by owner. */
  listNeeded(batch: Batch): void {
    const { hosts, host, locals, local } = this.position;
    for (let s = local; s < batch.distinct; s += locals) {
      if (this.touchedBy(s, host)) this.neededSegments[this.#fromHostAt[batch.row(s) % hosts]++] = s;
    }
  }

  touchedBy(s: number, host: number): boolean {
    for (let t = this.firstTouch[s]; t < this.firstTouch[s + 1]; t++) if (this.touches[t] === host) return true;
    return false;
  }

  /**
   * Lists the early or late rows of this lane that other hosts, or this one, get from this host. Returns their number.
   */
  listRowsToSend(batch: Batch, phase: Phase, rows: Uint32Array): number {
    const { hosts, host, locals, local } = this.position;
    startPlaces(this.fetchedBy[phase], this.toHostAt);
    let count = 0;
    for (let s = local; s < batch.distinct; s += locals) {
      const row = batch.row(s);
      if (row % hosts !== host || this.#late[s] !== phase) continue;
      for (let t = this.firstTouch[s]; t < this.firstTouch[s + 1]; t++, count++) {
        rows[this.toHostAt[this.touches[t]]++] = this.placeOf(batch, s);
      }
    }
    return count;
  }

  /**
   * Where distinct row s of the batch is in this host's shard, which it belongs to: at the position that has replaced an
   * index of the batch if only some rows of the shard are in memory (`located`), otherwise in the order of its rows.
   */
  placeOf(batch: Batch, s: number): number {
    return this.#located ? batch.words[batch.sections.indices + s] : Math.floor(batch.row(s) / this.position.hosts);
  }

  /** True if sums for the rows looked up are fewer bytes than all gradients of pooled rows. Also counts those rows. */
  sumsAreFewer(batch: Batch): boolean {
    const { hosts } = this.position;
    const pooled = (hosts - 1) * batch.shape.batchSize * batch.shape.tables;
    const gathered = (hosts - 1) * batch.distinct;
    if (gathered >= pooled) return false;
    this.findTouches(batch);
    let sent = 0;
    for (let s = 0, distinct = batch.distinct; s < distinct; s++) {
      sent += this.firstTouch[s + 1] - this.firstTouch[s];
      if (this.touchedBy(s, batch.row(s) % hosts)) sent--;
    }
    return sent + gathered < pooled;
  }
}

/** Positions of the first element of each kind, for consecutive kinds. */
export function startPlaces(counts: ArrayLike<number>, places: Uint32Array): void {
  for (let i = 0, next = 0; i < places.length; i++) {
    places[i] = next;
    next += counts[i];
  }
}
