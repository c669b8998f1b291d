/** Dictionaries of text and of bags: DuckDB counts the values, and hash tables encode them, one table at a time. */
import { HotsetError } from "../errors.ts";
import { DatasetEncoding } from "./dataset_encoding.ts";
import { type Engine, hashWords, lists, numbers, parquetFiles, quoted } from "./duckdb.ts";
import { historyOf } from "./encoding.ts";
import { isNumeric, type SparseColumn } from "./schema.ts";
import type { StageDirectory } from "./stage_directory.ts";
import { Dictionary } from "./hashed_ids.ts";
import { AtomicFile } from "../storage/atomic_file.ts";
import type { TableSize } from "./number_table.ts";
import { ageRows, type KeptRows, readHistory, writeHistory } from "./row_history.ts";
import { WordFile } from "./word_file.ts";
import { tableView } from "./value_rules.ts";

/** Ids by the counts of the first samples of the first log, after those of a known encoding, if any. */
export interface CountedIds {
  readonly train: number;
  readonly minFrequency: number;
  readonly known: DatasetEncoding | undefined;
  /** Growths after which a row of the known encoding that was not looked up is dropped. */
  readonly expire?: number | undefined;
}

/** Source of ids: counts, or an existing encoding. */
export type IdSource = CountedIds | DatasetEncoding;

/** A table that DuckDB numbers. */
export interface QueryTable {
  readonly table: number;
  readonly column: SparseColumn;
  readonly maxIndRange: number | undefined;
  readonly logs: readonly string[];
  readonly from: IdSource;
  readonly memoryBytes: number;
}

/**
 * Assigns ids to the values of a table and encodes its column in all logs. Writes ids, bag lengths, `t.parquet` (value,
 * id), `t.counts.u32` (rows) and, if a dictionary grows, its history to the stage. Throws HotsetError if the values do
 * not fit in memory.
 */
export async function numberQueryTable(engine: Engine, stage: StageDirectory, options: QueryTable): Promise<TableSize> {
  const { table, column, logs, from } = options;
  const [counted, encoding] = from instanceof DatasetEncoding ? [undefined, from] : [from, from.known];
  const known = encoding?.dictionaryPath;
  const history = counted?.known && historyOf(counted.known, table);
  const files = stage.tableFiles(table);
  const bag = column.kind === "bag";
  const name = `dictionary${table}`;
  const numeric = isNumeric(column, options.maxIndRange);
  const asHex = column.values === "hex" && options.maxIndRange === undefined;
  const key = bag ? `unnest(t${table})` : `t${table}`;
  const counts = counted && `SELECT key, least(count(*), 4294967295)::UINTEGER AS n ` +
      `FROM (SELECT ${key} AS key FROM ${tableView(logs[0], table)} WHERE row < ${counted.train}) GROUP BY key`;
  const savedKey = asHex ? "('0x' || value)::UINTEGER" : numeric ? "value::UINTEGER" : "value";
  let ids = known && `SELECT ${savedKey} AS key, id FROM ${parquetFiles([known])} ` +
      `WHERE feature = ${quoted(column.name)}`;
  let aged: KeptRows | undefined;
  if (history !== undefined && counted?.expire !== undefined) {
    const seen = await countsOfKnown(engine, ids!, counts!, history.rows);
    aged = ageRows(readHistory(history), seen, counted.expire);
    if (aged.kept !== undefined) ids += ` AND id IN (${await idTable(engine, stage, table, aged.kept)})`;
  }
  await engine.run(`CREATE TABLE ${name} AS ${rowsOf(ids, counts, counted?.minFrequency ?? 1)}`);
  const value = asHex ? "format('{:08x}', key)" : "key::VARCHAR";
  await engine.runAlone(
    `COPY (SELECT ${quoted(column.name)} AS feature, ${value} AS value, (rowid + 1)::UINTEGER AS id FROM ${name}) ` +
      `TO ${quoted(files.dictionary)} (FORMAT parquet, COMPRESSION zstd)`,
  );
  const { dictionary, found } = await load(engine, column.name, name, options.memoryBytes);
  await engine.run(`DROP TABLE ${name}`);
  for (const log of logs) await encodeColumn(engine, stage, log, table, bag, dictionary);
  if (counted !== undefined) {
    const lookups = bag
      ? await engine.number(
        `SELECT coalesce(sum(len(t${table})), 0) FROM ${tableView(logs[0], table)} WHERE row < ${counted.train}`,
      )
      : counted.train;
    found[0] = Math.min(lookups - found.reduce((sum, n) => sum + n, 0), 2 ** 32 - 1);
  }
  AtomicFile.write(files.counts, [found]);
  const { rows } = dictionary;
  if (history === undefined) return { rows, next: rows };
  const grown = (aged ?? ageRows(readHistory(history), found.subarray(1, history.rows + 1))).history;
  const added = rows - 1 - grown.numbers.length;
  writeHistory(grown, added, files);
  return { rows, next: grown.next + added };
}

/** The counts of the known values, in the order of their ids. */
async function countsOfKnown(engine: Engine, ids: string, counts: string, rows: number): Promise<Uint32Array> {
  const seen = new Uint32Array(rows);
  let at = 0;
  const sql = `SELECT coalesce(n, 0)::UINTEGER FROM (${ids}) AS known LEFT JOIN (${counts}) AS counted ` +
    `ON known.key = counted.key ORDER BY id`;
  for await (const chunk of engine.stream(sql)) {
    seen.set(numbers<Uint32Array>(chunk.getColumnVector(0)), at);
    at += chunk.rowCount;
  }
  return seen;
}

/** A query for the ids of rows at these positions. */
async function idTable(
  engine: Engine,
  stage: StageDirectory,
  table: number,
  positions: Uint32Array,
): Promise<string> {
  const path = stage.path(`t${table}.kept.csv`);
  AtomicFile.write(path, [new TextEncoder().encode([...positions].map((position) => `${position + 1}\n`).join(""))]);
  const name = `kept${table}`;
  await engine.run(
    `CREATE TABLE ${name} AS FROM read_csv(${quoted(path)}, header = false, columns = {'id': 'UINTEGER'})`,
  );
  return `SELECT id FROM ${name}`;
}

/**
 * The query for the values of a table's rows and their counts, in the order of their ids: those with an id, then, by
 * falling count, the others that occur often enough.
 */
function rowsOf(ids: string | undefined, counts: string | undefined, minFrequency: number): string {
  if (ids === undefined) return `${counts} HAVING n >= ${minFrequency} ORDER BY n DESC, key`;
  if (counts === undefined) return `SELECT key, 0::UINTEGER AS n FROM (${ids}) ORDER BY id`;
  return `WITH known AS MATERIALIZED (${ids}), counted AS MATERIALIZED (${counts}) SELECT key, n FROM (` +
    `SELECT known.key, coalesce(n, 0)::UINTEGER AS n, id FROM known LEFT JOIN counted ON known.key = counted.key ` +
    `UNION ALL SELECT key, n, NULL AS id FROM counted ` +
    `WHERE n >= ${minFrequency} AND NOT EXISTS (SELECT 1 FROM known WHERE known.key = counted.key)` +
    `) ORDER BY id NULLS LAST, n DESC, key`;
}

/** Concatenates the dictionaries of all tables, in order, as Parquet (feature, value, id). */
export async function joinDictionaries(
  engine: Engine,
  stage: StageDirectory,
  tables: number,
  path: string,
): Promise<void> {
  const none = "SELECT NULL::VARCHAR AS feature, NULL::VARCHAR AS value, NULL::UINTEGER AS id WHERE false";
  const parts = Array.from({ length: tables }, (_, t) => `FROM ${parquetFiles([stage.tableFiles(t).dictionary])}`);
  if (tables === 0) parts.push(none);
  await engine.runAlone(`COPY (${parts.join(" UNION ALL ")}) TO ${quoted(path)} (FORMAT parquet, COMPRESSION zstd)`);
}

async function load(engine: Engine, feature: string, name: string, memoryBytes: number) {
  const values = await engine.number(`SELECT count(*) FROM ${name}`);
  const bytes = Dictionary.bytes(values) + 4 * (values + 1);
  if (bytes > memoryBytes) {
    const mega = (b: number) => `${Math.ceil(b / 1e6)} MB`;
    throw new HotsetError(
      `Cannot load the dictionary of ${feature}: ${values} values need ${mega(bytes)} but the memory limit leaves ` +
        `${mega(memoryBytes)} for it; allow more memory, raise --min-frequency or set --max-ind-range`,
    );
  }
  const dictionary = new Dictionary(values);
  const found = new Uint32Array(values + 1);
  for await (const chunk of engine.stream(`SELECT hash(key), n FROM ${name}`)) {
    const words = hashWords(chunk.getColumnVector(0));
    found.set(numbers<Uint32Array>(chunk.getColumnVector(1)), dictionary.rows);
    for (let k = 0; k < words.length; k += 2) dictionary.add(words[k], words[k + 1]);
  }
  return { dictionary, found };
}

/** Writes the ids of a column, and the lengths of its bags. */
async function encodeColumn(
  engine: Engine,
  stage: StageDirectory,
  log: string,
  table: number,
  bag: boolean,
  dictionary: Dictionary,
): Promise<void> {
  const files = stage.columnFiles(log, table);
  using ids = new WordFile(files.ids);
  using lengths = bag ? new WordFile(files.lengths) : undefined;
  const hashes = bag ? `list_transform(t${table}, lambda v: hash(v))` : `hash(t${table})`;
  for await (const chunk of engine.stream(`SELECT ${hashes} FROM ${tableView(log, table)}`)) {
    if (lengths === undefined) {
      const words = hashWords(chunk.getColumnVector(0));
      dictionary.encode(words, 0, chunk.rowCount, ids.room(chunk.rowCount));
      continue;
    }
    const list = lists(chunk, 0);
    const words = hashWords(list.childVector);
    const found = lengths.room(chunk.rowCount);
    for (let i = 0; i < chunk.rowCount; i++) {
      found[i] = list.getEntryLength(i);
      dictionary.encode(words, list.getEntryOffset(i), found[i], ids.room(found[i]));
    }
  }
  ids.finish();
  lengths?.finish();
}
