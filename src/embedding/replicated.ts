/**
 * The FAE scheme: hot rows have a replica where the dense part of the model is computed. Hot batches train on the
 * replica, cold ones on the full tables. When the kind of batch changes, rows that changed in one are copied to the
 * other.
 */
import { atOnce, type Parts } from "../breaks.ts";
import type { Batch } from "../layout/batch.ts";
import { HotIndex, hotIndexWords } from "../layout/hot_index.ts";
import { nodeBarrier } from "../parallel/node_barrier.ts";
import { ownPart } from "../parallel/process_group.ts";
import { TableCoordinator } from "./coordinator.ts";
import {
  allocateRowBlock,
  type BatchSlot,
  type BoundTables,
  type EmbeddingTables,
  type RowBlock,
  ROWS_AT_ONCE,
  type TableContext,
  type TableRows,
} from "./tables.ts";

/** Full tables and the replica of their hot rows. */
export class ReplicatedTables implements EmbeddingTables {
  /** Those of the full tables; after they are written, and before they are read, the replica must be copied. */
  readonly rows: TableRows;
  readonly #context: TableContext;
  readonly #full: EmbeddingTables;
  readonly #replica: EmbeddingTables;
  readonly #block: RowBlock;

  constructor(context: TableContext, full: EmbeddingTables, replica: EmbeddingTables) {
    this.#context = context;
    this.rows = full.rows;
    this.#full = full;
    this.#replica = replica;
    this.#block = allocateRowBlock(context.shape, context.host);
  }

  bind(slot: BatchSlot): BoundTables {
    const [full, replica] = [this.#full.bind(slot), this.#replica.bind(slot)];
    const bound = () => slot.batch.hot ? replica : full;
    return { prefetch: () => bound().prefetch?.(), prepare: (training) => bound().prepare(training) };
  }

  /** Copies rows of the full tables to the replica; all ranks pass the same lists. */
  pull(rows: Uint32Array, hotIds: Uint32Array): void {
    const { device, host, groups: { devices, node } } = this.#context;
    // Only this rank writes a replica on its own device.
    const isOwn = devices !== undefined && device !== host;
    const { first, end } = isOwn ? { first: 0, end: rows.length } : ownPart(node, rows.length);
    this.#move(this.rows, rows.subarray(first, end), this.#replica.rows, hotIds.subarray(first, end));
  }

  /** Copies rows of the replica to the full tables. */
  push(rows: Uint32Array, hotIds: Uint32Array): void {
    const { first, end } = ownPart(this.#context.groups.node, rows.length);
    let held = rows.subarray(first, end), ids = hotIds.subarray(first, end);
    if (!held.every((row) => this.rows.holds(row))) {
      ids = ids.filter((_, i) => this.rows.holds(rows[first + i]));
      held = held.filter((row) => this.rows.holds(row));
    }
    this.#move(this.#replica.rows, ids, this.rows, held);
  }

  #move(source: TableRows, sourceRows: Uint32Array, target: TableRows, targetRows: Uint32Array): void {
    for (let from = 0; from < sourceRows.length; from += ROWS_AT_ONCE) {
      const to = from + ROWS_AT_ONCE;
      source.read(sourceRows.subarray(from, to), this.#block);
      target.write(targetRows.subarray(from, to), this.#block);
    }
    nodeBarrier(this.#context.groups, this.#context.device); // the next step of any rank may read any of these rows
  }
}

/** Rows that are copied between breaks; ranks share them. Copying them takes one thread a few milliseconds. */
const MOVED_AT_ONCE = 2 * ROWS_AT_ONCE;

/** What the coordinator of replicated tables needs. */
export interface ReplicaLists {
  /** Global rows of the replica, ascending. */
  readonly hotRows: Uint32Array;
  /** Rows of all tables. */
  readonly rows: number;
  /** The lists of rows to copy: global rows and hot-row ids, (hot rows) each. */
  readonly moveRows: Uint32Array;
  readonly moveHotIds: Uint32Array;
  /** Memory of `replicaListWords`, initially zero. */
  readonly memory: Uint32Array;
  /** Queues that all ranks `pull` or `push` entries `[first, first + count)` of the lists. */
  move(direction: "pull" | "push", first: number, count: number): void;
  /** Waits for the ranks; the lists may be changed after that. */
  moved(): Parts<void>;
}

/** Words in which the coordinator of replicated tables stores which rows are hot and which have changed. */
export function replicaListWords(rows: number, hotRows: number): number {
  return hotIndexWords(rows) + Math.ceil(rows / 32) + Math.ceil(hotRows / 32);
}

/** Records which rows change in the full tables and in the replica, and copies them when the other side is needed. */
export class ReplicaCoordinator extends TableCoordinator {
  readonly #lists: ReplicaLists;
  readonly #index: HotIndex;
  /** One bit per global row: changed in the full tables since the last refresh. */
  readonly #changedInFull: Uint32Array;
  /** One bit per hot row: changed in the replica since the last flush. */
  readonly #changedInReplica: Uint32Array;
  /** True if the last step was over a hot batch. */
  #hot: boolean | undefined;

  /** Initially the replica is empty, so all hot rows count as changed in the full tables. */
  constructor(lists: ReplicaLists) {
    super();
    this.#lists = lists;
    const { hotRows, rows, memory } = lists;
    const index = hotIndexWords(rows), words = Math.ceil(rows / 32);
    this.#index = new HotIndex(hotRows, rows, memory.subarray(0, index));
    this.#changedInFull = memory.subarray(index, index + words);
    this.#changedInFull.set(this.#index.bits);
    this.#changedInReplica = memory.subarray(index + words);
  }

  override beforeStep(batch: Batch): void {
    if (batch.hot !== this.#hot) atOnce(this.switchTo(batch.hot));
    const { words, distinct, sections: { segments } } = batch;
    const changed = batch.hot ? this.#changedInReplica : this.#changedInFull;
    for (let at = segments, end = segments + 2 * distinct; at < end; at += 2) {
      changed[words[at] >>> 5] |= 1 << (words[at] & 31);
    }
    if (!batch.hot) super.beforeStep(batch);
  }

  override *switchTo(hot: boolean): Parts<void> {
    if (hot === this.#hot) return;
    yield* hot ? this.refresh() : this.flush();
    this.#hot = hot;
  }

  /** Copies the rows that hot batches changed to the full tables. */
  override *flush(): Parts<void> {
    const { hotRows, moveRows, moveHotIds } = this.#lists;
    const count = takeBits(this.#changedInReplica, moveHotIds);
    yield* this.#move("push", count, (first, end) => {
      for (let i = first; i < end; i++) moveRows[i] = hotRows[moveHotIds[i]];
      this.onWrite(moveRows, first, 1, end - first);
    });
  }

  /** Copies the hot rows that cold batches changed to the replica. */
  override *refresh(): Parts<void> {
    const { moveRows, moveHotIds } = this.#lists;
    const count = takeBits(this.#changedInFull, moveRows, this.#index.bits);
    yield* this.#move("pull", count, (first, end) => {
      for (let i = first; i < end; i++) moveHotIds[i] = this.#index.id(moveRows[i]);
    });
  }

  /** Moves the first `count` rows of the lists; `complete` fills in entries `[first, end)` of the other list. */
  *#move(direction: "pull" | "push", count: number, complete: (first: number, end: number) => void): Parts<void> {
    for (let first = 0; first < count; first += MOVED_AT_ONCE) {
      const end = Math.min(first + MOVED_AT_ONCE, count);
      complete(first, end);
      this.#lists.move(direction, first, end - first);
      yield;
    }
    if (count > 0) yield* this.#lists.moved();
  }

  override invalidate(): void {
    this.#changedInFull.set(this.#index.bits);
    this.#changedInReplica.fill(0);
    this.#hot = undefined;
  }
}

/** Lists the numbers of the bits of `words` that `mask` has too, ascending, and clears all. Returns how many are listed. */
function takeBits(words: Uint32Array, list: Uint32Array, mask = words): number {
  let count = 0;
  for (let word = 0; word < words.length; word++) {
    for (let bits = words[word] & mask[word]; bits !== 0; bits &= bits - 1) {
      list[count++] = 32 * word + 31 - Math.clz32(bits & -bits);
    }
  }
  words.fill(0);
  return count;
}
