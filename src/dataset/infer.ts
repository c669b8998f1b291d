/** Proposals of a schema for a log that nobody has described yet. */
import { availableParallelism } from "node:os";
import { HotsetError, messageOf } from "../errors.ts";
import { TemporaryDirectory } from "../temporary.ts";
import { Engine, identifier, parquetFiles, quoted, textFile } from "./duckdb.ts";
import { findInputs, type InputFile } from "./inputs.ts";
import { readFailure } from "./query_faults.ts";
import { type Column, isSparse, type LogSchema } from "./schema.ts";

/** Rows that are looked at. */
const SAMPLE_ROWS = 1_000_000;
const MEMORY_BYTES = 2 ** 30;
const LABEL_NAMES = /^(label|y|target|click(ed|s)?|is_?click(ed)?|conver(sion|ted))$/i;
const ID_NAMES = /(^|_)(id|ids|code|type|category|cat|user|item)$|^(id|user|item|cat|C)_?\d*$/i;
const TIME_NAMES = /time|date|(^|_)ts$/i;
const UNIX_SECONDS = { from: 1e8, to: 1e10 };
const UNIX_MILLISECONDS = { from: 1e11, to: 1e13 };
/** A column of which at least this share of the rows differ names rows and teaches nothing. */
const UNIQUE_SHARE = 0.95;
/** Whole numbers with at most so many values are more likely codes than amounts. */
const MOST_CODES = 20;
/** A label can be one of a few values. */
const MOST_LABELS = 10;

const INTEGERS = /^U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?$/;
const FRACTIONS = /^(DOUBLE|FLOAT|DECIMAL(\(.*\))?)$/;
/** Lists of what could be codes. */
const LISTS = /^(VARCHAR|UUID|U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?)\[\]$/;

/** What was found in a column. */
interface Found {
  readonly name: string;
  readonly type: string;
  readonly min: string | null;
  readonly max: string | null;
  readonly distinct: number;
  readonly rows: number;
  /** No row lacks it. */
  readonly full: boolean;
  /** For text: every value is hexadecimal; a part of them is a list. */
  readonly hex: boolean;
  readonly listed: boolean;
}

/**
 * Proposes a schema for a CSV (also TSV, .gz, .zst) or Parquet file from its first million rows: what DuckDB's sniffer
 * says of the text, and of each column what its name, type and values suggest. Notes say why. It is for a person to
 * check. Throws HotsetError if the file cannot be read.
 */
export async function inferSchema(
  path: string,
  onProgress: (fraction: number) => void = () => {},
): Promise<LogSchema> {
  const [file] = findInputs([path]);
  using directory = new TemporaryDirectory("hotset-infer-");
  try {
    using engine = await Engine.create(directory.path, { memoryBytes: MEMORY_BYTES, threads: availableParallelism() });
    const { dates, ...text } = file.content === "parquet" ? PARQUET : await sniff(engine, file);
    const found = await describe(engine, file, text, dates, onProgress);
    const likely = propose(found);
    const columns = likely.some(isSparse) ? likely : likely.map(asCodes);
    const missing = columns.every((c) => c.kind !== "label") ? "a label" : columns.some(isSparse) ? "" : "categories";
    if (missing === "") return { ...text, columns };
    throw new HotsetError(`Cannot infer a schema of ${path}: no column looks like ${missing}; write one by hand`);
  } catch (error) {
    throw readFailure(path, error);
  }
}

type Text = Pick<LogSchema, "delimiter" | "quote" | "header">;
/** A text, and how it writes dates if that is not ISO 8601, which alone `prepare` reads. */
type SniffedText = Text & { readonly dates: string | undefined };

const PARQUET: SniffedText = { delimiter: ",", quote: '"', header: true, dates: undefined };

async function sniff(engine: Engine, file: InputFile): Promise<SniffedText> {
  const query = `SELECT Delimiter, Quote, HasHeader, DateFormat, TimestampFormat FROM sniff_csv(${textFile(file)})`;
  const [[delimiter, quote, header, dates, times]] = await engine.rows(query).catch((error) => {
    if (!/sniffing file/.test(messageOf(error))) throw error;
    throw new HotsetError(`Cannot read ${file.path}: it is no text with columns, and no Parquet file`, {
      cause: error,
    });
  });
  return {
    delimiter: String(delimiter),
    quote: quote === "(empty)" ? "" : String(quote),
    header: header === true,
    dates: [dates, times].filter((format) => format !== null).map(String).find((format) =>
      !format.startsWith("%Y-%m-%d")
    ),
  };
}

async function describe(
  engine: Engine,
  file: InputFile,
  text: Text,
  dates: string | undefined,
  onProgress: (fraction: number) => void,
): Promise<Found[]> {
  const source = file.content === "parquet" ? parquetFiles([file.path]) : `read_csv(${textFile(file)}, delim = ` +
    `${quoted(text.delimiter)}, quote = ${quoted(text.quote)}, header = ${text.header}, ignore_errors = true)`;
  await engine.run(`CREATE TABLE sample AS FROM ${source} LIMIT ${SAMPLE_ROWS}`);
  const found: Found[] = [];
  const columns = await engine.rows("DESCRIBE sample");
  for (const [name, type] of columns) {
    onProgress(found.length / columns.length);
    const column = identifier(String(name));
    const ofText = `coalesce(bool_and(regexp_full_match(${column}, '[0-9a-fA-F]{8}')), false), ` +
      `avg(contains(${column}, '|')::INTEGER) > 0.2`;
    const [[min, max, distinct, rows, filled, hex, listed]] = await engine.rows(
      `SELECT min(${column})::VARCHAR, max(${column})::VARCHAR, count(DISTINCT ${column})::DOUBLE, count(*)::DOUBLE, ` +
        `count(${column})::DOUBLE, ${type === "VARCHAR" ? ofText : "false, false"} FROM sample`,
    );
    found.push({
      name: String(name),
      type: dates !== undefined && /^(DATE|TIMESTAMP)/.test(String(type)) ? `${type} as ${dates}` : String(type),
      min: min as string | null,
      max: max as string | null,
      distinct: Number(distinct),
      rows: Number(rows),
      full: filled === rows,
      hex: hex === true,
      listed: listed === true,
    });
  }
  onProgress(1);
  return found;
}

/** Gives each column a kind. */
function propose(found: readonly Found[]): Column[] {
  const isFlag = ({ min, max, full, distinct }: Found) =>
    full && distinct === 2 && [["0", "1"], ["false", "true"]].some(([a, b]) => min === a && max === b);
  const coarse = found.filter(({ type }) => type === "VARCHAR" || INTEGERS.test(type) || FRACTIONS.test(type))
    .filter(({ distinct, full }) => distinct > 1 && distinct <= MOST_LABELS && full)
    .sort((a, b) => a.distinct - b.distinct);
  const label = found.find((f) => isFlag(f) && LABEL_NAMES.test(f.name)) ?? found.find(isFlag) ?? coarse[0];
  const times = found.filter((f) => f !== label && f.distinct > 1 && timeOf(f) !== undefined);
  const order = times.find((f) => timeOf(f)!.transform === "clock") ?? times[0];
  return found.map((f) => {
    if (f === order) return { name: f.name, kind: "time", ...timeOf(f)! };
    if (times.includes(f)) return otherTime(f, order);
    if (f !== label) return kindOf(f);
    const { name, type, min, max, distinct } = f;
    if (isFlag(f)) return { name, kind: "label", note: `only ${min} and ${max}` };
    // Which values count is not for a program to guess: until a person says it, prepare refuses them.
    const how = type === "VARCHAR" ? '"positive": [...]' : '"atLeast": ...';
    return { name, kind: "label", note: `one of ${distinct} values: say by ${how} which of them count as 1` };
  });
}

/** What is left to propose where nothing looks like categories. */
function asCodes(column: Column): Column {
  if (column.kind !== "dense" || column.transform !== "log") return column;
  const { name, note } = column;
  return {
    name,
    kind: "sparse",
    values: "text",
    note: `${note?.split(";")[0]}; codes? Nothing else looks like categories`,
  };
}

/** How a column could order the rows; undefined if it does not look as if it held moments. */
function timeOf(
  { name, type, min, max, distinct, rows }: Found,
): { transform: "clock" | "order"; note: string } | undefined {
  const within = ({ from, to }: typeof UNIX_SECONDS) => Number(min) > from && Number(max) < to;
  if (/^TIMESTAMP(_\w+| WITH TIME ZONE)?$/.test(type)) return { transform: "clock", note: `${min} to ${max}` };
  if (type === "DATE") return { transform: "order", note: `${min} to ${max}` };
  if (!INTEGERS.test(type)) return undefined;
  if (within(UNIX_SECONDS) && (TIME_NAMES.test(name) || distinct > rows / 10)) {
    return { transform: "clock", note: "unix seconds?" };
  }
  if (!within(UNIX_MILLISECONDS) || !TIME_NAMES.test(name)) return undefined;
  return { transform: "order", note: "unix milliseconds? Their time of day is a feature only if they are in seconds" };
}

/** One column orders the rows; another one can still tell the time of day. */
function otherTime(f: Found, order: Found): Column {
  const { name } = f;
  const { transform, note } = timeOf(f)!;
  if (transform === "clock") return { name, kind: "dense", transform, note };
  return { name, kind: "ignore", note: `${note}; ${order.name} orders the rows` };
}

function kindOf(f: Found): Column {
  const { name, type } = f;
  const about = `${f.distinct} values in ${f.rows} rows`;
  const least = Number(f.min), most = Number(f.max);
  if (f.distinct <= 1) return { name, kind: "ignore", note: "always the same" };
  if (type === "VARCHAR") {
    if (f.listed) return { name, kind: "bag", values: "text", separator: "|", note: `lists; ${about}` };
    if (f.distinct >= UNIQUE_SHARE * f.rows) return { name, kind: "ignore", note: `names the row: ${about}` };
    return { name, kind: "sparse", values: f.hex ? "hex" : "text", note: about };
  }
  if (LISTS.test(type)) return { name, kind: "bag", values: "text", separator: "|", note: `lists; ${about}` };
  if (type === "BOOLEAN") return { name, kind: "sparse", values: "text", note: about };
  const named = ID_NAMES.test(name);
  if (named && f.distinct >= UNIQUE_SHARE * f.rows) return { name, kind: "ignore", note: `names the row: ${about}` };
  if (named) return { name, kind: "sparse", values: "text", note: `named like a code: ${about}` };
  if (FRACTIONS.test(type)) {
    return { name, kind: "dense", transform: least >= 0 && most > 10 ? "log" : "none", note: `${f.min} to ${f.max}` };
  }
  if (INTEGERS.test(type)) {
    if (f.distinct <= MOST_CODES || least > most / 2) {
      return { name, kind: "sparse", values: "text", note: `whole numbers that look like codes: ${about}` };
    }
    return { name, kind: "dense", transform: "log", note: `${f.min} to ${f.max}; sparse if these are codes` };
  }
  const hint = / as %/.test(type) ? "; as 2024-05-31 23:59:00 they could order the rows" : "";
  return { name, kind: "ignore", note: `of type ${type}${hint}` };
}
