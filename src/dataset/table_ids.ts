/** The ids of a dataset's values, by table, in memory. */
import { HotsetError } from "../errors.ts";
import { breaks } from "../breaks.ts";
import { FileReader } from "../storage/artifact.ts";
import { TemporaryDirectory } from "../storage/temporary.ts";
import type { DatasetEncoding } from "./dataset_encoding.ts";
import { Engine, engineFailure, parquetFiles, quoted } from "./duckdb.ts";
import { Dictionary } from "./hashed_ids.ts";
import { KeyTable } from "./key_table.ts";

const ENGINE_BYTES = 512 * 2 ** 20;
/** Keys that are read at a time, which takes a few milliseconds. */
const KEYS_AT_ONCE = 1 << 16;

/** The ids of one table's values: 0 for values without a row of their own. */
export interface TableIds {
  idOf(key: string | number): number;
}

/** Ids of a dataset whose values are numbers of 32 bits. */
export async function idsOfKeys(dataset: DatasetEncoding): Promise<TableIds[]> {
  using reader = new FileReader(dataset.keysPath!);
  const keys = new Uint32Array(KEYS_AT_ONCE);
  const all: TableIds[] = [];
  for (const [t, { rows }] of dataset.body.tables.entries()) {
    const ids = new NumberIds(rows - 1);
    for (let row = 1; row < rows; row += KEYS_AT_ONCE) {
      const part = keys.subarray(0, rows - row);
      reader.read(4 * (dataset.firstRows[t] + row), part);
      ids.learn(part);
      if (breaks.due) await breaks.take();
    }
    all.push(ids);
  }
  return all;
}

/**
 * Ids of a dataset with a dictionary of text; `radix` lists the tables whose values are numbers nevertheless, with their
 * notation.
 */
export async function idsOfDictionary(
  dataset: DatasetEncoding,
  radix: readonly (10 | 16 | undefined)[],
): Promise<TableIds[]> {
  using directory = new TemporaryDirectory("hotset-");
  const path = dataset.dictionaryPath!;
  try {
    using engine = await Engine.create(directory.path, { memoryBytes: ENGINE_BYTES, threads: 1 });
    const all: TableIds[] = [];
    for (const [t, { name, rows }] of dataset.body.tables.entries()) {
      const base = radix[t];
      const ids = base === undefined ? new TextIds(rows - 1) : new NumberIds(rows - 1, base);
      for await (const values of valuesOf(engine, path, name, dataset.directory, rows - 1)) ids.add(values);
      all.push(ids);
    }
    return all;
  } catch (error) {
    throw engineFailure(`read ${path}`, error);
  }
}

/** The values of a table in the order of their ids. Throws HotsetError unless there is one for each row. */
async function* valuesOf(engine: Engine, path: string, table: string, dataset: string, count: number) {
  const sql = `SELECT value FROM ${parquetFiles([path])} WHERE feature = ${quoted(table)} ORDER BY id`;
  let found = 0;
  for await (const chunk of engine.stream(sql)) {
    found += chunk.rowCount;
    yield chunk.getColumnValues(0) as string[];
    if (breaks.due) await breaks.take();
  }
  if (found === count) return;
  throw new HotsetError(
    `Cannot use dataset ${dataset}: its dictionary has ${found} values of ${table} instead of ${count}`,
    {
      code: "damaged",
    },
  );
}

class NumberIds implements TableIds {
  readonly #table: KeyTable;
  readonly #radix: number;
  readonly #key = new Uint32Array(1);

  /** Room for this number of values, in the notation of a dictionary: hexadecimal digits, or decimal within the index range. */
  constructor(values: number, radix = 10) {
    this.#table = new KeyTable(Infinity, values);
    this.#radix = radix;
  }

  /** Adds the values with the next ids. */
  add(values: readonly string[]): void {
    this.learn(Uint32Array.from(values, (value) => parseInt(value, this.#radix)));
  }

  learn(keys: Uint32Array): void {
    this.#table.learn(keys);
  }

  idOf(key: string | number): number {
    this.#key[0] = key as number;
    this.#table.encode(this.#key);
    return this.#key[0];
  }
}

class TextIds implements TableIds {
  readonly #dictionary: Dictionary;
  readonly #hash = new Uint32Array(2);
  readonly #id = new Uint32Array(1);

  constructor(values: number) {
    this.#dictionary = new Dictionary(values);
  }

  /** Adds the values with the next ids. */
  add(values: readonly string[]): void {
    for (const value of values) {
      hashText(value, this.#hash);
      this.#dictionary.add(this.#hash[0], this.#hash[1]);
    }
  }

  idOf(key: string | number): number {
    hashText(key as string, this.#hash);
    this.#dictionary.encode(this.#hash, 0, 1, this.#id);
    return this.#id[0];
  }
}

/** A hash of 64 bits: MurmurHash3's 32 bits of the text's UTF-16 words, twice over with other constants. */
function hashText(text: string, hash: Uint32Array): void {
  let low = 0x9747b28c;
  let high = 0x85ebca6b;
  for (let i = 0; i < text.length; i++) {
    const word = text.charCodeAt(i);
    let k = Math.imul(word + 1, 0xcc9e2d51);
    low ^= Math.imul(k << 15 | k >>> 17, 0x1b873593);
    low = Math.imul(low << 13 | low >>> 19, 5) + 0xe6546b64 | 0;
    k = Math.imul(word + 1, 0x239b961b);
    high ^= Math.imul(k << 16 | k >>> 16, 0xab0e9789);
    high = Math.imul(high << 17 | high >>> 15, 5) + 0x561ccd1b | 0;
  }
  hash[0] = mixed(low ^ text.length);
  hash[1] = mixed(high ^ text.length);
}

/** MurmurHash3's last mix. */
function mixed(hash: number): number {
  hash = Math.imul(hash ^ hash >>> 16, 0x85ebca6b);
  hash = Math.imul(hash ^ hash >>> 13, 0xc2b2ae35);
  return (hash ^ hash >>> 16) >>> 0;
}
