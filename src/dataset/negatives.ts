/**
 * Negatives for logs that contain only positives: for each positive, items that its user chose in none of the splits.
 * DuckDB computes them and spills to disk. Draws are hashes of the seed and their position, so they do not depend on the
 * number of threads or on memory.
 */
import { type Engine, parquetFiles, quoted } from "./duckdb.ts";
import { isDense, isSparse, type LogSchema, missingColumn, weightsOf } from "./schema.ts";
import { weightsColumn } from "./side_columns.ts";
import { keys, stagedView, type ValueRule } from "./value_rules.ts";

/** Options of drawing negatives. */
export interface NegativeOptions {
  /** Number of negatives per positive. */
  readonly count: number;
  /** Columns of items. The first one identifies an item; the others have the values of its first positive. */
  readonly item: readonly string[];
  /** Exponent of an item's frequency in the train split, 0 to 1; default 0: uniformly from the items of all files. */
  readonly power?: number | undefined;
  /** Default 123. */
  readonly seed?: number | undefined;
}

/** Rounds of draws before the remaining items of a user are enumerated. */
const MAX_ROUNDS = 64;
/** Bytes of memory per drawn row: its position, its values, and space for sorts and joins. */
const DRAW_BYTES = 400;
/** Weights are whole numbers, whose sums do not depend on their order. */
const WEIGHT_UNIT = 2 ** 20;
const HASHES = "18446744073709551616::HUGEINT";

/** What keeps negatives from being drawn, or undefined. */
export function negativesFault({ columns, group }: LogSchema, options: NegativeOptions): string | undefined {
  const { count, item, power = 0 } = options;
  if (!(Number.isInteger(count) && count >= 1)) return `${count} is not a whole number from 1`;
  if (!(power >= 0 && power <= 1)) return `the power ${power} is not a number from 0 to 1`;
  if (group === undefined) return "name the column of the user with --group";
  if (item.length === 0) return "name the columns of the item with --item";
  const absent = item.find((name) => !columns.some((column) => column.name === name));
  if (absent !== undefined) return missingColumn(columns, absent);
  const kindOf = (name: string) => columns.find((column) => column.name === name)?.kind;
  for (const name of [group, item[0]]) {
    if (kindOf(name) !== "sparse") return `column ${name} is not of kind sparse, as user and item must be`;
  }
  if (item.includes(group)) return `column ${group} cannot be of the user and of the item`;
  const other = item.find((name) => !columns.some((c) => c.name === name && (isSparse(c) || c.kind === "dense")));
  return other === undefined ? undefined : `column ${other} of the item is no feature`;
}

/** A log whose positives get negatives, and where its splits end, in rows. */
export interface PositiveLog {
  readonly name: string;
  readonly ends: readonly number[];
  /** Parquet file for part `i` of the rows with the negatives. */
  part(i: number): string;
}

export interface DrawnNegatives {
  /** By log and split. */
  readonly drawn: readonly (readonly number[])[];
  /** Files written, by log. */
  readonly files: readonly (readonly string[])[];
  /** Negatives that are missing because their users chose all items that can be drawn. */
  readonly missing: number;
}

/** Writes each log with its negatives, which follow their positive. The first split of the first log is the train split. */
export async function drawNegatives(
  engine: Engine,
  schema: LogSchema,
  rules: readonly ValueRule[],
  logs: readonly PositiveLog[],
  options: NegativeOptions,
  memoryBytes: number,
): Promise<DrawnNegatives> {
  const { count } = options;
  const columns = stagedColumns(schema, options.item);
  const [user, item] = [schema.group, options.item[0]].map((name) =>
    keys(schema, rules, undefined)[schema.columns.filter(isSparse).findIndex((column) => column.name === name)]
  );
  const features = columns.map((name) => `${name} := ${name}`).join(", ");
  const chosen = logs.map(({ name }, log) =>
    `SELECT ${log} AS log, row, hash(${user}) AS u, ${item} AS key, struct_pack(${features}) AS features ` +
    `FROM ${stagedView(name)} WHERE label = 1`
  ).join(" UNION ALL ");
  await createItems(engine, chosen, logs[0].ends[0], options.power ?? 0);
  await engine.run(`CREATE OR REPLACE TABLE chosen AS SELECT DISTINCT u, item FROM (${chosen}) JOIN items USING (key)`);
  await engine.run(`CREATE OR REPLACE TABLE positives AS SELECT log, row, u FROM (${chosen})`);
  const replaced = ["0::UTINYINT AS label", ...columns.map((column) => `i.features.${column} AS ${column}`)].join(", ");
  // Joins and sorts keep all of their rows in memory, so the rows are processed in parts.
  const partRows = Math.max(1, Math.floor(memoryBytes / DRAW_BYTES / (count + 1)));
  const drawn: number[][] = [], files: string[][] = [];
  for (const [log, { name, ends, part }] of logs.entries()) {
    drawn.push(ends.map(() => 0));
    files.push([]);
    for (const [split, begin, end] of rowRanges(ends, partRows)) {
      const some = `row >= ${begin} AND row < ${end}`;
      await drawSome(engine, `SELECT * FROM positives WHERE log = ${log} AND ${some}`, options);
      const rows = `(SELECT * FROM ${stagedView(name)} WHERE ${some})`;
      const negatives = `SELECT s.* REPLACE (${replaced}), d.k FROM drawn AS d JOIN ${rows} AS s ON d.row = s.row ` +
        `JOIN items AS i ON d.item = i.item`;
      const path = part(files[log].length);
      await engine.run(
        `COPY (SELECT * EXCLUDE (row, k) FROM (SELECT *, 0 AS k FROM ${rows} UNION ALL ${negatives}) ` +
          `ORDER BY row, k) TO ${quoted(path)} (FORMAT parquet, COMPRESSION uncompressed)`,
      );
      files[log].push(path);
      drawn[log][split] += await engine.number("SELECT count(*) FROM drawn");
    }
  }
  const expected = await engine.number(`SELECT ${count} * count(*) FROM positives`);
  for (const table of ["items", "drawable", "chosen", "positives", "needed", "tried", "drawn"]) {
    await engine.run(`DROP TABLE IF EXISTS ${table}`);
  }
  return { drawn, files, missing: expected - drawn.flat().reduce((sum, some) => sum + some, 0) };
}

/** Ranges of at most `length` rows, none of them in two splits; a log without rows has an empty one. */
function* rowRanges(ends: readonly number[], length: number): Generator<[split: number, begin: number, end: number]> {
  let begin = 0;
  for (const [split, last] of ends.entries()) {
    for (; begin < last; begin += length) yield [split, begin, Math.min(begin + length, last)];
    begin = last;
  }
  if (begin === 0) yield [0, 0, 0];
}

/** Draws the negatives of some positives into a new table `drawn`. */
async function drawSome(engine: Engine, positives: string, options: NegativeOptions): Promise<void> {
  const { count, seed = 123 } = options;
  await engine.run("CREATE OR REPLACE TABLE drawn (log INTEGER, row BIGINT, k BIGINT, item BIGINT)");
  await engine.run(
    `CREATE OR REPLACE TABLE needed AS SELECT log, row, u, k FROM (${positives}), range(1, ${count + 1}) AS _(k)`,
  );
  const [[total]] = await engine.rows("SELECT sum(weight)::VARCHAR FROM drawable");
  const hash = (place: string) => `md5_number_lower(concat_ws(':', ${seed}, log, row, k, ${place}))::HUGEINT`;
  let left = await engine.number("SELECT count(*) FROM needed");
  for (let round = 0; left > 0 && round < MAX_ROUNDS && total !== null; round++) {
    await engine.run(
      `CREATE OR REPLACE TABLE tried AS SELECT n.log, n.row, n.u, n.k, i.item ` +
        `FROM (SELECT *, ${hash(`${round}`)} * ${total}::HUGEINT // ${HASHES} AS target FROM needed) AS n ` +
        `ASOF JOIN drawable AS i ON n.target >= i.start`,
    );
    await engine.run("INSERT INTO drawn SELECT log, row, k, item FROM tried ANTI JOIN chosen USING (u, item)");
    await engine.run(
      "CREATE OR REPLACE TABLE needed AS SELECT log, row, u, k FROM tried SEMI JOIN chosen USING (u, item)",
    );
    left = await engine.number("SELECT count(*) FROM needed");
  }
  if (left > 0) {
    // These users chose nearly all items. The item with the least -ln(u) / weight is a weighted draw from their other
    // items.
    await engine.run(
      `INSERT INTO drawn SELECT log, row, k, arg_min(item, -ln((${
        hash("'last', item")
      } + 1) / ${HASHES}::DOUBLE) / weight) ` +
        `FROM needed JOIN (SELECT u, item, weight FROM (SELECT u, item, weight FROM (SELECT DISTINCT u FROM needed), ` +
        `drawable) ANTI JOIN chosen USING (u, item)) USING (u) GROUP BY log, row, k`,
    );
  }
}

/** Makes the tables of all items and, with their places on a line of whole numbers, of those that are drawn. */
async function createItems(engine: Engine, chosen: string, trainRows: number, power: number): Promise<void> {
  await engine.run(
    `CREATE OR REPLACE TABLE items AS SELECT row_number() OVER (ORDER BY key) - 1 AS item, * FROM (SELECT key, ` +
      `count(*) FILTER (log = 0 AND row < ${trainRows}) AS uses, ` +
      `arg_min(features, log::HUGEINT * 1000000000000 + row) AS features FROM (${chosen}) GROUP BY key)`,
  );
  const weight = power === 0 ? "1" : `CASE WHEN uses = 0 THEN 0 ELSE round(pow(uses, ${power}) * ${WEIGHT_UNIT}) END`;
  await engine.run(
    `CREATE OR REPLACE TABLE drawable AS SELECT item, weight, sum(weight) OVER (ORDER BY item) - weight AS start ` +
      `FROM (SELECT item, (${weight})::HUGEINT AS weight FROM items) WHERE weight > 0`,
  );
}

/** Names of the staged columns that make an item. */
function stagedColumns({ columns }: LogSchema, item: readonly string[]): string[] {
  const tables = columns.filter(isSparse).flatMap((column, t) => {
    if (!item.includes(column.name)) return [];
    return weightsOf(columns, column) === undefined ? [`t${t}`] : [`t${t}`, weightsColumn(t)];
  });
  return [...tables, ...columns.filter(isDense).flatMap(({ name }, d) => item.includes(name) ? [`d${d}`] : [])];
}

/** SQL of the view of a log with its negatives, from its files. */
export function withNegatives(files: readonly string[]): string {
  return `SELECT row_number() OVER () - 1 AS row, * FROM ${parquetFiles(files)}`;
}
