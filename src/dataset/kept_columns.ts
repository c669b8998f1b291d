/** Reads columns of raw rows as text, to be written beside the scores of the rows. */
import { breaks } from "../breaks.ts";
import { availableParallelism } from "node:os";
import { UsageError } from "../errors.ts";
import { didYouMean } from "../similar.ts";
import { TemporaryDirectory } from "../storage/temporary.ts";
import type { DatasetEncoding } from "./dataset_encoding.ts";
import { Engine } from "./duckdb.ts";
import { rawEncodingOf } from "./encoding.ts";
import { parquetTypes, rowsOf } from "./file_source.ts";
import { columnNames, splitLine } from "./header_line.ts";
import { findInputs, type InputFile } from "./inputs.ts";
import { readFailure } from "./query_faults.ts";
import type { LogSchema } from "./schema.ts";
import { firstLine } from "./text_file.ts";

const MEMORY_BYTES = 2 ** 30;

/** Columns of rows as text. */
export interface KeptColumns {
  /** Their names. */
  readonly names: readonly string[];
  /** The values of each row; null for missing ones. */
  readonly rows: readonly (readonly (string | null)[])[];
}

/**
 * Reads columns of raw rows, in the order of the inputs. They are named by the header of the file, or, in formats without
 * one, by the schema of the encoding. Throws HotsetError for a file that cannot be read, and UsageError for a column that
 * it does not have.
 */
export async function readColumns(
  encoding: DatasetEncoding,
  inputs: readonly string[],
  names: readonly string[],
): Promise<KeptColumns> {
  const { format, schema } = rawEncodingOf(encoding);
  if (format === "dlrm") throw new UsageError("Cannot keep columns of format dlrm: it has no names");
  using directory = new TemporaryDirectory("hotset-");
  using engine = await Engine.create(directory.path, { memoryBytes: MEMORY_BYTES, threads: availableParallelism() });
  const rows: (string | null)[][] = [];
  for (const file of findInputs(inputs, format)) {
    try {
      const all = await namesOf(engine, file, schema);
      const numbers = names.map((name) => {
        const number = all.indexOf(name);
        if (number >= 0) return number;
        throw new UsageError(`Cannot keep column ${name}: ${file.path} has no such column${didYouMean(name, all)}`);
      });
      const columns = numbers.map((number) => `c${number}::VARCHAR`).join(", ");
      for await (const chunk of engine.stream(`SELECT ${columns} FROM ${rowsOf(file, schema, all)}`)) {
        for (const row of chunk.getRows()) rows.push(row.map((value) => value === null ? null : String(value)));
        if (breaks.due) await breaks.take();
      }
    } catch (error) {
      throw readFailure(file.path, error);
    }
  }
  return { names, rows };
}

async function namesOf(engine: Engine, file: InputFile, schema: LogSchema): Promise<string[]> {
  if (file.content === "parquet") return [...(await parquetTypes(engine, file.path)).keys()];
  const line = await firstLine(file, schema.skip) ?? "";
  if (schema.header) return columnNames(line, schema);
  // Without labels the first column may be missing.
  const all = schema.columns.map(({ name }) => name);
  const missing = all.length - splitLine(line, schema).length;
  return missing === 1 ? schema.columns.filter(({ kind }) => kind !== "label").map(({ name }) => name) : all;
}
