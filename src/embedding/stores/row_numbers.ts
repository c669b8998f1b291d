/**
 * Numbers of rows in the pages of a log. A row keeps its number for ever, while its position among all rows changes when
 * tables grow or rows are dropped. The pages of a model therefore also serve the models that grow from it.
 *
 * In a model that has not grown the number of a row is its position. A growth gives the next numbers to its new rows.
 * Numbers of dropped rows are not used again.
 */
import { HotsetError } from "../../errors.ts";
import { InitialRows } from "../initialise.ts";
import type { EmbeddingShape } from "../tables.ts";
import { NO_ROW } from "./row_page.ts";

/** Runs of consecutive global rows, rising: in arrays, because dropped rows can leave millions of runs. */
export interface KeptRuns {
  /** The first row of each before the growth, and now. */
  readonly from: Uint32Array;
  readonly row: Uint32Array;
  /** The number of its rows. */
  readonly rows: Uint32Array;
}

/** Where the rows of a model are after a growth. */
export interface RowGrowth {
  /** The rows that were kept in their order; all others are new. */
  readonly kept: KeptRuns;
  /** By table, how far the number of a new row is above its id. */
  readonly dropped: readonly number[];
}

/** Rows that were created together: those of the first model, or the new ones of a growth. */
interface Generation {
  /** Their initial values are those of this seed in tables of these rows. */
  readonly seed: number;
  readonly tableRows: readonly number[];
  /** As in the growth; 0 in the first model. */
  readonly dropped: readonly number[];
}

/**
 * Words of a run of consecutive rows with consecutive numbers: its first row, and the number of that; the generation, and
 * the first row's position when it was created.
 */
const ROW = 0, NUMBER = 1, GENERATION = 2, CREATED = 3, RUN_WORDS = 4;
/** Bytes of a run with its places in the orders of rows and of numbers, and at most four words for searches. */
const RUN_BYTES = 4 * (RUN_WORDS + 3 + 4);
/** Words before the generations: the next number, the number of tables, and that of generations. */
const HEADER_WORDS = 3;
/** With more runs than these, and than one for so many rows, rows should be written again under new numbers. */
const MANY_RUNS = 1 << 16, ROWS_OF_RUN = 64;

/** The numbers of a model's rows. */
export class RowNumbers {
  /** One more than the largest number that any row has had. */
  readonly next: number;
  readonly #rows: number;
  readonly #generations: readonly Generation[];
  /** The runs, in the order of the rows. */
  readonly #runs: Uint32Array;
  /** Their first rows, and the end; their first numbers, rising; and which runs these are of. */
  readonly #firstRows: Uint32Array;
  readonly #firstNumbers: Uint32Array;
  readonly #byNumber: Uint32Array;
  readonly #runOfRow: Search;
  readonly #runOfNumber: Search;

  private constructor(next: number, generations: readonly Generation[], runs: Uint32Array) {
    this.next = next;
    this.#rows = sum(generations.at(-1)!.tableRows);
    this.#generations = generations;
    this.#runs = runs;
    const count = runs.length / RUN_WORDS;
    this.#firstRows = new Uint32Array(count + 1).fill(this.#rows, count);
    // Pairs of a run and its first number, which are one little-endian number that is compared first by the latter.
    const pairs = new Uint32Array(2 * count);
    for (let run = 0; run < count; run++) {
      this.#firstRows[run] = this.#word(run, ROW);
      pairs[2 * run] = run;
      pairs[2 * run + 1] = this.#word(run, NUMBER);
    }
    new BigUint64Array(pairs.buffer).sort();
    this.#byNumber = new Uint32Array(count);
    this.#firstNumbers = new Uint32Array(count);
    for (let i = 0; i < count; i++) {
      this.#byNumber[i] = pairs[2 * i];
      this.#firstNumbers[i] = pairs[2 * i + 1];
    }
    this.#runOfRow = new Search(this.#firstRows, this.#rows);
    this.#runOfNumber = new Search(this.#firstNumbers, next);
  }

  /** Those of a model that has not grown. */
  static first(seed: number, tableRows: readonly number[]): RowNumbers {
    const dropped = tableRows.map(() => 0);
    return new RowNumbers(sum(tableRows), [{ seed, tableRows, dropped }], new Uint32Array(RUN_WORDS));
  }

  /** Those of tables of these rows that `words`, read from `path`, describe. Throws HotsetError if they do not. */
  static from(words: Uint32Array, tableRows: readonly number[], path: string): RowNumbers {
    const [next, tables, count] = words;
    let at = HEADER_WORDS;
    const take = (length: number) => [...words.subarray(at, at += length)];
    const generations: Generation[] = [];
    while (generations.length < count && at < words.length) {
      generations.push({ seed: take(1)[0], tableRows: take(tables), dropped: take(tables) });
    }
    const runs = words.slice(at);
    const fits = JSON.stringify(generations.at(-1)?.tableRows) === JSON.stringify(tableRows);
    const isWhole = generations.length === count && runs.length > 0 && runs.length % RUN_WORDS === 0;
    const numbers = fits && isWhole ? new RowNumbers(next, generations, runs) : undefined;
    if (numbers !== undefined && numbers.#areDistinct()) return numbers;
    throw new HotsetError(`Cannot read ${path}: it does not number the rows of these tables`, { code: "damaged" });
  }

  /** True if dropped rows have left so many gaps that the numbers take too much memory. */
  get areScattered(): boolean {
    return this.#byNumber.length > Math.max(MANY_RUNS, this.#rows / ROWS_OF_RUN);
  }

  /** Bytes of memory that they take, at most. */
  get bytes(): number {
    return RUN_BYTES * this.#byNumber.length;
  }

  /** A description of all of this. */
  get words(): Uint32Array {
    const generations = this.#generations.map(({ seed, tableRows, dropped }) => [seed, ...tableRows, ...dropped]);
    const [{ tableRows: { length: tables } }] = this.#generations;
    const before = [this.next, tables, generations.length, ...generations.flat()];
    const words = new Uint32Array(before.length + this.#runs.length);
    words.set(before);
    words.set(this.#runs, before.length);
    return words;
  }

  /** True if every row has a number of its own, and was created in some generation. */
  #areDistinct(): boolean {
    let [row, number] = [0, 0];
    for (let i = 0; i < this.#byNumber.length; i++) {
      const run = this.#byNumber[i];
      const rows = this.#endOf(run) - this.#firstRows[run];
      const created = this.#generations[this.#word(run, GENERATION)];
      if (rows <= 0 || this.#firstNumbers[i] < number || created === undefined) return false;
      if (this.#word(run, CREATED) + rows > sum(created.tableRows)) return false;
      number = this.#firstNumbers[i] + rows;
      row += rows;
    }
    return row === this.#rows && number <= this.next && this.next < NO_ROW;
  }

  /** The numbers after a growth to tables of these rows, with the seed of new rows. Throws HotsetError. */
  grown({ kept, dropped }: RowGrowth, tableRows: readonly number[], seed: number): RowNumbers {
    const generations = [...this.#generations, { seed, tableRows, dropped }];
    // A run for each kept part and for each run that begins within one, and new rows before each part and at the end.
    const most = 2 * kept.rows.length + 1 + this.#byNumber.length;
    const runs = new Uint32Array(RUN_WORDS * most);
    let [row, next, at] = [0, this.next, 0];
    const add = (number: number, generation: number, created: number) => {
      runs[at + ROW] = row;
      runs[at + NUMBER] = number;
      runs[at + GENERATION] = generation;
      runs[at + CREATED] = created;
      at += RUN_WORDS;
    };
    const createUntil = (end: number) => {
      if (row < end) add(next, generations.length - 1, row);
      next += end - row;
      row = end;
    };
    for (let k = 0; k < kept.rows.length; k++) {
      createUntil(kept.row[k]);
      const [from, rows] = [kept.from[k], kept.rows[k]];
      for (let run = this.#runOfRow.lastAtMost(from), old = from, end = from + rows; old < end; run++) {
        const before = old - this.#firstRows[run];
        add(this.#word(run, NUMBER) + before, this.#word(run, GENERATION), this.#word(run, CREATED) + before);
        const count = Math.min(this.#endOf(run), end) - old;
        old += count;
        row += count;
      }
    }
    createUntil(sum(tableRows));
    if (next < NO_ROW) return new RowNumbers(next, generations, runs.slice(0, at));
    throw new HotsetError(`Cannot grow: ${next} rows have been created, and at most ${NO_ROW - 1} are supported`);
  }

  numberOf(row: number): number {
    const run = this.#runOfRow.lastAtMost(row);
    return this.#word(run, NUMBER) + row - this.#firstRows[run];
  }

  /** The row with a number; `NO_ROW` if it was dropped, or no row has had the number. */
  rowOf(number: number): number {
    if (number >= this.next) return NO_ROW;
    const i = this.#runOfNumber.lastAtMost(number);
    const run = this.#byNumber[i];
    const row = this.#firstRows[run] + number - this.#firstNumbers[i];
    return number >= this.#firstNumbers[i] && row < this.#endOf(run) ? row : NO_ROW;
  }

  /** Computes the initial values of the rows, whose largest value is the same in all generations of a model. */
  initialRows({ dim, rowInit }: Pick<EmbeddingShape, "dim" | "rowInit">): Pick<InitialRows, "write"> {
    const created = this.#generations.map(({ seed, tableRows, dropped }) =>
      new InitialRows({ tableRows, dim, rowInit }, seed, dropped)
    );
    return {
      write: (row, rows, weights, at) => {
        for (let run = this.#runOfRow.lastAtMost(row), end = row + rows; row < end; run++) {
          const count = Math.min(this.#endOf(run), end) - row;
          const first = this.#word(run, CREATED) + row - this.#firstRows[run];
          created[this.#word(run, GENERATION)].write(first, count, weights, at);
          row += count;
          at += count * dim;
        }
      },
    };
  }

  #word(run: number, word: number): number {
    return this.#runs[run * RUN_WORDS + word];
  }

  /** The row after those of a run. */
  #endOf(run: number): number {
    return this.#firstRows[run + 1];
  }
}

/** Finds the last of rising words that is at most a value, by a table of the first candidates in equal ranges of values. */
class Search {
  readonly #words: Uint32Array;
  readonly #shift: number;
  readonly #firsts: Uint32Array;

  /** Values are below `end`. */
  constructor(words: Uint32Array, end: number) {
    this.#words = words;
    this.#shift = Math.max(0, Math.ceil(Math.log2(end / words.length / 2)));
    this.#firsts = new Uint32Array(Math.ceil(end / 2 ** this.#shift) + 1);
    for (let range = 0, at = 0; range < this.#firsts.length; range++) {
      while (at + 1 < words.length && words[at + 1] <= range * 2 ** this.#shift) at++;
      this.#firsts[range] = at;
    }
  }

  /** Index of the word; 0 if none is. */
  lastAtMost(value: number): number {
    const range = value >>> this.#shift;
    return lastAtMost(this.#words, value, this.#firsts[range], this.#firsts[range + 1] + 1);
  }
}

/** The same between two indices. */
function lastAtMost(words: Uint32Array, value: number, low: number, high: number): number {
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (words[middle] <= value) low = middle;
    else high = middle;
  }
  return low;
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}
