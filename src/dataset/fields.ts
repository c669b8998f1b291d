/** What the fields of a log stand for, as SQL: the one place that turns text and Parquet's types into values. */
import { quoted } from "./duckdb.ts";
import { type Column, isDense, isMoment, isSparse } from "./schema.ts";

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

/** The type that DuckDB reads a CSV field as. */
export function csvType(column: Column | undefined): string {
  if (column?.kind === "label") {
    return column.positive !== undefined ? "VARCHAR" : column.atLeast !== undefined ? "DOUBLE" : "BOOLEAN";
  }
  return column?.kind === "dense" && !isMoment(column) ? "DOUBLE" : "VARCHAR";
}

/** True for Parquet columns of lists. */
export function isList(type: string | undefined): boolean {
  return type?.endsWith("[]") ?? false;
}

/** SQL of any type in the type that CSV fields of the column have; what does not fit becomes a value that is not good. */
export function typedField(column: Column, raw: string): string {
  const type = csvType(column);
  if (type === "BOOLEAN") return `TRY_CAST(${raw}::VARCHAR AS BOOLEAN)`;
  if (type === "DOUBLE") return `CASE WHEN ${raw} IS NOT NULL THEN coalesce(TRY_CAST(${raw} AS DOUBLE), 'nan') END`;
  return `${raw}::VARCHAR`;
}

/** Makes fields of text, numbers or lists, numbering dense and sparse ones from 0. */
export function fieldBuilder(
  maxIndRange: number | undefined,
): (column: Column, raw: string, list?: boolean) => Field[] {
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
