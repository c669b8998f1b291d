/** Assigns ids to the 32-bit keys of one table and encodes them; runs on worker threads. */
import { FileReader } from "../storage/artifact.ts";
import { AtomicFile } from "../storage/atomic_file.ts";
import { KeysDoNotFit, KeyTable, release } from "./key_table.ts";
import { type KeyRun, readWords } from "./staged_chunk.ts";

const PIECE_KEYS = 1 << 18;

/** Keys get ids by their counts, after those of known keys. */
interface KeyCounts {
  readonly train: number;
  readonly minFrequency: number;
  readonly known: KeyRun | undefined;
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
  /** Output files for the key and the count of every row of the table. */
  readonly keysFile: string;
  readonly countsFile: string;
  readonly memoryBytes: number;
}

/** Runs a task. Returns the number of rows of the table, or undefined if its keys do not fit in memory. */
export function numberTable(task: TableTask): { rows: number | undefined } {
  try {
    return { rows: number(task) };
  } catch (error) {
    if (error instanceof KeysDoNotFit) return { rows: undefined };
    throw error;
  }
}

function number({ logs, from, keysFile, countsFile, memoryBytes }: TableTask): number {
  const memory = new Uint32Array(PIECE_KEYS);
  const grows = "train" in from && from.known !== undefined;
  using table = new KeyTable(grows ? memoryBytes / 2 : memoryBytes);
  let keys: Uint32Array<ArrayBuffer>;
  let counts: Uint32Array<ArrayBuffer>;
  if (!("train" in from)) {
    keys = readKeys(from);
    counts = new Uint32Array(keys.length);
    table.learn(keys);
  } else if (from.known === undefined) {
    for (const piece of pieces(logs[0].runs, from.train, memory)) table.count(piece);
    ({ keys, counts } = table.number(from.minFrequency));
  } else {
    const known = readKeys(from.known);
    const seen = new Uint32Array(known.length);
    table.learn(known);
    using others = new KeyTable(memoryBytes / 2);
    for (const piece of pieces(logs[0].runs, from.train, memory)) others.count(table.countKnown(piece, seen));
    const added = others.number(from.minFrequency);
    table.learn(added.keys, known.length + 1);
    keys = joined(known, added.keys);
    counts = joined(seen, added.counts);
  }
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
  AtomicFile.write(keysFile, [Uint32Array.of(0), keys]);
  AtomicFile.write(countsFile, [Uint32Array.of(rest), counts]);
  const rows = keys.length + 1;
  release(keys);
  release(counts);
  return rows;
}

function readKeys({ file, at, keys }: KeyRun): Uint32Array<ArrayBuffer> {
  using reader = new FileReader(file);
  return readWords(reader, at, keys, new Uint32Array(keys)) as Uint32Array<ArrayBuffer>;
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
