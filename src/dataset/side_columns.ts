/** Columns beside the features: the groups and weights of samples, and the weights of the lookups of bags. */
import type { DuckDBDataChunk } from "@duckdb/node-api";
import { type Engine, hashWords, lists, numbers } from "./duckdb.ts";
import { type Column, isSparse, type LogSchema, weightsOf } from "./schema.ts";
import { keys, type ValueRule } from "./value_rules.ts";
import { WordFile } from "./word_file.ts";

/** Staged column of the groups where they are no table. */
export const GROUP_COLUMN = "grouping";
/** Staged column of the weights of samples: how much each counts in the loss and in metrics. */
export const WEIGHT_COLUMN = "weight";

/** Name of the staged column with the weights of a table's lookups: the factors of the rows of a bag's values. */
export function weightsColumn(table: number): string {
  return `w${table}`;
}

/** The tables whose lookups have weights. */
export function weightedTables({ columns }: LogSchema): number[] {
  return columns.filter(isSparse).flatMap((column, t) => weightsOf(columns, column) === undefined ? [] : [t]);
}

/** The column that is read only for the groups; undefined where there is none, or it is a table. */
export function groupOnly({ columns, group }: LogSchema): Column | undefined {
  return columns.find(({ name, kind }) => name === group && kind === "ignore");
}

/** SQL of what names the group of a staged row. Those of a table follow its rule, so that 5 and 5.0 are one. */
function groupKey(schema: LogSchema, rules: readonly ValueRule[]): string {
  const table = schema.columns.filter(isSparse).findIndex(({ name }) => name === schema.group);
  return table < 0 ? GROUP_COLUMN : keys(schema, rules, undefined)[table];
}

/**
 * Writes the group of each row of a staged log, u64 (rows): the lower half of the MD5 of its text, so that nothing of the
 * size of all groups is kept. Of 10 million groups, two share a hash in one log of 370,000.
 */
export async function writeGroups(
  engine: Engine,
  schema: LogSchema,
  rules: readonly ValueRule[],
  log: string,
  path: string,
): Promise<void> {
  const hash = `md5_number_lower((${groupKey(schema, rules)})::VARCHAR)`;
  await write(engine, `SELECT ${hash} FROM ${log}`, path, (chunk, file) => {
    file.room(2 * chunk.rowCount).set(hashWords(chunk.getColumnVector(0)).subarray(0, 2 * chunk.rowCount));
  });
}

/** Writes the weight of each row of a staged log, f32 (rows). */
export async function writeWeights(engine: Engine, log: string, path: string): Promise<void> {
  await write(engine, `SELECT ${WEIGHT_COLUMN} FROM ${log}`, path, (chunk, file) => {
    file.room(chunk.rowCount).set(floatWords(chunk.getColumnVector(0)).subarray(0, chunk.rowCount));
  });
}

/** Writes the weights of a table's lookups in a staged log, f32 (lookups). */
export async function writeLookupWeights(engine: Engine, log: string, table: number, path: string): Promise<void> {
  await write(engine, `SELECT ${weightsColumn(table)} FROM ${log}`, path, (chunk, file) => {
    const list = lists(chunk, 0);
    const words = floatWords(list.childVector);
    for (let i = 0; i < chunk.rowCount; i++) {
      const [first, count] = [list.getEntryOffset(i), list.getEntryLength(i)];
      file.room(count).set(words.subarray(first, first + count));
    }
  });
}

async function write(
  engine: Engine,
  sql: string,
  path: string,
  put: (chunk: DuckDBDataChunk, file: WordFile) => void,
): Promise<void> {
  using file = new WordFile(path);
  for await (const chunk of engine.stream(sql)) put(chunk, file);
  file.finish();
}

/** The words of a column of 32-bit floats. */
function floatWords(vector: unknown): Uint32Array {
  const { buffer, byteOffset, length } = numbers<Float32Array>(vector);
  return new Uint32Array(buffer, byteOffset, length);
}
