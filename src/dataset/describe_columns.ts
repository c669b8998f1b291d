/** Describes the columns of a log: types, ranges and notations, from a sample that is read like prepare reads it. */
import { quoted } from "./duckdb.ts";
import type { Engine } from "./duckdb.ts";
import type { Column } from "./schema.ts";
import { fieldBuilder, parsedRows } from "./fields.ts";
import { isMissing } from "./value_rules.ts";

/** Notation of the numbers or moments of a column. */
export type Written = { decimal?: ","; thousands?: "," | "." | " " | "_" | "'"; format?: string };

export interface ColumnFindings {
  readonly name: string;
  /** SQL of the field, and its type in a Parquet file. */
  readonly raw: string;
  readonly parquet: string | undefined;
  /** For text, the type that all its values have. */
  readonly type: string;
  readonly written: Written;
  readonly min: string | null;
  readonly max: string | null;
  readonly distinct: number;
  readonly rows: number;
  /** No row lacks a value. */
  readonly full: boolean;
  /** Every row has a larger whole number than the previous one. */
  readonly rising: boolean;
  /** All values are labels, and both labels occur. */
  readonly flag: boolean;
  /** For text: every value is hexadecimal; some values are lists; the separator of lists in brackets. */
  readonly hex: boolean;
  readonly listed: boolean;
  readonly brackets: string | undefined;
  /** Formats that contradict each other. */
  readonly doubt: string | undefined;
}

const FIRST_ROWS = 256;
/** A column with more distinct texts than this contains values other than 0 and 1 in all notations. */
const MAX_LABEL_TEXTS = 100;
/** Recognised date formats besides ISO 8601. */
const FORMATS = ["%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y"]
  .flatMap((date) => [date, `${date} %H:%M:%S`, `${date} %H:%M`]);
/** Checks whether digits are a date, by format. */
const DIGITS = Object.fromEntries(
  Object.entries({ "%Y%m%d": 8, "%Y%m%d%H": 10, "%Y%m%d%H%M%S": 14 }).map(([format, digits]) => [
    format,
    `length(v) = ${digits} AND v[1:2] IN ('19', '20') AND ${inFormat(format)}`,
  ]),
);

function inFormat(format: string): string {
  return `try_strptime(v, ${quoted(format)}) IS NOT NULL`;
}

/** Notations of numbers other than 1234.5, each with the values that match it and the character that proves it. */
const NUMBERS: { written: Written; pattern: string; mark: string }[] = [
  { written: { decimal: "," }, pattern: "[-+]?[0-9]+(,[0-9]+)?", mark: "," },
  { written: { decimal: ",", thousands: "." }, pattern: "[-+]?[0-9]{1,3}([.][0-9]{3})*(,[0-9]+)?", mark: "," },
  ...([",", "_", " ", "'"] as const).map((thousands) => ({
    written: { thousands },
    pattern: `[-+]?([0-9]{1,3}([${thousands}][0-9]{3})*|[0-9]+)([.][0-9]+)?`,
    mark: thousands,
  })),
];

/** Describes one column of the table `sample`. */
export async function describeColumn(
  engine: Engine,
  name: string,
  raw: string,
  parquet: string | undefined,
): Promise<ColumnFindings> {
  const text = parquet === undefined || parquet === "VARCHAR";
  const shape = text
    ? await textType(engine, raw)
    : { type: parquet, written: {}, doubt: undefined, hex: false, listed: false, brackets: undefined };
  const value = text
    ? typed(raw, shape.type, shape.written)
    : /^(FLOAT|DOUBLE)$/.test(parquet)
    ? `nullif(${raw}, 'nan')`
    : raw;
  const [[min, max, distinct, rows, filled]] = await engine.rows(
    `SELECT min(v)::VARCHAR, max(v)::VARCHAR, (count(DISTINCT v) FILTER (filled))::DOUBLE, count(*)::DOUBLE, ` +
      `(count(*) FILTER (filled))::DOUBLE ` +
      `FROM (SELECT ${value} AS v, NOT ${isMissing(`${raw}::VARCHAR`)} AS filled FROM sample)`,
  );
  const unique = distinct === rows && /INT/.test(shape.type);
  const rising = unique && (await engine.rows(
        `SELECT bool_and(v > before) FROM (SELECT ${value} AS v, lag(${value}) OVER (ORDER BY rowid) AS before FROM sample)`,
      ))[0][0] === true;
  const [label] = fieldBuilder(undefined, undefined)({ name, kind: "label" }, { raw, type: parquet });
  const flag = Number(distinct) <= MAX_LABEL_TEXTS && (await engine.rows(
        `SELECT bool_and(${label.good}) AND min(${label.value}) < max(${label.value}) FROM ${
          parsedRows("sample", [label])
        }`,
      ))[0][0] === true;
  return {
    name,
    raw,
    parquet,
    ...shape,
    min: min as string | null,
    max: max as string | null,
    distinct: Number(distinct),
    rows: Number(rows),
    full: filled === rows,
    rising,
    flag,
  };
}

function typed(raw: string, type: string, { format }: Written): string {
  const text = `CASE WHEN NOT ${isMissing(raw)} THEN ${raw} END`;
  if (type === "VARCHAR" || type === "NUMBER") return `(${text})`;
  return format === undefined ? `TRY_CAST(${text} AS ${type})` : `try_strptime(${text}, ${quoted(format)})::${type}`;
}

/** The type that all values of a text have, and their notation. */
async function textType(
  engine: Engine,
  raw: string,
): Promise<Pick<ColumnFindings, "type" | "written" | "doubt" | "hex" | "listed" | "brackets">> {
  const is = await passed(engine, raw, {
    integer: "regexp_full_match(v, '[-+]?[0-9]{1,18}')",
    fraction: "TRY_CAST(v AS DOUBLE) IS NOT NULL AND NOT contains(v, '_')",
    boolean: "lower(v) IN ('true', 'false')",
    moment: "TRY_CAST(v AS TIMESTAMPTZ) IS NOT NULL",
    date: "length(v) <= 10",
    hex: "regexp_full_match(v, '[0-9a-fA-F]{8}')",
    brackets: "regexp_full_match(v, '(?s)\\[.*\\]|\\(.*,.*\\)|\\{.*,.*\\}')",
    digit: "regexp_matches(v, '^\\s*[-+]?[0-9]')",
  }, { listed: "avg(contains(v, '|')::INTEGER) > 0.2", comma: "bool_or(contains(v, ','))" });
  const found = (type: string, written: Written = {}, doubt?: string) => ({
    type,
    written,
    doubt,
    hex: is.has("hex"),
    listed: is.has("listed"),
    brackets: is.has("brackets") ? (is.has("comma") ? "," : " ") : undefined,
  });
  if (is.has("integer")) {
    const digits = await passed(engine, raw, DIGITS);
    const [format] = digits;
    return format === undefined ? found("BIGINT") : found("TIMESTAMP", { format });
  }
  if (is.has("fraction")) return found("DOUBLE");
  if (is.has("boolean")) return found("BOOLEAN");
  if (is.has("moment")) return found(is.has("date") ? "DATE" : "TIMESTAMP");
  return is.has("digit") ? await otherType(engine, raw, found) : found("VARCHAR");
}

/** The type of a text that begins with digits in an unusual notation. */
async function otherType<F>(
  engine: Engine,
  raw: string,
  found: (type: string, written?: Written, doubt?: string) => F,
): Promise<F> {
  const formats = [
    ...await passed(engine, raw, Object.fromEntries(FORMATS.map((format) => [format, inFormat(format)]))),
  ];
  if (formats.length > 1) return found("VARCHAR", {}, `either of format ${formats.join(" or ")}`);
  if (formats.length === 1) return found(formats[0].includes("%H") ? "TIMESTAMP" : "DATE", { format: formats[0] });
  const is = await passed(
    engine,
    raw,
    Object.fromEntries(NUMBERS.map(({ pattern }) => [pattern, `regexp_full_match(v, ${quoted(pattern)})`])),
    Object.fromEntries(NUMBERS.map(({ mark }) => [mark, `bool_or(contains(v, ${quoted(mark)}))`])),
  );
  const numbers = NUMBERS.filter(({ pattern, mark }) => is.has(pattern) && is.has(mark));
  // 1.234,5 has no plain decimal comma, and if three digits follow every comma, commas may separate thousands.
  const [first, second] = numbers.filter(({ written }) =>
    !(written.decimal === "," && written.thousands !== undefined && is.has(NUMBERS[0].pattern))
  );
  if (second !== undefined) return found("VARCHAR", {}, "commas of decimals or of thousands");
  return first === undefined ? found("VARCHAR") : found("NUMBER", first.written);
}

/** The checks that all values of a column pass. */
async function passed(
  engine: Engine,
  raw: string,
  ofValues: Record<string, string>,
  ofColumn: Record<string, string> = {},
): Promise<Set<string>> {
  const ask = async (tests: [string, string][], rows: string, unknown: boolean) => {
    if (tests.length === 0) return [];
    const [values] = await engine.rows(
      `SELECT ${tests.map(([, test]) => test).join(", ")} ` +
        `FROM (SELECT ${raw} AS v FROM (${rows})) WHERE NOT ${isMissing("v")}`,
    );
    return tests.filter((_, i) => values[i] ?? unknown);
  };
  const all = Object.entries(ofValues).map(([name, test]): [string, string] => [name, `bool_and(${test})`]);
  // The first rows rule out most types.
  const likely = await ask(all, `FROM sample LIMIT ${FIRST_ROWS}`, true);
  const names = await ask([...likely, ...Object.entries(ofColumn)], "FROM sample", false);
  return new Set(names.map(([name]) => name));
}

/**
 * What is wrong with a proposed column in the sample: number of rows that prepare would reject, and the first of them.
 */
export async function refused(
  engine: Engine,
  column: Column,
  { raw, parquet }: ColumnFindings,
): Promise<{ rows: number; first: string | null } | undefined> {
  if (column.kind === "ignore") return undefined;
  const fields = fieldBuilder(undefined, undefined)(column, { raw, type: parquet });
  const [[rows, first]] = await engine.rows(
    `SELECT count(*)::DOUBLE, any_value(${raw}::VARCHAR) FROM ${parsedRows("sample", fields)} ` +
      `WHERE NOT (${fields.map(({ good }) => `(${good})`).join(" AND ")})`,
  );
  return Number(rows) === 0 ? undefined : { rows: Number(rows), first: first as string | null };
}

/** For a column with missing values: number of rows with a value, by label. */
export async function filledByLabel(
  engine: Engine,
  { raw }: ColumnFindings,
  column: Column,
  label: ColumnFindings,
): Promise<[number, number]> {
  const fields = fieldBuilder(undefined, undefined)(column, { raw: label.raw, type: label.parquet });
  const [[zeros, ones]] = await engine.rows(
    `SELECT (count(*) FILTER (l = 0))::DOUBLE, (count(*) FILTER (l = 1))::DOUBLE FROM ` +
      `(SELECT ${fields[0].value} AS l FROM ${parsedRows("sample", fields)} WHERE NOT ${isMissing(`${raw}::VARCHAR`)})`,
  );
  return [Number(zeros), Number(ones)];
}
