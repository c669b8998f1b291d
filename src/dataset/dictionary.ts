/** Dictionaries: the id of every categorical value, by falling frequency in the train split. */
import { HotsetError } from "../errors.ts";
import type { Engine } from "./duckdb.ts";
import { numbers, quoted } from "./duckdb.ts";
import type { SparseColumn } from "./schema.ts";

/** Global rows are 32-bit numbers, and the last one closes segment lists. */
const MAX_ROWS = 2 ** 32 - 1;

/**
 * The ids of one table's values, found by DuckDB's 64-bit hash of the value. Ids are given in the order of adding, from 1;
 * what was never added has id 0. Because frequent values come first, the keys that are compared most lie together.
 */
export class Dictionary {
  /** Rows of the table: the values and row 0. */
  rows = 1;
  /** Hash table of ids, 0 where free; its length is a power of two. */
  readonly #slots: Uint32Array;
  /** The two halves of each id's hash. */
  readonly #low: Uint32Array;
  readonly #high: Uint32Array;

  /** Bytes of a dictionary of so many values. */
  static bytes(values: number): number {
    return 4 * slotsFor(values) + 8 * (values + 1);
  }

  /** An empty dictionary with room for so many values. */
  constructor(values: number) {
    this.#slots = new Uint32Array(slotsFor(values));
    this.#low = new Uint32Array(values + 1);
    this.#high = new Uint32Array(values + 1);
  }

  /** Gives the next id to a value. Fails if another value has the same hash (one chance in 10^4 with 60 M values). */
  add(low: number, high: number): void {
    const mask = this.#slots.length - 1;
    let slot = high & mask;
    for (let id = this.#slots[slot]; id !== 0; id = this.#slots[slot]) {
      if (this.#low[id] === low && this.#high[id] === high) throw new Error("two values have the same 64-bit hash");
      slot = (slot + 1) & mask;
    }
    this.#slots[slot] = this.rows;
    this.#low[this.rows] = low;
    this.#high[this.rows] = high;
    this.rows++;
  }

  /**
   * Looks up `count` hashes (pairs of words: low, high) from pair `from` on and writes `firstRow` + id to `target` at
   * `start`, `start + stride`, ...
   */
  encode(
    hashes: Uint32Array,
    from: number,
    count: number,
    firstRow: number,
    target: Uint32Array,
    start: number,
    stride: number,
  ): void {
    const slots = this.#slots;
    const lows = this.#low;
    const highs = this.#high;
    const mask = slots.length - 1;
    const end = 2 * (from + count);
    for (let k = 2 * from, o = start; k < end; k += 2, o += stride) {
      const low = hashes[k];
      const high = hashes[k + 1];
      let slot = high & mask;
      let id = slots[slot];
      while (id !== 0 && (lows[id] !== low || highs[id] !== high)) {
        slot = (slot + 1) & mask;
        id = slots[slot];
      }
      target[o] = firstRow + id;
    }
  }
}

function slotsFor(values: number): number {
  let slots = 16;
  while (slots < 1.5 * values) slots *= 2;
  return slots;
}

/** Words of a column of 64-bit hashes. */
export function hashWords(vector: unknown): Uint32Array {
  const hashes = numbers<BigUint64Array>(vector);
  return new Uint32Array(hashes.buffer, hashes.byteOffset, 2 * hashes.length);
}

/** Counts the values of staged column t`table` in the first `rows` rows and keeps those seen `minFrequency` times. */
export async function countValues(
  engine: Engine,
  table: number,
  column: SparseColumn,
  rows: number,
  minFrequency: number,
): Promise<void> {
  const key = column.kind === "bag" ? `unnest(t${table})` : `t${table}`;
  await engine.run(
    `CREATE TABLE dictionary${table} AS SELECT key, least(count(*), 4294967295)::UINTEGER AS n ` +
      `FROM (SELECT ${key} AS key FROM log WHERE row < ${rows}) GROUP BY key HAVING n >= ${minFrequency} ` +
      `ORDER BY n DESC, key`,
  );
}

/** A dictionary in memory, with the frequency of every id (0 for row 0). */
export interface LoadedDictionary {
  readonly dictionary: Dictionary;
  readonly frequencies: Uint32Array;
}

/** Loads the counted dictionaries of all columns. Throws HotsetError if they do not fit into so many bytes. */
export async function loadDictionaries(
  engine: Engine,
  columns: readonly SparseColumn[],
  memoryBytes: number,
): Promise<LoadedDictionary[]> {
  const sizes: number[] = [];
  for (const t of columns.keys()) sizes.push(await engine.number(`SELECT count(*) FROM dictionary${t}`));
  const bytes = sizes.reduce((sum, values) => sum + Dictionary.bytes(values) + 4 * values, 0);
  const rows = sizes.reduce((sum, values) => sum + values + 1, 0);
  const remedy = "raise --min-frequency or set --max-ind-range";
  if (rows > MAX_ROWS) throw new HotsetError(`Cannot number ${rows} rows with 32 bits; ${remedy}`);
  if (bytes > memoryBytes) {
    const mega = (b: number) => `${Math.ceil(b / 1e6)} MB`;
    throw new HotsetError(
      `Cannot load the dictionaries: ${rows} values need ${mega(bytes)} and the memory limit leaves ` +
        `${mega(memoryBytes)} for them; allow more memory, ${remedy}`,
    );
  }
  const loaded: LoadedDictionary[] = [];
  for (const [t, values] of sizes.entries()) loaded.push(await loadDictionary(engine, t, values));
  return loaded;
}

async function loadDictionary(engine: Engine, table: number, values: number): Promise<LoadedDictionary> {
  const dictionary = new Dictionary(values);
  const frequencies = new Uint32Array(values + 1);
  for await (const chunk of engine.stream(`SELECT hash(key), n FROM dictionary${table}`)) {
    const words = hashWords(chunk.getColumnVector(0));
    frequencies.set(numbers<Uint32Array>(chunk.getColumnVector(1)), dictionary.rows);
    for (let k = 0; k < words.length; k += 2) dictionary.add(words[k], words[k + 1]);
  }
  return { dictionary, frequencies };
}

/** True if the column's keys are the values themselves, in hexadecimal. */
function isHex(column: SparseColumn, maxIndRange: number | undefined): boolean {
  return column.values === "hex" && maxIndRange === undefined;
}

/** Writes the counted dictionaries as Parquet (feature, value, id), values as the log has them (or their hash). */
export async function saveDictionaries(
  engine: Engine,
  columns: readonly SparseColumn[],
  maxIndRange: number | undefined,
  path: string,
): Promise<void> {
  const parts = columns.map((column, t) => {
    const value = isHex(column, maxIndRange) ? `format('{:08x}', key)` : "key::VARCHAR";
    return `SELECT ${
      quoted(column.name)
    } AS feature, ${value} AS value, (rowid + 1)::UINTEGER AS id FROM dictionary${t}`;
  });
  await engine.runAlone(`COPY (${parts.join(" UNION ALL ")}) TO ${quoted(path)} (FORMAT parquet, COMPRESSION zstd)`);
}

/** Brings saved dictionaries back, as if they had just been counted (with frequency 0). */
export async function restoreDictionaries(
  engine: Engine,
  columns: readonly SparseColumn[],
  maxIndRange: number | undefined,
  path: string,
): Promise<void> {
  for (const [t, column] of columns.entries()) {
    const hashed = maxIndRange !== undefined;
    const key = isHex(column, maxIndRange) ? `('0x' || value)::UINTEGER` : hashed ? "value::UINTEGER" : "value";
    await engine.run(
      `CREATE TABLE dictionary${t} AS SELECT ${key} AS key, 0::UINTEGER AS n FROM read_parquet(${quoted(path)}) ` +
        `WHERE feature = ${quoted(column.name)} ORDER BY id`,
    );
  }
}
