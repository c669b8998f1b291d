/** Weights of lookups: the factors of the rows of a bag's values, in a column of their own. */
import { type Engine, lists, numbers } from "./duckdb.ts";
import { isSparse, type LogSchema, weightsOf } from "./schema.ts";
import { WordFile } from "./word_file.ts";

/** Name of the staged column with the weights of a table's lookups. */
export function weightsColumn(table: number): string {
  return `w${table}`;
}

/** Name of a staged log's file with the weights of a table, f32 (lookups). */
export function lookupWeightsFile(log: string, table: number): string {
  return `${log}.t${table}.weights.f32`;
}

/** The tables whose lookups have weights. */
export function weightedTables({ columns }: LogSchema): number[] {
  return columns.filter(isSparse).flatMap((column, t) => weightsOf(columns, column) === undefined ? [] : [t]);
}

/** Writes the weights of a table's lookups in a staged log, f32 (lookups). */
export async function writeLookupWeights(engine: Engine, log: string, table: number, path: string): Promise<void> {
  using file = new WordFile(path);
  for await (const chunk of engine.stream(`SELECT ${weightsColumn(table)} FROM ${log}`)) {
    const list = lists(chunk, 0);
    const { buffer, byteOffset, length } = numbers<Float32Array>(list.childVector);
    const words = new Uint32Array(buffer, byteOffset, length);
    for (let i = 0; i < chunk.rowCount; i++) {
      const [first, count] = [list.getEntryOffset(i), list.getEntryLength(i)];
      file.room(count).set(words.subarray(first, first + count));
    }
  }
  file.finish();
}
