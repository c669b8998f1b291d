/**
 * Keeps the hot replica and the full tables in step. Hot batches change the replica, cold batches the full tables; at a
 * switch only the rows that changed since the last sync move.
 */
import type { Batch } from "../layout/batch.ts";
import { Command } from "./rank.ts";
import type { RankGroup } from "./rank_group.ts";

/** Notes which rows batches change, and moves them when the other side is needed. */
export class HotSync {
  readonly #group: RankGroup;
  readonly #hotRows: Uint32Array;
  /** One bit for each global row: changed in the full tables since the last pull. */
  readonly #changedInFull: Uint32Array;
  /** One byte for each hot row: changed in the replica since the last push. */
  readonly #changedInReplica: Uint8Array;
  readonly #beforePush: (rows: Uint32Array) => void;
  #everythingChanged = true;
  /** Rows moved so far, both ways. */
  rowsMoved = 0;

  /**
   * `hotRows` are the global rows of the replica, ascending; `rows` those of all tables. The replica begins empty.
   * `beforePush` is told the rows of the full tables that a push is about to write.
   */
  constructor(
    group: RankGroup,
    hotRows: Uint32Array,
    rows: number,
    beforePush: (rows: Uint32Array) => void = () => {},
  ) {
    this.#group = group;
    this.#beforePush = beforePush;
    this.#hotRows = hotRows;
    this.#changedInFull = new Uint32Array(Math.ceil(rows / 32));
    this.#changedInReplica = new Uint8Array(hotRows.length);
  }

  /** Notes the rows that a training step over this batch changes. */
  note(batch: Batch): void {
    if (this.#hotRows.length === 0) return;
    const { words, distinct, sections: { segments } } = batch;
    if (batch.hot) {
      for (let s = 0; s < distinct; s++) this.#changedInReplica[words[segments + 2 * s]] = 1;
    } else {
      for (let s = 0; s < distinct; s++) {
        const row = words[segments + 2 * s];
        this.#changedInFull[row >>> 5] |= 1 << (row & 31);
      }
    }
  }

  /** Brings the replica up to date: needed before hot batches. */
  pull(): void {
    const bits = this.#changedInFull;
    this.#move(
      Command.pullHot,
      (hotRow) =>
        this.#everythingChanged || (bits[this.#hotRows[hotRow] >>> 5] >>> (this.#hotRows[hotRow] & 31) & 1) === 1,
    );
    this.#everythingChanged = false;
    bits.fill(0);
  }

  /** Brings the full tables up to date: needed before cold batches, an evaluation or a checkpoint. */
  push(): void {
    this.#move(Command.pushHot, (hotRow) => this.#changedInReplica[hotRow] === 1);
    this.#changedInReplica.fill(0);
  }

  #move(command: Command.pullHot | Command.pushHot, changed: (hotRow: number) => boolean): void {
    const { host, moveRows, moveHotRows } = this.#group.memory;
    const list = (buffer: typeof moveRows) => {
      const floats = host.floats(buffer);
      return new Uint32Array(floats.buffer, floats.byteOffset, floats.length);
    };
    const [rows, hotRows] = [list(moveRows), list(moveHotRows)];
    let count = 0;
    for (let hotRow = 0; hotRow < this.#hotRows.length; hotRow++) {
      if (!changed(hotRow)) continue;
      rows[count] = this.#hotRows[hotRow];
      hotRows[count++] = hotRow;
    }
    if (count === 0) return;
    if (command === Command.pushHot) this.#beforePush(rows.subarray(0, count));
    this.#group.post(command, count, 0);
    this.#group.drain(); // the lists are used again
    this.rowsMoved += count;
  }
}
