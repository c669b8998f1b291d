/** Finds the reason why DuckDB could not read a file, with its line. */
import { HotsetError, messageOf } from "../errors.ts";
import { type Engine, engineFailure, isWriteFailure, quoted, reasonOf } from "./duckdb.ts";
import type { Field } from "./fields.ts";
import type { InputFile } from "./inputs.ts";
import { fieldFault, LINE_TOO_LONG, NOT_UTF8, rowError, schemaHint, widthFault } from "./row_fault.ts";
import { type Dialect, lineAfter, lineOfRecord } from "./text_lines.ts";

/** How a file is read. */
export interface FileLayout {
  readonly file: InputFile;
  /** SQL of a table with the fields of the file and what is parsed of them. */
  readonly source: string;
  readonly fields: Field[];
  /** Names of the fields by position, for messages. */
  readonly names: string[];
  /** How its text is divided into lines, and how many precede the first row; undefined if it has no lines. */
  readonly text: { readonly dialect: Dialect; readonly header: number } | undefined;
  /** Columns whose values are in the names of directories. */
  readonly inFolders: readonly string[];
  /** False if the file has no label. */
  readonly labelled: boolean;
}

/** The error to report for a failed read. */
export function readFailure(path: string, error: unknown): unknown {
  if (error instanceof HotsetError) return error;
  const text = messageOf(error);
  const fault = (reason: string) => new HotsetError(`Cannot read ${path}: ${reason}`, { cause: error });
  if (/CSV Parser state machine/.test(text)) {
    return fault("it mixes LF and CR LF line ends, or a quote is not closed; use one kind of line end");
  }
  const encoding = /CSV Error on Line: (\d+)[^]* not utf-8/.exec(text);
  if (encoding !== null) return rowError(path, `line ${encoding[1]}`, NOT_UTF8);
  if (!isWriteFailure(error)) {
    if (/magic bytes|parquet/i.test(text)) return fault(`not a Parquet file, or truncated: ${reasonOf(error)}`);
    if (/not a GZIP stream/.test(text)) return fault("not a gzip file");
  }
  return engineFailure(`read ${path}`, error);
}

function rejects(path: string): string {
  return `(SELECT line, line_byte_position AS byte, column_idx, error_type::VARCHAR AS kind, error_message AS message, csv_line ` +
    `FROM reject_errors JOIN reject_scans USING (scan_id, file_id) WHERE file_path = ${quoted(path)})`;
}

/** The lines of a file that were rejected. */
export async function countRejects(engine: Engine, path: string): Promise<number> {
  const tables = await engine.number(`SELECT count(*) FROM duckdb_tables() WHERE table_name = 'reject_errors'`);
  return tables === 0 ? 0 : await engine.number(`SELECT count(DISTINCT line) FROM ${rejects(path)}`);
}

/** The first rejected line as an error. */
export async function firstReject(engine: Engine, { file }: FileLayout): Promise<HotsetError> {
  // A row of the wrong width is reported once per missing or superfluous field; the width is in the first report of a
  // short row and in the last of a long one.
  const [[byte, kind, message, text]] = await engine.rows(
    `SELECT byte, kind, message, csv_line FROM ${rejects(file.path)} AS r ` +
      `ORDER BY r.line, if(kind = 'TOO MANY COLUMNS', -column_idx::BIGINT, column_idx::BIGINT) LIMIT 1`,
  );
  const hint = String(text).includes('\\"') ? ESCAPED : "";
  const line = await lineAfter(file, Number(byte) - 1);
  return rowError(file.path, `line ${line}`, rejectReason(String(kind), String(message)) + hint);
}

const ESCAPED = '; if backslashes escape quotes, set "escape": "\\\\" in the schema';

function rejectReason(kind: string, message: string): string {
  const widths = /Expected Number of Columns: (\d+) Found: (\d+)/.exec(message);
  if (widths !== null) return widthFault(Number(widths[2]), Number(widths[1]));
  if (kind === "INVALID ENCODING") return NOT_UTF8;
  if (kind === "UNQUOTED VALUE") return "a misplaced quote";
  if (kind === "LINE SIZE OVER MAXIMUM") return LINE_TOO_LONG;
  return message.split("\n")[0];
}

/** The first invalid row that was read, located in its file. */
export async function firstBadRow(engine: Engine, layout: FileLayout, allGood: string): Promise<HotsetError> {
  const { file, source, fields, text } = layout;
  const { path } = file;
  const goods = fields.map((f) => f.good).join(", ");
  const found = await engine.rows(
    `SELECT row::VARCHAR, [${goods}], [${fields.map((f) => `${f.raw}::VARCHAR`).join(", ")}] ` +
      `FROM (SELECT row_number() OVER () AS row, * FROM ${source}) WHERE NOT (${allGood}) LIMIT 1`,
  );
  const [row, good, raws] = found[0] as [string, { items: boolean[] }, { items: (string | null)[] }];
  const bad = good.items.indexOf(false);
  const { column, required } = fields[bad];
  const reason = fieldFault(column, raws.items[bad], required) + schemaHint(column, raws.items[bad]);
  if (text === undefined) return rowError(path, `row ${row}`, reason);
  const line = await lineOfRecord(file, text.dialect, Number(row) + text.header);
  return rowError(path, `line ${line}`, reason);
}
