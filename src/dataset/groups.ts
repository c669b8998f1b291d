/** Groups of samples, such as those of a user, of whom metrics are computed one by one. */
import type { Engine } from "./duckdb.ts";
import { hashWords } from "./dictionary.ts";
import { type Column, isSparse, type LogSchema } from "./schema.ts";
import { keys, type ValueRule } from "./value_rules.ts";
import { WordFile } from "./word_file.ts";

/** Staged column of the groups where they are no table. */
export const GROUP_COLUMN = "grouping";

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
  using file = new WordFile(path);
  const hash = `md5_number_lower((${groupKey(schema, rules)})::VARCHAR)`;
  for await (const chunk of engine.stream(`SELECT ${hash} FROM ${log}`)) {
    file.room(2 * chunk.rowCount).set(hashWords(chunk.getColumnVector(0)).subarray(0, 2 * chunk.rowCount));
  }
  file.finish();
}
