/** What the columns of a log hold: types, ranges and ways of writing, found in a sample that is read as prepare reads it. */
import { quoted } from "./duckdb.ts";
import type { Engine } from "./duckdb.ts";
import type { Column } from "./schema.ts";
import { fieldBuilder } from "./fields.ts";
import { isMissing } from "./value_rules.ts";

/** How the numbers or moments of a column are written. */
export type Written = { decimal?: ","; thousands?: "," | "." | " " | "_" | "'"; format?: string };

/** What was found in a column. */
export interface ColumnFindings {
  readonly name: string;
  /** SQL of the field, and its type in a Parquet file. */
  readonly raw: string;
  readonly parquet: string | undefined;
  /** Of a text the type that all its values have. */
  readonly type: string;
  readonly written: Written;
  readonly min: string | null;
  readonly max: string | null;
  readonly distinct: number;
  readonly rows: number;
  /** No row lacks it. */
  readonly full: boolean;
  /** Every row has a larger whole number than the one before. */
  readonly rising: boolean;
  /** All values are labels, of both kinds. */
  readonly flag: boolean;
  /** For text: every value is hexadecimal; a part of them is a list; what separates the values of lists in brackets. */
  readonly hex: boolean;
  readonly listed: boolean;
  readonly brackets: string | undefined;
  /** What two rules say that contradict each other. */
  readonly doubt: string | undefined;
}

const FIRST_ROWS = 256;
/** What later rows can show that the first do not. */
const LATE = ["any", "listed", "comma"];
/** Ways of writing dates beside ISO 8601 that are recognised. */
const FORMATS = ["%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y"]
  .flatMap((date) => [date, `${date} %H:%M:%S`, `${date} %H:%M`]);
/** Digits that are dates. */
const DIGITS = { "%Y%m%d": 8, "%Y%m%d%H": 10, "%Y%m%d%H%M%S": 14 };

/** Ways of writing numbers beside 1234.5, each with the values that fit it and the mark that shows it. */
const NUMBERS: { written: Written; pattern: string; mark: string }[] = [
  { written: { decimal: "," }, pattern: "[-+]?[0-9]+(,[0-9]+)?", mark: "," },
  { written: { decimal: ",", thousands: "." }, pattern: "[-+]?[0-9]{1,3}([.][0-9]{3})*(,[0-9]+)?", mark: "," },
  ...([",", "_", " ", "'"] as const).map((thousands) => ({
    written: { thousands },
    pattern: `[-+]?([0-9]{1,3}([${thousands}][0-9]{3})*|[0-9]+)([.][0-9]+)?`,
    mark: thousands,
  })),
];

/** Looks at one column of the table `sample`. */
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
  const present = `FILTER (NOT ${isMissing(`${raw}::VARCHAR`)})`;
  const [label] = fieldBuilder(undefined, undefined)({ name, kind: "label" }, { raw, type: parquet });
  const [[min, max, distinct, rows, filled, labels, kinds]] = await engine.rows(
    `SELECT min(${value})::VARCHAR, max(${value})::VARCHAR, (count(DISTINCT ${value}) ${present})::DOUBLE, ` +
      `count(*)::DOUBLE, (count(*) ${present})::DOUBLE, bool_and(${label.good}), ` +
      `count(DISTINCT ${label.value})::DOUBLE FROM sample`,
  );
  const unique = distinct === rows && /INT/.test(shape.type);
  const rising = unique && (await engine.rows(
        `SELECT bool_and(v > before) FROM (SELECT ${value} AS v, lag(${value}) OVER (ORDER BY rowid) AS before FROM sample)`,
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
    flag: labels === true && kinds === 2,
  };
}

/** SQL of a text in its type. */
function typed(raw: string, type: string, { format }: Written): string {
  const text = `CASE WHEN NOT ${isMissing(raw)} THEN ${raw} END`;
  if (type === "VARCHAR" || type === "NUMBER") return `(${text})`;
  return format === undefined ? `TRY_CAST(${text} AS ${type})` : `try_strptime(${text}, ${quoted(format)})::${type}`;
}

/** The type that all values of a text have, and how they are written. */
async function textType(
  engine: Engine,
  raw: string,
): Promise<Pick<ColumnFindings, "type" | "written" | "doubt" | "hex" | "listed" | "brackets">> {
  const tests: Record<string, string> = {
    any: "count(*) > 0",
    integer: all(`regexp_full_match(v, '[-+]?[0-9]{1,18}')`),
    fraction: `${all("TRY_CAST(v AS DOUBLE) IS NOT NULL AND NOT contains(v, '_')")}`,
    boolean: all("lower(v) IN ('true', 'false')"),
    moment: all("TRY_CAST(v AS TIMESTAMPTZ) IS NOT NULL"),
    date: all("length(v) <= 10"),
    hex: all("regexp_full_match(v, '[0-9a-fA-F]{8}')"),
    listed: "avg(contains(v, '|')::INTEGER) > 0.2",
    brackets: all("regexp_full_match(v, '(?s)\\[.*\\]|\\(.*,.*\\)|\\{.*,.*\\}')"),
    comma: "bool_or(contains(v, ','))",
  };
  for (const [k, { pattern, mark }] of NUMBERS.entries()) {
    tests[`number${k}`] = all(`regexp_full_match(v, ${quoted(pattern)})`);
    tests[`mark${k}`] = `bool_or(contains(v, ${quoted(mark)}))`;
  }
  for (const [k, format] of FORMATS.entries()) {
    tests[`format${k}`] = all(`try_strptime(v, ${quoted(format)}) IS NOT NULL`);
  }
  for (const [format, digits] of Object.entries(DIGITS)) {
    tests[format] = all(
      `length(v) = ${digits} AND v[1:2] IN ('19', '20') AND try_strptime(v, ${quoted(format)}) IS NOT NULL`,
    );
  }
  // Most of what a column is not shows in its first rows.
  const likely = await passed(engine, raw, tests, Object.keys(tests), `FROM sample LIMIT ${FIRST_ROWS}`, true);
  const open = new Set([...likely, ...LATE, ...NUMBERS.map((_, k) => `mark${k}`)]);
  const names = await passed(engine, raw, tests, [...open], "FROM sample", false);
  const is = Object.fromEntries(Object.keys(tests).map((name) => [name, names.includes(name)]));
  const found = (type: string, written: Written = {}, doubt?: string) => ({
    type,
    written,
    doubt,
    hex: is.hex,
    listed: is.listed,
    brackets: is.brackets && is.any ? (is.comma ? "," : " ") : undefined,
  });
  if (!is.any) return found("VARCHAR");
  const digits = Object.keys(DIGITS).find((format) => is[format]);
  if (is.integer) return digits === undefined ? found("BIGINT") : found("TIMESTAMP", { format: digits });
  if (is.fraction) return found("DOUBLE");
  if (is.boolean) return found("BOOLEAN");
  if (is.moment) return found(is.date ? "DATE" : "TIMESTAMP");
  const formats = FORMATS.filter((_, k) => is[`format${k}`]);
  if (formats.length > 1) return found("VARCHAR", {}, `either of format ${formats.join(" or ")}`);
  if (formats.length === 1) return found(formats[0].includes("%H") ? "TIMESTAMP" : "DATE", { format: formats[0] });
  const numbers = NUMBERS.filter((_, k) => is[`number${k}`] && is[`mark${k}`]);
  // 1.234,5 is no plain decimal comma, and where every comma stands before three digits it may be of thousands.
  const [first, second] = numbers.filter(({ written }) =>
    !(written.decimal === "," && written.thousands !== undefined && is.number0)
  );
  if (second !== undefined) return found("VARCHAR", {}, "commas of decimals or of thousands");
  return first === undefined ? found("VARCHAR") : found("NUMBER", first.written);
}

/** The tests that the text of a column passes. */
async function passed(
  engine: Engine,
  raw: string,
  tests: Record<string, string>,
  names: readonly string[],
  rows: string,
  withoutRows: boolean,
): Promise<string[]> {
  const [values] = await engine.rows(
    `SELECT ${names.map((name) => `coalesce(${tests[name]}, ${withoutRows})`).join(", ")} ` +
      `FROM (SELECT ${raw} AS v FROM (${rows})) WHERE NOT ${isMissing("v")}`,
  );
  return names.filter((_, i) => values[i] === true);
}

function all(test: string): string {
  return `bool_and(${test})`;
}

/** What is wrong with a proposed column in the sample: how many rows prepare would refuse, and the first of them. */
export async function refused(
  engine: Engine,
  column: Column,
  { raw, parquet }: ColumnFindings,
): Promise<{ rows: number; first: string | null } | undefined> {
  if (column.kind === "ignore") return undefined;
  const good = fieldBuilder(undefined, undefined)(column, { raw, type: parquet }).map((field) => `(${field.good})`)
    .join(" AND ");
  const [[rows, first]] = await engine.rows(
    `SELECT count(*)::DOUBLE, any_value(${raw}::VARCHAR) FROM sample WHERE NOT (${good})`,
  );
  return Number(rows) === 0 ? undefined : { rows: Number(rows), first: first as string | null };
}

/** For a column that some rows lack: the rows that have it, by label. */
export async function filledByLabel(
  engine: Engine,
  { raw }: ColumnFindings,
  column: Column,
  label: ColumnFindings,
): Promise<[number, number]> {
  const [{ value }] = fieldBuilder(undefined, undefined)(column, { raw: label.raw, type: label.parquet });
  const [[zeros, ones]] = await engine.rows(
    `SELECT (count(*) FILTER (l = 0))::DOUBLE, (count(*) FILTER (l = 1))::DOUBLE FROM ` +
      `(SELECT ${value} AS l FROM sample WHERE NOT ${isMissing(`${raw}::VARCHAR`)})`,
  );
  return [Number(zeros), Number(ones)];
}
