/** Staging of any log that DuckDB reads: its fields by a schema, checked, into Parquet files and then into chunks. */
import type { DuckDBDataChunk } from "@duckdb/node-api";
import { HotsetError } from "../errors.ts";
import { checkWhole } from "./compressed.ts";
import { type Engine, identifier, numbers, quoted } from "./duckdb.ts";
import { csvType, type Field, fieldBuilder, isList, typedParquet } from "./fields.ts";
import { type InputFile, namesOf } from "./inputs.ts";
import { countRejects, firstBadRow, firstLine, firstReject, readFailure, splitLine } from "./query_faults.ts";
import { OTHER_FORMAT, widthFault } from "./row_fault.ts";
import { isDense, type LogSchema } from "./schema.ts";
import type { StageDirectory } from "./stage_directory.ts";
import type { StagedLog, StageOptions } from "./staged_log.ts";
import { ChunkBuffer, type StagedChunk } from "./staged_chunk.ts";

/** Staged rows are read a few times soon and then removed: compressing them costs more than it saves. */
const STAGED_FORMAT = "(FORMAT parquet, COMPRESSION uncompressed)";
const CHUNK_ROWS = 1 << 16;

/** The label of rows without one. */
const NO_LABEL = { staged: "label", raw: "NULL", value: "0::UTINYINT", good: "true" };

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
  if (options.purpose === "train" && schema.columns.some((c) => c.kind === "time")) {
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
  { maxIndRange, purpose, onBadRow }: StageOptions,
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
    if (purpose !== "train" && width === names.length - 1) names = names.filter((n) => n !== label.name);
    else if (onBadRow === "fail" && first !== "" && width !== names.length) {
      // Found in a whole file of another format, all its rows would be collected first.
      throw new HotsetError(`Cannot read ${path}: line 1: ${widthFault(width, names.length)}; ${OTHER_FORMAT}`);
    }
  }
  // Rows to score are not sorted, so a moment that is no feature is not needed.
  const needed = schema.columns.filter((c) =>
    c.kind !== "ignore" && (purpose === "train" || c.kind !== "time" || isDense(c))
  );
  for (const { name, kind } of needed) {
    if (purpose !== "train" && kind === "label") continue;
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
  const labelled = purpose !== "predict" && names.includes(label.name);
  const field = fieldBuilder(maxIndRange);
  const fields = needed.flatMap((column) => {
    if (column === label && !labelled) return { column, ...NO_LABEL };
    const position = names.indexOf(column.name);
    const list = isList(types?.get(column.name));
    return field(
      column,
      types === undefined ? `c${position}` : list ? identifier(column.name) : typedParquet(column),
      list,
    );
  });
  const kinds = new Map(schema.columns.map((c) => [c.name, c]));
  if (!labelled) kinds.delete(label.name); // any text will do
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

/** The types of the columns, by name. */
async function parquetTypes(engine: Engine, path: string): Promise<Map<string, string>> {
  try {
    const rows = await engine.rows(`DESCRIBE FROM read_parquet(${quoted(path)})`);
    return new Map(rows.map(([name, type]) => [String(name), String(type)]));
  } catch (error) {
    throw readFailure(path, error);
  }
}
