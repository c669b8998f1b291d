/**
 * The fields of a log as SQL: text of CSV and values of Parquet become labels, numbers and values. single_value.ts has
 * the same rules for single values in memory, and takes its patterns and limits from here.
 */
import { isOneOf, quoted } from "./duckdb.ts";
import {
  type Column,
  type DenseColumn,
  isDense,
  isMoment,
  isSparse,
  type SparseColumn,
  type WeightsColumn,
} from "./schema.ts";
import { GROUP_COLUMN, WEIGHT_COLUMN } from "./side_columns.ts";
import { canonical, isMissing, isNumberText, type ValueRule } from "./value_rules.ts";

/** A column of the log as SQL over the fields of a file. */
export interface Field {
  readonly column: Column;
  /** Name of the staged column. */
  readonly staged: string;
  /** The unchanged field of the file. */
  readonly raw: string;
  /** SQL of an intermediate value that `value` and `good` use, with its own name, so that text is parsed once. */
  readonly parsed?: { readonly name: string; readonly sql: string };
  /** The staged value: NULL for a missing dense value. */
  readonly value: string;
  /** True if the field is valid. */
  readonly good: string;
  /** True if every row needs a value, as it does of its group. */
  readonly required?: boolean;
}

/** Position of a column in a file. */
export interface Place {
  /** SQL of the field. */
  readonly raw: string;
  /** Its type in a Parquet file; undefined for text. */
  readonly type: string | undefined;
}

const NUMBERS = /^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|FLOAT|DECIMAL\(.*\)|BOOLEAN)$/;
/** Types of Parquet without an unambiguous text. */
const NESTED = /^(STRUCT|MAP|UNION|VARIANT|INTERVAL|BIT)\b|\]\[|\)\[|^BLOB\[/;
/** Larger whole numbers are not exact as floating-point numbers. */
const EXACT = { DOUBLE: 2 ** 53, FLOAT: 2 ** 24 } as const;
/** The largest dense value. */
export const MAX_NUMBER = 3.4e38;
/** Larger numbers (the year 5138) are not unix seconds, but finer units or dates written as numbers. */
export const MAX_SECONDS = 1e11;
/** A date written as a number: yyyymmdd, yyyymmddhh or yymmddhh. */
export const NUMBER_DATE = "(((19|20)[0-9]{2}|[0-9]{2})(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])([01][0-9]|2[0-3])|" +
  "(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01]))(\\.0+)?";
/** Blanks as RE2 defines them. */
const BLANK = "[\\t\\n\\f\\r ]*";
/** A number with a decimal comma, possible if semicolons separate fields; not with digits in groups of three. */
export const DECIMAL_COMMA = `${BLANK}[-+]?([0-9]+,([0-9]{1,2}|[0-9]{4,})|[0-9]{4,},[0-9]+|0,[0-9]+)${BLANK}`;

/** The pattern of a number with groups of three digits. */
export function groupedNumber(thousands: string, decimal: string): string {
  const [group, point] = [thousands, decimal].map((mark) => `[${mark}]`);
  return `${BLANK}[-+]?[0-9]{1,3}(${group}[0-9]{3})+(${point}[0-9]*)?${BLANK}`;
}
export const PER_SECOND = { s: 1, ms: 1e3, us: 1e6, ns: 1e9 } as const;

/** True for Parquet columns of lists. */
function isList(type: string | undefined): boolean {
  return type?.endsWith("[]") ?? false;
}

/** What is wrong with the type of a Parquet column for its kind in the schema, or undefined. */
export function typeFault({ name, kind }: Column, type: string): string | undefined {
  if (isList(type) && kind !== "bag" && kind !== "weights") {
    return `column ${name} has lists (${type}), and its kind is ${kind}; use kind ${
      kind === "weight" ? "weights" : "bag"
    }`;
  }
  if (NESTED.test(type)) return `column ${name} holds ${type}, which is not one value; write it as several columns`;
  return undefined;
}

/** SQL of the rows of a source with parsed fields. */
export function parsedRows(source: string, fields: readonly Field[]): string {
  const parsed = fields.flatMap((f) => f.parsed === undefined ? [] : [`${f.parsed.sql} AS ${f.parsed.name}`]);
  return `(SELECT ${["*", ...parsed].join(", ")} FROM ${source})`;
}

/**
 * Creates fields, numbering dense and sparse ones from 0; `weightsField` creates those of weights. `rules` are those of
 * the tables. With `commas`, which is possible if semicolons separate fields, 48,93 is a number; 1,125 could be thousands.
 */
export function fieldBuilder(
  maxIndRange: number | undefined,
  rules: readonly ValueRule[] | undefined,
  commas = false,
): (column: Column, place: Place) => Field[] {
  let dense = 0;
  let sparse = 0;
  let parsed = 0;
  return (column, place) => {
    const { raw } = place;
    if (isSparse(column)) {
      const table = sparse++;
      const staged = `t${table}`;
      const untyped = rules?.[table] === "untyped";
      const field = column.kind === "sparse" ? valueOf(column, place, untyped) : itemsOf(column, place, untyped);
      if (column.values !== "hex") return [{ column, staged, raw, ...field }];
      const key = (text: string) => hexKey(text, maxIndRange);
      if (column.kind === "sparse") {
        return [{ column, staged, raw, value: key(field.value), good: `${key(field.value)} IS NOT NULL` }];
      }
      const value = `list_transform(${field.value}, lambda v: ${key("v")})`;
      return [{ column, staged, raw, value, good: `${field.good} AND len(${value}) = list_count(${value})` }];
    }
    // A group is unchanged text.
    if (column.kind === "ignore") {
      return [{ column, staged: GROUP_COLUMN, raw, value: textOf(place), good: "true" }];
    }
    if (column.kind === "weights") throw new TypeError(`the weights ${column.name} need the field of their bag`);
    const name = `p${parsed++}`;
    if (column.kind === "dense" || column.kind === "time") {
      const sql = isMoment(column) ? secondsOf(column, place) : numberOf(column, place, commas);
      const value = `TRY_CAST(${transformed(column.transform, name)} AS FLOAT)`;
      const needed = column.kind === "time" || column.missing === "error";
      const finite = `coalesce(abs(${name}) <= ${MAX_NUMBER}, ${!needed})` +
        (column.transform === "hour" ? ` AND coalesce(${isOneOf(`${name} % 100`, HOURS)}, true)` : "");
      const first = { column, raw, parsed: { name, sql }, good: finite };
      if (column.kind === "dense") return [{ ...first, staged: `d${dense++}`, value }];
      const moment = { ...first, staged: "moment", value: name };
      return isDense(column) ? [moment, { column, staged: `d${dense++}`, raw, value, good: "true" }] : [moment];
    }
    if (column.kind === "weight") {
      const parsed = { name, sql: numberOf(column, place, commas) };
      const value = `TRY_CAST(${name} AS FLOAT)`;
      return [{
        ...{ column, staged: WEIGHT_COLUMN, raw, parsed, value },
        good: `coalesce(${value} > 0 AND ${name} <= ${MAX_NUMBER}, false)`,
      }];
    }
    return [{ column, staged: "label", raw, ...labelled(column, textOf(place), name) }];
  };
}

const HOURS = Array.from({ length: 24 }, (_, hour) => `${hour}`);

/** SQL of the replacement of missing values of a dense column with a numeric rule: 0, unless the schema has another. */
export function fillOf(column: DenseColumn): string {
  const number = column.kind === "dense" && typeof column.missing === "number" ? column.missing : undefined;
  return number === undefined ? "0" : transformed(column.transform, `${number}::DOUBLE`);
}

/**
 * SQL of the text of a Parquet value, equal for equal values of different types: whole numbers have no fraction,
 * booleans are 1 and 0, binary is UTF-8. Text of CSV is unchanged.
 */
function textOf({ raw, type }: Place): string {
  if (type === "BOOLEAN") return `(${raw}::TINYINT)::VARCHAR`;
  if (type === "FLOAT" || type === "DOUBLE") {
    return `CASE WHEN isnan(${raw}) THEN NULL WHEN ${raw} = trunc(${raw}) AND abs(${raw}) < ${EXACT[type]} ` +
      `THEN ${raw}::BIGINT::VARCHAR ELSE ${raw}::VARCHAR END`;
  }
  if (type?.startsWith("DECIMAL") && !type.endsWith(",0)")) {
    return `regexp_replace(${raw}::VARCHAR, '\\.?0+$', '')`;
  }
  if (type === "BLOB") return `TRY(decode(${raw}))`;
  return type === undefined || type === "VARCHAR" ? raw : `${raw}::VARCHAR`;
}

/** SQL of one categorical value as text. */
function valueOf({ values }: SparseColumn, place: Place, untyped: boolean): Pick<Field, "value" | "good"> {
  const { raw, type } = place;
  if (untyped) return { value: `coalesce(${raw}::VARCHAR, '')`, good: "true" };
  const value = `coalesce(${textOf(place)}, '')`;
  if (type === "FLOAT" || type === "DOUBLE") {
    // Beyond this, neighbouring whole numbers are equal as doubles: an id would be confused with another.
    return { value, good: `coalesce(isnan(${raw}) OR abs(${raw}) < ${EXACT[type]}, true)` };
  }
  if (type === "BLOB") return { value, good: `(${raw} IS NULL OR TRY(decode(${raw})) IS NOT NULL)` };
  const list = values === "text" && (type === undefined || type === "VARCHAR");
  return { value, good: list ? `NOT coalesce(${raw} LIKE '[%,%]', false)` : "true" };
}

/** SQL that is true if a field has a value. */
export function isPresent(place: Place): string {
  return `NOT ${isMissing(textOf(place))}`;
}

/** SQL of the values of a bag as a list of text. */
function itemsOf(
  column: Extract<Column, { kind: "bag" }>,
  place: Place,
  untyped: boolean,
): Pick<Field, "value" | "good"> {
  const { raw, type } = place;
  if (isList(type)) {
    const item = valueOf(column, { raw: "v", type: type!.slice(0, -2) }, untyped);
    return {
      value: `list_transform(coalesce(${raw}, []), lambda v: ${item.value})`,
      good: item.good === "true" ? "true" : `len(list_filter(coalesce(${raw}, []), lambda v: NOT (${item.good}))) = 0`,
    };
  }
  const text = untyped ? `${raw}::VARCHAR` : textOf(place);
  const split = (list: string) => `string_split(${list}, ${quoted(column.separator)})`;
  const trimmed = (list: string) => `list_transform(${split(list)}, lambda v: trim(v))`;
  const filled = (list: string) => `list_filter(${list}, lambda v: v <> '')`;
  if (!column.brackets) {
    if (untyped || column.values === "exact") {
      return { value: `CASE WHEN ${text} IS NULL THEN [] ELSE ${split(text)} END`, good: "true" };
    }
    // Blanks between blanks are not values. Brackets and quotes would become parts of values.
    const items = column.separator.trim() === "" ? filled(trimmed(text)) : trimmed(text);
    return { value: `CASE WHEN ${text} IS NULL THEN [] ELSE ${items} END`, good: `NOT (${isBracketed(text)})` };
  }
  const inner = `trim(${text})[2:-2]`;
  // An empty item after a last comma is not a value.
  const items = filled(trimmed(inner));
  const value = `CASE WHEN ${text} IS NULL OR trim(${inner}) = '' THEN [] ` +
    `ELSE list_transform(${items}, lambda v: regexp_replace(v, ${quoted(QUOTED_ITEM)}, '\\1\\2')) END`;
  // An item with a quote at only one end was split at a separator inside quotes.
  const cut = `regexp_matches(v, ${quoted(`["'\\[\\]]`)}) AND NOT regexp_full_match(v, ${quoted(QUOTED_ITEM)})`;
  const lists = `regexp_full_match(trim(${text}), '(?s)\\[.*\\]|\\(.*\\)|\\{.*\\}')`;
  return {
    value,
    good: `coalesce(${lists} AND len(list_filter(${items}, lambda v: ${cut})) = 0, true)`,
  };
}

/** The field of the weights of a bag's values: a list of as many finite numbers. */
export function weightsField(column: WeightsColumn, bag: Field, staged: string, place: Place): Field {
  const notation = bag.column as Extract<Column, { kind: "bag" }>;
  const items = itemsOf({ ...notation, values: "text" }, place, false).value;
  // DuckDB would read 1_000 as 1000.
  const number = "CASE WHEN NOT contains(v, '_') THEN TRY_CAST(TRY_CAST(v AS DOUBLE) AS FLOAT) END";
  const value = `list_transform(${items}, lambda v: ${number})`;
  const finite = `list_filter(${value}, lambda w: coalesce(isfinite(w), false))`;
  const good = `len(${value}) = len(${bag.value}) AND len(${finite}) = len(${value})`;
  return { column, staged, raw: place.raw, value, good };
}

/** A quoted item of a list in brackets. */
export const QUOTED_ITEM = `^(?:'([^']*)'|"([^"]*)")$`;

/** SQL that is true for a list written as text. "(no genres listed)" is not a list. */
function isBracketed(text: string): string {
  return `coalesce(${text} LIKE '[%]' OR ${text} LIKE '(%,%)' OR ${text} LIKE '{%,%}', false)`;
}

/** SQL of the key of a value with 8 hexadecimal digits; NULL if it is malformed. */
function hexKey(text: string, maxIndRange: number | undefined): string {
  const parsed = `CASE WHEN ${text} = '' THEN 0 ELSE TRY_CAST('0x' || ${text} AS UINTEGER) END`;
  return maxIndRange === undefined ? `(${parsed})` : `((${parsed}) % ${maxIndRange})::UINTEGER`;
}

/** SQL of a number: NULL if missing, NaN if invalid. */
function numberOf(column: Column, { raw, type }: Place, commas = false): string {
  if (type !== undefined && NUMBERS.test(type)) return `nullif(${raw}::DOUBLE, 'nan')`;
  const text = type === undefined ? raw : `${raw}::VARCHAR`;
  const written = column.kind === "dense" ? plainNumber(column, text, commas) : text;
  const cast = `TRY_CAST(${written} AS DOUBLE)`;
  // Plain numbers first, because most are plain. DuckDB would read 1_000 as 1000.
  return `CASE WHEN isfinite(${cast}) AND NOT contains(${written}, '_') THEN ${cast} ` +
    `WHEN ${isMissing(text)} THEN NULL WHEN lower(${text}) = 'true' THEN 1 WHEN lower(${text}) = 'false' THEN 0 ` +
    `ELSE 'nan'::DOUBLE END`;
}

/** SQL of a number in DuckDB's notation, if the schema declares another notation. */
function plainNumber(
  { decimal, thousands }: Extract<Column, { kind: "dense" }>,
  text: string,
  commas: boolean,
): string {
  let plain = text;
  if (thousands !== undefined) {
    const grouped = groupedNumber(thousands, decimal ?? ".");
    plain = `CASE WHEN NOT contains(${text}, ${quoted(thousands)}) THEN ${text} ` +
      `WHEN regexp_full_match(${text}, ${quoted(grouped)}) THEN replace(${text}, ${quoted(thousands)}, '') END`;
  }
  if (decimal === undefined && thousands === undefined && commas) {
    return `CASE WHEN regexp_full_match(${text}, ${
      quoted(DECIMAL_COMMA)
    }) THEN replace(${text}, ',', '.') ELSE ${text} END`;
  }
  return decimal !== "," ? plain : `CASE WHEN NOT contains(${plain}, '.') THEN replace(${plain}, ',', '.') END`;
}

/** SQL of the unix seconds of a moment: NULL if missing, NaN if invalid. */
function secondsOf(column: DenseColumn, place: Place): string {
  const { raw, type } = place;
  if (type !== undefined && /^(DATE|TIMESTAMP)/.test(type)) return `epoch(${raw}::TIMESTAMPTZ)`;
  const { unit, format } = column;
  const text = textOf(place);
  if (format !== undefined) {
    return `CASE WHEN ${isMissing(text)} THEN NULL ` +
      `ELSE coalesce(epoch(try_strptime(${text}, ${quoted(format)})), 'nan') END`;
  }
  const number = numberOf(column, place);
  if (unit !== undefined) return `(${number}) / ${PER_SECOND[unit]}`;
  const plain = `TRY_CAST(${text} AS DOUBLE)`;
  const date = `regexp_full_match(${text}, ${quoted(NUMBER_DATE)})`;
  return `CASE WHEN abs(${plain}) < ${MAX_SECONDS} AND NOT ${date} THEN ${number} WHEN ${isMissing(text)} THEN NULL ` +
    `WHEN ${plain} IS NULL THEN coalesce(epoch(TRY_CAST(${text} AS TIMESTAMPTZ)), 'nan') ELSE 'nan' END`;
}

/** SQL of a dense value. */
function transformed(transform: "log" | "none" | "hour" | "clock" | "order", raw: string): string {
  // greatest() would return 0 rather than NULL.
  if (transform === "log") return `ln(CASE WHEN ${raw} <= 0 THEN 0 ELSE ${raw} END + 1)`;
  if (transform === "hour") return `(${raw} % 100) / 24`;
  if (transform === "clock") return `((${raw} % 86400 + 86400) % 86400) / 86400`;
  return raw;
}

/** SQL of a label, and whether it is valid. */
function labelled(column: Column, text: string, name: string): Pick<Field, "parsed" | "value" | "good"> {
  const number = numberOf(column, { raw: text, type: undefined });
  if (column.kind === "label" && column.positive !== undefined) {
    const positive = column.positive.map((value) => canonical(quoted(value)));
    const numeric = column.positive.every(isNumberText);
    return {
      value: `${isOneOf(canonical(text), positive)}::UTINYINT`,
      good: numeric ? `NOT (${isMissing(text)})` : `${text} IS NOT NULL`,
    };
  }
  if (column.kind === "label" && column.atLeast !== undefined) {
    return {
      parsed: { name, sql: number },
      value: `(${name} >= ${column.atLeast})::UTINYINT`,
      good: `coalesce(abs(${name}) <= ${MAX_NUMBER}, false)`,
    };
  }
  const word = `lower(${text})`;
  const sql = `CASE WHEN ${text} = '1' THEN true WHEN ${text} = '0' THEN false ` +
    `WHEN ${word} IN ('true', 'yes', 'y', 't') THEN true WHEN ${word} IN ('false', 'no', 'n', 'f') THEN false ` +
    `ELSE CASE ${number} WHEN 1 THEN true WHEN 0 THEN false END END`;
  return { parsed: { name, sql }, value: `coalesce(${name}, false)::UTINYINT`, good: `${name} IS NOT NULL` };
}
