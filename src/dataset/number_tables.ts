/** Assigns ids to the raw values of all tables of logs and encodes them: keys in chunks, or values in DuckDB. */
import { HotsetError } from "../errors.ts";
import { type ProcessGroup, togetherAsync } from "../parallel/process_group.ts";
import { DatasetEncoding, KEYS_FILE } from "./dataset_encoding.ts";
import { type IdSource, numberQueryTable } from "./dictionary.ts";
import type { Engine } from "./duckdb.ts";
import { historyOf } from "./encoding.ts";
import type { TableSize, TableTask } from "./number_table.ts";
import type { preparePool } from "./prepare_pool.ts";
import { isDense, isSparse, type LogSchema } from "./schema.ts";
import type { StageDirectory } from "./stage_directory.ts";
import { type KeyRun, keyRun } from "./staged_chunk.ts";
import type { StagedLog } from "./staged_log.ts";

/** Share of the memory for the dictionary that is being built, in addition to that of DuckDB. */
const DICTIONARY_MEMORY_SHARE = 0.4;
/** Without DuckDB, dictionaries get the memory that the runtime and the threads leave, but at least a share. */
const RUNTIME_BYTES = 192 * 2 ** 20;
const THREAD_BYTES = 64 * 2 ** 20;
const MIN_KEYS_MEMORY_SHARE = 0.25;

/** What numbering takes, besides the threads or the database that do it. */
interface NumberingOptions {
  readonly schema: LogSchema;
  readonly logs: readonly StagedLog[];
  readonly from: IdSource;
  readonly stage: StageDirectory;
  readonly memoryBytes: number;
  readonly onProgress: (fraction: number) => void;
}

/**
 * Encodes tables whose keys are in chunks: several at a time on all threads of all ranks, then one at a time those
 * that need all the memory of a machine. Throws HotsetError if the keys of one do not fit.
 */
export async function numberKeys(
  { schema, logs, from, stage, memoryBytes: limit, onProgress }: NumberingOptions,
  { pool, threads, group }: { pool: ReturnType<typeof preparePool>; threads: number; group: ProcessGroup },
): Promise<TableSize[]> {
  const columns = schema.columns.filter(isSparse);
  const expire = from instanceof DatasetEncoding ? undefined : from.expire;
  const dense = schema.columns.filter(isDense).length;
  const budget = Math.max(
    limit - group.localSize * (RUNTIME_BYTES + THREAD_BYTES * threads),
    limit * MIN_KEYS_MEMORY_SHARE,
  );
  const [sizes] = group.gather(columns.map((_, t) => stage.finished<TableSize>(`t${t}`) ?? null));
  const task = (t: number, memoryBytes: number): TableTask => ({
    kind: "table",
    logs: logs.map((log) => ({
      runs: log.chunks.map((chunk) => keyRun(chunk, dense, t)),
      ids: stage.columnFiles(log.name, t).ids,
    })),
    from: from instanceof DatasetEncoding
      ? keysOf(from, t)
      : { ...from, known: from.known && { keys: keysOf(from.known, t), history: historyOf(from.known, t), expire } },
    files: stage.tableFiles(t),
    memoryBytes,
  });
  const open = () => [...sizes.keys()].filter((t) => sizes[t] === null);
  const all = async (tables: readonly number[], memoryBytes: number) => {
    const own = tables.filter((_, k) => k % group.size === group.rank);
    const before = sizes.length - open().length;
    let done = 0;
    const numbered = await togetherAsync(
      group,
      () =>
        pool.all(own.map((t) => task(t, memoryBytes)), (k, { size }) => {
          if (size !== undefined) stage.finish(`t${own[k]}`, size);
          onProgress((before + tables.length * ++done / own.length) / sizes.length);
        }),
    );
    for (const [t, size] of group.gather(numbered.map(({ size }, k) => [own[k], size ?? null] as const)).flat()) {
      sizes[t] = size;
    }
  };
  await all(open(), budget / threads / group.localSize);
  for (const t of open()) await all([t], budget);
  const [tooLarge] = open();
  if (tooLarge !== undefined) {
    group.agree(
      new HotsetError(
        `Cannot number the values of ${columns[tooLarge].name} in the ${Math.floor(budget / 1e6)} MB that the memory ` +
          `limit leaves for them; give a larger --memory or set --max-ind-range`,
      ),
    );
  }
  return sizes as TableSize[];
}

/** Encodes tables whose values are in DuckDB, one at a time. Throws HotsetError. */
export async function numberValues(
  { schema, logs, from, stage, memoryBytes, onProgress }: NumberingOptions,
  engine: Engine,
  maxIndRange: number | undefined,
): Promise<TableSize[]> {
  const columns = schema.columns.filter(isSparse);
  const sizes: TableSize[] = [];
  for (const [table, column] of columns.entries()) {
    const query = { table, column, maxIndRange, logs: logs.map(({ name }) => name), from };
    const memory = memoryBytes * DICTIONARY_MEMORY_SHARE;
    sizes.push(await stage.step(`t${table}`, () => numberQueryTable(engine, stage, { ...query, memoryBytes: memory })));
    onProgress(sizes.length / columns.length);
  }
  return sizes;
}

/** The keys of a table, without row 0. */
function keysOf(encoding: DatasetEncoding, table: number): KeyRun {
  return encoding.wordsOf(KEYS_FILE, table)!;
}
