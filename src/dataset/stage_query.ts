/**
 * Stages any log that DuckDB reads: fields are parsed by a schema, checked, and written to Parquet files and then
 * chunks.
 */
import type { DuckDBDataChunk } from "@duckdb/node-api";
import { HotsetError } from "../errors.ts";
import { AtomicPath } from "../storage/atomic_file.ts";
import { type Engine, numbers, parquetFiles, quoted } from "./duckdb.ts";
import { type Field, fieldBuilder, fillOf, isPresent, parsedRows, typeFault, weightsField } from "./fields.ts";
import { columnNames, nameFault, splitLine } from "./header_line.ts";
import { folderColumns, type InputFile } from "./inputs.ts";
import { countRejects, type FileLayout, firstBadRow, firstReject, readFailure } from "./query_faults.ts";
import { parquetTypes, rowsOf } from "./file_source.ts";
import { type FileAccount, type LineAccount, noRows, noRowsFault } from "./read_account.ts";
import { OTHER_FORMAT, rowError, widthFault } from "./row_fault.ts";
import { type Column, isDense, isMean, isSparse, type LogSchema } from "./schema.ts";
import {
  groupOnly,
  weightedTables,
  weightsColumn,
  writeGroups,
  writeLookupWeights,
  writeWeights,
} from "./side_columns.ts";
import type { StageDirectory } from "./stage_directory.ts";
import type { Missing, StagedLog, StageOptions } from "./staged_log.ts";
import { ChunkBuffer, type StagedChunk } from "./staged_chunk.ts";
import { firstLine } from "./text_file.ts";
import { countLines, type TextLines } from "./text_lines.ts";
import { findRules, keys, stagedView, tableView } from "./value_rules.ts";

/** Staged rows are soon read a few times and then removed: compression costs more than it saves. */
const STAGED_FORMAT = "(FORMAT parquet, COMPRESSION uncompressed)";
const CHUNK_ROWS = 1 << 16;

/** The label of rows without a label. */
const NO_LABEL = { staged: "label", raw: "NULL", value: "0::UTINYINT", good: "true" };
/** The column of a log without labels. */
const CHOSEN: Column = { name: "label", kind: "label" };

/**
 * Reads files into views: one with the name of the log, which has row (from 0, in order), label UTINYINT and d0.. FLOAT
 * (transformed); and one per table (`tableView`) with row and t0.. UINTEGER or VARCHAR (or lists of them). Writes
 * labels and dense values to chunks. All data is in Parquet files, which DuckDB writes faster than tables. Throws
 * HotsetError that names the file, the line and the reason.
 */
export async function stageQuery(
  engine: Engine,
  schema: LogSchema,
  files: readonly InputFile[],
  stage: StageDirectory,
  options: StageOptions,
): Promise<StagedLog> {
  const { name, onProgress } = options;
  let labelled = true;
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  let bytes = 0;
  const parquet: string[] = [];
  const accounts: FileAccount[] = [];
  for (const [i, file] of files.entries()) {
    const staged = stage.path(`${name}.${i}.parquet`);
    const progress = (fraction: number) => onProgress?.((bytes + fraction * file.bytes) / total);
    const read = await stage.step(`${name}.${i}`, async () => {
      const layout = await layoutOf(engine, file, schema, options);
      if (layout === undefined) {
        return { account: noRows(file.path, (await countLines(file, schema, 1)).blank), labelled: undefined };
      }
      const account = await stageFile(engine, layout, staged, options.onBadRow === "skip", progress);
      return { account, labelled: layout.labelled };
    });
    accounts.push(read.account);
    if (read.labelled !== undefined) parquet.push(staged);
    labelled &&= read.labelled ?? true;
    progress(1);
    bytes += file.bytes;
  }
  const rows = accounts.reduce((sum, account) => sum + account.rows, 0);
  if (rows === 0) throw noRowsFault(accounts);
  let numbered = `SELECT row_number() OVER () - 1 AS row, * FROM ${parquetFiles(parquet)}`;
  if (options.purpose === "train" && schema.columns.some((c) => c.kind === "time")) {
    const sorted = stage.path(`${name}.sorted.parquet`);
    const inOrder = `SELECT * EXCLUDE (row) FROM (${numbered}) ORDER BY moment, row`;
    await stage.once(`${name}.sorted`, () => engine.run(`COPY (${inOrder}) TO ${quoted(sorted)} ${STAGED_FORMAT}`));
    numbered = `SELECT row_number() OVER () - 1 AS row, * FROM ${parquetFiles([sorted])}`;
  }
  const staged = stagedView(name);
  await engine.run(`CREATE OR REPLACE VIEW ${staged} AS ${numbered}`);
  const rules = options.rules ?? await stage.step(`${name}.rules`, () => findRules(engine, schema, staged));
  const columns = await stageColumns(engine, schema, { name, rows, rules }, stage, options);
  return { name, rows, files: accounts, labelled, rules, ...columns };
}

/** Makes the views, the chunks, the groups and all weights of a log from the view of its staged rows. */
export async function stageColumns(
  engine: Engine,
  schema: LogSchema,
  { name, rows, rules }: Pick<StagedLog, "name" | "rows" | "rules">,
  stage: StageDirectory,
  options: StageOptions,
): Promise<Pick<StagedLog, "missing" | "chunks" | "groups" | "weights">> {
  const staged = stagedView(name);
  const dense = schema.columns.filter(isDense).length;
  const missing = await stage.step(`${name}.missing`, () => findMissing(engine, schema, staged, rows, options));
  const filled = missing.map(({ value }, d) => `coalesce(d${d}, ${value}::FLOAT) AS d${d}`);
  await engine.run(`CREATE OR REPLACE VIEW ${name} AS SELECT ${["row", "label", ...filled].join(", ")} FROM ${staged}`);
  for (const [t, key] of keys(schema, rules, options.maxIndRange).entries()) {
    await engine.run(`CREATE OR REPLACE VIEW ${tableView(name, t)} AS SELECT row, ${key} AS t${t} FROM ${staged}`);
  }
  for (const t of weightedTables(schema)) {
    const { weights } = stage.columnFiles(name, t);
    await stage.once(`${name}.t${t}.weights`, () => writeLookupWeights(engine, staged, t, weights));
  }
  const chunks = await stage.step(`${name}.chunks`, () => writeChunks(engine, name, dense, stage));
  const groups = hasGroups(schema, options) ? stage.path(`${name}.groups.u64`) : undefined;
  if (groups !== undefined) {
    await stage.once(`${name}.groups`, () => writeGroups(engine, schema, rules, staged, groups));
  }
  const weights = hasWeights(schema, options) ? stage.path(`${name}.weights.f32`) : undefined;
  if (weights !== undefined) await stage.once(`${name}.weights`, () => writeWeights(engine, staged, weights));
  return { missing, chunks, groups, weights };
}

/** True if the groups of rows are read. Predictions have no metrics, so they need none. */
function hasGroups({ group }: LogSchema, { purpose }: StageOptions): boolean {
  return group !== undefined && purpose !== "predict";
}

function hasWeights({ columns }: LogSchema, { purpose }: StageOptions): boolean {
  return purpose !== "predict" && columns.some(({ kind }) => kind === "weight");
}

/**
 * Counts the missing values of each dense feature and determines their replacement: the mean is that of the train
 * split.
 */
async function findMissing(
  engine: Engine,
  schema: LogSchema,
  log: string,
  rows: number,
  { fills, trainRows }: StageOptions,
): Promise<Missing[]> {
  const found: Missing[] = [];
  for (const [d, column] of schema.columns.filter(isDense).entries()) {
    const count = await engine.number(`SELECT count(*) - count(d${d}) FROM ${log}`);
    const mean = `SELECT avg(d${d}) FROM ${log} WHERE row < ${trainRows?.(rows) ?? rows}`;
    const fill = isMean(column) ? `coalesce((${mean}), 0)` : fillOf(column);
    found.push({ rows: count, value: fills?.[d] ?? await engine.number(`SELECT (${fill})::FLOAT::DOUBLE`) });
  }
  return found;
}

async function stageFile(
  engine: Engine,
  layout: FileLayout,
  staged: string,
  skip: boolean,
  onProgress: (fraction: number) => void,
): Promise<FileAccount> {
  const { file, source, fields, text, names } = layout;
  const { path } = file;
  const counted = text === undefined ? undefined : countLines(file, text.dialect, names.length);
  counted?.catch(() => {}); // awaited below, before any error of DuckDB
  const values = fields.map((f) => `${f.value} AS ${f.staged}`);
  using output = new AtomicPath(staged);
  const partial = output.temporary;
  const good = allGood(fields);
  let bad: number;
  try {
    await engine.run(
      `COPY (SELECT ${values.join(", ")}, ${good} AS good FROM ${source}) TO ${quoted(partial)} ${STAGED_FORMAT}`,
      onProgress,
    );
    bad = await engine.number(`SELECT count(*) FROM ${parquetFiles([partial])} WHERE NOT good`);
  } catch (error) {
    await counted;
    throw readFailure(path, error);
  }
  const lines = await counted;
  const rejected = await countRejects(engine, path);
  if (!skip) {
    if (rejected > 0) throw await firstReject(engine, layout);
    if (bad > 0) throw await firstBadRow(engine, layout, good);
  }
  if (bad > 0) {
    const kept = `${partial}.kept`;
    await engine.run(
      `COPY (SELECT * FROM ${parquetFiles([partial])} WHERE good) TO ${quoted(kept)} ${STAGED_FORMAT}`,
    );
    Deno.renameSync(kept, partial);
  }
  const rows = await engine.number(`SELECT count(*) FROM ${parquetFiles([partial])}`);
  output.commit();
  const account = { path, rows, skippedRows: rejected + bad, notes: notesOf(layout, lines) };
  if (lines === undefined) return { ...account, lines: null };
  return { ...account, lines: await accountOf(engine, layout, lines, account, good) };
}

/** Accounts for every line of a text. Throws HotsetError if rows were lost, or lines were read that are not rows. */
async function accountOf(
  engine: Engine,
  { file, text, source, names }: FileLayout,
  { lines, blank, records, quoted, quotedInFirst, above }: TextLines,
  { rows, skippedRows }: { rows: number; skippedRows: number },
  good: string,
): Promise<LineAccount> {
  const named = Math.min(text!.header, records);
  if (named > 0 && quotedInFirst > 0) {
    throw rowError(file.path, `line ${above + 1}`, "a quote of the header is not closed");
  }
  const header = above + named;
  const ends = names.map((_, i) => `len(regexp_extract_all(coalesce(c${i}::VARCHAR, ''), '\\r\\n|\\r|\\n'))`);
  const kept = quoted === 0 || skippedRows === 0
    ? quoted
    : await engine.number(`SELECT coalesce(sum(${ends.join(" + ")}), 0) FROM ${source} WHERE ${good}`);
  const skipped = lines - header - blank - rows - kept;
  if (skipped < skippedRows || (skippedRows === 0 && skipped > 0)) {
    throw new HotsetError(
      `Cannot read ${file.path}: its ${lines} lines hold ${
        records - named
      } rows, and ${rows} were read; are delimiter ` +
        `and quote those of the schema?`,
    );
  }
  return { read: lines, header, blank, quoted: kept, skipped };
}

/** Warnings for the user. */
function notesOf({ inFolders, text }: FileLayout, lines: TextLines | undefined): string[] {
  const notes = inFolders.map((name) => `column ${name} is taken from the names of folders`);
  if (lines?.suspect === undefined) return notes;
  const { line, lines: ends } = lines.suspect;
  const advice = `if ${text!.dialect.quote} is an ordinary character here, write "quote": "" in the schema`;
  return [
    ...notes,
    `line ${line}: a quoted field begins that contains ${ends} line end${ends === 1 ? "" : "s"}; ${advice}`,
  ];
}

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

/** SQL that is true for rows without an invalid field. */
function allGood(fields: readonly Field[]): string {
  return fields.map((f) => `(${f.good})`).join(" AND ");
}

/** How a file is read; undefined if it is empty. */
async function layoutOf(
  engine: Engine,
  file: InputFile,
  schema: LogSchema,
  options: StageOptions,
): Promise<FileLayout | undefined> {
  const { maxIndRange, purpose, onBadRow, rules } = options;
  const { path, content } = file;
  if (content === "zip") throw new HotsetError(`Cannot read ${path}: it is a zip file; unpack it`);
  const parquet = content === "parquet";
  const label = schema.columns.find((c) => c.kind === "label");
  const types = parquet ? await parquetTypes(engine, path) : undefined;
  const folders = folderColumns(path);
  let names: string[];
  if (types !== undefined) names = [...types.keys()];
  else {
    const first = await firstLine(file, schema.skip);
    if (first === undefined) return undefined;
    const fields = splitLine(first, schema);
    const all = schema.columns.map((c) => c.name);
    const likely = [
      all,
      all.filter((n) => !folders.has(n)),
      ...purpose === "train" ? [] : [all.filter((n) => n !== label?.name)],
      ...purpose === "predict"
        ? [schema.columns.filter(({ kind }) => kind !== "label" && kind !== "weight").map((c) => c.name)]
        : [],
    ];
    names = schema.header ? columnNames(first, schema) : likely.find(({ length }) => length === fields.length) ?? all;
    if (onBadRow === "fail" && fields.length !== names.length) {
      // With a file of another format, all its rows would be collected before the error.
      throw rowError(path, "line 1", `${widthFault(fields.length, names.length)}; ${OTHER_FORMAT}`);
    }
  }
  const inFolders = schema.columns.map((c) => c.name).filter((n) => !names.includes(n) && folders.has(n));
  // Rows to score are not sorted, so a moment that is not a feature is not needed.
  const grouping = hasGroups(schema, options) ? groupOnly(schema) : undefined;
  const needed = schema.columns.filter((c) =>
    c === grouping ||
    (c.kind !== "ignore" && (purpose === "train" || c.kind !== "time" || isDense(c)) &&
      (purpose !== "predict" || c.kind !== "weight"))
  );
  for (const column of needed) {
    const { name, kind } = column;
    if ((purpose !== "train" && kind === "label") || inFolders.includes(name)) continue;
    if (!names.includes(name)) throw new HotsetError(`Cannot read ${path}: ${nameFault(name, names)}`);
    const fault = types && typeFault(column, types.get(name)!);
    if (fault !== undefined) throw new HotsetError(`Cannot read ${path}: ${fault}`);
  }
  const labelled = purpose !== "predict" && label !== undefined && [...names, ...inFolders].includes(label.name);
  const field = fieldBuilder(maxIndRange, rules, schema.delimiter === ";");
  // Without a value, rows of many users would be those of one.
  const required = [hasGroups(schema, options) ? schema.group : undefined, options.item];
  const placeOf = (name: string) =>
    inFolders.includes(name)
      ? { raw: literal(folders.get(name)!), type: undefined }
      : { raw: `c${names.indexOf(name)}`, type: types?.get(name) };
  const fields = needed.flatMap((column): Field[] => {
    const { name } = column;
    if (column.kind === "weights") return [];
    if (column === label && !labelled) return [{ column, ...NO_LABEL }];
    const place = placeOf(name);
    const parts = field(column, place);
    if (!required.includes(name)) return parts;
    return parts.map((part) => ({ ...part, required: true, good: `(${part.good}) AND ${isPresent(place)}` }));
  });
  for (const column of needed) {
    if (column.kind !== "weights") continue;
    const table = schema.columns.filter(isSparse).findIndex(({ name }) => name === column.of);
    const bag = fields.find((field) => field.column.name === column.of)!;
    fields.push(weightsField(column, bag, weightsColumn(table), placeOf(column.name)));
  }
  // A log without labels contains only positives.
  if (label === undefined) {
    fields.push({ ...NO_LABEL, column: CHOSEN, value: `${Number(purpose === "train")}::UTINYINT` });
  }
  const source = parsedRows(rowsOf(file, schema, names), fields);
  const text = parquet ? undefined : { dialect: schema, header: Number(schema.header) };
  return { file, source, fields, names, text, inFolders, labelled };
}

/** SQL of a value in the name of a directory. */
function literal(value: string | null): string {
  return value === null ? "NULL::VARCHAR" : `${quoted(value)}::VARCHAR`;
}
