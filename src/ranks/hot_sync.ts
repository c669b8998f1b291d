/**
 * Keeps the hot replica and the full tables in step. Hot batches change the replica, cold batches the full tables; at a
 * switch only the rows that changed since the last sync move.
 */
import type { Batch } from "../layout/batch.ts";
import { HotIndex } from "../layout/hot_index.ts";
import { Command } from "./rank.ts";
import type { RankGroup } from "./rank_group.ts";

/** Notes which rows batches change, and moves them when the other side is needed. */
export class HotSync {
  readonly #group: RankGroup;
  readonly #hotRows: Uint32Array;
  readonly #index: HotIndex;
  /** One bit for each global row: changed in the full tables since the last pull. */
  readonly #changedInFull: Uint32Array;
  /** One bit for each hot row: changed in the replica since the last push. */
  readonly #changedInReplica: Uint32Array;
  /** The two lists that the ranks move: global rows and hot-row ids. */
  readonly #rows: Uint32Array;
  readonly #hotIds: Uint32Array;
  readonly #beforePush: (rows: Uint32Array) => void;
  /** Rows moved so far, both ways. */
  rowsMoved = 0;

  /**
   * `hotRows` are the global rows of the replica, ascending; `rows` those of all tables. The replica begins empty: as if
   * all rows had changed in the full tables. `beforePush` is told the rows of the full tables that a push is about to
   * write.
   */
  constructor(
    group: RankGroup,
    hotRows: Uint32Array,
    rows: number,
    beforePush: (rows: Uint32Array) => void = () => {},
  ) {
    const { host, moveRows, moveHotRows } = group.memory;
    const list = (buffer: typeof moveRows) => {
      const floats = host.floats(buffer);
      return new Uint32Array(floats.buffer, floats.byteOffset, floats.length);
    };
    this.#group = group;
    this.#beforePush = beforePush;
    this.#hotRows = hotRows;
    // Without hot rows nothing is ever noted or moved.
    this.#index = new HotIndex(hotRows, hotRows.length === 0 ? 0 : rows);
    this.#changedInFull = this.#index.bits.slice();
    this.#changedInReplica = new Uint32Array(Math.ceil(hotRows.length / 32));
    this.#rows = list(moveRows);
    this.#hotIds = list(moveHotRows);
  }

  /** Notes the rows that a training step over this batch changes. */
  note(batch: Batch): void {
    if (this.#hotRows.length === 0) return;
    const { words, distinct, sections: { segments } } = batch;
    const changed = batch.hot ? this.#changedInReplica : this.#changedInFull;
    for (let at = segments, end = segments + 2 * distinct; at < end; at += 2) {
      changed[words[at] >>> 5] |= 1 << (words[at] & 31);
    }
  }

  /** Brings the replica up to date: needed before hot batches. */
  pull(): void {
    const changed = this.#changedInFull;
    let count = 0;
    for (let word = 0; word < changed.length; word++) {
      for (let bits = changed[word] & this.#index.bits[word]; bits !== 0; bits &= bits - 1) {
        const row = 32 * word + 31 - Math.clz32(bits & -bits);
        this.#rows[count] = row;
        this.#hotIds[count++] = this.#index.id(row);
      }
    }
    changed.fill(0);
    this.#move(Command.pullHot, count);
  }

  /** Brings the full tables up to date: needed before cold batches, an evaluation or a checkpoint. */
  push(): void {
    const changed = this.#changedInReplica;
    let count = 0;
    for (let word = 0; word < changed.length; word++) {
      for (let bits = changed[word]; bits !== 0; bits &= bits - 1) {
        const hotId = 32 * word + 31 - Math.clz32(bits & -bits);
        this.#rows[count] = this.#hotRows[hotId];
        this.#hotIds[count++] = hotId;
      }
    }
    changed.fill(0);
    this.#move(Command.pushHot, count);
  }

  /** Has the ranks move the first `count` rows of the lists. */
  #move(command: Command.pullHot | Command.pushHot, count: number): void {
    if (count === 0) return;
    if (command === Command.pushHot) this.#beforePush(this.#rows.subarray(0, count));
    this.#group.post(command, count, 0);
    this.#group.drain(); // the lists are used again
    this.rowsMoved += count;
  }
}
