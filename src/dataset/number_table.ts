/** Assigns ids to the 32-bit keys of one table and encodes them; runs on worker threads. */
import { FileReader } from "../storage/artifact.ts";
import { AtomicFile } from "../storage/atomic_file.ts";
import { KeysDoNotFit, KeyTable, release } from "./key_table.ts";
import { ageRows, type HistoryFiles, readHistory, readKeys, wordsAt, writeHistory } from "./row_history.ts";
import type { TableFiles } from "./stage_directory.ts";
import { type KeyRun, readWords } from "./staged_chunk.ts";

const PIECE_KEYS = 1 << 18;

/** Keys get ids by their counts, after those of known keys. */
interface KeyCounts {
  readonly train: number;
  readonly minFrequency: number;
  readonly known: KnownKeys | undefined;
}

/** Keys in the order of their ids; those that were not looked up for `expire` growths are dropped. */
export interface KnownKeys {
  readonly keys: KeyRun;
  readonly history: HistoryFiles;
  readonly expire: number | undefined;
}

/** One table of all logs. */
export interface TableTask {
  readonly kind: "table";
  /** The keys of each log, and the output file of their ids. */
  readonly logs: readonly { readonly runs: readonly KeyRun[]; readonly ids: string }[];
  /**
   * Source of ids: counts of the first `train` keys of the first log, whose ids follow those of known keys, if any; or
   * keys in the order of their existing ids.
   */
  readonly from: KeyCounts | KeyRun;
  /** Output files for the key and the count of every row of the table, and for its history if there are known keys. */
  readonly files: TableFiles;
  readonly memoryBytes: number;
}

export interface TableSize {
  /** Rows, row 0 included. */
  readonly rows: number;
  /** Next number of a row: more than `rows` if rows were dropped. */
  readonly next: number;
}

/** Runs a task. Returns the size of the table, or undefined if its keys do not fit in memory. */
export function numberTable(task: TableTask): { size: TableSize | undefined } {
  try {
    return { size: number(task) };
  } catch (error) {
    if (error instanceof KeysDoNotFit) return { size: undefined };
    throw error;
  }
}

/** The keys of a table's rows in the order of their ids, without row 0, and their counts. */
interface CountedKeys {
  readonly keys: Uint32Array<ArrayBuffer>;
  readonly counts: Uint32Array<ArrayBuffer>;
  /** Next number of a row; undefined if that is its id. */
  readonly next?: number;
}

function number(task: TableTask): TableSize {
  const { logs, from, files, memoryBytes } = task;
  const memory = new Uint32Array(PIECE_KEYS);
  using table = new KeyTable(memoryBytes);
  let found: CountedKeys;
  if ("train" in from && from.known === undefined) {
    for (const piece of pieces(logs[0].runs, from.train, memory)) table.count(piece);
    found = table.number(from.minFrequency);
  } else {
    found = "train" in from
      ? grow(task, from, from.known!, memory)
      : { keys: readKeys(from), counts: new Uint32Array(from.keys) };
    table.learn(found.keys);
  }
  const { keys, counts, next = keys.length + 1 } = found;
  for (const { runs, ids } of logs) {
    using file = new AtomicFile(ids);
    for (const piece of pieces(runs, Infinity, memory)) {
      table.encode(piece);
      file.append(piece);
    }
    file.commit();
  }
  const kept = counts.reduce((sum, count) => sum + count, 0);
  const rest = "train" in from ? Math.min(from.train - kept, 2 ** 32 - 1) : 0;
  AtomicFile.write(files.keys, [Uint32Array.of(0), keys]);
  AtomicFile.write(files.counts, [Uint32Array.of(rest), counts]);
  const rows = keys.length + 1;
  release(keys);
  release(counts);
  return { rows, next };
}

/** Known keys that are kept, then new ones that occur often enough. */
function grow(
  { logs, memoryBytes, files }: TableTask,
  { train, minFrequency }: KeyCounts,
  known: KnownKeys,
  memory: Uint32Array,
): CountedKeys {
  const keys = readKeys(known.keys);
  const seen = new Uint32Array(keys.length);
  using table = new KeyTable(memoryBytes / 2);
  table.learn(keys);
  using others = new KeyTable(memoryBytes / 2);
  for (const piece of pieces(logs[0].runs, train, memory)) others.count(table.countKnown(piece, seen));
  const added = others.number(minFrequency);
  const { kept, history } = ageRows(readHistory(known.history), seen, known.expire);
  const next = history.next + added.keys.length;
  writeHistory(history, added.keys.length, files);
  const of = (words: Uint32Array<ArrayBuffer>) => kept === undefined ? words : wordsAt(words, kept);
  return { keys: joined(of(keys), added.keys), counts: joined(of(seen), added.counts), next };
}

/** One array after the other, which are released. */
function joined(first: Uint32Array<ArrayBuffer>, second: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const all = new Uint32Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  release(first);
  release(second);
  return all;
}

/** The first `limit` keys of column runs, in parts, in memory that is reused. */
function* pieces(runs: readonly KeyRun[], limit: number, memory: Uint32Array): Generator<Uint32Array> {
  let left = limit;
  for (const run of runs) {
    if (left <= 0) return;
    using reader = new FileReader(run.file);
    for (let done = 0; done < run.keys && left > 0;) {
      const count = Math.min(run.keys - done, memory.length, left);
      yield readWords(reader, run.at + 4 * done, count, memory);
      done += count;
      left -= count;
    }
  }
}
