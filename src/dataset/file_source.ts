/** How DuckDB reads a file, both for prepare and for the proposal of a schema. */
import { type Engine, identifier, parquetFiles, quoted, textFile } from "./duckdb.ts";
import type { InputFile } from "./inputs.ts";
import { readFailure } from "./query_faults.ts";
import type { LogSchema } from "./schema.ts";

/** SQL of the rows of a file with these columns, renamed to c0, c1 and so on, which no other name equals. */
export function rowsOf(file: InputFile, schema: Omit<LogSchema, "columns">, names: readonly string[]): string {
  if (file.content !== "parquet") return csvSource(file, schema, names.length);
  const columns = names.map((name, i) => `${identifier(name)} AS c${i}`);
  return `(SELECT ${columns.join(", ")} FROM ${parquetFiles([file.path])})`;
}

/** SQL of the rows of a text; malformed rows are stored as rejects. */
function csvSource(file: InputFile, schema: Omit<LogSchema, "columns">, width: number): string {
  const { header, delimiter, quote, escape = quote, skip = 0 } = schema;
  const columns = Array.from({ length: width }, (_, i) => `c${i}: 'VARCHAR'`).join(", ");
  return `read_csv(${textFile(file)}, auto_detect = false, header = ${header}, skip = ${skip}, ` +
    `delim = ${quoted(delimiter)}, quote = ${quoted(quote)}, escape = ${quoted(quote === "" ? "" : escape)}, ` +
    `comment = '', columns = {${columns}}, store_rejects = true, rejects_limit = 0)`;
}

/** The types of the columns, by name. */
export async function parquetTypes(engine: Engine, path: string): Promise<Map<string, string>> {
  try {
    const rows = await engine.rows(`DESCRIBE FROM ${parquetFiles([path])}`);
    return new Map(rows.map(([name, type]) => [String(name), String(type)]));
  } catch (error) {
    throw readFailure(path, error);
  }
}
