/**
 * Keeps the hot replica and the full tables in step. Hot batches change the replica, cold batches the full tables; at a
 * switch only the rows that changed since the last sync move.
 */
import type { Batch } from "../../layout/batch.ts";
import { Command } from "./rank.ts";
import type { RankGroup } from "./rank_group.ts";

/** Notes which rows batches change, and moves them when the other side is needed. */
export class HotSync {
  readonly #group: RankGroup;
  readonly #hotRows: Uint32Array;
  /** One bit for each global row: is hot. */
  readonly #isHot: Uint32Array;
  /** Hot rows before those of each word of `#isHot`: gives a hot row's id without a search. */
  readonly #hotBefore: Uint32Array;
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
    // Without hot rows nothing is ever noted or moved.
    const words = hotRows.length === 0 ? 0 : Math.ceil(rows / 32);
    this.#group = group;
    this.#beforePush = beforePush;
    this.#hotRows = hotRows;
    this.#isHot = new Uint32Array(words);
    for (const row of hotRows) this.#isHot[row >>> 5] |= 1 << (row & 31);
    this.#hotBefore = new Uint32Array(words);
    for (let word = 1; word < words; word++) {
      this.#hotBefore[word] = this.#hotBefore[word - 1] + bitsSet(this.#isHot[word - 1]);
    }
    this.#changedInFull = this.#isHot.slice();
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
      const hot = this.#isHot[word];
      for (let bits = changed[word] & hot; bits !== 0; bits &= bits - 1) {
        const bit = 31 - Math.clz32(bits & -bits);
        this.#rows[count] = 32 * word + bit;
        this.#hotIds[count++] = this.#hotBefore[word] + bitsSet(hot & ((1 << bit) - 1));
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

/** Number of bits that are 1. */
function bitsSet(word: number): number {
  word -= (word >>> 1) & 0x55555555;
  word = (word & 0x33333333) + ((word >>> 2) & 0x33333333);
  return Math.imul((word + (word >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
