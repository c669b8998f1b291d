/** Proposes a schema for a log. */
import { availableParallelism } from "node:os";
import { HotsetError, UsageError } from "../errors.ts";
import { didYouMean } from "../similar.ts";
import { TemporaryDirectory } from "../storage/temporary.ts";
import { type ColumnFindings, describeColumn, filledByLabel, refused } from "./describe_columns.ts";
import { Engine } from "./duckdb.ts";
import { parquetTypes, rowsOf } from "./file_source.ts";
import { COMMAS } from "./formats.ts";
import { columnNames, splitLine } from "./header_line.ts";
import { findInputs, type InputFile } from "./inputs.ts";
import { readFailure } from "./query_faults.ts";
import { type Column, isSparse, type LogSchema, type Moment } from "./schema.ts";
import { sniffText, type TextForm } from "./sniff_text.ts";
import { firstLine } from "./text_file.ts";

const SAMPLE_ROWS = 1_000_000;
const MEMORY_BYTES = 2 ** 30;
const LABEL_NAMES = /^(label|y|target|click(ed|s)?|is_?click(ed)?|conver(sion|ted))$/i;
const ID_NAMES = /(^|_)(id|ids|code|type|category|cat|user|item)$|^(id|user|item|cat|C)_?\d*$/i;
const TIME_NAMES = /time|date|(^|_)ts$/i;
/** Ranges of numbers that are moments of the last decades, by unit. */
const UNITS = [
  { unit: "s", name: "seconds", from: 1e8, to: 1e10 },
  { unit: "ms", name: "milliseconds", from: 1e11, to: 1e13 },
  { unit: "us", name: "microseconds", from: 1e14, to: 1e16 },
  { unit: "ns", name: "nanoseconds", from: 1e17, to: 1e19 },
] as const;
/** A column with at least this share of distinct values identifies rows, so a model cannot learn from it. */
const UNIQUE_SHARE = 0.95;
/** Whole numbers with at most this number of distinct values are more likely codes than amounts. */
const MAX_CODES = 20;
/** A label can have a few values. */
const MAX_LABELS = 10;

const INTEGERS = /^U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?$/;
const FRACTIONS = /^(DOUBLE|FLOAT|DECIMAL(\(.*\))?)$/;
/** Text that looks like a list of codes. */
const LISTS = /^(VARCHAR|UUID|U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?)\[\]$/;

interface Found extends ColumnFindings {
  /** True if it is the row number. */
  readonly numbersRows: boolean;
}

/** In fewer rows everything could be chance. */
const FEW_ROWS = 20;
/** Maximum probability that rows with a value have one label by chance. */
const CHANCE = 1e-6;
/** Names that programs give to row numbers. */
const ROW_NAMES = /^(Unnamed: \d+|__index_level_\d+__|index|row|row_?(number|num|no|id))$/i;

/**
 * Proposes a schema for a CSV (also TSV, .gz, .zst) or Parquet file from its first million rows: its dialect, and of
 * each column what its name, type and values suggest. The sample is read like `prepare` reads it, so the proposal is
 * accepted. Notes in the schema give reasons, and `onNote` receives what the user must check. `label` names the column of
 * the label; by default it is guessed. Throws HotsetError if the file cannot be read or has no such column.
 */
export async function inferSchema(
  path: string,
  onProgress: (fraction: number) => void = () => {},
  onNote: (note: string) => void = () => {},
  label?: string,
): Promise<LogSchema> {
  const [file] = findInputs([path]);
  using directory = new TemporaryDirectory("hotset-infer-");
  try {
    using engine = await Engine.create(directory.path, { memoryBytes: MEMORY_BYTES, threads: availableParallelism() });
    const { form, found } = await describe(engine, file, onProgress);
    const named = label === undefined ? undefined : found.find(({ name }) => name === label);
    if (label !== undefined && named === undefined) {
      throw new UsageError(
        `Cannot use the label ${label}: ${path} has no such column${didYouMean(label, found.map(({ name }) => name))}`,
      );
    }
    const likely = await withPositive(engine, found, propose(found, named));
    const columns = likely.some(isSparse) ? likely : likely.map(asCodes);
    if (!columns.some(isSparse)) {
      throw new HotsetError(`Cannot infer a schema of ${path}: no column looks like categories; write one by hand`);
    }
    const safe = await accepted(engine, found, await withoutLeaks(engine, found, columns));
    if (!columns.some(({ kind }) => kind === "label")) onNote(NO_LABEL);
    for (const column of safe) {
      if (column.kind === "label" && label === undefined && !/^only /.test(column.note!)) {
        onNote(`No column contains only 0 and 1; ${column.name} is proposed as the label: ${column.note}`);
      }
    }
    return { ...form, columns: safe };
  } catch (error) {
    throw readFailure(path, error);
  }
}

const NO_LABEL =
  "No column looks like a label. If every row is a positive, such as a click, prepare with --negatives 4 " +
  "--group USER --item ITEM; otherwise set kind label for a column of the schema";

/** Reads a sample and describes each of its columns. */
async function describe(engine: Engine, file: InputFile, onProgress: (fraction: number) => void) {
  const parquet = file.content === "parquet";
  const form: TextForm = parquet ? COMMAS : await sniffText(engine, file);
  const types = parquet ? await parquetTypes(engine, file.path) : undefined;
  const first = types === undefined ? await firstLine(file, form.skip) ?? "" : "";
  const fields = splitLine(first, form);
  const names = types !== undefined
    ? [...types.keys()]
    : form.header
    ? columnNames(first, form)
    : fields.map((_, i) => `column${i}`);
  await engine.run(`CREATE TABLE sample AS FROM ${rowsOf(file, form, names)} LIMIT ${SAMPLE_ROWS}`);
  const found: Found[] = [];
  for (const [i, name] of names.entries()) {
    const described = await describeColumn(engine, name, `c${i}`, types?.get(name));
    const unnamed = form.header && fields[i] === "";
    found.push({ ...described, numbersRows: isRowNumber(described, unnamed) });
    onProgress((i + 1) / names.length);
  }
  return { form, found };
}

/** True for an index column like that of pandas. */
function isRowNumber({ name, type, full, distinct, rows, rising }: ColumnFindings, unnamed: boolean): boolean {
  const unique = full && distinct === rows && INTEGERS.test(type);
  return unique && ((rising && rows >= FEW_ROWS) || unnamed || ROW_NAMES.test(name));
}

/** Ignores columns that prepare would reject; which values count as label 1 is for the user to decide. */
async function accepted(engine: Engine, found: readonly Found[], columns: readonly Column[]): Promise<Column[]> {
  const kept: Column[] = [];
  for (const [i, column] of columns.entries()) {
    const fault = column.kind === "label" ? undefined : await refused(engine, column, found[i]);
    if (fault === undefined) kept.push(column);
    else {
      const note = `as ${column.kind} ${fault.rows} of ${found[i].rows} rows would be refused: ${fault.first}`;
      kept.push({ name: column.name, kind: "ignore", note });
    }
  }
  return kept;
}

/** Ignores columns that have a value only for one label. */
async function withoutLeaks(engine: Engine, found: readonly Found[], columns: readonly Column[]): Promise<Column[]> {
  const at = columns.findIndex(({ kind }) => kind === "label");
  if (at < 0) return [...columns];
  const all = await filledByLabel(engine, found[at], columns[at], found[at]);
  const rows = all[0] + all[1];
  const kept: Column[] = [];
  for (const [i, column] of columns.entries()) {
    const filled = found[i].full || column.kind === "ignore" || i === at
      ? all
      : await filledByLabel(engine, found[i], columns[at], found[at]);
    const [only, other] = filled[0] === 0 ? [1, 0] : [0, 1];
    const chance = (all[only] / rows) ** filled[only];
    if (filled[other] > 0 || all[other] === 0 || chance > CHANCE) kept.push(column);
    else {
      const note = `filled in ${filled[only]} rows, all with the label ${only}: known only afterwards?`;
      kept.push({ name: column.name, kind: "ignore", note });
    }
  }
  return kept;
}

/** True for names of users, items and codes. */
function isIdName(name: string): boolean {
  return ID_NAMES.test(name.trim().replace(/[.][0-9]+$/, ""));
}

/** Gives each column a kind. */
function propose(found: readonly Found[], chosen: Found | undefined): Column[] {
  // A label beside a single feature is less likely than pairs of a user and an item.
  const isPairs = found.filter((f) => timeOf(f) === undefined).length <= 2;
  const coarse = found.filter(({ type }) => type === "VARCHAR" || INTEGERS.test(type) || FRACTIONS.test(type))
    .filter(({ distinct, full }) => distinct > 1 && distinct <= MAX_LABELS && full)
    .sort((a, b) => a.distinct - b.distinct);
  const flags = found.filter(({ flag }) => flag);
  const named = ({ name }: Found) => LABEL_NAMES.test(name);
  const unnamed = (found: Found[]) => isPairs ? undefined : found.find(({ name }) => !isIdName(name));
  const label = chosen ?? flags.find(named) ?? coarse.find(named) ?? unnamed(flags) ?? unnamed(coarse);
  const times = found.filter((f) => f !== label && f.distinct > 1 && timeOf(f) !== undefined);
  const orders = times.filter(({ full }) => full);
  const order = orders.find((f) => timeOf(f)!.transform === "clock") ?? orders[0];
  return found.map((f) => {
    if (f === order) return { name: f.name, kind: "time", ...timeOf(f)! };
    if (times.includes(f)) return otherTime(f, order);
    return f === label ? labelOf(f) : kindOf(f);
  });
}

/** For a text label, the value that counts as 1: the rarest, as clicks are rare, unless the user changes it. */
async function withPositive(engine: Engine, found: readonly Found[], columns: readonly Column[]): Promise<Column[]> {
  const at = columns.findIndex(({ kind }) => kind === "label");
  if (at < 0 || found[at].flag || found[at].type !== "VARCHAR") return [...columns];
  const { name, note } = columns[at];
  const [[rarest, rows]] = await engine.rows(
    `SELECT ${found[at].raw}::VARCHAR AS v, count(*)::DOUBLE FROM sample GROUP BY v ORDER BY 2, 1 LIMIT 1`,
  );
  const guess = `that ${JSON.stringify(rarest)}, the rarest (${rows} of ${
    found[at].rows
  } rows), counts as 1 is a guess`;
  return columns.with(at, { name, kind: "label", positive: [`${rarest}`], note: `${note}: ${guess}` });
}

function labelOf({ name, type, min, max, distinct, flag }: Found): Column {
  if (flag) return { name, kind: "label", note: `only ${min} and ${max}` };
  const values = `one of ${distinct} values`;
  if (type === "VARCHAR") return { name, kind: "label", note: values };
  const atLeast = distinct === 2 ? Number(max) : Math.floor((Number(min) + Number(max)) / 2) + 1;
  return { name, kind: "label", atLeast, note: `${values}, ${min} to ${max}: which of them count as 1 is a guess` };
}

/** The proposal if nothing looks like categories. */
function asCodes(column: Column): Column {
  if (column.kind !== "dense" || column.transform !== "log") return column;
  const { name, note } = column;
  const doubt = `${note?.split(";")[0]}; codes? Nothing else looks like categories`;
  return { name, kind: "sparse", values: "text", note: doubt };
}

/** Notation of the moments by which a column could sort the rows; undefined if it does not look like moments. */
function timeOf(
  { name, type, min, max, distinct, rows, written: { format } }: Found,
): (Moment & { transform: "clock" | "order"; note: string }) | undefined {
  const how = { ...(format === undefined ? {} : { format }), note: `${min} to ${max}` };
  if (/^TIMESTAMP(_\w+| WITH TIME ZONE)?$/.test(type) && !/^%Y%m%d$/.test(format ?? "")) {
    return { transform: "clock", ...how };
  }
  if (type === "DATE" || type === "TIMESTAMP") return { transform: "order", ...how };
  if (!INTEGERS.test(type)) return undefined;
  const unit = UNITS.find(({ from, to }) => Number(min) > from && Number(max) < to);
  if (unit === undefined || !(TIME_NAMES.test(name) || (unit.unit === "s" && distinct > rows / 10))) return undefined;
  return { transform: "clock", ...(unit.unit === "s" ? {} : { unit: unit.unit }), note: `unix ${unit.name}?` };
}

/** One column sorts the rows; another one can still be the time of day. */
function otherTime(f: Found, order: Found | undefined): Column {
  const { name } = f;
  const { transform, note, ...how } = timeOf(f)!;
  if (transform === "clock") return { name, kind: "dense", transform, ...how, note };
  const reason = order === undefined ? "rows that lack it cannot be sorted" : `${order.name} orders the rows`;
  return { name, kind: "ignore", note: `${note}; ${reason}` };
}

function kindOf(f: Found): Column {
  const { name, type } = f;
  const about = `${f.distinct} values in ${f.rows} rows`;
  const least = Number(f.min), most = Number(f.max);
  const ignored = (note: string): Column => ({ name, kind: "ignore", note });
  const sparse = (note: string): Column => ({ name, kind: "sparse", values: "text", note });
  const bag = { name, kind: "bag", values: "text" } as const;
  const lists: Column = { ...bag, separator: "|", note: `lists; ${about}` };
  const isUnique = f.distinct >= UNIQUE_SHARE * f.rows;
  if (f.distinct <= 1) return ignored("always the same");
  if (f.numbersRows) return ignored(`numbers the rows: ${f.min} to ${f.max}`);
  if (f.doubt !== undefined) return ignored(`${f.doubt}? Set it in the schema to use the column`);
  if (type === "NUMBER") return { name, kind: "dense", transform: "log", ...f.written, note: about };
  if (f.brackets !== undefined) {
    return { ...bag, separator: f.brackets, brackets: true, note: `lists in brackets; ${about}` };
  }
  if (LISTS.test(type) || f.listed) return lists;
  if (type === "BOOLEAN") return sparse(about);
  const named = isIdName(name);
  if (isUnique && (named || type === "VARCHAR")) return ignored(`names the row: ${about}`);
  if (type === "VARCHAR") return { name, kind: "sparse", values: f.hex ? "hex" : "text", note: about };
  if (named) return sparse(`named like a code: ${about}`);
  if (FRACTIONS.test(type)) {
    return { name, kind: "dense", transform: least >= 0 && most > 10 ? "log" : "none", note: `${f.min} to ${f.max}` };
  }
  if (!INTEGERS.test(type)) return ignored(`of type ${type}`);
  if (f.distinct <= MAX_CODES || least > most / 2) return sparse(`whole numbers that look like codes: ${about}`);
  return { name, kind: "dense", transform: "log", note: `${f.min} to ${f.max}; sparse if these are codes` };
}
