/** Raw logs: which files there are, and how their rows come into a table of the engine, checked. */
import { createReadStream, globSync, type Stats, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { HotsetError, messageOf } from "../errors.ts";
import { type Engine, engineFailure, identifier, quoted, reasonOf } from "./duckdb.ts";
import { type Column, isDense, isSparse, type LogSchema } from "./schema.ts";

/** Staged rows are read a few times soon and then removed: compressing them costs more than it saves. */
const STAGED_FORMAT = "(FORMAT parquet, COMPRESSION uncompressed)";

/** A file of a raw log. */
export interface InputFile {
  /** Absolute. */
  readonly path: string;
  /** Its length. */
  readonly bytes: number;
  /** Milliseconds since 1970. */
  readonly modified: number;
}

/** What to do with a row that cannot be read: stop, or leave it out and count it. */
export type BadRowPolicy = "fail" | "skip";

/** How rows are staged. */
export interface StageOptions {
  readonly schema: LogSchema;
  /** Categorical values are taken modulo this number, which bounds the rows of a table. */
  readonly maxIndRange: number | undefined;
  readonly onBadRow: BadRowPolicy;
  readonly onProgress?: ((fraction: number) => void) | undefined;
}

/** Finds the files that paths and globs name, in the given order, those of a glob by name. */
export function findInputs(patterns: readonly string[]): InputFile[] {
  return patterns.flatMap((pattern) => {
    const stats = statSync(pattern, { throwIfNoEntry: false });
    const names = stats === undefined && /[*?[{]/.test(pattern) ? globSync(pattern).sort() : [pattern];
    if (names.length === 0) throw new HotsetError(`Cannot read ${pattern}: no file matches`);
    return names.map(inputFile);
  });
}

function inputFile(path: string): InputFile {
  const fail = (reason: string): never => {
    throw new HotsetError(`Cannot read ${path}: ${reason}`);
  };
  let stats: Stats;
  try {
    stats = statSync(path);
    if (stats.isFile()) Deno.openSync(path).close();
  } catch (error) {
    return fail(
      error instanceof Error && "code" in error && error.code === "ENOENT" ? "no such file" : messageOf(error),
    );
  }
  if (stats.isDirectory()) fail(`it is a directory; name its files, for example '${path}/*.gz'`);
  if (stats.size === 0) fail("it is empty");
  return { path: resolve(path), bytes: stats.size, modified: Math.trunc(stats.mtimeMs) };
}

/** A column of the log as SQL over the fields of a file. */
interface Field {
  readonly column: Column;
  /** Name of the staged column. */
  readonly staged: string;
  /** The field as the file has it. */
  readonly raw: string;
  /** The value to stage. */
  readonly value: string;
  /** True if the field can be used. */
  readonly good: string;
}

/** Files that are read by one statement, and what their fields are called in it. */
interface Layout {
  readonly files: string[];
  /** SQL of a table with the fields of these files. */
  readonly source: (files: string[]) => string;
  readonly fields: Field[];
  /** Names of the fields by position, for messages. */
  readonly names: string[];
  /** Lines before the first row; undefined if the files have no lines. */
  readonly headerLines: number | undefined;
  /** False if the files have no label. */
  readonly labelled: boolean;
}

/** What `stage` has read. */
export interface Staged {
  readonly rows: number;
  readonly skippedRows: number;
  /** False if the files have no label; then all labels are 0. */
  readonly labelled: boolean;
}

/**
 * Reads files into the new view `table`: row (from 0, in the order of the files' rows), label UTINYINT, d0.. FLOAT
 * (transformed), t0.. UINTEGER or VARCHAR (or lists of them). It lies in a Parquet file, which DuckDB writes with less
 * work than a table. With `unlabelled` a missing label column is accepted.
 * Throws HotsetError that names the file, the line and the reason.
 */
export async function stage(
  engine: Engine,
  table: string,
  files: readonly InputFile[],
  options: StageOptions & { readonly unlabelled?: boolean },
): Promise<Staged> {
  const layouts: Layout[] = [];
  for (const { path } of files) {
    const layout = await layoutOf(engine, path, options);
    const previous = layouts.at(-1);
    if (previous !== undefined && sameLayout(previous, layout)) previous.files.push(path);
    else layouts.push(layout);
  }
  const intact = Promise.all(files.filter((f) => f.path.endsWith(".gz")).map((f) => checkGzip(f.path)));
  intact.catch(() => {}); // awaited below, before any of DuckDB's own complaints
  const selects = layouts.map(({ files, fields, source }) => {
    const values = fields.map((f) => `${f.value} AS ${f.staged}`);
    return `SELECT ${values.join(", ")}, ${allGood(fields)} AS good FROM ${source(files)}`;
  });
  const view = (file: string) =>
    `CREATE OR REPLACE VIEW ${table} AS SELECT * RENAME (file_row_number AS row) ` +
    `FROM read_parquet(${quoted(file)}, file_row_number = true)`;
  const staged = join(engine.directory, `${table}.parquet`);
  try {
    await engine.run(`COPY (${selects.join(" UNION ALL ")}) TO ${quoted(staged)} ${STAGED_FORMAT}`, options.onProgress);
    await engine.run(view(staged));
  } catch (error) {
    await intact;
    throw readFailure(files.map((f) => f.path), error);
  }
  await intact;
  const rejected = await countRejects(engine, files);
  const bad = await engine.number(`SELECT count(*) FROM ${table} WHERE NOT good`);
  if (options.onBadRow === "fail") {
    if (rejected > 0) throw await firstReject(engine, files, layouts);
    if (bad > 0) throw await firstBadRow(engine, layouts);
  }
  if (bad > 0) {
    const kept = join(engine.directory, `${table}.kept.parquet`);
    await engine.run(`COPY (SELECT * EXCLUDE (row) FROM ${table} WHERE good) TO ${quoted(kept)} ${STAGED_FORMAT}`);
    await engine.run(view(kept));
    Deno.removeSync(staged);
  }
  const rows = await engine.number(`SELECT count(*) FROM ${table}`);
  if (rows === 0) {
    const what = files.length === 1 ? files[0].path : `${files[0].path} and ${files.length - 1} more files`;
    throw new HotsetError(
      `Cannot read ${what}: ${rejected + bad > 0 ? "every row is malformed" : "there are no rows"}`,
    );
  }
  return { rows, skippedRows: rejected + bad, labelled: layouts.every((l) => l.labelled) };
}

/** True if one statement can read the files of both. */
function sameLayout(a: Layout, b: Layout): boolean {
  return a.source([]) === b.source([]) && JSON.stringify(a.fields) === JSON.stringify(b.fields);
}

/** SQL that is true for rows without a bad field. */
function allGood(fields: readonly Field[]): string {
  return fields.map((f) => `(${f.good})`).join(" AND ");
}

async function layoutOf(
  engine: Engine,
  path: string,
  { schema, maxIndRange, unlabelled = false }: StageOptions & { readonly unlabelled?: boolean },
): Promise<Layout> {
  const parquet = path.endsWith(".parquet");
  const label = schema.columns.find((c) => c.kind === "label")!;
  let names: string[];
  if (parquet) names = await parquetColumns(engine, path);
  else if (schema.header) names = splitLine(await firstLine(engine, path), schema);
  else {
    names = schema.columns.map((c) => c.name);
    if (unlabelled && splitLine(await firstLine(engine, path), schema).length === names.length - 1) {
      names = names.filter((n) => n !== label.name);
    }
  }
  for (const { name, kind } of schema.columns) {
    if (kind === "ignore" || (unlabelled && kind === "label")) continue;
    const found = names.filter((n) => n === name).length;
    if (found !== 1) {
      throw new HotsetError(`Cannot read ${path}: ${found === 0 ? "no column" : `${found} columns`} named ${name}`);
    }
  }
  const labelled = names.includes(label.name);
  const field = fieldBuilder(maxIndRange);
  const fields = schema.columns.filter((c) => c.kind !== "ignore").map((column) => {
    const position = names.indexOf(column.name);
    if (position < 0) return field(column, "false");
    return field(column, parquet ? typedParquet(column) : `c${position}`);
  });
  const kinds = new Map(schema.columns.map((c) => [c.name, c]));
  const columns = names.map((name, i) => `c${i}: ${quoted(csvType(kinds.get(name)))}`).join(", ");
  const source = (files: string[]) => {
    const list = `[${files.map(quoted).join(", ")}]`;
    return parquet
      ? `read_parquet(${list})`
      : `read_csv(${list}, auto_detect = false, header = ${schema.header}, delim = ${quoted(schema.delimiter)}, ` +
        `quote = ${quoted(schema.quote)}, escape = ${quoted(schema.quote)}, comment = '', ` +
        `columns = {${columns}}, store_rejects = true, rejects_limit = 0)`;
  };
  const headerLines = parquet ? undefined : Number(schema.header);
  return { files: [path], source, fields, names, headerLines, labelled };
}

function csvType(column: Column | undefined): string {
  return column?.kind === "label" ? "BOOLEAN" : column?.kind === "dense" ? "DOUBLE" : "VARCHAR";
}

/** A Parquet column in the type that CSV fields of its kind have; what does not fit becomes a value that is not good. */
function typedParquet({ name, kind }: Column): string {
  const raw = identifier(name);
  if (kind === "label") return `TRY_CAST(${raw}::VARCHAR AS BOOLEAN)`;
  if (kind === "dense") return `CASE WHEN ${raw} IS NOT NULL THEN coalesce(TRY_CAST(${raw} AS DOUBLE), 'nan') END`;
  return `${raw}::VARCHAR`;
}

/** Makes fields, numbering dense and sparse ones from 0. */
function fieldBuilder(maxIndRange: number | undefined): (column: Column, raw: string) => Field {
  let dense = 0;
  let sparse = 0;
  return (column, raw) => {
    if (isSparse(column)) {
      const staged = `t${sparse++}`;
      const key = (text: string) => categoricalKey(column.values, text, maxIndRange);
      if (column.kind === "sparse") return { column, staged, raw, value: key(raw), good: `${key(raw)} IS NOT NULL` };
      const split = `CASE WHEN ${raw} IS NULL THEN [] ELSE string_split(${raw}, ${quoted(column.separator)}) END`;
      const value = `list_transform(${split}, lambda v: ${key("nullif(v, '')")})`;
      return { column, staged, raw, value, good: `len(${value}) = list_count(${value})` };
    }
    if (isDense(column)) {
      const number = column.transform === "log" ? `ln(greatest(${raw}, 0) + 1)` : raw;
      return {
        column,
        staged: `d${dense++}`,
        raw,
        value: `coalesce(TRY_CAST(${number} AS FLOAT), 0)`,
        good: `coalesce(abs(${raw}) <= 3.4e38, true)`,
      };
    }
    return { column, staged: "label", raw, value: `${raw}::UTINYINT`, good: `${raw} IS NOT NULL` };
  };
}

/** SQL of a categorical value's key: the value itself or, hashed, a number below `maxIndRange`; NULL if it is malformed. */
function categoricalKey(values: "text" | "hex", text: string, maxIndRange: number | undefined): string {
  if (values === "hex") {
    const parsed = `CASE WHEN ${text} IS NULL THEN 0 ELSE TRY_CAST('0x' || ${text} AS UINTEGER) END`;
    return maxIndRange === undefined ? `(${parsed})` : `((${parsed}) % ${maxIndRange})::UINTEGER`;
  }
  const filled = `coalesce(${text}, '')`;
  return maxIndRange === undefined ? filled : `(md5_number_lower(${filled}) % ${maxIndRange})::UINTEGER`;
}

/** SQL of a text file's lines, blank ones included (as NULL). */
function lines(path: string): string {
  return `read_csv(${quoted(path)}, auto_detect = false, header = false, delim = chr(1), quote = '', escape = '', ` +
    `comment = '', strict_mode = false, ignore_errors = true, columns = {line: 'VARCHAR'})`;
}

async function firstLine(engine: Engine, path: string): Promise<string> {
  try {
    const rows = await engine.rows(`SELECT line FROM ${lines(path)} LIMIT 1`);
    return String(rows[0]?.[0] ?? "");
  } catch (error) {
    throw readFailure([path], error);
  }
}

function splitLine(line: string, { delimiter, quote }: LogSchema): string[] {
  return line.split(delimiter).map((field) => {
    const enclosed = quote !== "" && field.length > 1 && field.startsWith(quote) && field.endsWith(quote);
    return enclosed ? field.slice(1, -1) : field;
  });
}

async function parquetColumns(engine: Engine, path: string): Promise<string[]> {
  try {
    return (await engine.rows(`DESCRIBE FROM read_parquet(${quoted(path)})`)).map(([name]) => String(name));
  } catch (error) {
    throw readFailure([path], error);
  }
}

/** DuckDB reads the start of a gzip file that was cut off as if it were whole: only its end tells. */
async function checkGzip(path: string): Promise<void> {
  try {
    const drop = new Writable({ write: (_chunk, _encoding, done) => done() });
    await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), createGunzip({ chunkSize: 1 << 20 }), drop);
  } catch (error) {
    const text = messageOf(error);
    const reason = /unexpected end/i.test(text)
      ? "the gzip file is cut off; fetch it again"
      : `not a gzip file: ${text}`;
    throw new HotsetError(`Cannot read ${path}: ${reason}`, { cause: error });
  }
}

function readFailure(files: string[], error: unknown): unknown {
  const named = /file = (.*)/.exec(messageOf(error))?.[1];
  const path = files.length === 1 ? files[0] : files.find((f) => f === named) ?? files.join(", ");
  if (/CSV Parser state machine/.test(messageOf(error))) {
    return new HotsetError(
      `Cannot read ${path}: its lines end now in LF and now in CR LF, or a quote is left open; make them all alike`,
      { cause: error },
    );
  }
  if (/magic bytes|parquet/i.test(messageOf(error))) {
    return new HotsetError(`Cannot read ${path}: not a Parquet file, or cut off: ${reasonOf(error)}`, { cause: error });
  }
  return engineFailure(`read ${path}`, error);
}

/** SQL of the rejected fields of these files with the file's position in the list. */
function rejects(files: readonly InputFile[]): string {
  const list = `[${files.map((f) => quoted(f.path)).join(", ")}]`;
  return `(SELECT list_position(${list}, file_path) AS file, line, column_idx, column_name, ` +
    `error_type::VARCHAR AS kind, error_message AS message ` +
    `FROM reject_errors JOIN reject_scans USING (scan_id, file_id) WHERE file IS NOT NULL)`;
}

async function countRejects(engine: Engine, files: readonly InputFile[]): Promise<number> {
  const tables = await engine.number(`SELECT count(*) FROM duckdb_tables() WHERE table_name = 'reject_errors'`);
  return tables === 0 ? 0 : await engine.number(`SELECT count(DISTINCT (file, line)) FROM ${rejects(files)}`);
}

async function firstReject(engine: Engine, files: readonly InputFile[], layouts: Layout[]): Promise<HotsetError> {
  // A row of the wrong width is reported once for every field that is missing or too many: the width is in the first
  // report of a short row and in the last of a long one.
  const [[file, line, physical, kind, message]] = await engine.rows(
    `SELECT file::INTEGER, line::VARCHAR, column_name, kind, message FROM ${rejects(files)} AS r ` +
      `ORDER BY r.file, r.line, if(kind = 'TOO MANY COLUMNS', -column_idx::BIGINT, column_idx::BIGINT) LIMIT 1`,
  );
  const { path } = files[Number(file) - 1];
  const { names, fields } = layouts.find((l) => l.files.includes(path))!;
  const name = names[Number(String(physical).slice(1))];
  const column = fields.find((f) => f.column.name === name)?.column;
  return badRow(path, line, rejectReason(String(kind), String(message), column));
}

function rejectReason(kind: string, message: string, column: Column | undefined): string {
  const widths = /Expected Number of Columns: (\d+) Found: (\d+)/.exec(message);
  const cast = /Could not convert string "([^]*)" to '/.exec(message);
  if (widths !== null) return `${widths[2]} columns instead of ${widths[1]}`;
  if (cast !== null && column !== undefined) return complaint(column, cast[1]);
  if (kind === "INVALID ENCODING") return "it is not UTF-8";
  if (kind === "UNQUOTED VALUE") return "a quote is not where it belongs";
  if (kind === "LINE SIZE OVER MAXIMUM") return "it is longer than 2 MB";
  return message.split("\n")[0];
}

/** The first staged row that was not good, found again in its file. */
async function firstBadRow(engine: Engine, layouts: Layout[]): Promise<HotsetError> {
  for (const { files, source, fields, headerLines } of layouts) {
    const good = fields.map((f) => f.good);
    for (const path of files) {
      const found = await engine.rows(
        `SELECT row::VARCHAR, [${good.join(", ")}], [${fields.map((f) => `${f.raw}::VARCHAR`).join(", ")}] ` +
          `FROM (SELECT row_number() OVER () AS row, * FROM ${source([path])}) ` +
          `WHERE NOT (${allGood(fields)}) LIMIT 1`,
      );
      if (found.length === 0) continue;
      const [row, goods, raws] = found[0] as [string, { items: boolean[] }, { items: (string | null)[] }];
      const bad = goods.items.indexOf(false);
      const reason = complaint(fields[bad].column, raws.items[bad]);
      if (headerLines === undefined) return new HotsetError(`Cannot read ${path}: row ${row}: ${reason}`);
      const line = await engine.rows(
        `SELECT line_number::VARCHAR FROM (SELECT row_number() OVER () AS line_number, line FROM ${lines(path)}) ` +
          `WHERE line IS NOT NULL LIMIT 1 OFFSET ${Number(row) - 1 + headerLines}`,
      );
      return badRow(path, line[0][0], reason);
    }
  }
  throw new Error("no bad row found where one was counted");
}

function badRow(path: string, line: unknown, reason: string): HotsetError {
  return new HotsetError(`Cannot read ${path}: line ${line}: ${reason}`);
}

/** What is wrong with a field. */
function complaint(column: Column, raw: string | null): string {
  const { name, kind } = column;
  if (raw === null) return `${name} is empty`;
  const shown = JSON.stringify(raw.length > 40 ? `${raw.slice(0, 40)}...` : raw);
  if (kind === "label") return `${name} is ${shown}, neither 0 nor 1`;
  if (kind === "dense") return `${name} is ${shown}, not a finite number`;
  return `${name} is ${shown}, not a hexadecimal number of up to 8 digits`;
}
