/** Staging of any log that DuckDB reads: its fields by a schema, checked, into Parquet files and then into chunks. */
import type { DuckDBDataChunk } from "@duckdb/node-api";
import { HotsetError } from "../errors.ts";
import { checkWhole } from "./compressed.ts";
import { type Engine, identifier, numbers, quoted } from "./duckdb.ts";
import { type InputFile, namesOf } from "./inputs.ts";
import { countRejects, firstBadRow, firstLine, firstReject, readFailure, splitLine } from "./query_faults.ts";
import { OTHER_FORMAT, widthFault } from "./row_fault.ts";
import { type Column, isDense, isMoment, isSparse, type LogSchema } from "./schema.ts";
import type { StageDirectory } from "./stage_directory.ts";
import type { StagedLog, StageOptions } from "./staged_log.ts";
import { ChunkBuffer, type StagedChunk } from "./staged_chunk.ts";

/** Staged rows are read a few times soon and then removed: compressing them costs more than it saves. */
const STAGED_FORMAT = "(FORMAT parquet, COMPRESSION uncompressed)";
const CHUNK_ROWS = 1 << 16;

/** A column of the log as SQL over the fields of a file. */
export interface Field {
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

/** How a file is read. */
export interface Layout {
  readonly path: string;
  /** SQL of a table with the fields of the file. */
  readonly source: string;
  readonly fields: Field[];
  /** Names of the fields by position, for messages. */
  readonly names: string[];
  /** Lines before the first row; undefined if the file has no lines. */
  readonly headerLines: number | undefined;
  /** False if the file has no label. */
  readonly labelled: boolean;
}

/**
 * Reads files into a view of the log's name: row (from 0, in order), label UTINYINT, d0.. FLOAT (transformed), t0..
 * UINTEGER or VARCHAR (or lists of them); and labels and dense values into chunks. It lies in Parquet files, which DuckDB
 * writes with less work than tables. Throws HotsetError that names the file, the line and the reason.
 */
export async function stageQuery(
  engine: Engine,
  schema: LogSchema,
  files: readonly InputFile[],
  stage: StageDirectory,
  options: StageOptions,
): Promise<StagedLog> {
  const { name, onProgress } = options;
  const dense = schema.columns.filter(isDense).length;
  let rows = 0, skippedRows = 0, labelled = true;
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  let bytes = 0;
  const parquet: string[] = [];
  for (const [i, file] of files.entries()) {
    parquet.push(stage.path(`${name}.${i}.parquet`));
    const progress = (fraction: number) => onProgress?.((bytes + fraction * file.bytes) / total);
    const read = await stage.step(`${name}.${i}`, async () => {
      if (file.path.endsWith(".zst")) await checkWhole(file.path);
      const layout = await layoutOf(engine, file.path, schema, options);
      return await stageFile(engine, layout, parquet[i], options.onBadRow === "skip", progress);
    });
    rows += read.rows;
    skippedRows += read.skippedRows;
    labelled &&= read.labelled;
    progress(1);
    bytes += file.bytes;
  }
  if (rows === 0) {
    throw new HotsetError(
      `Cannot read ${namesOf(files)}: ${skippedRows > 0 ? "every row is malformed" : "there are no rows"}`,
    );
  }
  let numbered = `SELECT row_number() OVER () - 1 AS row, * FROM read_parquet([${parquet.map(quoted).join(", ")}])`;
  if (!options.toScore && schema.columns.some((c) => c.kind === "time")) {
    const sorted = stage.path(`${name}.sorted.parquet`);
    await stage.step(`${name}.sorted`, async () => {
      await engine.run(
        `COPY (SELECT * EXCLUDE (row) FROM (${numbered}) ORDER BY moment, row) TO ${quoted(sorted)} ${STAGED_FORMAT}`,
      );
      return true;
    });
    numbered = `SELECT row_number() OVER () - 1 AS row, * FROM read_parquet(${quoted(sorted)})`;
  }
  await engine.run(`CREATE OR REPLACE VIEW ${name} AS ${numbered}`);
  const chunks = await stage.step(`${name}.chunks`, () => writeChunks(engine, name, dense, stage));
  return { name, rows, skippedRows, labelled, chunks };
}

async function stageFile(
  engine: Engine,
  layout: Layout,
  staged: string,
  skip: boolean,
  onProgress: (fraction: number) => void,
): Promise<{ rows: number; skippedRows: number; labelled: boolean }> {
  const { path, source, fields, labelled } = layout;
  const intact = path.endsWith(".gz") ? checkWhole(path) : Promise.resolve();
  intact.catch(() => {}); // awaited below, before any of DuckDB's own complaints
  const values = fields.map((f) => `${f.value} AS ${f.staged}`);
  const partial = `${staged}.partial`;
  const good = allGood(fields);
  let bad: number;
  try {
    await engine.run(
      `COPY (SELECT ${values.join(", ")}, ${good} AS good FROM ${source}) TO ${quoted(partial)} ${STAGED_FORMAT}`,
      onProgress,
    );
    bad = await engine.number(`SELECT count(*) FROM read_parquet(${quoted(partial)}) WHERE NOT good`);
  } catch (error) {
    await intact;
    throw readFailure(path, error);
  }
  await intact;
  const rejected = await countRejects(engine, path);
  if (!skip) {
    if (rejected > 0) throw await firstReject(engine, layout);
    if (bad > 0) throw await firstBadRow(engine, layout, good);
  }
  if (bad > 0) {
    const kept = `${partial}.kept`;
    await engine.run(
      `COPY (SELECT * FROM read_parquet(${quoted(partial)}) WHERE good) TO ${quoted(kept)} ${STAGED_FORMAT}`,
    );
    Deno.renameSync(kept, partial);
  }
  const rows = await engine.number(`SELECT count(*) FROM read_parquet(${quoted(partial)})`);
  Deno.renameSync(partial, staged);
  return { rows, skippedRows: rejected + bad, labelled };
}

/** Writes labels and dense values as chunks. */
async function writeChunks(engine: Engine, log: string, dense: number, stage: StageDirectory): Promise<StagedChunk[]> {
  const buffer = new ChunkBuffer(CHUNK_ROWS, dense, 0);
  const chunks: StagedChunk[] = [];
  const flush = () => chunks.push(buffer.flush(stage.path(`${log}.${chunks.length}.rows`)));
  const values = Array.from({ length: dense }, (_, d) => `d${d}`);
  for await (const chunk of engine.stream(`SELECT ${["label", ...values].join(", ")} FROM ${log}`)) {
    if (buffer.rows + chunk.rowCount > CHUNK_ROWS) flush();
    addRows(buffer, chunk, dense);
  }
  if (buffer.rows > 0) flush();
  return chunks;
}

function addRows(buffer: ChunkBuffer, chunk: DuckDBDataChunk, dense: number): void {
  buffer.labels.set(numbers<Uint8Array>(chunk.getColumnVector(0)), buffer.rows);
  for (let d = 0; d < dense; d++) {
    const values = numbers<Float32Array>(chunk.getColumnVector(1 + d));
    for (let i = 0, o = buffer.rows * dense + d; i < chunk.rowCount; i++, o += dense) buffer.dense[o] = values[i];
  }
  buffer.rows += chunk.rowCount;
}

/** SQL that is true for rows without a bad field. */
function allGood(fields: readonly Field[]): string {
  return fields.map((f) => `(${f.good})`).join(" AND ");
}

async function layoutOf(
  engine: Engine,
  path: string,
  schema: LogSchema,
  { maxIndRange, toScore, onBadRow }: StageOptions,
): Promise<Layout> {
  const parquet = path.endsWith(".parquet");
  const label = schema.columns.find((c) => c.kind === "label")!;
  const types = parquet ? await parquetTypes(engine, path) : undefined;
  let names: string[];
  if (types !== undefined) names = [...types.keys()];
  else if (schema.header) names = splitLine(await firstLine(engine, path), schema);
  else {
    names = schema.columns.map((c) => c.name);
    const first = await firstLine(engine, path);
    const width = splitLine(first, schema).length;
    if (toScore && width === names.length - 1) names = names.filter((n) => n !== label.name);
    else if (onBadRow === "fail" && first !== "" && width !== names.length) {
      // Found in a whole file of another format, all its rows would be collected first.
      throw new HotsetError(`Cannot read ${path}: line 1: ${widthFault(width, names.length)}; ${OTHER_FORMAT}`);
    }
  }
  // Rows to score are not sorted, so a moment that is no feature is not needed.
  const needed = schema.columns.filter((c) => c.kind !== "ignore" && !(toScore && c.kind === "time" && !isDense(c)));
  for (const { name, kind } of needed) {
    if (toScore && kind === "label") continue;
    const found = names.filter((n) => n === name).length;
    if (found !== 1) {
      throw new HotsetError(`Cannot read ${path}: ${found === 0 ? "no column" : `${found} columns`} named ${name}`);
    }
    if (isList(types?.get(name)) && kind !== "bag") {
      throw new HotsetError(
        `Cannot read ${path}: column ${name} has lists (${types!.get(name)}), and its kind is ${kind}; use kind bag`,
      );
    }
  }
  const labelled = names.includes(label.name);
  const field = fieldBuilder(maxIndRange);
  const fields = needed.flatMap((column) => {
    const position = names.indexOf(column.name);
    if (position < 0) return field(column, "false");
    const list = isList(types?.get(column.name));
    return field(
      column,
      types === undefined ? `c${position}` : list ? identifier(column.name) : typedParquet(column),
      list,
    );
  });
  const kinds = new Map(schema.columns.map((c) => [c.name, c]));
  const columns = names.map((name, i) => `c${i}: ${quoted(csvType(kinds.get(name)))}`).join(", ");
  const source = parquet
    ? `read_parquet(${quoted(path)})`
    : `read_csv(${quoted(path)}, auto_detect = false, header = ${schema.header}, delim = ${
      quoted(schema.delimiter)
    }, ` +
      `quote = ${quoted(schema.quote)}, escape = ${quoted(schema.quote)}, comment = '', ` +
      `columns = {${columns}}, store_rejects = true, rejects_limit = 0)`;
  const headerLines = parquet ? undefined : Number(schema.header);
  return { path, source, fields, names, headerLines, labelled };
}

function csvType(column: Column | undefined): string {
  if (column?.kind === "label") {
    return column.positive !== undefined ? "VARCHAR" : column.atLeast !== undefined ? "DOUBLE" : "BOOLEAN";
  }
  return column?.kind === "dense" && !isMoment(column) ? "DOUBLE" : "VARCHAR";
}

/** True for Parquet columns of lists. */
function isList(type: string | undefined): boolean {
  return type?.endsWith("[]") ?? false;
}

/** A Parquet column in the type that CSV fields of its kind have; what does not fit becomes a value that is not good. */
function typedParquet(column: Column): string {
  const raw = identifier(column.name);
  const type = csvType(column);
  if (type === "BOOLEAN") return `TRY_CAST(${raw}::VARCHAR AS BOOLEAN)`;
  if (type === "DOUBLE") return `CASE WHEN ${raw} IS NOT NULL THEN coalesce(TRY_CAST(${raw} AS DOUBLE), 'nan') END`;
  return `${raw}::VARCHAR`;
}

/** Makes fields of text, numbers or lists, numbering dense and sparse ones from 0. */
function fieldBuilder(maxIndRange: number | undefined): (column: Column, raw: string, list?: boolean) => Field[] {
  let dense = 0;
  let sparse = 0;
  return (column, raw, list = false) => {
    if (isSparse(column)) {
      const staged = `t${sparse++}`;
      const key = (text: string) => categoricalKey(column.values, text, maxIndRange);
      if (column.kind === "sparse") return [{ column, staged, raw, value: key(raw), good: `${key(raw)} IS NOT NULL` }];
      const items = list ? `${raw}::VARCHAR[]` : `string_split(${raw}, ${quoted(column.separator)})`;
      const value = `list_transform(CASE WHEN ${raw} IS NULL THEN [] ELSE ${items} END, lambda v: ${
        key("nullif(v, '')")
      })`;
      return [{ column, staged, raw, value, good: `len(${value}) = list_count(${value})` }];
    }
    if (column.kind === "dense" || column.kind === "time") {
      const number = isMoment(column) ? secondsOf(raw) : raw;
      const value = `coalesce(TRY_CAST(${transformed(column.transform, number)} AS FLOAT), 0)`;
      const finite = `coalesce(abs(${number}) <= 3.4e38, true)`;
      if (column.kind === "dense") return [{ column, staged: `d${dense++}`, raw, value, good: finite }];
      const moment = { column, staged: "moment", raw, value: number, good: `${raw} IS NOT NULL AND ${finite}` };
      return isDense(column) ? [moment, { column, staged: `d${dense++}`, raw, value, good: "true" }] : [moment];
    }
    return [{ column, staged: "label", raw, ...labelled(column, raw) }];
  };
}

/** SQL of the unix seconds that a text stands for: NaN if it stands for none, NULL without one. */
function secondsOf(text: string): string {
  return `CASE WHEN ${text} IS NOT NULL THEN ` +
    `coalesce(TRY_CAST(${text} AS DOUBLE), epoch(TRY_CAST(${text} AS TIMESTAMPTZ)), 'nan') END`;
}

/** SQL of a dense value. */
function transformed(transform: "log" | "none" | "hour" | "clock" | "order", raw: string): string {
  if (transform === "log") return `ln(greatest(${raw}, 0) + 1)`;
  if (transform === "hour") return `(${raw} % 100) / 24`;
  if (transform === "clock") return `(${raw} % 86400) / 86400`;
  return raw;
}

/** SQL of a label, and whether it can be used. */
function labelled(column: Column, raw: string): { value: string; good: string } {
  const there = `${raw} IS NOT NULL`;
  if (column.kind === "label" && column.positive !== undefined) {
    return { value: `(${raw} IN (${column.positive.map(quoted).join(", ")}))::UTINYINT`, good: there };
  }
  if (column.kind === "label" && column.atLeast !== undefined) {
    return { value: `(${raw} >= ${column.atLeast})::UTINYINT`, good: `${there} AND abs(${raw}) <= 3.4e38` };
  }
  return { value: `${raw}::UTINYINT`, good: there };
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

/** The types of the columns, by name. */
async function parquetTypes(engine: Engine, path: string): Promise<Map<string, string>> {
  try {
    const rows = await engine.rows(`DESCRIBE FROM read_parquet(${quoted(path)})`);
    return new Map(rows.map(([name, type]) => [String(name), String(type)]));
  } catch (error) {
    throw readFailure(path, error);
  }
}
