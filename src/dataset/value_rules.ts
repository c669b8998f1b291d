/**
 * When two categorical values are equal, and which are missing: the rule of docs/datasets.md, for CSV and Parquet
 * alike. Values are staged as text. If the train log shows that a column contains numbers, they are compared as
 * numbers: 5, 5.0 and 5.00 are equal, like true, True and 1. Any other column is compared as text, in which 5.0 can be
 * a version and 007 an agent. The rule of each table is part of the dataset, so rows that are read later follow it.
 * single_value.ts has the same rule for single values in memory and takes its patterns from here.
 */
import { type Engine, isOneOf, quoted } from "./duckdb.ts";
import { isSparse, type LogSchema, type SparseColumn } from "./schema.ts";

/** How the values of a table are compared; `untyped` is version 0.1, which used DuckDB's text of Parquet values. */
export type ValueRule = "number" | "text" | "untyped";

/** Words for a missing value, in lower case; an empty field is missing too. */
const MISSING = ["", "nan", "-nan", "na", "n/a", "#n/a", "<na>", "nat", "null", "none", "\\n"];
/** Blanks that DuckDB's trim removes. */
const BLANKS = /^\p{Zs}+|\p{Zs}+$/gu;
/** A number as programs write it; 007 and +5 are text. */
export const NUMBER = "-?(0|[1-9][0-9]*)([.][0-9]+)?(e[-+]?[0-9]+)?|-?[.][0-9]+";
/** From here on, text keeps the zeros of its fraction, because a floating-point number would not be exact. */
export const EXACT = 2 ** 53;
/** Rows from which on a column of text is recognised without reading all of it. */
const FIRST_ROWS = 2048;

/** SQL that is true for text that means a missing value. */
export function isMissing(text: string): string {
  return `(${text} IS NULL OR ${isOneOf(`lower(trim(${text}))`, MISSING.map(quoted))})`;
}

export function trim(text: string): string {
  return text.replace(BLANKS, "");
}

export function isMissingText(text: string | null): boolean {
  return text === null || MISSING.includes(trim(text).toLowerCase());
}

/** True for the text of a number or a boolean. */
export function isNumberText(text: string): boolean {
  return new RegExp(`^(?:${NUMBER}|true|false)$`, "i").test(text);
}

/** SQL of the canonical text of a number or a boolean; other text unchanged. */
export function canonical(text: string): string {
  return `CASE lower(${text}) WHEN 'true' THEN '1' WHEN 'false' THEN '0' ELSE ${plainNumber(text)} END`;
}

/**
 * SQL of a number in the notation of Parquet values: no trailing zeros of its fraction, an exponent only for
 * floating-point numbers; other text unchanged.
 */
function plainNumber(text: string): string {
  const parsed = `TRY_CAST(${text} AS DOUBLE)`;
  // Numbers with other notations: 1e3 is 1000, .5 is 0.5, -0 is 0, 0.00001 is 1e-05. Most numbers do not reach the
  // pattern.
  const unusual = `contains(${text}, 'e') OR contains(${text}, 'E') OR ` +
    `${text} < '1' AND regexp_matches(${text}, '^(-?[.]|-0|0[.]0000)')`;
  return `CASE WHEN ends_with(${text}, '0') AND contains(${text}, '.') AND ` +
    `regexp_full_match(${text}, '-?(0|[1-9][0-9]*)[.][0-9]+') AND abs(${parsed}) < ${EXACT} ` +
    `THEN regexp_replace(regexp_replace(${text}, '[.]?0+$', ''), '^-0$', '0') ` +
    `WHEN (${unusual}) AND regexp_full_match(${text}, ${quoted(`(?i)${NUMBER}`)}) ` +
    `AND abs(${parsed}) < ${EXACT} THEN CASE WHEN ${parsed} = trunc(${parsed}) THEN ${parsed}::BIGINT::VARCHAR ` +
    `ELSE ${parsed}::VARCHAR END ELSE ${text} END`;
}

/** SQL of the key of a staged value, which is counted, numbered and looked up. */
function keyOf(rule: ValueRule, text: string, maxIndRange: number | undefined): string {
  // Most numbers begin with a digit; booleans and words for missing values do not.
  const value = rule === "number"
    ? `CASE WHEN ${text} >= '0' AND ${text} < ':' THEN ${plainNumber(text)} ` +
      `WHEN ${isMissing(text)} THEN '' ELSE ${canonical(text)} END`
    : text;
  return maxIndRange === undefined ? value : `(md5_number_lower(${value}) % ${maxIndRange})::UINTEGER`;
}

/** Name of the view of a table's keys in a log: DuckDB computes all columns of a view, so each table has its own. */
export function tableView(log: string, table: number): string {
  return `${log}_t${table}`;
}

/** Name of the view of the rows of a log as they were staged. */
export function stagedView(log: string): string {
  return `${log}_staged`;
}

/** SQL of the keys of all tables, from their staged values. */
export function keys(schema: LogSchema, rules: readonly ValueRule[], maxIndRange: number | undefined): string[] {
  return schema.columns.filter(isSparse).map((column, t) => {
    if (column.values === "hex" || (rules[t] !== "number" && maxIndRange === undefined)) return `t${t}`;
    const key = (text: string) => keyOf(rules[t], text, maxIndRange);
    return column.kind === "bag" ? `list_transform(t${t}, lambda v: ${key("v")})` : key(`t${t}`);
  });
}

/** Determines the rules of all tables from the values of a staged log. */
export async function findRules(engine: Engine, schema: LogSchema, log: string): Promise<ValueRule[]> {
  const rules: ValueRule[] = [];
  for (const [t, column] of schema.columns.filter(isSparse).entries()) {
    const numbers = column.values === "text" &&
      await holdsNumbers(engine, column, t, `FROM ${log} LIMIT ${FIRST_ROWS}`) &&
      await holdsNumbers(engine, column, t, `FROM ${log}`);
    rules.push(numbers ? "number" : "text");
  }
  return rules;
}

/**
 * True if all values of a column are numbers or booleans. Trailing zeros in fractions of different lengths, 5.1 and
 * 5.10, suggest versions.
 */
async function holdsNumbers(engine: Engine, { kind }: SparseColumn, table: number, log: string): Promise<boolean> {
  const values = `(SELECT ${kind === "bag" ? `unnest(t${table})` : `t${table}`} AS v FROM (${log}))`;
  const number = `regexp_full_match(v, ${quoted(`(?i)${NUMBER}|true|false`)})`;
  const [[text, fractions]] = await engine.rows(
    `SELECT bool_or(CASE WHEN ${number} THEN false ELSE NOT ${
      isMissing("v")
    } END), bool_or(contains(v, '.')) FROM ${values}`,
  );
  if (text === true || fractions !== true) return text !== true;
  const length = "length(v) - instr(v, '.')";
  const [[versions]] = await engine.rows(
    `SELECT bool_or(ends_with(v, '0') AND NOT regexp_full_match(v, '[^.]*[.]0+')) AND min(${length}) < max(${length}) ` +
      `FROM ${values} WHERE contains(v, '.')`,
  );
  return versions !== true;
}
